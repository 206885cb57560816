import { BrokerError } from '../lib/errors.ts'
import type { Spec } from './engine.ts'
import { booleanField, listField, mapField, textField, wholeField } from './fields.ts'
import { type Statement, usesSlot } from './sql-token.ts'
import { CONNECTION_LIMIT_RANGE } from './target-fields.ts'

/** What roles of every kind of database have in common. */

/** Checks the text of a role's own SQL, in the dialect of its kind; throws a `BrokerError` that names the field. */
export type CheckStatements = (field: string, sources: readonly string[]) => Statement[]

export type SharedRole = { spec: Record<string, unknown>; creation: Statement[] }

/** `checkMemberOf` throws a `BrokerError` when no group of the target can have one of these names; none for none. */
export function sharedRoleFields(
  fields: Spec,
  checkStatements: CheckStatements,
  checkMemberOf: (groups: string[] | undefined) => string[] | undefined,
): SharedRole {
  const type = textField(fields, 'credential_type')
  if (type !== undefined && type !== 'password') {
    throw new BrokerError('invalid_request', `unsupported credential_type: ${JSON.stringify(type)}`)
  }
  const memberOf = checkMemberOf(listField(fields, 'member_of'))
  const statementsOf = (name: string): Statement[] => checkStatements(name, listField(fields, name) ?? [])
  const creation = statementsOf('creation_statements')
  if (memberOf === undefined && creation.length === 0) {
    throw new BrokerError('invalid_request', 'empty creation statements')
  }
  for (const [name, slots] of Object.entries(SLOTS_WITHOUT_VALUE)) {
    refuseSlots(name, statementsOf(name), slots)
  }
  return {
    creation,
    spec: {
      creation_statements: listField(fields, 'creation_statements'),
      revocation_statements: listField(fields, 'revocation_statements'),
      renew_statements: listField(fields, 'renew_statements'),
      rollback_statements: listField(fields, 'rollback_statements'),
      credential_type: type,
      credential_config: mapField(fields, 'credential_config'),
      member_of: memberOf,
      connection_limit: wholeField(fields, 'connection_limit', CONNECTION_LIMIT_RANGE),
      condition: textField(fields, 'condition'),
      labels: mapField(fields, 'labels'),
      environment: textField(fields, 'environment'),
      lease_outlives_token: booleanField(fields, 'lease_outlives_token'),
      recheck_on_renew: booleanField(fields, 'recheck_on_renew'),
    },
  }
}

const SLOTS_WITHOUT_VALUE = {
  revocation_statements: ['password', 'expiration'],
  renew_statements: ['password'],
  rollback_statements: ['password', 'expiration'],
}

function refuseSlots(name: string, statements: readonly Statement[], slots: readonly string[]): void {
  for (const slot of slots) {
    if (usesSlot(statements, [slot])) {
      throw new BrokerError('invalid_request', `${name}: the slot {{${slot}}} has no value here`)
    }
  }
}

export const NO_PASSWORD_WARNING =
  'creation_statements never use {{password}}: the password that is handed out will not log in'

/** The statements of a stored role's field. */
export const statementsIn = (
  role: Spec,
  name: string,
  parse: (sources: readonly string[]) => Statement[],
): Statement[] => parse((role[name] as string[] | undefined) ?? [])
