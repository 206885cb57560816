import { BrokerError } from '../../lib/errors.ts'
import type { Checked, Spec } from '../engine.ts'
import { given, textField, wholeField } from '../fields.ts'
import { NO_PASSWORD_WARNING, sharedRoleFields, statementsIn } from '../role-fields.ts'
import { type Statement, usesSlot } from '../sql-token.ts'
import { POLICY_UNUSED_WARNING } from '../target-fields.ts'
import { checkStatements, grantsObjects, parseStatements } from './statements.ts'
import { ITERATIONS_RANGE, refuseWeakPolicy, type Target } from './target.ts'

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
  const { spec: shared, creation } = sharedRoleFields(fields, checkStatements, checkMemberOf)
  const spec = given({
    ...shared,
    owner: textField(fields, 'owner'),
    scram_iterations: wholeField(fields, 'scram_iterations', ITERATIONS_RANGE),
  })
  const policy = (spec.credential_config as Spec | undefined)?.password_policy
  refuseWeakPolicy(given({ password_policy: policy, scram_iterations: spec.scram_iterations }))
  return { spec, warnings: warningsFor(creation, policy) }
}

function warningsFor(creation: readonly Statement[], policy: unknown): string[] {
  const warnings: string[] = []
  if (grantsObjects(creation)) warnings.push(OWN_GRANTS_WARNING)
  if (creation.length > 0 && !usesSlot(creation, ['password'])) {
    warnings.push(NO_PASSWORD_WARNING)
  }
  if (policy !== undefined) warnings.push(POLICY_UNUSED_WARNING)
  return warnings
}

/** PostgreSQL cuts longer names off without a word. */
const MAX_NAME_BYTES = 63

export function checkMemberOf(groups: string[] | undefined): string[] | undefined {
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
  const statements = (name: string): Statement[] => statementsIn(role, name, parseStatements)
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
