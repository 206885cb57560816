import { isIP } from 'node:net'
import type { TokenStore } from '../identity/tokens.ts'
import { BrokerError } from '../lib/errors.ts'
import type { Explained } from '../policy/authorize.ts'
import type { Explanation } from '../policy/condition.ts'
import type { Policies } from '../policy/policies.ts'
import { tidyPolicies } from '../policy/policy-names.ts'
import { NO_LOGIN, type Principal } from '../policy/principal.ts'
import {
  bool,
  commaList,
  defaulted,
  type Fields,
  int,
  keyValues,
  map,
  oneOf,
  required,
  text,
} from './fields.ts'
import { wrapTtlOf } from './headers.ts'
import type { Mount } from './ports.ts'
import { type Answer, type Call, type Endpoint, handle, type PolicyAsk, type Simulated } from './route.ts'

export type SimulateParts = {
  policies: Policies
  holders: Pick<TokenStore, 'holderOf'>
  /** The live mount at a path; undefined where there is none. */
  mountAt(path: string): Promise<Mount | undefined>
}

const SIMULATE_FIELDS = {
  path: required(text, 'missing path'),
  operation: defaulted(oneOf('read', 'list', 'update', 'patch', 'delete'), 'read'),
  parameters: map,
  wrap_ttl: text,
  /** The token whose bearer is meant; or who it would be, below. */
  accessor: text,
  policies: commaList,
  kind: oneOf('human', 'workload'),
  mount: text,
  subject: text,
  entity_id: text,
  groups: commaList,
  claims: map,
  metadata: keyValues,
  display_name: text,
  source_address: text,
  tls: bool,
  time: text,
  leases_held: int,
} satisfies Fields

type SimulateCall = Call<typeof SIMULATE_FIELDS>

/** Decides as the real request would be decided at that time from there, and does nothing else. */
export const simulateEndpoint = (parts: SimulateParts): Endpoint =>
  handle(SIMULATE_FIELDS, (call) => simulate(parts, call))

async function simulate(parts: SimulateParts, call: SimulateCall): Promise<Answer> {
  const { path, operation, accessor } = call.fields
  const circumstances = circumstancesOf(call)
  const { principal, warnings } = accessor
    ? { principal: await parts.holders.holderOf(accessor), warnings: [] }
    : await imagined(parts, call)
  const simulated = await call.policy.simulate({ principal, operation, path, ...circumstances })
  if (!simulated) throw new BrokerError('invalid_request', 'missing path')
  return {
    data: simulated.explained ? shown(simulated.explained) : OPEN,
    warnings: [
      ...warnings,
      ...unknownPolicies(principal, await parts.policies.names()),
      ...missingThere(simulated),
    ],
  }
}

/** A login, the health of the server: whoever may have it, policy is not asked. */
const OPEN = { allowed: true, reason: 'open', rule: null, conditions: [], role_condition: null }

function circumstancesOf({ fields }: SimulateCall): Omit<PolicyAsk, 'principal' | 'operation' | 'path'> {
  const { parameters, source_address, tls, time, wrap_ttl } = fields
  const wrapTtlSeconds = wrap_ttl === undefined ? undefined : wrapTtlOf(wrap_ttl)
  const leasesHeld = heldIn(fields)
  return {
    ...(parameters && { parameters }),
    ...(source_address !== undefined && { sourceAddress: addressOf(source_address) }),
    ...(tls !== undefined && { tls }),
    ...(leasesHeld !== undefined && { leasesHeld }),
    ...(time !== undefined && { now: timeOf(time) }),
    ...(wrapTtlSeconds !== undefined && { wrapTtlSeconds }),
  }
}

/** Undefined: those are counted that the ledger has. Nobody holds a lease who is only imagined. */
function heldIn({ leases_held, accessor, entity_id }: SimulateCall['fields']): number | undefined {
  if (leases_held !== undefined && leases_held < 0) {
    throw new BrokerError('invalid_request', 'leases_held: cannot be negative')
  }
  return leases_held ?? (accessor || entity_id ? undefined : 0)
}

/** Whoever logs in has an entity, and templates read its id: this one stands for an id that nobody has said. */
const IMAGINED_ENTITY = 'imagined'

async function imagined(
  { mountAt }: SimulateParts,
  { fields }: SimulateCall,
): Promise<{ principal: Principal; warnings: string[] }> {
  if (!fields.policies) throw new BrokerError('invalid_request', 'missing accessor or policies')
  const { subject = '', metadata = {} } = fields
  const path = fields.mount && `${fields.mount.replace(/^\/+|\/+$/g, '')}/`
  const mount = path ? await mountAt(path) : undefined
  const principal: Principal = {
    tokenId: '',
    accessor: '',
    displayName: fields.display_name ?? '',
    policies: tidyPolicies(fields.policies),
    metadata,
    tokenExpiresAt: null,
    tokenHardExpiresAt: null,
    lastUse: false,
    entityId: fields.entity_id || (subject && IMAGINED_ENTITY),
    treeId: '',
    identity: {
      ...NO_LOGIN,
      metadata,
      kind: fields.kind ?? (mount?.type === 'oidc' ? 'human' : NO_LOGIN.kind),
      mount: path || NO_LOGIN.mount,
      mountAccessor: path ? (mount?.accessor ?? '') : NO_LOGIN.mountAccessor,
      subject,
      groups: fields.groups ?? [],
      claims: fields.claims ?? {},
    },
  }
  const warnings =
    path && !mount ? [`nothing is mounted at ${JSON.stringify(path)}: nobody logs in there`] : []
  return { principal, warnings }
}

function unknownPolicies({ policies }: Principal, names: readonly string[]): string[] {
  const unknown = policies.filter((name) => !names.includes(name))
  return unknown.map((name) => `there is no policy ${JSON.stringify(name)}: it allows nothing`)
}

const MISSING = {
  mount: 'nothing is mounted at this path',
  path: 'the mount has nothing at this path',
  operation: 'this path does not take this operation',
} as const

function missingThere({ missing, explained }: Simulated): string[] {
  if (missing) return [MISSING[missing]]
  return explained?.noSuchRole ? ['the role that this path names does not exist'] : []
}

function addressOf(sent: string): string {
  if (isIP(sent) === 0) {
    throw new BrokerError('invalid_request', 'source_address: expected an IP address, such as 192.0.2.7')
  }
  return sent
}

function timeOf(sent: string): Date {
  const time = new Date(sent)
  if (Number.isNaN(time.getTime()) || !/^\d{4}-\d\d-\d\dT/.test(sent)) {
    throw new BrokerError(
      'invalid_request',
      'time: expected a time in RFC 3339, such as 2026-01-31T09:00:00Z',
    )
  }
  return time
}

const shown = ({ allowed, why, by, parameter, grant, explanations, roleCondition }: Explained) => ({
  allowed,
  reason: why,
  rule: by,
  ...(parameter !== undefined && { parameter }),
  ...(grant && { grant: { id: grant.id, policy: grant.policy, expires_at: grant.expiresAt.toISOString() } }),
  conditions: explanations.map(({ explanation, held, ...rule }) => ({
    ...rule,
    held,
    ...shownPart(explanation),
  })),
  role_condition: roleCondition ? shownPart(roleCondition) : null,
})

/** The parts that made it what it is come with it. */
const shownPart = ({ text: condition, value, error, join, parts, line, column }: Explanation): object => ({
  condition,
  value,
  at: { line, column },
  ...(error !== undefined && { error }),
  ...(parts && { join, parts: parts.map(shownPart) }),
})
