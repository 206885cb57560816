import { BrokerError } from '../../lib/errors.ts'
import type { Checked, Spec } from '../engine.ts'
import { given, textField } from '../fields.ts'
import { NO_PASSWORD_WARNING, sharedRoleFields, statementsIn } from '../role-fields.ts'
import { type Statement, usesSlot } from '../sql-token.ts'
import { POLICY_UNUSED_WARNING } from '../target-fields.ts'
import { checkStatements, parseStatements, sendsPlainPassword } from './statements.ts'
import type { Target } from './target.ts'

/** A role's spec together with its target's: what making and ending one account needs. */
export type Plan = {
  memberOf: readonly string[]
  creation: readonly Statement[]
  renewal: readonly Statement[]
  revocation: readonly Statement[]
  connectionLimit: number
}

const PLAIN_PASSWORD_WARNING =
  "creation_statements send {{password}} as it is, which the server may write to its logs; IDENTIFIED BY '{{password}}' is sent as a hash"

export function checkRole(fields: Spec): Checked {
  const { spec: shared, creation } = sharedRoleFields(fields, checkStatements, checkMemberOf)
  const spec = given({ ...shared, host: checkHost(textField(fields, 'host')) })
  const warnings: string[] = []
  if (creation.length > 0 && !usesSlot(creation, ['password'])) warnings.push(NO_PASSWORD_WARNING)
  if (sendsPlainPassword(creation)) warnings.push(PLAIN_PASSWORD_WARNING)
  if ((spec.credential_config as Spec | undefined)?.password_policy !== undefined) {
    warnings.push(POLICY_UNUSED_WARNING)
  }
  return { spec, warnings }
}

/** MariaDB's limit; MySQL's is 255, and no host needs it. */
const MAX_HOST_LENGTH = 60
const MAX_GROUP_LENGTH = 80

/** A name, an address, one with wildcards, or a network; in small letters, as servers keep it. */
function checkHost(host: string | undefined): string | undefined {
  if (host === undefined) return undefined
  if (host.length > MAX_HOST_LENGTH || !/^[A-Za-z0-9_.:%/-]+$/.test(host) || host.includes('--')) {
    throw new BrokerError(
      'invalid_request',
      'host must be a name, an address or a pattern such as 10.1.% or %.example.com, of at most 60 characters',
    )
  }
  return host.toLowerCase()
}

function checkMemberOf(groups: string[] | undefined): string[] | undefined {
  if (groups === undefined || groups.length === 0) return undefined
  const tooLong = groups.find((group) => group.length > MAX_GROUP_LENGTH)
  if (tooLong === undefined) return [...new Set(groups)]
  throw new BrokerError(
    'invalid_request',
    `member_of: ${JSON.stringify(tooLong)} is longer than a name can be`,
  )
}

export function readPlan(role: Spec, target: Target): Plan {
  const statements = (name: string): Statement[] => statementsIn(role, name, parseStatements)
  return {
    memberOf: (role.member_of as string[] | undefined) ?? [],
    creation: statements('creation_statements'),
    renewal: statements('renew_statements'),
    revocation: statements('revocation_statements'),
    connectionLimit: (role.connection_limit as number | undefined) ?? target.connectionLimit,
  }
}
