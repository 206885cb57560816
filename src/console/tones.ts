const TONES: Readonly<Record<string, string>> = {
  pending: 'yellow',
  due: 'yellow',
  issuing: 'yellow',
  unverified: 'yellow',
  review_due: 'yellow',
  approved: 'blue',
  activating: 'blue',
  active: 'green',
  verified: 'green',
  ratified: 'green',
  closed_ok: 'gray',
  revoking: 'orange',
  ending: 'orange',
  suspended: 'orange',
  stuck: 'red',
  ending_stuck: 'red',
  review_overdue: 'red',
  overdue: 'red',
  refused: 'red',
  denied: 'red',
  closed_flagged: 'red',
  activation_failed: 'red',
  failed: 'red',
}

/** The theme's colour for a state of a request, a lease, a ticket: gray for what is over and asks for nothing. */
export const toneOf = (state: string): string => TONES[state] ?? 'gray'
