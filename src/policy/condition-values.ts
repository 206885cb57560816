import type { Environment } from '@marcbachmann/cel-js'
import { Duration } from '@marcbachmann/cel-js/evaluator'
import { claimMap, failure, MAX_CHARACTERS, MAX_ENTRIES, MAX_TEXT_CHARACTERS } from './condition-claims.ts'
import type { DecisionContext, Labels } from './context.ts'

/** How the facts of a request look to CEL: the names and types a condition may use, and how each value is made. */

export const TIMESTAMP = 'google.protobuf.Timestamp'
export const DURATION = 'google.protobuf.Duration'

export type VariableName = keyof DecisionContext

type Field<Facts> = { type: string; read: (facts: Facts) => unknown; once?: true }

const string = <Facts>(read: (facts: Facts) => string): Field<Facts> => ({
  type: 'string',
  read: (facts) => short(read(facts)),
})
const bool = <Facts>(read: (facts: Facts) => boolean): Field<Facts> => ({ type: 'bool', read })
const time = <Facts>(read: (facts: Facts) => Date): Field<Facts> => ({ type: TIMESTAMP, read })
/** A value that has to be made is made when a condition first reads it, and kept for the others. */
const made = <Facts>(type: string, read: (facts: Facts) => unknown): Field<Facts> => ({
  type,
  read,
  once: true,
})
const labels = <Facts>(read: (facts: Facts) => Labels): Field<Facts> =>
  made('map<string, string>', (facts) => new Map(Object.entries(read(facts))))
const strings = <Facts>(read: (facts: Facts) => readonly string[]): Field<Facts> =>
  made('list<string>', (facts) => limited(read(facts)))

const FIELDS: { [V in VariableName]: Readonly<Record<string, Field<DecisionContext[V]>>> } = {
  principal: {
    kind: string(({ kind }) => kind),
    mount: string(({ mount }) => mount),
    subject: string(({ subject }) => subject),
    display_name: string(({ displayName }) => displayName),
    claims: made('map<string, dyn>', ({ claims }) => claimMap(claims)),
    metadata: labels(({ metadata }) => metadata),
    groups: strings(({ groups }) => groups),
  },
  role: {
    name: string(({ name }) => name),
    mount: string(({ mount }) => mount),
    engine: string(({ engine }) => engine),
    target: string(({ target }) => target),
    environment: string(({ environment }) => environment),
    labels: labels((role) => role.labels),
    target_environment: string(({ targetEnvironment }) => targetEnvironment),
    target_labels: labels(({ targetLabels }) => targetLabels),
    mount_environment: string(({ mountEnvironment }) => mountEnvironment),
    mount_labels: labels(({ mountLabels }) => mountLabels),
  },
  request: {
    operation: string(({ operation }) => operation),
    path: string(({ path }) => path),
    time: time((request) => request.time),
    zone: string(({ zone }) => zone),
    source_address: string(({ sourceAddress }) => sourceAddress),
    namespace: string(({ namespace }) => namespace),
    requested_ttl: made(DURATION, (request) => new Duration(Math.trunc(request.requestedTtlSeconds))),
    tls: bool(({ tls }) => tls),
  },
  approval: {
    live: bool(({ live }) => live),
    id: string(({ id }) => id),
    policy: string(({ policy }) => policy),
    lane: string(({ lane }) => lane),
    reason: string(({ reason }) => reason),
    ticket: string(({ ticket }) => ticket),
    approvers: strings(({ approvers }) => approvers),
    expires_at: time(({ expiresAt }) => expiresAt),
  },
  leases: {
    held: { type: 'int', read: ({ held }) => (held === undefined ? undefined : BigInt(held)) },
  },
}

function short(text: string): string {
  if (text.length > MAX_TEXT_CHARACTERS)
    throw failure(`a text cannot be read: more than ${MAX_TEXT_CHARACTERS} characters`)
  return text
}

function limited(list: readonly string[]): readonly string[] {
  if (list.length > MAX_ENTRIES) throw failure(`a list cannot be read: more than ${MAX_ENTRIES} entries`)
  const characters = list.reduce((sum, { length }) => sum + length, 0)
  if (characters > MAX_CHARACTERS)
    throw failure(`a list cannot be read: more than ${MAX_CHARACTERS} characters`)
  return list
}

export const isVariable = (name: string): name is VariableName => Object.hasOwn(FIELDS, name)

export const VARIABLE_NAMES: readonly VariableName[] = Object.keys(FIELDS).filter(isVariable)

export const fieldsOf = (variable: VariableName): string[] => Object.keys(FIELDS[variable])

/** Undefined for a field that is not there. */
export const fieldType = (variable: VariableName, field: string): string | undefined =>
  Object.hasOwn(FIELDS[variable], field) ? FIELDS[variable][field]?.type : undefined

type Brand<Facts> = new (facts: Facts) => object

/** A class, since the library tells declared types apart by constructor and by nothing else. */
function brandOf<Facts>(fields: Readonly<Record<string, Field<Facts>>>): Brand<Facts> {
  const Brand = class {
    readonly facts: Facts
    readonly kept: Record<string, unknown> = {}
    constructor(facts: Facts) {
      this.facts = facts
    }
  }
  for (const [name, { read, once }] of Object.entries(fields)) {
    const get = function (this: InstanceType<typeof Brand>): unknown {
      if (!once) return read(this.facts)
      this.kept[name] ??= attempt(() => read(this.facts))
      if (this.kept[name] instanceof Error) throw this.kept[name]
      return this.kept[name]
    }
    Object.defineProperty(Brand.prototype, name, { get })
  }
  return Brand
}

/** A failure is kept too: fifty conditions must not each find out anew that the claims are too many. */
function attempt(make: () => unknown): unknown {
  try {
    return make()
  } catch (error) {
    return error instanceof Error ? error : failure('a value cannot be read')
  }
}

const BRANDS = {
  principal: brandOf(FIELDS.principal),
  role: brandOf(FIELDS.role),
  request: brandOf(FIELDS.request),
  approval: brandOf(FIELDS.approval),
  leases: brandOf(FIELDS.leases),
}

export function declareVariables(environment: Environment): void {
  for (const name of VARIABLE_NAMES) {
    const types = Object.fromEntries(Object.entries(FIELDS[name]).map(([field, { type }]) => [field, type]))
    environment.registerType(name, { ctor: BRANDS[name], fields: types })
    environment.registerVariable(name, name)
  }
}

/** A context as the library reads it: made once for each request, for any number of conditions. */
export type PreparedContext = Readonly<Record<VariableName, object>>

/** The context must not change afterwards. */
export const prepareContext = (context: DecisionContext): PreparedContext => ({
  principal: new BRANDS.principal(context.principal),
  role: new BRANDS.role(context.role),
  request: new BRANDS.request(context.request),
  approval: new BRANDS.approval(context.approval),
  leases: new BRANDS.leases(context.leases),
})
