import type { AuditEvent, Detail } from '../audit/event.ts'
import { type AuditHash, auditParameters } from '../audit/parameters.ts'
import type { Audited } from '../audit/request.ts'
import type { CreatedToken } from '../identity/tokens.ts'
import { limitReached } from '../lease/rate-limits.ts'
import { type Identity, principalId } from '../policy/principal.ts'
import type { Request } from './access.ts'
import { lastDecision } from './denial.ts'
import { provesItself } from './limits.ts'
import type { Decision, Principal } from './ports.ts'
import { told, whyRefused } from './request-refused.ts'
import { unprovenParameters, unprovenPath } from './request-unproven.ts'
import { toldPath } from './told-path.ts'

/** Where requests are put on record. */
export type AuditPort = {
  /** Resolves when the event is in the ledger. */
  record(event: AuditEvent): Promise<void>
  hash: AuditHash
}

/**
 * The request as the audit log sees it: what it changes first is committed with its event. That one has no status,
 * since it is written before the answer; should the request fail after it, that is a second event.
 */
export const auditedRequest = (request: Request, hash: AuditHash): Audited => ({
  facts: {},
  once: true,
  closed: false,
  event: (result, facts) => eventOf(request, hash, { result, facts, outcome: {} }),
})

/**
 * Puts on record what is not on record yet: a request that changed nothing, and one that failed after a change.
 * Throws when the ledger does not take it; then nothing may be granted.
 */
export async function recordOutcome(
  { record, hash }: AuditPort,
  request: Request,
  audited: Audited,
  outcome: { status: number; error?: unknown },
): Promise<void> {
  const isRecorded = audited.closed
  if (isRecorded ? outcome.error === undefined : !isOfInterest(request, outcome)) return
  await record(
    eventOf(request, hash, { facts: audited.facts, outcome: told(request, outcome), error: outcome.error }),
  )
}

/**
 * Everything that authenticates or is decided upon. Not what anyone may see without a token, and not what was refused
 * before it was understood. Of what a rate limit turns away the first of each caller and window stands for the rest,
 * whichever server it came to: it must cost less to refuse than to ask.
 */
function isOfInterest({ operation, found, parameters, principal }: Request, { error }: { error?: unknown }) {
  if (!operation || !found) return false
  const limit = limitReached(error)
  if (limit) return limit.first
  const { endpoint } = found
  if (!parameters) return endpoint !== undefined && provesItself(endpoint)
  if (endpoint?.proof !== 'none' || principal !== undefined) return true
  return provesItself(endpoint) || endpoint.byWrappingToken === true
}

type Told = { result?: unknown; facts: Audited['facts']; outcome: AuditEvent['outcome']; error?: unknown }

function eventOf(request: Request, hash: AuditHash, { result, facts, outcome, error }: Told): AuditEvent {
  const { found } = request
  const decision = lastDecision(error, request.decision)
  const details = {
    ...facts.details,
    ...whyDenied(decision),
    ...whyRefused(error),
    ...made(result),
    ...ended(result),
  }
  return {
    type: found?.endpoint?.login ? 'login' : 'request',
    request_id: request.id,
    client_request_id: request.clientRequestId,
    who: { ...caller(request, result), source_address: request.source },
    what: {
      operation: found?.endpoint?.login ? 'login' : (request.operation ?? 'none'),
      path: shownPath(request, result),
      parameters: shownParameters(request, result, hash),
    },
    decision: decision && decided(decision),
    outcome,
    lease_id: facts.lease_id,
    target: facts.target,
    role: facts.role ?? roleOf(request, result),
    ...(Object.keys(details).length > 0 && { details }),
  }
}

/** Of a login, the role that it came in by. */
const roleOf = ({ found }: Request, result: unknown): string | undefined =>
  found?.endpoint?.login && isCreated(result) ? (result.entry.role ?? undefined) : undefined

/** Of a login, whoever it proved. */
function caller({ found, principal }: Request, result: unknown): AuditEvent['who'] {
  if (found?.endpoint?.login && isCreated(result)) {
    const { entityId, accessor, displayName, identity } = result.entry
    return identified(identity as Identity | null, {
      principal: entityId || accessor || undefined,
      accessor: accessor ?? undefined,
      displayName,
    })
  }
  return principal && identified(principal.identity, callerOf(principal))
}

const callerOf = (principal: Principal) => ({
  principal: principalId(principal),
  accessor: principal.accessor || undefined,
  displayName: principal.displayName,
})

function identified(
  identity: Identity | null,
  {
    principal,
    accessor,
    displayName,
  }: { principal: string | undefined; accessor: string | undefined; displayName: string },
): AuditEvent['who'] {
  const issuer = identity?.claims.iss
  return {
    principal,
    kind: identity?.kind,
    issuer: typeof issuer === 'string' ? issuer : undefined,
    mount: identity?.mount,
    subject: identity?.subject || undefined,
    display_name: displayName,
    accessor,
  }
}

const isCreated = (result: unknown): result is CreatedToken =>
  typeof result === 'object' && result !== null && 'entry' in result && 'token' in result

/** The accessor of a token that the request made. */
const made = (result: unknown) =>
  isCreated(result) && result.entry.accessor ? { created_accessor: result.entry.accessor } : {}

/** Of tokens that the request ended, so many are named. */
const NAMED_AT_MOST = 50

/** The tokens that the request ended, and how many leases end with them. */
function ended(result: unknown) {
  const { accessors, leases } = (result ?? {}) as { accessors?: string[]; leases?: number }
  if (!Array.isArray(accessors) || leases === undefined) return {}
  return { ended_accessors: accessors.slice(0, NAMED_AT_MOST), leases_ending: leases }
}

/** Whether anybody answers for the request: who sent it, or whom it has logged in. */
const isProven = ({ principal }: Request, result: unknown): boolean =>
  principal !== undefined || isCreated(result)

function shownPath(request: Request, result: unknown): string | undefined {
  const path = request.found && toldPath(request.found.path)
  return path === undefined || isProven(request, result) ? path : unprovenPath(path)
}

/** Where any field may be sent, one of these names may hold a secret as well. */
function shownParameters(request: Request, result: unknown, hash: AuditHash): Detail {
  if (!isProven(request, result)) return unprovenParameters(request, PLAIN, hash)
  const { found, parameters = {} } = request
  return auditParameters(parameters, found?.endpoint?.anyFields ? NONE : PLAIN, hash)
}

const NONE: ReadonlySet<string> = new Set()

const decided = ({ allowed, by }: Decision): AuditEvent['decision'] => ({
  allowed,
  policy: by?.policy,
  version: by?.version,
  pattern: by?.path,
  line: by?.line,
})

/** Which rule, parameter or part of a condition stood in the way; the caller is not told. */
function whyDenied(decision: Decision | undefined) {
  if (!decision || decision.allowed) return {}
  const unmet = decision.conditions.filter(({ held }) => !held).map(({ text }) => text)
  return {
    why: decision.why,
    ...(decision.parameter !== undefined && { parameter: decision.parameter }),
    ...(unmet.length > 0 && { unmet_conditions: unmet }),
  }
}

/** Fields whose values say what was asked and are no secret; all others are hashed. */
const PLAIN: ReadonlySet<string> = new Set([
  'accessor',
  'allowed_roles',
  'approvers',
  'audience',
  'bound_audiences',
  'bound_cidrs',
  'bound_issuer',
  'bound_service_account_names',
  'bound_service_account_namespaces',
  'bound_subject',
  'condition',
  'db_name',
  'default_lease_ttl',
  'default_role',
  'default_ttl',
  'description',
  'display_name',
  'environment',
  'event_audience',
  'event_issuer',
  'event_jwks_url',
  'explicit_max_ttl',
  'force',
  'format',
  'group_by',
  'groups_claim',
  'increment',
  'interval',
  'issuer',
  'jwks_url',
  'kubernetes_host',
  'lease_id',
  'max_lease_ttl',
  'max_leases',
  'max_ttl',
  'member_of',
  'name',
  'no_default_policy',
  'no_parent',
  'num_uses',
  'oidc_client_id',
  'oidc_discovery_url',
  'path',
  'paths',
  'period',
  'plugin_name',
  'policies',
  'prefix',
  'principal',
  'rate',
  'recheck_on_renew',
  'redirect_uri',
  'renewable',
  'role',
  'role_name',
  'role_type',
  'rotation_group',
  'rotation_period',
  'rotation_schedule',
  'rotation_window',
  'secret_id_num_uses',
  'secret_id_ttl',
  'sync',
  'target',
  'token_bound_cidrs',
  'token_max_ttl',
  'token_no_default_policy',
  'token_num_uses',
  'token_period',
  'token_policies',
  'token_ttl',
  'token_type',
  'ttl',
  'type',
  'user_claim',
])
