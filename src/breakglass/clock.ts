import type { Grant } from '../ledger/grants.ts'
import type { PolicySpec } from './policies.ts'
import type { GrantState } from './states.ts'
import { after } from './waiting.ts'

/** When somebody has to look at a grant again: a function of its row alone, so that whoever moves it can say. */

/** What a row keeps of times besides its columns, in `detail`: RFC 3339. */
export type Times = {
  /** The server that activates it is given up by then. */
  activating_until?: string
  /** Since when it is being ended. */
  ending_since?: string
  /** The incident is over, and the access with it by then. */
  incident_closes_at?: string
  /** Nobody has decided about more time by then. */
  extension_expires_at?: string
  /** For which end its requester was told that it is near. */
  told_of_end?: string
  /** Somebody was told that the review is due. */
  told_of_review?: string
}

export const timesOf = ({ detail }: Pick<Grant, 'detail'>): Times => detail as Times

/** Told so long before the end. */
const NOTICE_MS = 5 * 60_000
/** An end that is not proved after this is stuck. */
export const END_SLO_MS = 60_000
const CHECK_FIRST_MS = 500
const CHECK_LAST_MS = 15_000

type Timed = Pick<
  Grant,
  | 'state'
  | 'expiresAt'
  | 'startedAt'
  | 'ratification'
  | 'ratifyBy'
  | 'reviewDueAt'
  | 'reviewOverdueAt'
  | 'detail'
  | 'now'
>

/** Null: nothing happens by itself any more. Of what waits for votes, others say when. */
export function nextLook(grant: Timed): Date | null {
  const times = timesOf(grant)
  switch (grant.state as GrantState) {
    case 'activating':
      return dated(times.activating_until) ?? grant.now
    case 'active':
    case 'suspended':
      return earliest([
        grant.expiresAt,
        dated(times.incident_closes_at),
        grant.state === 'active' ? dated(times.extension_expires_at) : null,
        ratifyBy(grant),
        noticeAt(grant),
      ])
    case 'ending':
    case 'ending_stuck':
      return nextCheck(grant)
    case 'review_due':
      return earliest([
        times.told_of_review === undefined ? grant.reviewDueAt : null,
        grant.reviewOverdueAt,
        ratifyBy(grant),
      ])
    case 'review_overdue':
      return ratifyBy(grant)
    default:
      return null
  }
}

/** When to say that the end is near; null where it was said, or where the whole access is no longer than the notice. */
export function noticeAt({
  expiresAt,
  startedAt,
  detail,
}: Pick<Timed, 'expiresAt' | 'startedAt' | 'detail'>) {
  if (!expiresAt || timesOf({ detail }).told_of_end === expiresAt.toISOString()) return null
  const at = new Date(expiresAt.getTime() - NOTICE_MS)
  return startedAt && at <= startedAt ? null : at
}

const ratifyBy = ({ ratification, ratifyBy }: Timed): Date | null =>
  ratification === 'due' ? ratifyBy : null

/** From when it has ended on: until when somebody has to have looked at it. */
export const reviewDeadlines = (
  { now }: Pick<Grant, 'now'>,
  { review_due, review_overdue }: Pick<PolicySpec, 'review_due' | 'review_overdue'>,
): Pick<Grant, 'reviewDueAt' | 'reviewOverdueAt'> => ({
  reviewDueAt: after(now, review_due),
  reviewOverdueAt: after(now, review_overdue),
})

/** About as long again as it has taken so far. */
function nextCheck(grant: Timed): Date {
  const tookMs = grant.now.getTime() - (dated(timesOf(grant).ending_since) ?? grant.now).getTime()
  return new Date(grant.now.getTime() + Math.min(CHECK_LAST_MS, Math.max(CHECK_FIRST_MS, tookMs / 2)))
}

export const dated = (text: string | undefined): Date | null => (text === undefined ? null : new Date(text))

const earliest = (dates: readonly (Date | null)[]): Date | null =>
  dates.reduce((least, date) => (date && (!least || date < least) ? date : least), null)
