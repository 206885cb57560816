import type { Grant, GrantAction } from './grant-types.ts'

export type ActionField = {
  name: 'comment' | 'reason' | 'evidence'
  label: string
  required: boolean
}

export type ActionSpec = {
  action: GrantAction
  /** The button on the page. */
  label: string
  /** The button in the dialog, before the target's name. */
  confirm: string
  /** What it does, for the dialog. */
  says: string
  fields: readonly ActionField[]
  /** Says which plan it is about, so that one that has changed meanwhile is not decided on unseen. */
  plan?: true
  /** Is about the time more that was asked for, not about the request as a whole. */
  more?: true
  danger?: true
}

/** As the API has it. */
export const TEXT_MAX = 2_000

const comment = (required = false): ActionField => ({
  name: 'comment',
  label: required ? 'Why' : 'Comment',
  required,
})
const reason = (required = true): ActionField => ({ name: 'reason', label: 'Reason', required })

/** What can be done to a request, in the order of the buttons. Reviews have a page of their own. */
export const ACTIONS: readonly ActionSpec[] = [
  {
    action: 'approve',
    label: 'Approve',
    confirm: 'Approve access to',
    says: 'Your vote is for exactly this plan. If the plan changes, it does not count any more.',
    fields: [comment()],
    plan: true,
  },
  {
    action: 'witness',
    label: 'Witness',
    confirm: 'Witness access to',
    says: 'Nobody who may approve could be reached. With your witness access is given at once, and has to be ratified later.',
    fields: [comment()],
    plan: true,
  },
  {
    action: 'ratify',
    label: 'Ratify',
    confirm: 'Ratify access to',
    says: 'You approve afterwards of access that was given without an approver.',
    fields: [comment()],
    plan: true,
  },
  {
    action: 'approve-extension',
    label: 'Approve more time',
    confirm: 'Approve more time on',
    says: 'Access ends later by what was asked for.',
    fields: [],
    plan: true,
    more: true,
  },
  {
    action: 'deny',
    label: 'Deny',
    confirm: 'Deny access to',
    says: 'The request is over when enough people deny it; one is enough for break-glass.',
    fields: [comment(true)],
    plan: true,
    danger: true,
  },
  {
    action: 'deny-extension',
    label: 'Deny more time',
    confirm: 'Deny more time on',
    says: 'Access ends when it was going to.',
    fields: [comment(true)],
    more: true,
    danger: true,
  },
  {
    action: 'refuse-ratification',
    label: 'Refuse to ratify',
    confirm: 'Refuse to ratify access to',
    says: 'Access is ended at once, and what was seen in it has to be rotated.',
    fields: [comment(true)],
    plan: true,
    danger: true,
  },
  {
    action: 'withdraw',
    label: 'Withdraw my vote',
    confirm: 'Withdraw my vote on',
    says: 'Your vote does not count any more. Access that was already activated is not ended by this.',
    fields: [],
  },
  {
    action: 'cancel',
    label: 'Cancel the request',
    confirm: 'Cancel the request for',
    says: 'Nobody can approve it any more. You can ask again.',
    fields: [],
    danger: true,
  },
  {
    action: 'suspend',
    label: 'Suspend',
    confirm: 'Suspend access to',
    says: 'The accounts are ended now; nothing new is given out until somebody else resumes it. The clock runs on.',
    fields: [reason()],
    danger: true,
  },
  {
    action: 'resume',
    label: 'Resume',
    confirm: 'Resume access to',
    says: 'The requester can collect new credentials until the old end.',
    fields: [comment()],
  },
  {
    action: 'incident-closed',
    label: 'Incident closed',
    confirm: 'End access to',
    says: 'What still waits is void, and access ends after the short grace that the policy has for this.',
    fields: [],
    danger: true,
  },
  {
    action: 'abandon',
    label: 'Declare the target abandoned',
    confirm: 'Abandon',
    says: 'The target does not answer, so it cannot be proved that access is over. Two people have to say that it is given up.',
    fields: [reason(), { name: 'evidence', label: 'Evidence', required: true }],
    danger: true,
  },
  {
    action: 'end',
    label: 'End now',
    confirm: 'End access to',
    says: 'Sessions are cut and accounts removed now. This cannot be undone.',
    fields: [reason(false)],
    danger: true,
  },
  {
    action: 'reopen',
    label: 'Reopen the review',
    confirm: 'Reopen the review of',
    says: 'It has to be reviewed again. What was found before stays in the record.',
    fields: [reason()],
    danger: true,
  },
]

export type ActionText = Partial<Record<ActionField['name'], string>>

/** What keeps it from being sent, by the field's name; empty when nothing does. */
export function textProblems(spec: ActionSpec, texts: ActionText): ActionText {
  const problems: ActionText = {}
  for (const { name, required, label } of spec.fields) {
    const length = [...(texts[name] ?? '').trim()].length
    if (required && length === 0) problems[name] = `${label}: needed`
    if (length > TEXT_MAX) problems[name] = `At most ${TEXT_MAX} characters; these are ${length}`
  }
  return problems
}

/** What is sent: the texts that the action has, and the plan that the person saw. */
export function actionBody(
  spec: ActionSpec,
  grant: Pick<Grant, 'plan_hash'>,
  texts: ActionText,
): Record<string, unknown> {
  const said = spec.fields
    .map(({ name }) => [name, (texts[name] ?? '').trim()] as const)
    .filter(([, text]) => text !== '')
  return { ...Object.fromEntries(said), ...(spec.plan && { plan_hash: grant.plan_hash }) }
}

/** Whether a refusal is about how or when the person logged in: a fresh login may get round it. */
export const isAboutLogin = (text: string): boolean => /\blog ?in\b|second factor/i.test(text)
