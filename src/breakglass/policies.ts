import { z } from 'zod'
import type { BreakGlassPolicyRow } from '../ledger/break-glass-policies.ts'
import { BrokerError } from '../lib/errors.ts'
import { isBlock } from '../policy/condition-cidr.ts'
import { patternFault } from './pattern.ts'
import { names, notify, onCall, quorum, requesters, seconds, sets, webUrl, words } from './policy-shape.ts'
import { leavesOf, quorumFault } from './quorum.ts'

export type { Selection } from './policy-shape.ts'

const MINUTE = 60
const HOUR = 3_600
const DAY = 86_400

/** What differs between the lanes: what holds where a policy says nothing, and what no policy may go beyond. */
const LANES = {
  break_glass: {
    minApprovers: { value: 2, least: 2 },
    pendingTtl: { value: 15 * MINUTE, most: HOUR },
    maxDuration: { value: 4 * HOUR, most: 4 * HOUR },
    activateWithin: { most: HOUR },
    reasonMinLength: { value: 20, least: 20 },
    ticketRequired: true,
    denyThreshold: 1,
    review: true,
  },
  standard: {
    minApprovers: { value: 1, least: 0 },
    pendingTtl: { value: 4 * HOUR, most: DAY },
    maxDuration: { value: 4 * HOUR, most: DAY },
    activateWithin: { most: DAY },
    reasonMinLength: { value: 1, least: 1 },
    ticketRequired: false,
    denyThreshold: 10,
    review: false,
  },
} as const

export const MAX_REASON_CHARACTERS = 2_000
/** Whatever its policy says, access with its extensions ends after so long where people are asked in a hurry. */
const MAX_TOTAL_SECONDS = 4 * HOUR

const documentOf = (lane: keyof typeof LANES) => {
  const limits = LANES[lane]
  return z.strictObject({
    roles: words.min(1, 'is required'),
    lane: z.enum(['break_glass', 'standard']).default('break_glass'),
    description: z.string().max(1_000).default(''),
    sets: sets.default({}),
    requesters: requesters.default({ groups: [], subjects: [], kinds: ['human'] }),
    approvals: quorum.nullable().default(null),
    min_approvers: z.int().min(limits.minApprovers.least).max(20).default(limits.minApprovers.value),
    approver_sets_escalation: z.array(words).max(3).or(names.max(3)).default([]),
    deny_threshold: z.int().min(1).max(limits.denyThreshold).default(1),
    narrowing: z.boolean().default(true),
    narrowing_keeps_votes: z.boolean().default(false),
    security_officers: names.default([]),
    target_owners: names.default([]),
    reviewers: names.default([]),
    pending_ttl: seconds(MINUTE, limits.pendingTtl.most).default(limits.pendingTtl.value),
    activate_within: seconds(MINUTE, limits.activateWithin.most).default(10 * MINUTE),
    default_duration: seconds(1, limits.maxDuration.most).default(30 * MINUTE),
    max_duration: seconds(1, limits.maxDuration.most).default(limits.maxDuration.value),
    max_extension: seconds(0, limits.maxDuration.most).optional(),
    incident_grace: seconds(0, 5 * MINUTE).default(5 * MINUTE),
    fresh_login_max_age: seconds(1, lane === 'break_glass' ? 5 * MINUTE : HOUR).default(5 * MINUTE),
    fresh_login_amr: words.default(['otp', 'hwk', 'mfa', 'swk', 'sms']),
    fresh_login_acr: words.default([]),
    hardware_amr: words.min(1, 'must name at least one').default(['hwk']),
    reason_min_length: z
      .int()
      .min(limits.reasonMinLength.least)
      .max(MAX_REASON_CHARACTERS)
      .default(limits.reasonMinLength.value),
    ticket_required: z.boolean().default(limits.ticketRequired),
    ticket_pattern: z.string().default(''),
    ticket_check_url: webUrl.or(z.literal('')).default(''),
    ticket_check_secret: z.string().max(1_024).optional(),
    on_call: onCall.nullable().default(null),
    review: z.boolean().default(limits.review),
    review_due: seconds(MINUTE, DAY).default(DAY),
    review_overdue: seconds(MINUTE, 3 * DAY).default(3 * DAY),
    sealed: z.boolean().default(false),
    sealed_solo: z.boolean().default(false),
    sealed_max_duration: seconds(1, 15 * MINUTE).default(15 * MINUTE),
    ratify_within: seconds(MINUTE, DAY).default(DAY),
    allow_from: words.default([]),
    max_live: z.int().min(1).max(100).default(3),
    control_group: z.boolean().default(false),
    notify: notify.default([]),
  })
}

type Written = z.infer<ReturnType<typeof documentOf>>

/** As it is kept: every field there, durations in seconds, and none of its secrets. Where nobody is named to review, security officers do. */
export type PolicySpec = Omit<
  Written,
  'ticket_check_secret' | 'notify' | 'max_extension' | 'approver_sets_escalation'
> & {
  max_extension: number
  /** Who is told first, at a third and at two thirds of the time there is; empty: everybody at once. */
  approver_sets_escalation: string[][]
  notify: {
    name: string
    type: 'webhook' | 'slack'
    url: string
    events?: string[] | undefined
    sets?: string[] | undefined
  }[]
}

/** A policy as a grant pins it. */
export type Policy = { id: string; name: string; version: number; isLive: boolean; spec: PolicySpec }

/** What was written, checked: the document without its secrets, and those under whom each is for. */
export type CheckedPolicy = {
  spec: PolicySpec
  secrets: { ticketCheck: string | undefined; notify: ReadonlyMap<string, string> }
}

/** Throws `invalid_request`, naming the field; nothing has changed then. */
export function checkPolicy(written: Readonly<Record<string, unknown>>): CheckedPolicy {
  const lane = written.lane === 'standard' ? 'standard' : 'break_glass'
  const parsed = documentOf(lane).safeParse(written)
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0] ?? { path: [], message: 'cannot be read' }
    throw refused(
      String(path[0] ?? 'policy'),
      path.length > 1 ? `${path.slice(1).join('.')}: ${message}` : message,
    )
  }
  const { ticket_check_secret, notify: told, max_extension, approver_sets_escalation, ...rest } = parsed.data
  const spec = {
    ...rest,
    reviewers: rest.reviewers.length > 0 ? rest.reviewers : rest.security_officers,
    max_extension: max_extension ?? rest.default_duration,
    approver_sets_escalation: approver_sets_escalation.map((step) =>
      typeof step === 'string' ? [step] : step,
    ),
    notify: told.map(({ secret: _, ...one }) => one),
  }
  checkTogether(spec)
  const notifySecrets = told.flatMap(({ name, secret }) => (secret ? [[name, secret] as const] : []))
  return { spec, secrets: { ticketCheck: ticket_check_secret || undefined, notify: new Map(notifySecrets) } }
}

/** What each field allows by itself may still not go together. */
function checkTogether(spec: PolicySpec): void {
  for (const [field, fault] of [...faultsOfPeople(spec), ...faultsOfRest(spec)]) {
    if (fault) throw refused(field, fault)
  }
}

/** A field and what is wrong with it, if anything is. */
type Fault = [field: string, what: string | false | undefined | null]

function faultsOfPeople(spec: PolicySpec): Fault[] {
  const known = new Set(Object.keys(spec.sets))
  const inSets = (list: readonly string[]) => {
    const unknown = list.find((name) => !known.has(name))
    return unknown !== undefined && `names the set "${unknown}", which is not in sets`
  }
  const { approvals, min_approvers, reviewers, security_officers, requesters, lane } = spec
  return [
    ['security_officers', inSets(security_officers)],
    ['target_owners', inSets(spec.target_owners)],
    ['reviewers', inSets(reviewers)],
    ['approver_sets_escalation', inSets(spec.approver_sets_escalation.flat())],
    ['notify', inSets(spec.notify.flatMap(({ sets }) => sets ?? []))],
    ['notify', turnFault(spec)],
    [
      'approvals',
      approvals ? quorumFault(approvals, known) : min_approvers > 0 && 'is required: who may approve?',
    ],
    ['min_approvers', approvals !== null && min_approvers === 0 && 'must be at least 1 with approvals'],
    ['reviewers', spec.review && reviewers.length === 0 && 'is required, or security_officers: who reviews?'],
    [
      'requesters',
      lane === 'break_glass' &&
        requesters.kinds.includes('workload') &&
        'kinds: only people may break the glass',
    ],
  ]
}

/** Whose turn never comes would never be asked. */
function turnFault({ notify, approver_sets_escalation: steps }: PolicySpec): string | undefined {
  const inSteps = steps.flat()
  const left = notify.find(({ sets }) => sets && !sets.some((set) => inSteps.includes(set)))
  if (steps.length < 2) return undefined
  if (left) return `${left.name}: none of its sets is in approver_sets_escalation, so it would never be asked`
  const later = notify.find(
    ({ sets, events }) =>
      sets && !sets.some((set) => steps[0]?.includes(set)) && events && !events.includes('escalate'),
  )
  return later && `${later.name}: events has to name escalate, or it would never be asked`
}

/** What a control group cannot stand before: of a role's paths it guards the one that makes credentials. */
function unguardedFault({ control_group, roles }: PolicySpec): string | undefined {
  const glob = control_group ? roles.find((one) => !one.includes('/creds/')) : undefined
  if (glob === undefined) return undefined
  return `has ${JSON.stringify(glob)}: with control_group each has to name /creds/, since static-creds/ and all other paths are not guarded`
}

function faultsOfRest(spec: PolicySpec): Fault[] {
  const { sealed, ticket_pattern, allow_from } = spec
  const block = allow_from.find((text) => !isBlock(text))
  return [
    ['default_duration', spec.default_duration > spec.max_duration && 'is longer than max_duration'],
    ['review_overdue', spec.review_overdue < spec.review_due && 'comes before review_due'],
    ['ticket_pattern', ticket_pattern !== '' && patternFault(ticket_pattern)],
    ['roles', unguardedFault(spec)],
    ['on_call', onCallFault(spec)],
    ['allow_from', block !== undefined && `has ${JSON.stringify(block)}, which is no address block`],
    ['sealed_solo', spec.sealed_solo && !sealed && 'needs sealed'],
    ['sealed', sealed && spec.lane !== 'break_glass' && 'is for the lane break_glass'],
    ['sealed', sealed && !spec.approvals && 'needs approvals: somebody has to ratify'],
  ]
}

function onCallFault({ on_call, approvals, ticket_check_url, review }: PolicySpec): string | undefined {
  if (!on_call) return undefined
  if (ticket_check_url === '') return 'needs ticket_check_url: whose word is it?'
  if (!review) return 'needs review: people have to see afterwards what a machine has agreed to'
  const asked = approvals ? leavesOf(approvals) : []
  return asked.some(({ set }) => set === on_call.set)
    ? undefined
    : `names the set "${on_call.set}", of which approvals asks for nobody`
}

const refused = (field: string, what: string): BrokerError =>
  new BrokerError('invalid_request', `Field validation failed: field "${field}" ${what}`)

/** It was checked when it was written. */
export const policyOf = ({ id, name, version, spec, replacedAt }: BreakGlassPolicyRow): Policy => ({
  id,
  name,
  version,
  isLive: replacedAt === null,
  spec: spec as PolicySpec,
})

/** Who knows the address of a chat's hook may write there: it is shown as far as it is no secret. */
export const hiddenUrl = ({ type, url }: PolicySpec['notify'][number]): string =>
  type === 'slack' ? `${new URL(url).origin}/…` : url

/** As it may be read. */
export const shownPolicy = ({ name, version, spec }: Policy) => ({
  name,
  version,
  ...spec,
  notify: spec.notify.map((one) => ({ ...one, url: hiddenUrl(one) })),
})

/** For how long access may last at most, with all its extensions: of one that was given for `durationSeconds`. */
export const mostSeconds = (
  { spec }: Pick<Policy, 'spec'>,
  { durationSeconds }: { durationSeconds: number },
): number => {
  const most = Math.min(2 * durationSeconds, durationSeconds + spec.max_extension)
  return spec.lane === 'break_glass' ? Math.min(most, MAX_TOTAL_SECONDS) : most
}
