import { isIP } from 'node:net'
import type { TokenStore } from '../identity/tokens.ts'
import { BrokerError } from '../lib/errors.ts'
import type { Explained } from '../policy/authorize.ts'
import type { Explanation } from '../policy/condition.ts'
import type { Policies } from '../policy/policies.ts'
import { tidyPolicies } from '../policy/policy-names.ts'
import { NO_LOGIN, type Principal } from '../policy/principal.ts'
import {
  alias,
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
import { type Answer, type Call, handle, type Route } from './route.ts'

type Holders = Pick<TokenStore, 'holderOf'>

/** Policy documents under both of their names, and what they come to; relative to `sys/`. */
export const sysPolicyRoutes = (policies: Policies, holders: Holders): Route[] => [
  {
    path: 'policies/acl',
    on: { list: list(policies), read: list(policies) },
  },
  { path: 'policies/acl/:name*', caseless: true, on: documentEndpoints(policies, 'policy') },
  { path: 'policy', on: { list: oldList(policies), read: oldList(policies) } },
  { path: 'policy/:name*', caseless: true, on: documentEndpoints(policies, 'rules') },
  {
    path: 'policies/simulate',
    on: { update: handle(SIMULATE_FIELDS, (call) => simulate(holders, call)) },
  },
  { path: 'internal/ui/resultant-acl', on: { read: handle({}, resultantAcl) } },
]

const list = (policies: Policies) => handle({}, async () => ({ data: { keys: await policies.names() } }))

const oldList = (policies: Policies) =>
  handle({}, async () => {
    const keys = await policies.names()
    return { data: { keys, policies: keys }, injected: true as const }
  })

const DOCUMENT_FIELDS = {
  policy: required(alias(text, 'rules'), `'policy' parameter not supplied or empty`),
} satisfies Fields

/** The old endpoints call the document `rules`, and repeat it beside the envelope's keys. */
function documentEndpoints(policies: Policies, field: 'policy' | 'rules'): Route['on'] {
  return {
    read: handle({}, async (call) => {
      const name = call.capture('name')
      const found = name === 'root' ? { name, version: 0, text: '' } : await policies.find(name)
      if (!found) return undefined
      const data = { name, [field]: found.text, version: found.version }
      return field === 'rules' ? { data, injected: true } : { data }
    }),
    update: handle(DOCUMENT_FIELDS, async (call) => {
      await policies.write(call.capture('name'), plain(call.fields.policy))
      return undefined
    }),
    delete: handle({}, async (call) => {
      await policies.remove(call.capture('name'))
      return undefined
    }),
  }
}

/** Clients may send it in base64, which no policy happens to be. */
function plain(document: string): string {
  const packed = document.replace(/\s+/g, '')
  if (!/^(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(packed)) return document
  return Buffer.from(packed, 'base64').toString('utf8')
}

const SIMULATE_FIELDS = {
  path: required(text, 'missing path'),
  operation: defaulted(oneOf('read', 'list', 'update', 'patch', 'delete'), 'read'),
  parameters: map,
  /** The token whose bearer is meant; or who it would be, below. */
  accessor: text,
  policies: commaList,
  kind: oneOf('human', 'workload'),
  mount: text,
  subject: text,
  groups: commaList,
  claims: map,
  metadata: keyValues,
  display_name: text,
  source_address: text,
  tls: bool,
  time: text,
  leases_held: int,
} satisfies Fields

/** Decides as the real request would be decided at that time from there, and does nothing else. */
async function simulate(holders: Holders, call: Call<typeof SIMULATE_FIELDS>): Promise<Answer> {
  const { fields } = call
  if (fields.leases_held !== undefined && fields.leases_held < 0) {
    throw new BrokerError('invalid_request', 'leases_held: cannot be negative')
  }
  const principal = fields.accessor ? await holders.holderOf(fields.accessor) : imagined(call)
  // Nobody holds a lease who is only imagined.
  const leasesHeld = fields.leases_held ?? (fields.accessor ? undefined : 0)
  const explained = await call.policy.explain({
    principal,
    operation: fields.operation,
    path: fields.path.replace(/^\/+|\/+$/g, ''),
    ...(fields.parameters && { parameters: fields.parameters }),
    ...(fields.source_address !== undefined && { sourceAddress: addressOf(fields.source_address) }),
    ...(fields.tls !== undefined && { tls: fields.tls }),
    ...(leasesHeld !== undefined && { leasesHeld }),
    ...(fields.time !== undefined && { now: timeOf(fields.time) }),
  })
  return { data: shown(explained) }
}

function imagined({ fields }: Call<typeof SIMULATE_FIELDS>): Principal {
  if (!fields.policies) throw new BrokerError('invalid_request', 'missing accessor or policies')
  return {
    tokenId: '',
    accessor: '',
    displayName: fields.display_name ?? '',
    policies: tidyPolicies(fields.policies),
    metadata: fields.metadata ?? {},
    tokenExpiresAt: null,
    tokenHardExpiresAt: null,
    lastUse: false,
    entityId: '',
    identity: {
      ...NO_LOGIN,
      metadata: fields.metadata ?? {},
      kind: fields.kind ?? NO_LOGIN.kind,
      mount: fields.mount ?? NO_LOGIN.mount,
      subject: fields.subject ?? '',
      groups: fields.groups ?? [],
      claims: fields.claims ?? {},
    },
  }
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

const shown = ({ allowed, why, by, parameter, explanations, roleCondition }: Explained) => ({
  allowed,
  reason: why,
  rule: by,
  ...(parameter !== undefined && { parameter }),
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

/**
 * What the caller's policies say, for programs that show or hide things by it; no decision rests on it. A star at the
 * end is not written, as in the dialect; a `+` is.
 */
async function resultantAcl({ policy }: Pick<Call, 'policy'>): Promise<Answer> {
  const patterns = await policy.patterns()
  if (!patterns) return { data: { root: true } }
  const granted = (wanted: boolean) =>
    Object.fromEntries(
      patterns
        .filter(({ exact }) => exact === wanted)
        .map(({ pattern, capabilities }) => [pattern.replace(/\*$/, ''), { capabilities }]),
    )
  return { data: { root: false, exact_paths: granted(true), glob_paths: granted(false) } }
}
