import type { Grant, ShortGrant } from '../../grant-types.ts'

/** What a reviewer has to have looked at, by the names of the API. */
export const CHECKS = {
  actions_match_reason: 'What was done matches the reason that was given',
  ticket_true: 'The ticket is true, and this is what it was about',
  data_touched: 'I looked at which data was touched',
  follow_up: 'Follow-up is arranged, or none is needed',
} as const
export type Check = keyof typeof CHECKS

export type ReviewForm = {
  checks: Record<Check, boolean>
  rotate: boolean
  /** Where the incident system gave no answer when it was asked: the reviewer looked by hand. */
  ticketVerified: boolean
  outcome: 'ok' | 'flagged' | ''
  finding: string
  caseId: string
}

export const emptyForm = (): ReviewForm => ({
  checks: { actions_match_reason: false, ticket_true: false, data_touched: false, follow_up: false },
  rotate: false,
  ticketVerified: false,
  outcome: '',
  finding: '',
  caseId: '',
})

export type ReviewProblems = Partial<
  Record<'checks' | 'ticketVerified' | 'rotate' | 'outcome' | 'finding' | 'caseId', string>
>

const MAX_TEXT = 2_000
const MAX_CASE = 200

/** What keeps a form from being signed, beside the field it is about; the broker decides in the end. */
export function problemsOf(
  form: ReviewForm,
  grant: Pick<ShortGrant, 'ticket_state' | 'force_rotation'> & { hasRead: boolean },
): ReviewProblems {
  const problems: ReviewProblems = {}
  const ok = form.outcome === 'ok'
  const flagged = form.outcome === 'flagged'
  if (form.outcome === '') problems.outcome = 'Say whether it was as it should be'
  if (ok && !grant.hasRead) {
    problems.checks = 'Open the log of the request first: it is above'
  } else if (ok && Object.values(form.checks).includes(false)) {
    problems.checks = 'All of it has to be so; if something is not, it is to be flagged'
  }
  if (ok && needsTicket(grant) && !form.ticketVerified) {
    problems.ticketVerified = 'The ticket was never verified: look it up, or flag it'
  }
  if (ok && grant.force_rotation && !form.rotate) {
    problems.rotate = 'What was seen in it has to be rotated: its policy says so'
  }
  if (flagged && form.finding.trim() === '') problems.finding = 'Say what you found'
  if (form.finding.length > MAX_TEXT) problems.finding = `At most ${MAX_TEXT} characters`
  if (flagged && form.caseId.trim() === '') problems.caseId = 'A case at security has to be open'
  if (form.caseId.length > MAX_CASE) problems.caseId = `At most ${MAX_CASE} characters`
  return problems
}

export const needsTicket = ({ ticket_state }: Pick<ShortGrant, 'ticket_state'>): boolean =>
  ticket_state === 'unverified'

/** The form as the API takes it, for the plan that the reviewer saw. */
export const bodyOf = (
  form: ReviewForm,
  grant: Pick<Grant, 'plan_hash' | 'version' | 'events'> & { hasRead: boolean },
) => ({
  outcome: form.outcome,
  checklist: { ...form.checks, rotate: form.rotate },
  finding: form.finding.trim(),
  case_id: form.outcome === 'flagged' ? form.caseId.trim() : '',
  ticket_verified: form.ticketVerified,
  plan_hash: grant.plan_hash,
  version: grant.version,
  ...(grant.hasRead && { events_seen: grant.events.length }),
})

/** Overdue ones first, then by when they are due. */
export const byUrgency = (grants: readonly ShortGrant[]): ShortGrant[] =>
  [...grants].sort(
    (a, b) =>
      Number(b.state === 'review_overdue') - Number(a.state === 'review_overdue') ||
      (a.review_due_at ?? '').localeCompare(b.review_due_at ?? ''),
  )

/** A review that was done, as a request lists it. */
export type DoneReview = {
  number: number
  at: string
  outcome: 'ok' | 'flagged' | 'reopened'
  reviewer: { display_name?: string } | null
  checklist: Record<string, unknown>
  finding: string
  case_id: string
  jws: string | null
}

const OUTCOMES = { ok: 'As it should be', flagged: 'Flagged', reopened: 'Reopened' }

export const outcomeWords = (outcome: DoneReview['outcome']): string => OUTCOMES[outcome] ?? outcome

/** The checklist as sentences, with what was answered. */
export function checklistLines(checklist: Record<string, unknown> | null): string[] {
  const words: Record<string, string> = { ...CHECKS, rotate: 'Something that was seen has to be rotated' }
  return Object.entries(checklist ?? {}).map(([name, said]) => {
    const answer = typeof said === 'boolean' ? (said ? 'yes' : 'no') : String(said)
    return `${words[name] ?? name.replaceAll('_', ' ')}: ${answer}`
  })
}

export type Block = {
  requester_id: string
  requester: { display_name?: string } | null
  grant_id: string
  reason: string
  since: string
}
