import type { CheckRoleFields } from '../lease/role-fields.ts'
import type { AskableRole } from '../ledger/grant-roles.ts'
import { formatDuration } from '../lib/duration.ts'
import { BrokerError } from '../lib/errors.ts'
import { matchesAny } from '../lib/glob.ts'
import { MAX_TICKET_CHARACTERS, matchesPattern } from './pattern.ts'
import { fieldsOf } from './plan.ts'
import { MAX_REASON_CHARACTERS, type Policy } from './policies.ts'
import type { AskedRole } from './privileges.ts'
import type { Lane } from './states.ts'

/** What somebody asks for, as they said it. */
export type GrantAsk = {
  policy: string
  roles: readonly string[]
  /** By path, of roles that may be had in one of several namespaces of a cluster. */
  namespaces?: Readonly<Record<string, string>>
  reason: string
  ticket: string
  durationSeconds: number | undefined
  lane: 'sealed' | 'drill' | undefined
}

const MAX_ROLES = 20

/** Of an ask, what it comes to under a policy. Throws `invalid_request`, naming the field. */
export function checkAsk(
  ask: GrantAsk,
  { spec }: Policy,
): { lane: Lane; durationSeconds: number; ticket: string } {
  const lane = laneOf(ask, spec)
  const ticket = ask.ticket.trim()
  checkText(ask, spec, lane, ticket)
  return { lane, ticket, durationSeconds: durationOf(ask, spec, lane) }
}

function laneOf({ lane }: GrantAsk, spec: Policy['spec']): Lane {
  if (lane === undefined) return spec.lane
  if (lane === 'sealed' && !spec.sealed) throw refused('lane', 'the policy has no sealed lane')
  return lane
}

function checkText({ reason }: GrantAsk, spec: Policy['spec'], lane: Lane, ticket: string): void {
  if (reason.trim().length < spec.reason_min_length) {
    throw refused('reason', `must have at least ${spec.reason_min_length} characters`)
  }
  if (reason.length > MAX_REASON_CHARACTERS) {
    throw refused('reason', `must have at most ${MAX_REASON_CHARACTERS} characters`)
  }
  if (ticket.length > MAX_TICKET_CHARACTERS) {
    throw refused('ticket', `must have at most ${MAX_TICKET_CHARACTERS} characters`)
  }
  if (ticket === '' && spec.ticket_required && lane !== 'drill') throw refused('ticket', 'is required')
  if (ticket !== '' && spec.ticket_pattern !== '' && !matchesPattern(spec.ticket_pattern, ticket)) {
    throw refused('ticket', `must match ${spec.ticket_pattern}`)
  }
}

function durationOf({ durationSeconds }: GrantAsk, spec: Policy['spec'], lane: Lane): number {
  const most = lane === 'sealed' ? Math.min(spec.max_duration, spec.sealed_max_duration) : spec.max_duration
  const seconds = durationSeconds || Math.min(spec.default_duration, most)
  if (seconds > most) throw refused('duration', `may be ${formatDuration(most)} at most`)
  return seconds
}

/** The roles that were asked for, as they are. `found` are those there are of the paths. */
export function checkRoles(
  { roles, namespaces = {} }: Pick<GrantAsk, 'roles' | 'namespaces'>,
  { spec }: Policy,
  { lane, checkFields }: { lane: Lane; checkFields: CheckRoleFields },
  found: readonly AskableRole[],
): AskedRole[] {
  const paths = [...new Set(roles)]
  if (paths.length === 0) throw refused('roles', 'is required')
  if (paths.length > MAX_ROLES) throw refused('roles', `may be ${MAX_ROLES} at most`)
  const asked = paths.map((path) => {
    const role = found.find((one) => one.path === path)
    if (!role || !matchesAny(spec.roles, path)) {
      throw refused('roles', `the policy does not offer ${JSON.stringify(path)}`)
    }
    const asked = { ...role, ...(Object.hasOwn(namespaces, path) && { namespace: namespaces[path] }) }
    try {
      checkFields(role, fieldsOf({ kubernetes_namespace: asked.namespace }))
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      throw refused('roles', `${JSON.stringify(path)}: ${error.message}`)
    }
    return asked
  })
  if (lane === 'sealed' && new Set(asked.map(({ targetId }) => targetId)).size > 1) {
    throw refused('roles', 'the sealed lane opens one target')
  }
  return asked
}

const refused = (field: string, what: string): BrokerError =>
  new BrokerError('invalid_request', `Field validation failed: field "${field}" ${what}`)
