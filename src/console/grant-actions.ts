import type { Extension, Grant, GrantAction, ShortGrant } from './grant-types.ts'

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
  /** Where nothing was activated yet it is another thing to do. */
  beforeAccess?: { confirm: string; says: string }
  /** What has been done, for whoever did it. */
  done: string
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
    done: 'Approved',
    confirm: 'Approve access to',
    says: 'Your vote is for exactly this plan. If the plan changes, it does not count any more.',
    fields: [comment()],
    plan: true,
  },
  {
    action: 'witness',
    label: 'Witness',
    done: 'Witnessed',
    confirm: 'Witness access to',
    says: 'Nobody who may approve could be reached. With your witness the requester may activate access, and it has to be ratified afterwards.',
    fields: [comment()],
    plan: true,
  },
  {
    action: 'ratify',
    label: 'Ratify',
    done: 'Ratified',
    confirm: 'Ratify access to',
    says: 'You approve afterwards of access that was given without an approver.',
    fields: [comment()],
    plan: true,
  },
  {
    action: 'approve-extension',
    label: 'Approve more time',
    done: 'More time approved',
    confirm: 'Approve more time on',
    says: 'Access ends later by what was asked for.',
    fields: [],
    plan: true,
    more: true,
  },
  {
    action: 'deny',
    label: 'Deny',
    done: 'Denied',
    confirm: 'Deny access to',
    says: 'The request is over when enough people deny it; one is enough for break-glass.',
    fields: [comment(true)],
    plan: true,
    danger: true,
  },
  {
    action: 'deny-extension',
    label: 'Deny more time',
    done: 'More time denied',
    confirm: 'Deny more time on',
    says: 'Access ends when it was going to.',
    fields: [comment(true)],
    more: true,
    danger: true,
  },
  {
    action: 'refuse-ratification',
    label: 'Refuse to ratify',
    done: 'Ratification refused',
    confirm: 'Refuse to ratify access to',
    says: 'Access is ended at once, and what was seen in it has to be rotated.',
    fields: [comment(true)],
    plan: true,
    danger: true,
  },
  {
    action: 'withdraw',
    label: 'Withdraw my vote',
    done: 'Vote withdrawn',
    confirm: 'Withdraw my vote on',
    says: 'Your vote does not count any more. Access that was already activated is not ended by this.',
    fields: [],
  },
  {
    action: 'cancel',
    label: 'Cancel the request',
    done: 'Request cancelled',
    confirm: 'Cancel the request for',
    says: 'Nobody can approve it any more. You can ask again.',
    fields: [],
    danger: true,
  },
  {
    action: 'suspend',
    label: 'Suspend',
    done: 'Suspended',
    confirm: 'Suspend access to',
    says: 'The accounts are ended now; nothing new is given out until somebody else resumes it. The clock runs on.',
    fields: [reason()],
    danger: true,
  },
  {
    action: 'resume',
    label: 'Resume',
    done: 'Vote to resume counted',
    confirm: 'Resume access to',
    says: 'The requester can collect new credentials until the old end.',
    fields: [comment()],
  },
  {
    action: 'incident-closed',
    label: 'Incident closed',
    confirm: 'End access to',
    says: 'Access ends after the short grace that the policy has for this.',
    beforeAccess: {
      confirm: 'Close the request for',
      says: 'No access was given yet, and none can be any more.',
    },
    done: 'Incident closed',
    fields: [],
    danger: true,
  },
  {
    action: 'abandon',
    label: 'Declare the target abandoned',
    done: 'Said that the target is given up',
    confirm: 'Abandon',
    says: 'The target does not answer, so it cannot be proved that access is over. Two people have to say that it is given up.',
    fields: [reason(), { name: 'evidence', label: 'Evidence', required: true }],
    danger: true,
  },
  {
    action: 'end',
    label: 'End now',
    done: 'Ended',
    confirm: 'End access to',
    says: 'Sessions are cut and accounts removed now. This cannot be undone.',
    fields: [reason(false)],
    danger: true,
  },
  {
    action: 'reopen',
    label: 'Reopen the review',
    done: 'Review reopened',
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

/** What its button and its dialog say about this request: nothing is ended where nothing has begun. */
export const sayingOf = (
  { confirm, says, beforeAccess }: ActionSpec,
  { state }: Pick<Grant, 'state'>,
): { confirm: string; says: string } =>
  beforeAccess && (state === 'pending' || state === 'approved') ? beforeAccess : { confirm, says }

/** Whether a refusal is about how or when the person logged in: a fresh login may get round it. */
export const isAboutLogin = (text: string): boolean => /\blog ?in\b|second factor/i.test(text)

/** Whether there is anything to do it to: nobody wonders why they may not ratify what needs no ratification. */
export const isInQuestion = (
  { action, more }: ActionSpec,
  { ratification }: Pick<ShortGrant, 'ratification'>,
  extensions: readonly Pick<Extension, 'state'>[],
): boolean =>
  more
    ? extensions.some(({ state }) => state === 'pending')
    : !['ratify', 'refuse-ratification'].includes(action) || ratification === 'due'
