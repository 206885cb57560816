import { BrokerError } from '../../lib/errors.ts'
import type { Checked, Spec } from '../engine.ts'
import { booleanField, given, listField, mapField, textField, wholeField } from '../fields.ts'
import { checkStatements, grantsObjects, parseStatements, type Statement, usesSlot } from './statements.ts'
import {
  CONNECTION_LIMIT_RANGE,
  ITERATIONS_RANGE,
  POLICY_UNUSED_WARNING,
  refuseWeakPolicy,
  type Target,
} from './target.ts'

/** A role's spec together with its target's: what making and ending one account needs. */
export type Plan = {
  memberOf: readonly string[]
  creation: readonly Statement[]
  renewal: readonly Statement[]
  revocation: readonly Statement[]
  /** Who gets what the account leaves behind; undefined for the role we make for that. */
  owner: string | undefined
  scramIterations: number
  connectionLimit: number
}

const OWN_GRANTS_WARNING =
  'creation_statements grant objects to the account itself: each lease then adds an entry to the access list of every object, ' +
  'until PostgreSQL refuses the row as too big ("row is too big") and nobody gets access. Grant the objects once to a group role ' +
  'and name it in member_of.'

export function checkRole(fields: Spec): Checked {
  const type = textField(fields, 'credential_type')
  if (type !== undefined && type !== 'password') {
    throw new BrokerError('invalid_request', `unsupported credential_type: ${JSON.stringify(type)}`)
  }
  const memberOf = checkMemberOf(listField(fields, 'member_of'))
  const creation = checkedStatements(fields, 'creation_statements')
  if (memberOf === undefined && creation.length === 0) {
    throw new BrokerError('invalid_request', 'empty creation statements')
  }
  refuseSlots(fields, 'revocation_statements', ['password', 'expiration'])
  refuseSlots(fields, 'renew_statements', ['password'])
  refuseSlots(fields, 'rollback_statements', ['password', 'expiration'])
  const config = mapField(fields, 'credential_config')
  const spec = given({
    creation_statements: listField(fields, 'creation_statements'),
    revocation_statements: listField(fields, 'revocation_statements'),
    renew_statements: listField(fields, 'renew_statements'),
    rollback_statements: listField(fields, 'rollback_statements'),
    credential_type: type,
    credential_config: config,
    member_of: memberOf,
    owner: textField(fields, 'owner'),
    scram_iterations: wholeField(fields, 'scram_iterations', ITERATIONS_RANGE),
    connection_limit: wholeField(fields, 'connection_limit', CONNECTION_LIMIT_RANGE),
    condition: textField(fields, 'condition'),
    labels: mapField(fields, 'labels'),
    environment: textField(fields, 'environment'),
    lease_outlives_token: booleanField(fields, 'lease_outlives_token'),
    recheck_on_renew: booleanField(fields, 'recheck_on_renew'),
  })
  const policy = config?.password_policy
  refuseWeakPolicy(given({ password_policy: policy, scram_iterations: spec.scram_iterations }))
  return { spec, warnings: warningsFor(creation, policy) }
}

function warningsFor(creation: readonly Statement[], policy: unknown): string[] {
  const warnings: string[] = []
  if (grantsObjects(creation)) warnings.push(OWN_GRANTS_WARNING)
  if (creation.length > 0 && !usesSlot(creation, ['password'])) {
    warnings.push(
      'creation_statements never use {{password}}: the password that is handed out will not log in',
    )
  }
  if (policy !== undefined) warnings.push(POLICY_UNUSED_WARNING)
  return warnings
}

const checkedStatements = (fields: Spec, name: string): Statement[] =>
  checkStatements(name, listField(fields, name) ?? [])

function refuseSlots(fields: Spec, name: string, slots: string[]): void {
  const statements = checkedStatements(fields, name)
  for (const slot of slots) {
    if (usesSlot(statements, [slot])) {
      throw new BrokerError('invalid_request', `${name}: the slot {{${slot}}} has no value here`)
    }
  }
}

/** PostgreSQL cuts longer names off without a word. */
const MAX_NAME_BYTES = 63

function checkMemberOf(groups: string[] | undefined): string[] | undefined {
  if (groups === undefined || groups.length === 0) return undefined
  for (const group of groups) {
    if (Buffer.byteLength(group) > MAX_NAME_BYTES) {
      throw new BrokerError(
        'invalid_request',
        `member_of: ${JSON.stringify(group)} is longer than a name can be`,
      )
    }
  }
  return [...new Set(groups)]
}

export function readPlan(role: Spec, target: Target): Plan {
  const statements = (name: string): Statement[] =>
    parseStatements((role[name] as string[] | undefined) ?? [])
  return {
    memberOf: (role.member_of as string[] | undefined) ?? [],
    creation: statements('creation_statements'),
    renewal: statements('renew_statements'),
    revocation: statements('revocation_statements'),
    owner: (role.owner as string | undefined) ?? target.owner,
    scramIterations: (role.scram_iterations as number | undefined) ?? target.scramIterations,
    connectionLimit: (role.connection_limit as number | undefined) ?? target.connectionLimit,
  }
}
