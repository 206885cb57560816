import type { Ledger } from '../ledger/db.ts'
import {
  type ClaimedGrant,
  claimDueGrants,
  findChangedOutside,
  findRetired,
  keepGrantClaim,
  releaseGrant,
} from '../ledger/grant-timers.ts'
import { findGrant, type Grant } from '../ledger/grants.ts'
import { backoffMs } from '../lib/backoff.ts'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { dated, nextLook, noticeAt, timesOf } from './clock.ts'
import type { Endings, GrantEnding } from './ending.ts'
import type { LookAtWaiting } from './look.ts'
import type { Moves } from './moves.ts'
import type { GrantState } from './states.ts'

/** What happens to grants by itself: their deadlines, and what has become of them elsewhere. */
export type Due = {
  /** Looks at everything due, in batches until nothing is; calls share one run. */
  drain(): Promise<void>
  /** The same, and what no time of a grant's tells: accounts changed from outside, targets gone. */
  sweep(): Promise<void>
  /** Lets what is in hand finish and begins no more. */
  stop(): Promise<void>
}

/** As wake-ups for grants are known in the queue: no target has it. */
export const GRANTS_WAKEUP = 'grants'

export type DueParts = {
  ledger: Ledger
  moves: Moves
  endings: Endings
  lookAtWaiting: LookAtWaiting
  giveUpActivation(grantId: string): Promise<void>
  expireExtension(grant: Grant): Promise<void>
  ratificationOverdue(grant: Grant): Promise<void>
  wakeLook: (at: Date | null, now: Date) => void
  worker: string
  log: Logger
}

const BATCH = 50
const SIGN_OF_LIFE_MS = 5_000
const ERROR_TEXT_LIMIT = 500

export function createDue(parts: DueParts): Due {
  const { ledger, log } = parts
  let running: Promise<void> | undefined
  let again = false
  let stopping = false

  const run = async (): Promise<void> => {
    do {
      again = false
      while (!stopping) {
        const claimed = await claimDueGrants(ledger, parts.worker, BATCH)
        if (claimed.length === 0) break
        await Promise.all(claimed.map((claim) => lookAt(parts, claim)))
      }
    } while (again && !stopping)
  }

  const drain = (): Promise<void> => {
    again = true
    running ??= run().finally(() => {
      running = undefined
    })
    return running
  }

  return {
    drain,
    async sweep() {
      await endWhatChanged(parts)
      await drain()
    },
    async stop() {
      stopping = true
      await running?.catch((error) =>
        log.warn({ error: messageOf(error) }, 'looking after grants stopped half-way; others go on'),
      )
    },
  }
}

/** Does what is due, and gives the grant back with when to look again; what fails is tried again, ever more rarely. */
async function lookAt(parts: DueParts, claim: ClaimedGrant): Promise<void> {
  const { ledger, log } = parts
  const signs = setInterval(() => {
    keepGrantClaim(ledger, claim).catch(() => {}) // one that does not arrive is made up for by the next
  }, SIGN_OF_LIFE_MS)
  try {
    const waitsUntil = await actOn(parts, claim.id)
    const grant = await findGrant(ledger, claim.id)
    if (!grant) return
    const at = waitsUntil === undefined ? nextLook(grant) : waitsUntil
    await releaseGrant(ledger, claim, { at, version: grant.version, error: null })
    parts.wakeLook(at, grant.now)
  } catch (error) {
    const text = messageOf(error).slice(0, ERROR_TEXT_LIMIT)
    log.warn({ grantId: claim.id, error: text }, 'looking after a grant failed; it will be tried again')
    await releaseGrant(ledger, claim, { retryMs: backoffMs(claim.attempts + 1), error: text }).catch(() => {})
  } finally {
    clearInterval(signs)
  }
}

/** Of a grant that waits for people, when to look again; undefined where its row tells. */
async function actOn(parts: DueParts, id: string): Promise<Date | null | undefined> {
  const grant = await findGrant(parts.ledger, id)
  switch (grant?.state as GrantState | undefined) {
    case 'pending':
    case 'approved':
      return parts.lookAtWaiting(id)
    case 'activating':
      if (grant && isPast(dated(timesOf(grant).activating_until) ?? grant.now, grant))
        await parts.giveUpActivation(id)
      return undefined
    case 'active':
    case 'suspended':
      if (grant) await inForce(parts, grant)
      return undefined
    case 'ending':
    case 'ending_stuck':
      await parts.endings.settle(id)
      return undefined
    case 'review_due':
    case 'review_overdue':
      if (grant) await afterwards(parts, grant)
      return undefined
    default:
      return undefined
  }
}

const isPast = (at: Date | null, { now }: Pick<Grant, 'now'>): boolean => at !== null && at <= now

/** One thing at a time: each moves the grant, and what else is due is seen at the next look, which is at once. */
async function inForce(parts: DueParts, grant: Grant): Promise<void> {
  const times = timesOf(grant)
  if (isPast(grant.expiresAt, grant)) return end(parts, { grant, event: 'expire', reason: 'expired' })
  if (isPast(dated(times.incident_closes_at), grant)) {
    return end(parts, { grant, event: 'incident_closed', reason: 'incident_closed' })
  }
  if (grant.ratification === 'due' && isPast(grant.ratifyBy, grant)) return parts.ratificationOverdue(grant)
  if (grant.state === 'active' && isPast(dated(times.extension_expires_at), grant)) {
    return parts.expireExtension(grant)
  }
  if (grant.expiresAt && isPast(noticeAt(grant), grant)) {
    return note(parts, grant, 'ending_soon', { told_of_end: grant.expiresAt.toISOString() })
  }
}

async function afterwards(parts: DueParts, grant: Grant): Promise<void> {
  if (grant.ratification === 'due' && isPast(grant.ratifyBy, grant)) return parts.ratificationOverdue(grant)
  if (grant.state !== 'review_due') return
  if (isPast(grant.reviewOverdueAt, grant)) {
    await parts.moves.byItself((db) =>
      parts.moves.record(db, {
        grant,
        event: 'review_overdue',
        to: 'review_overdue',
        who: 'system',
        actor: null,
        set: { nextActionAt: nextLook({ ...grant, state: 'review_overdue' }) },
      }),
    )
  } else if (isPast(grant.reviewDueAt, grant) && timesOf(grant).told_of_review === undefined) {
    await note(parts, grant, 'review_reminder', { told_of_review: grant.now.toISOString() })
  }
}

/** Tells people of a time that has come, and that they were told. */
async function note(
  { moves }: DueParts,
  grant: Grant,
  event: 'ending_soon' | 'review_reminder',
  told: Record<string, string>,
): Promise<void> {
  const detail = { ...grant.detail, ...told }
  const to = grant.state as 'active' | 'suspended' | 'review_due'
  const set = { detail, nextActionAt: nextLook({ ...grant, detail }) }
  await moves.byItself((db) => moves.record(db, { grant, event, to, who: 'system', actor: null, set }))
}

async function end({ moves, endings }: DueParts, ending: Omit<GrantEnding, 'who' | 'actor'>): Promise<void> {
  const begun = await moves.byItself((db) => endings.begin(db, { ...ending, who: 'system', actor: null }))
  begun?.wakeTargets()
}

/** Rows 27 and 29: what is learnt of targets, and not of any deadline. */
async function endWhatChanged(parts: DueParts): Promise<void> {
  const { ledger } = parts
  for (const { id, leaseId, found } of await findChangedOutside(ledger)) {
    const grant = await findGrant(ledger, id)
    if (grant?.state !== 'active') continue
    const detail = { lease_id: leaseId, found }
    await end(parts, { grant, event: 'foreign_change', reason: 'externally_modified', detail })
  }
  for (const { id, target } of await findRetired(ledger)) {
    const grant = await findGrant(ledger, id)
    if (grant?.state !== 'active' && grant?.state !== 'suspended') continue
    await end(parts, { grant, event: 'target_retired', reason: 'target_retired', detail: { target } })
  }
}
