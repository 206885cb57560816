import type { Db, Ledger } from '../ledger/db.ts'
import type { Document } from '../ledger/documents.ts'
import {
  findTokenRole,
  listTokenRoleNames,
  lockTokenRole,
  putTokenRole,
  removeTokenRole,
} from '../ledger/token-roles.ts'
import { BrokerError } from '../lib/errors.ts'
import { tidyPolicies } from '../policy/policy-names.ts'
import { isCidr } from './cidr.ts'

/** How tokens made under a role must be. Times in seconds, 0 for none. */
export type TokenRole = {
  allowedPolicies: string[]
  allowedPoliciesGlob: string[]
  disallowedPolicies: string[]
  disallowedPoliciesGlob: string[]
  orphan: boolean
  renewable: boolean
  pathSuffix: string
  tokenPeriod: number
  tokenExplicitMaxTtl: number
  tokenBoundCidrs: string[]
  tokenNumUses: number
  tokenNoDefaultPolicy: boolean
  /** `default-…` lets the request choose. */
  tokenType: 'default-service' | 'default-batch' | 'service' | 'batch'
}

export type TokenRoles = {
  list(): Promise<string[]>
  read(name: string): Promise<TokenRole | undefined>
  /** Fields left out keep their value. Throws the dialect's refusal when the whole would make no sense. */
  write(name: string, changes: Partial<TokenRole>): Promise<void>
  remove(name: string): Promise<void>
}

const NEW_ROLE: TokenRole = {
  allowedPolicies: [],
  allowedPoliciesGlob: [],
  disallowedPolicies: [],
  disallowedPoliciesGlob: [],
  orphan: false,
  renewable: true,
  pathSuffix: '',
  tokenPeriod: 0,
  tokenExplicitMaxTtl: 0,
  tokenBoundCidrs: [],
  tokenNumUses: 0,
  tokenNoDefaultPolicy: false,
  tokenType: 'default-service',
}

/** A name inside a path: no dots at its ends, so that no `..` gets into a token's path. */
const PATH_SUFFIX = /^\w[\w.-]*\w$/

export function tokenRoles(ledger: Ledger): TokenRoles {
  return {
    list: () => listTokenRoleNames(ledger),
    read: (name) => readTokenRole(ledger, name),
    write: (name, changes) =>
      ledger.transaction(async (db) => {
        const before = await lockTokenRole(db, name)
        await putTokenRole(db, name, checkedRole({ ...fromDocument(before), ...changes }))
      }),
    remove: async (name) => {
      await removeTokenRole(ledger, name)
    },
  }
}

export async function readTokenRole(db: Db, name: string): Promise<TokenRole | undefined> {
  const spec = await findTokenRole(db, name)
  return spec && fromDocument(spec)
}

/** Only `write` makes these documents; the defaults fill in what a newer version has added since. */
const fromDocument = (spec: Document | undefined): TokenRole => ({
  ...NEW_ROLE,
  ...(spec as Partial<TokenRole>),
})

function checkedRole(role: TokenRole): TokenRole {
  const unreadable = role.tokenBoundCidrs.find((block) => !isCidr(block))
  if (unreadable !== undefined) {
    throw refused(`error parsing role fields: token_bound_cidrs: "${unreadable}" is no address or CIDR block`)
  }
  if (role.tokenNumUses < 0) throw refused(`error parsing role fields: 'token_num_uses' cannot be negative`)
  if (role.pathSuffix !== '' && !PATH_SUFFIX.test(role.pathSuffix)) {
    throw refused(`given role path suffix contains invalid characters; must match ${PATH_SUFFIX.source}`)
  }
  if (role.pathSuffix.includes('..')) {
    throw refused('error registering path suffix: path cannot contain parent references')
  }
  if (role.tokenType === 'batch') refuseForBatch(role)
  return {
    ...role,
    allowedPolicies: tidyPolicies(role.allowedPolicies),
    allowedPoliciesGlob: tidyPolicies(role.allowedPoliciesGlob),
    disallowedPolicies: lowerCased(role.disallowedPolicies),
    disallowedPoliciesGlob: lowerCased(role.disallowedPoliciesGlob),
  }
}

function refuseForBatch(role: TokenRole): void {
  const asked = !role.orphan
    ? 'non-orphan tokens'
    : role.tokenPeriod > 0
      ? 'periodic tokens'
      : role.renewable
        ? 'renewable tokens'
        : role.tokenExplicitMaxTtl > 0
          ? 'tokens with an explicit max TTL'
          : undefined
  if (asked) throw refused(`'token_type' cannot be 'batch' when role is set to generate ${asked}`)
}

const lowerCased = (names: readonly string[]): string[] =>
  [...new Set(names.map((name) => name.trim().toLowerCase()))].sort()

const refused = (message: string): BrokerError => new BrokerError('invalid_request', message)
