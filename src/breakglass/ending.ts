import type { Detail } from '../audit/event.ts'
import type { Ender } from '../lease/ender.ts'
import type { Db, Ledger } from '../ledger/db.ts'
import { decideExtension, findPendingExtension } from '../ledger/grant-extensions.ts'
import { countGrantLeases } from '../ledger/grant-leases.ts'
import { findGrant, type Grant, type GrantPatch } from '../ledger/grants.ts'
import { doom } from '../ledger/lease-ending.ts'
import { requestRotations } from '../ledger/rotation-requests.ts'
import { within } from '../lib/pause.ts'
import type { Actor } from './actor.ts'
import { dated, END_SLO_MS, nextLook, reviewDeadlines, timesOf } from './clock.ts'
import type { Moves } from './moves.ts'
import { pinnedPolicy } from './pinned.ts'
import { planIn } from './plan.ts'
import type { Capacity, GrantEvent } from './states.ts'

/** Why an access ends, in the grant's `end_reason`. */
export type GrantEndReason =
  | 'returned'
  | 'revoked'
  | 'cancelled'
  | 'expired'
  | 'incident_closed'
  | 'requester_disabled'
  | 'target_retired'
  | 'ratification_refused'
  | 'ratification_overdue'
  | 'externally_modified'
  | 'activation_failed'

export type GrantEnding = {
  grant: Grant
  event: GrantEvent
  who: Capacity
  actor: Actor | null
  reason: GrantEndReason
  /** What else changes with it. */
  set?: GrantPatch
  detail?: Readonly<Record<string, Detail>>
}

export type Endings = {
  /**
   * Takes a grant to ENDING and makes all its leases due, in the caller's transaction: from its commit on nothing is
   * issued under it. Undefined when somebody else has moved it. `wakeTargets` is for after the commit.
   */
  begin(db: Db, ending: GrantEnding): Promise<{ grant: Grant; wakeTargets: () => void } | undefined>
  /** Ends what a grant has, as far as the targets let it while somebody waits; the rest goes on by itself. */
  carryOut(grantId: string): Promise<void>
  /** Rows 30 to 32: ended once every lease is proved gone, stuck when that takes too long. */
  settle(grantId: string): Promise<void>
}

export type EndingParts = {
  ledger: Ledger
  moves: Moves
  ender: Pick<Ender, 'endNow'>
  wake: (targetId: string) => void
  wakeLook: (at: Date | null, now: Date) => void
}

/** How long somebody who ends an access waits to hear that it is gone. */
const PATIENCE_MS = 10_000

export function createEndings(parts: EndingParts): Endings {
  const { ledger, moves } = parts

  const settle = async (grantId: string): Promise<void> => {
    const grant = await findGrant(ledger, grantId)
    if (!grant || (grant.state !== 'ending' && grant.state !== 'ending_stuck')) return
    const { unproved, open } = await countGrantLeases(ledger, grantId)
    if (unproved === 0) return provedGone(parts, grant)
    const since = dated(timesOf(grant).ending_since) ?? grant.now
    if (grant.state === 'ending' && grant.now.getTime() - since.getTime() >= END_SLO_MS) {
      await moves.byItself((db) =>
        moves.record(db, {
          grant,
          event: 'stuck',
          to: 'ending_stuck',
          who: 'system',
          actor: null,
          set: { stuckSince: grant.now, nextActionAt: nextLook({ ...grant, state: 'ending_stuck' }) },
          // Somebody may still be in where it is open; else it is the account that cannot be removed or proved gone.
          detail: { leases: unproved, leases_open: open },
        }),
      )
    }
  }

  return {
    async begin(db, { grant, event, who, actor, reason, set = {}, detail = {} }) {
      const leaving = {
        ...grant,
        state: 'ending',
        detail: { ...grant.detail, ending_since: grant.now.toISOString() },
      }
      const lookAt = nextLook(leaving)
      const moved = await moves.record(db, {
        grant,
        event,
        to: 'ending',
        who,
        actor,
        set: {
          ...neverGiven(grant),
          ...set,
          endReason: reason,
          detail: leaving.detail,
          nextActionAt: lookAt,
        },
        detail: { ...detail, reason },
      })
      if (!moved) return undefined
      const pending = await findPendingExtension(db, grant.id)
      if (pending) await decideExtension(db, pending, 'expired')
      // A statement of its own, after the row has moved: whoever was issuing under the grant has committed by now.
      const doomed = await doom(db, { grantId: grant.id }, 'grant_ended')
      const targetIds = new Set(doomed.map(({ targetId }) => targetId))
      return {
        grant: moved,
        wakeTargets() {
          for (const targetId of targetIds) parts.wake(targetId)
          parts.wakeLook(lookAt, grant.now)
        },
      }
    },
    async carryOut(grantId) {
      await within(parts.ender.endNow({ grantId }, 'grant_ended'), PATIENCE_MS)
      await settle(grantId)
    },
    settle,
  }
}

/** Of access that ends while it is still being made: nobody has had it, so nobody has to ratify it. */
const neverGiven = ({ state, ratification }: Grant): GrantPatch =>
  state === 'activating' && ratification === 'due' ? { ratification: 'none' } : {}

/** Rows 17, 30 and 32. Of a lane without review that is all; else somebody has to look at it. */
async function provedGone({ ledger, moves, wakeLook }: EndingParts, grant: Grant): Promise<void> {
  const { spec } = await pinnedPolicy(ledger, grant)
  const isReviewed = spec.review || grant.lane === 'sealed'
  const set: GrantPatch = {
    endedAt: grant.now,
    ...(isReviewed && reviewDeadlines(grant, spec)),
  }
  const to = isReviewed ? 'review_due' : 'closed_ok'
  const lookAt = nextLook({ ...grant, ...set, state: to })
  const stuckMs = grant.stuckSince ? grant.now.getTime() - grant.stuckSince.getTime() : 0
  const moved = await moves.byItself(async (db) => {
    const ended = await moves.record(db, {
      grant,
      event: 'proved_gone',
      to,
      who: 'system',
      actor: null,
      set: { ...set, nextActionAt: lookAt },
      detail: { reason: grant.endReason, ...(stuckMs > 0 && { stuck_seconds: Math.round(stuckMs / 1_000) }) },
    })
    if (ended?.forceRotation) await rotateAfter(db, ended)
    return ended
  })
  // Lost to somebody who noted something on it: the next look is soon.
  if (moved) wakeLook(lookAt, grant.now)
}

/** Asks for new passwords of whatever we rotate on the grant's targets: admins and static accounts. */
export const rotateAfter = (db: Db, grant: Pick<Grant, 'plan'>): Promise<number> =>
  requestRotations(
    db,
    planIn(grant).roles.map(({ target_id }) => target_id),
  )
