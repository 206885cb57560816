/** What a grant may be in, what may happen to it, and who may make that happen: the whole machine, as data. */

export const GRANT_STATES = [
  'pending',
  'approved',
  'activating',
  'active',
  'suspended',
  'ending',
  'ending_stuck',
  'review_due',
  'review_overdue',
  'denied',
  'cancelled',
  'expired',
  'voided',
  'activation_failed',
  'closed_ok',
  'closed_flagged',
] as const

export type GrantState = (typeof GRANT_STATES)[number]

/** Nothing leaves them, but that a closed review may be opened again. */
export const TERMINAL: ReadonlySet<GrantState> = new Set([
  'denied',
  'cancelled',
  'expired',
  'voided',
  'activation_failed',
  'closed_ok',
  'closed_flagged',
])

/** Those in which there may be a credential, of which the whole point is that nowhere else there is one. */
export const HAS_ACCESS: ReadonlySet<GrantState> = new Set([
  'activating',
  'active',
  'suspended',
  'ending',
  'ending_stuck',
])

export type Lane = 'standard' | 'break_glass' | 'sealed' | 'drill'

/**
 * As what somebody acts: requester, approver, witness, target owner, security officer, reviewer, the incident system,
 * our own timers and workers, and what is learnt of identities.
 */
export type Capacity =
  | 'requester'
  | 'approver'
  | 'witness'
  | 'owner'
  | 'officer'
  | 'reviewer'
  | 'incident'
  | 'system'
  | 'identity'

/** `same`: the state stays, and the event is on record all the same. */
type Transition = {
  /** The row of the specification; a letter after it stands for a step on the way that the table leaves out. */
  row: string
  /** `null`: there was no grant before. */
  from: readonly (GrantState | null)[]
  event: GrantEvent
  to: GrantState | 'same'
  who: readonly Capacity[]
  /** Absent: every lane. */
  lanes?: readonly Lane[]
}

const ACCESS = ['active', 'suspended'] as const
const ENDINGS = ['ending', 'ending_stuck'] as const
const REVIEWS = ['review_due', 'review_overdue'] as const

/** Each row: number, from, event, to, who, lanes. */
const ROWS = [
  ['1', [null], 'submit', 'pending', ['requester'], ['standard', 'break_glass', 'drill']],
  ['2', [null], 'submit', 'approved', ['requester'], ['standard', 'drill']],
  ['3', [null], 'submit_sealed', 'pending', ['requester'], ['sealed']],
  // The policy lets one person do it alone.
  ['3a', [null], 'submit_sealed', 'approved', ['requester'], ['sealed']],
  ['4', ['pending'], 'approve', 'pending', ['approver'], ['standard', 'break_glass', 'drill']],
  ['5', ['pending'], 'approve', 'approved', ['approver'], ['standard', 'break_glass', 'drill']],
  // The requester is on call for an open incident, by the word of the incident system.
  ['4a', ['pending'], 'on_call_vote', 'pending', ['incident'], ['standard', 'break_glass']],
  ['5a', ['pending'], 'on_call_vote', 'approved', ['incident'], ['standard', 'break_glass']],
  ['6', ['pending'], 'witness', 'approved', ['witness'], ['sealed']],
  ['7', ['pending'], 'narrow', 'pending', ['approver'], ['standard', 'break_glass', 'drill']],
  ['7', ['pending'], 'narrow', 'approved', ['approver'], ['standard', 'break_glass', 'drill']],
  ['8', ['pending'], 'deny', 'denied', ['approver', 'officer']],
  // Where it takes more than one to deny.
  ['8a', ['pending'], 'deny', 'pending', ['approver', 'officer']],
  ['9', ['pending'], 'cancel', 'cancelled', ['requester']],
  ['10', ['pending'], 'expire', 'expired', ['system']],
  ['10a', ['pending'], 'escalate', 'same', ['system']],
  ['11', ['pending', 'approved'], 'void', 'voided', ['system', 'identity', 'incident', 'officer']],
  ['12', ['approved'], 'withdraw', 'pending', ['approver']],
  ['12', ['approved'], 'lose_vote', 'pending', ['identity', 'system']],
  ['12a', ['pending'], 'withdraw', 'same', ['approver']],
  ['12a', ['pending'], 'lose_vote', 'same', ['identity', 'system']],
  // More have approved than had to, and one takes it back.
  ['12b', ['approved'], 'withdraw', 'same', ['approver']],
  ['12b', ['approved'], 'lose_vote', 'same', ['identity', 'system']],
  ['13', ['approved'], 'cancel', 'cancelled', ['requester']],
  ['14', ['approved'], 'expire', 'expired', ['system']],
  ['15', ['approved'], 'activate', 'activating', ['requester']],
  ['16', ['activating'], 'activated', 'active', ['system']],
  ['16a', ['active'], 'collect', 'same', ['requester']],
  ['17', ['activating'], 'activation_failed', 'activation_failed', ['system']],
  ['17', ['activating'], 'activation_failed', 'ending', ['system']],
  ['18', ['activating'], 'cancel', 'ending', ['requester']],
  ['18', ['activating'], 'revoke', 'ending', ['approver', 'officer', 'owner']],
  ['18', ['activating'], 'requester_disabled', 'ending', ['identity']],
  ['19', ['active'], 'ask_extension', 'same', ['requester']],
  ['20', ['active'], 'extend', 'same', ['approver']],
  ['20a', ['active'], 'approve_extension', 'same', ['approver']],
  ['21', ['active'], 'deny_extension', 'same', ['approver']],
  ['21', ['active'], 'expire_extension', 'same', ['system']],
  ['22', ['active'], 'suspend', 'suspended', ['officer', 'owner', 'system']],
  ['23', ['suspended'], 'resume', 'active', ['officer', 'owner']],
  ['23a', ['suspended'], 'ask_resume', 'same', ['officer', 'owner']],
  ['24', ACCESS, 'return', 'ending', ['requester']],
  ['25', ACCESS, 'revoke', 'ending', ['approver', 'officer', 'owner']],
  ['26', ACCESS, 'expire', 'ending', ['system']],
  ['26a', ACCESS, 'ending_soon', 'same', ['system']],
  ['27', ACCESS, 'incident_closed', 'ending', ['incident', 'system', 'officer']],
  // Within the grace the end comes nearer, and is not there yet.
  ['27a', ACCESS, 'incident_closed', 'same', ['incident', 'officer']],
  ['27', ACCESS, 'requester_disabled', 'ending', ['identity']],
  ['27', ACCESS, 'target_retired', 'ending', ['system']],
  ['28', ['active'], 'refuse_ratification', 'ending', ['approver'], ['sealed']],
  ['28', ['active'], 'ratification_overdue', 'ending', ['system'], ['sealed']],
  ['28a', [...ACCESS, ...ENDINGS, ...REVIEWS], 'ratify', 'same', ['approver'], ['sealed']],
  ['28a', ['suspended', ...ENDINGS, ...REVIEWS], 'refuse_ratification', 'same', ['approver'], ['sealed']],
  // While access is ending nobody looks at that time: it is seen right after.
  ['28a', ['suspended', ...REVIEWS], 'ratification_overdue', 'same', ['system'], ['sealed']],
  ['29', ['active'], 'foreign_change', 'ending', ['system']],
  ['30', ['ending'], 'proved_gone', 'review_due', ['system']],
  ['30', ['ending'], 'proved_gone', 'closed_ok', ['system']],
  ['31', ['ending'], 'stuck', 'ending_stuck', ['system']],
  ['32', ['ending_stuck'], 'proved_gone', 'review_due', ['system']],
  ['32', ['ending_stuck'], 'proved_gone', 'closed_ok', ['system']],
  ['33', ['ending_stuck'], 'abandon', 'review_due', ['officer', 'owner']],
  ['33a', ['ending_stuck'], 'ask_abandon', 'same', ['officer', 'owner']],
  ['34', REVIEWS, 'review_ok', 'closed_ok', ['reviewer']],
  ['35', REVIEWS, 'review_flagged', 'closed_flagged', ['reviewer']],
  ['34a', ['review_due'], 'review_reminder', 'same', ['system']],
  ['36', ['review_due'], 'review_overdue', 'review_overdue', ['system']],
  ['37', ['closed_ok'], 'reopen', 'review_due', ['officer']],
] as const

export type GrantEvent = (typeof ROWS)[number][2]

export const TRANSITIONS: readonly Transition[] = ROWS.map(([row, from, event, to, who, lanes]) => ({
  row,
  from,
  event,
  to,
  who,
  ...(lanes && { lanes }),
}))

export const GRANT_EVENTS: readonly GrantEvent[] = [...new Set(TRANSITIONS.map(({ event }) => event))]

export type Move = {
  from: GrantState | null
  event: GrantEvent
  to: GrantState
  who: Capacity
  lane: Lane
}

/** The row that allows a move; undefined is a refusal, since nothing is allowed that has none. */
export const rowOf = ({ from, event, to, who, lane }: Move): Transition | undefined =>
  TRANSITIONS.find(
    (row) =>
      row.event === event &&
      row.from.includes(from) &&
      (row.to === 'same' ? to === from : row.to === to) &&
      row.who.includes(who) &&
      (row.lanes?.includes(lane) ?? true),
  )

/** Where an event may lead from a state, whoever makes it happen; empty when it cannot happen there. */
export const next = (from: GrantState | null, event: GrantEvent, lane: Lane): GrantState[] => [
  ...new Set(
    TRANSITIONS.filter(
      (row) => row.event === event && row.from.includes(from) && (row.lanes?.includes(lane) ?? true),
    )
      .map(({ to }) => (to === 'same' ? from : to))
      .filter((to) => to !== null),
  ),
]
