import { type NamespaceChoice, namespaceProblems, sentRoles } from './ask-namespaces.ts'
import type { Lane } from './grant-types.ts'

export type EligibleRole = {
  path: string
  target: string
  engine: string
  privileges: string[]
  revocability: string
  environment: string | null
  /** Null where there is nothing to say of it. */
  kubernetes_namespaces: NamespaceChoice | null
}

export type AskLimits = {
  reason_min_length: number
  ticket_required: boolean
  ticket_pattern: string | null
  default_duration_seconds: number
  max_duration_seconds: number
  pending_ttl_seconds: number
  activate_within_seconds: number
  sealed: boolean
  sealed_solo: boolean
  sealed_max_duration_seconds: number
  drill: boolean
}

export type EligiblePolicy = {
  name: string
  description?: string
  lane: Lane
  roles: EligibleRole[]
  limits: AskLimits
  approvals_words: string
  blocked: string | null
}

export type AskForm = {
  lane: 'ordinary' | 'sealed' | 'drill'
  roles: string[]
  /** By the path of the role; of those only of which it has to be said. */
  namespaces: Readonly<Record<string, string>>
  minutes: number | string
  reason: string
  ticket: string
}

/** By the field's name; of namespaces by the role's path. */
export type AskProblems = Partial<Record<'roles' | 'minutes' | 'reason' | 'ticket', string>> & {
  namespaces?: Readonly<Record<string, string>>
}

const REASON_MAX = 2_000
const TICKET_MAX = 128
const ROLES_MAX = 20

/** Those under which there is a role to ask for: the ones for an emergency first. */
export const askable = (policies: readonly EligiblePolicy[]): EligiblePolicy[] =>
  policies
    .filter(({ roles }) => roles.length > 0)
    .sort((a, b) => Number(b.lane === 'break_glass') - Number(a.lane === 'break_glass'))

/** The longest that may be asked for in a lane, in whole minutes. */
export const maxMinutes = ({ limits }: EligiblePolicy, lane: AskForm['lane']): number =>
  Math.floor(
    (lane === 'sealed'
      ? Math.min(limits.sealed_max_duration_seconds, limits.max_duration_seconds)
      : limits.max_duration_seconds) / 60,
  )

/** What a new form has for a policy. */
export const emptyAsk = (policy: EligiblePolicy, lane: AskForm['lane'] = 'ordinary'): AskForm => ({
  lane,
  roles: policy.roles.length === 1 ? policy.roles.map(({ path }) => path) : [],
  namespaces: {},
  minutes: Math.min(Math.ceil(policy.limits.default_duration_seconds / 60), maxMinutes(policy, lane)),
  reason: '',
  ticket: '',
})

/** A form that was put aside, as far as the policy still has what it names. */
export function restoredAsk(policy: EligiblePolicy, form: AskForm): AskForm {
  const { sealed, drill } = policy.limits
  const had = form.lane === 'sealed' ? sealed : form.lane === 'drill' && drill
  const { minutes, reason, ticket, namespaces = {} } = form
  const roles = form.roles.filter((path) => policy.roles.some((role) => role.path === path))
  return { lane: had ? form.lane : 'ordinary', roles, namespaces, minutes, reason, ticket }
}

/** "1 character", "20 characters". */
export const characters = (count: number): string => `${count} character${count === 1 ? '' : 's'}`

/** What the server would refuse, by the field's name. It checks again: this saves the way there. */
export function askProblems(policy: EligiblePolicy, form: AskForm): AskProblems {
  const namespaces = namespaceProblems(policy, form)
  const found = {
    roles: rolesProblem(policy, form),
    namespaces: Object.keys(namespaces).length > 0 ? namespaces : undefined,
    minutes: minutesProblem(policy, form),
    reason: reasonProblem(policy, form),
    ticket: ticketProblem(policy, form),
  }
  return Object.fromEntries(Object.entries(found).filter(([, problem]) => problem !== undefined))
}

function rolesProblem(policy: EligiblePolicy, { roles, lane }: AskForm): string | undefined {
  if (roles.length === 0) return 'Choose at least one role'
  if (roles.length > ROLES_MAX) return `At most ${ROLES_MAX} roles`
  const targets = new Set(policy.roles.filter(({ path }) => roles.includes(path)).map(({ target }) => target))
  if (lane === 'sealed' && targets.size > 1) return 'The sealed lane is for one target'
  return undefined
}

function minutesProblem(policy: EligiblePolicy, { minutes, lane }: AskForm): string | undefined {
  const whole = typeof minutes === 'number' ? minutes : Number(minutes || Number.NaN)
  const most = maxMinutes(policy, lane)
  if (!Number.isInteger(whole) || whole < 1) return 'At least one minute, in whole minutes'
  return whole > most ? `At most ${most} minutes` : undefined
}

function reasonProblem({ limits }: EligiblePolicy, { reason }: AskForm): string | undefined {
  const { length } = reason.trim()
  if (length < limits.reason_min_length)
    return `At least ${characters(limits.reason_min_length)}; so far it has ${length}`
  return length > REASON_MAX ? `At most ${REASON_MAX} characters; these are ${length}` : undefined
}

function ticketProblem({ limits }: EligiblePolicy, { ticket, lane }: AskForm): string | undefined {
  const text = ticket.trim()
  if (text === '') return needsTicket(limits, lane) ? 'The policy asks for a ticket' : undefined
  if (text.length > TICKET_MAX) return `At most ${TICKET_MAX} characters; these are ${text.length}`
  return limits.ticket_pattern && !matches(limits.ticket_pattern, text)
    ? `Has to match ${limits.ticket_pattern}`
    : undefined
}

/** Practice has no incident. */
export const needsTicket = ({ ticket_required }: AskLimits, lane: AskForm['lane']): boolean =>
  ticket_required && lane !== 'drill'

/** A pattern this browser cannot read is left to the server. */
function matches(pattern: string, text: string): boolean {
  try {
    return new RegExp(`^(?:${pattern})$`).test(text)
  } catch {
    return true
  }
}

const FIELDS = { roles: 'roles', duration: 'minutes', reason: 'reason', ticket: 'ticket' } as const

/** What the server refused, by the field that it named; empty where it named none that the form has. */
export function askRefusals(texts: readonly string[], { roles }: Pick<AskForm, 'roles'>): AskProblems {
  const found = texts.flatMap((text): AskProblems[] => {
    const [, name = '', why = ''] = /^Field validation failed: field "(\w+)":? (.+)$/s.exec(text) ?? []
    if (!Object.hasOwn(FIELDS, name)) return []
    const path = roles.find((one) => why.startsWith(`${JSON.stringify(one)}: `))
    if (name === 'roles' && path !== undefined && why.includes('kubernetes_namespace'))
      return [{ namespaces: { [path]: why.slice(JSON.stringify(path).length + 2) } }]
    return [{ [FIELDS[name as keyof typeof FIELDS]]: why }]
  })
  return Object.assign({}, ...found)
}

/** What is sent. */
export const askBody = (policy: EligiblePolicy, form: AskForm): Record<string, unknown> => ({
  policy: policy.name,
  roles: sentRoles(policy, form),
  reason: form.reason.trim(),
  ...(form.ticket.trim() !== '' && { ticket: form.ticket.trim() }),
  duration: Number(form.minutes) * 60,
  ...(form.lane !== 'ordinary' && { lane: form.lane }),
})
