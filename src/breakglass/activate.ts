import { countGrantLeases, findGrantLeases } from '../ledger/grant-leases.ts'
import { findGrant, type Grant, lockGrant } from '../ledger/grants.ts'
import { BrokerError, messageOf } from '../lib/errors.ts'
import { within } from '../lib/pause.ts'
import { ACTION } from './access-actions.ts'
import type { AccessParts, Caller } from './access-parts.ts'
import { type Act, situationFor } from './actions.ts'
import { nextLook } from './clock.ts'
import { checkMayReceive, type Granted, issueAll, undo } from './credentials.ts'
import { deciding, won } from './deciding.ts'
import type { Endings } from './ending.ts'
import { stateRefusal } from './moves.ts'
import { evidenceOf, isOnCallVote } from './on-call-evidence.ts'
import { pinnedPolicy } from './pinned.ts'
import { planStands } from './plan-stands.ts'
import { applyLapse, lapseRefusal, recheck, standingVotes } from './standing.ts'
import { after } from './waiting.ts'

export type Activation = {
  /**
   * Rows 15 to 18: everything is looked at once more, then each role's lease is made, and only when all are there is
   * the grant ACTIVE and anybody given a secret. Whatever fails on the way ends what was made before it answers.
   */
  activate(caller: Caller, ask: Omit<Act, 'actor'>): Promise<Granted[]>
  /** Of an activation that has not come to an end in its time: whoever was at it is gone. */
  giveUp(grantId: string): Promise<void>
}

/** Longer than any lease takes to be made, or to be found not to have been. */
const ACTIVATING_MS = 60_000
const PATIENCE_MS = 10_000

export function createActivation(parts: AccessParts & { endings: Endings }): Activation {
  const { ledger, endings } = parts

  const compensate = async (grantId: string): Promise<void> => {
    // Should any of this fail, the grant's deadline passes and the same is done by a worker.
    try {
      await within(parts.ender.endNow({ grantId }, 'issue_failed'), PATIENCE_MS)
      await giveUp(parts, grantId)
      await endings.settle(grantId)
    } catch (error) {
      parts.log.warn({ grantId, error: messageOf(error) }, 'an activation that failed is cleared up later')
    }
  }

  return {
    giveUp: (grantId) => giveUp(parts, grantId),
    async activate(caller, ask) {
      const before = await situationFor(ledger, { ...ask, actor: caller.actor }, ACTION.activate)
      await checkMayReceive(parts, caller, before)
      const refusal = await parts.onCall.renew(before.grant)
      if (refusal) throw refusal
      const activating = await begin(parts, caller, ask)
      const until = after(activating.now, activating.durationSeconds)
      let credentials: Granted[]
      let active: Grant | undefined
      try {
        credentials = await issueAll(parts, caller, activating, until)
        caller.onUndelivered(() => undo(parts, credentials))
        await checkRoles(parts, activating, credentials)
        active = await becomeActive(parts, activating)
      } catch (error) {
        await compensate(ask.grantId)
        throw error
      }
      if (active?.state === 'active') return credentials
      // Taken elsewhere meanwhile: whoever did that has made everything due.
      await endings.carryOut(ask.grantId)
      throw stateRefusal((await findGrant(ledger, ask.grantId)) ?? activating)
    },
  }
}

/** Row 17. What may still be on a target is ended first; the grant has failed when that is proved. */
async function giveUp(
  { moves, endings }: AccessParts & { endings: Endings },
  grantId: string,
): Promise<void> {
  const failed = { event: 'activation_failed', who: 'system', actor: null } as const
  const begun = await moves.byItself(async (db) => {
    const grant = await lockGrant(db, grantId)
    if (grant?.state !== 'activating') return undefined
    // Under the lock nobody issues: what is there now is all there will be.
    const { unproved } = await countGrantLeases(db, grantId)
    if (unproved > 0) return endings.begin(db, { ...failed, grant, reason: 'activation_failed' })
    const set = { endReason: 'activation_failed', endedAt: grant.now }
    await moves.record(db, { ...failed, grant, to: 'activation_failed', set })
    return undefined
  })
  begun?.wakeTargets()
}

/**
 * Row 15. From its commit on leases may be made under the grant, and only until it is taken elsewhere. What people have
 * approved no longer stands where anything has come between: then the grant goes where that leads.
 */
async function begin(parts: AccessParts, { actor }: Caller, ask: Omit<Act, 'actor'>): Promise<Grant> {
  const { moved, refusal } = await deciding(parts.ledger, async (db) => {
    const { grant, policy, votes } = await situationFor(db, { ...ask, actor }, ACTION.activate)
    const lapse = await recheck(db, { grant, policy, votes })
    if (lapse) {
      const moved = won(await applyLapse(db, parts.moves, { grant, policy }, lapse))
      return { moved, refusal: lapseRefusal(lapse, moved) }
    }
    const nextActionAt = new Date(grant.now.getTime() + ACTIVATING_MS)
    // Renewed since the vote was cast: here is what it said when it counted.
    const onCall = standingVotes({ grant, votes }).find(isOnCallVote)
    const moved = won(
      await parts.moves.record(db, {
        grant,
        event: 'activate',
        to: 'activating',
        who: 'requester',
        actor,
        set: { nextActionAt, detail: { ...grant.detail, activating_until: nextActionAt.toISOString() } },
        detail: { ...(onCall && { evidence: evidenceOf(onCall) }) },
      }),
    )
    return { moved, refusal: undefined }
  })
  if (refusal) throw refusal
  parts.wakeLook(moved.nextActionAt, moved.now)
  return moved
}

/** Row 16; undefined when the grant has been taken elsewhere. Its time begins here. */
async function becomeActive(
  { ledger, moves, wakeLook }: AccessParts,
  { id }: Grant,
): Promise<Grant | undefined> {
  const byItself = { ...ledger, transaction: moves.byItself }
  const active = await deciding(byItself, async (db) => {
    const grant = await findGrant(db, id)
    if (grant?.state !== 'activating') return undefined
    const { spec } = await pinnedPolicy(db, grant)
    const set = {
      startedAt: grant.now,
      expiresAt: after(grant.now, grant.durationSeconds),
      ...(grant.ratification === 'due' && { ratifyBy: after(grant.now, spec.ratify_within) }),
    }
    return won(
      await moves.record(db, {
        grant,
        event: 'activated',
        to: 'active',
        who: 'system',
        actor: null,
        set: { ...set, nextActionAt: nextLook({ ...grant, ...set, state: 'active' }) },
        detail: { expires_at: set.expiresAt.toISOString() },
      }),
    )
  })
  if (active) wakeLook(active.nextActionAt, active.now)
  return active
}

/** What people approved is a version of each role on a target; what was written meanwhile is something else. */
export async function checkRoles(
  { ledger }: Pick<AccessParts, 'ledger'>,
  { id }: Pick<Grant, 'id'>,
  made: readonly Granted[],
): Promise<void> {
  const approved = new Map(made.map(({ role, issued }) => [issued.leaseId, role.role_id]))
  const leases = (await findGrantLeases(ledger, id)).filter(({ leaseId }) => approved.has(leaseId))
  const other = leases.find(({ leaseId, roleId }) => approved.get(leaseId) !== roleId)
  if (other) throw new BrokerError('conflict', `the role at ${other.path} has changed since it was approved`)
  const roles = made.map(({ role }) => role)
  if (!(await planStands(ledger, roles)))
    throw new BrokerError('conflict', 'a target has changed since it was approved')
}
