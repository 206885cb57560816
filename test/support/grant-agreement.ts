import { expect } from 'vitest'
import { ACCESS, ENDINGS, type Model, REVIEWS, WAITING } from './grant-model.ts'
import { type EventRow, eventsSince, type GrantRecord, standing } from './grant-record.ts'
import type { Heard } from './grant-world.ts'

/** Whether the ledger has what the model expects, beyond the state; and whether somebody was woken for it. */
export function agrees(model: Model, record: GrantRecord, told: string): void {
  const { grant, extensions } = record
  const { state } = model
  const seconds = (at: Date | null) => at && (at.getTime() - grant.requestedAt.getTime()) / 1_000
  const names = (...decisions: string[]) =>
    standing(record, 0, ...decisions)
      .map(({ voter }) => voter.display_name)
      .sort()
  const isIn = (...states: string[]) => states.includes(state)
  const found: Record<string, unknown> = {
    duration: grant.durationSeconds,
    ratification: grant.ratification,
    rotate: grant.forceRotation,
    pendingBy: seconds(grant.pendingExpiresAt),
    extension: extensions.some((one) => one.state === 'pending'),
    ...(isIn(...WAITING, 'activating', ...ACCESS) && { yes: names('approve', 'witness') }),
    ...(isIn(...WAITING) && { no: names('deny') }),
    ...(isIn('approved') && { activateBy: seconds(grant.activateBy) }),
    ...(isIn(...ACCESS) && { startedAt: seconds(grant.startedAt), endsAt: seconds(grant.expiresAt) }),
    ...(isIn('suspended') && { resume: names('resume') }),
    ...(isIn('ending_stuck') && { abandon: names('abandon') }),
    ...(isIn(...REVIEWS) && {
      reviewDue: seconds(grant.reviewDueAt),
      reviewOverdue: seconds(grant.reviewOverdueAt),
    }),
  }
  const { extension, yes, no, resume, abandon } = model
  const expected: Record<string, unknown> = {
    ...model,
    extension: extension !== undefined,
    ...{ yes: [...yes].sort(), no: [...no].sort(), resume: [...resume].sort(), abandon: [...abandon].sort() },
  }
  expect(found, told).toEqual(Object.fromEntries(Object.keys(found).map((name) => [name, expected[name]])))
}

/** After these somebody has to look at a time that nobody knew of before. */
const SET_A_TIME = [
  ...['activate', 'activated', 'ask_extension', 'extend', 'incident_closed', 'proved_gone', 'abandon'],
  ...['expire', 'foreign_change', 'target_retired', 'ratification_overdue'],
]
/** By these leases are made due that nobody who asked waits for. */
const END_LEASES = ['expire', 'incident_closed', 'foreign_change', 'target_retired', 'ratification_overdue']
const END_AT_ONCE = ['suspend', 'collect']

/** Who set a time asked for a look at it, and who made leases due for one at their target: not only the sweep knows. */
export function wasHeard(heard: Heard, record: GrantRecord, before: GrantRecord, told: string): void {
  const since = eventsSince(record, before)
  const { nextActionAt } = record.grant
  // A time that was the next before was asked for then.
  const isNew = nextActionAt?.getTime() !== before.grant.nextActionAt?.getTime()
  if (nextActionAt && isNew && SET_A_TIME.includes(since.at(-1) ?? '')) {
    expect(heard.looks, `looks asked for: ${told}`).toContain(nextActionAt.getTime())
  }
  const isEnding = ENDINGS.includes(record.grant.state) && record.events.some(endedByItself(before))
  const isAtOnce = since.some((event) => END_AT_ONCE.includes(event))
  const due = [
    ...(isEnding ? record.leases.filter(({ state }) => state === 'revoking') : []),
    ...(isAtOnce ? before.leases.filter(({ state }) => state !== 'revoked') : []),
  ]
  for (const { targetId } of due) expect(heard.targets, `targets woken: ${told}`).toContain(targetId)
}

const endedByItself =
  ({ grant }: GrantRecord) =>
  ({ number, event, who }: EventRow): boolean =>
    number > grant.version && who === 'system' && END_LEASES.includes(event)
