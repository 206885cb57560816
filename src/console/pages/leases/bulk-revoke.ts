import { targetName } from '../../target-name.ts'
import type { LeaseRow } from './lease.ts'

/** As many as the API ends in one request. */
export const MOST_AT_ONCE = 500

export type RevokeOutcome = {
  id: string
  lease_id: string | null
  outcome: 'started' | 'already_ended' | 'unknown' | 'denied'
}

/** How far one lease has come that was told to end. */
export type Fate = 'ending' | 'access_ended' | 'ended' | 'stuck' | 'unknown' | 'denied'

export type Followed = { leaseId: string; fate: Fate; error: string }

/** What is to be typed before leases are ended: it names how many, so that a slip of the hand ends nothing. */
export const confirmationFor = (count: number): string => `revoke ${count}`

/** Which targets the chosen leases are on, most leases first. */
export function byTarget(
  rows: readonly Pick<LeaseRow, 'target' | 'engine' | 'path'>[],
): { target: string; count: number }[] {
  const counts = new Map<string, number>()
  for (const row of rows) counts.set(targetName(row), (counts.get(targetName(row)) ?? 0) + 1)
  return [...counts]
    .map(([target, count]) => ({ target, count }))
    .sort((a, b) => b.count - a.count || a.target.localeCompare(b.target))
}

/** What the API's answer begins with. */
export const begun = (outcomes: readonly RevokeOutcome[]): Followed[] =>
  outcomes.map(({ id, lease_id, outcome }) => ({
    leaseId: lease_id ?? id,
    fate: FIRST_FATES[outcome],
    error: '',
  }))

const FIRST_FATES: Record<RevokeOutcome['outcome'], Fate> = {
  started: 'ending',
  already_ended: 'ended',
  unknown: 'unknown',
  denied: 'denied',
}

/** With what has been seen of those leases since. What is not among the rows stays as it was. */
export function followedUp(followed: readonly Followed[], rows: readonly LeaseRow[]): Followed[] {
  const seen = new Map(rows.map((row) => [row.lease_id, row]))
  return followed.map((one) => {
    const row = seen.get(one.leaseId)
    return row && isOpen(one.fate) ? { ...one, fate: fateOf(row), error: row.last_error } : one
  })
}

function fateOf(row: LeaseRow): Fate {
  if (row.state === 'revoked') return 'ended'
  if (row.stuck) return 'stuck'
  return row.access_ended_at ? 'access_ended' : 'ending'
}

/** Whether it may still change by itself. */
export const isOpen = (fate: Fate): boolean => ['ending', 'access_ended', 'stuck'].includes(fate)

export function countsOf(followed: readonly Followed[]): Record<Fate, number> {
  const counts = { ending: 0, access_ended: 0, ended: 0, stuck: 0, unknown: 0, denied: 0 }
  for (const { fate } of followed) counts[fate] += 1
  return counts
}

const FATES: Record<Fate, string> = {
  ended: 'ended',
  access_ended: 'access over, removal being proved',
  ending: 'still ending',
  stuck: 'stuck, and tried again for ever',
  unknown: 'not found',
  denied: 'not allowed',
}

export const fateWords = (fate: Fate): string => FATES[fate]

/** The progress as a sentence: read out as it changes, so it says only what is not zero. */
export function progressWords(followed: readonly Followed[]): string {
  const counts = countsOf(followed)
  const said = (Object.keys(FATES) as Fate[])
    .filter((fate) => counts[fate] > 0)
    .map((fate) => `${counts[fate]} ${fateWords(fate)}`)
  return `Of ${followed.length}: ${said.join('; ')}.`
}
