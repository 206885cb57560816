import type { TokenRole, TokenRoles } from '../identity/token-roles.ts'
import { BrokerError } from '../lib/errors.ts'
import { alias, bool, commaList, type Decoded, duration, type Fields, int, text } from './fields.ts'
import { handle, type Route } from './route.ts'

const ROLE_FIELDS = {
  allowed_policies: commaList,
  allowed_policies_glob: commaList,
  disallowed_policies: commaList,
  disallowed_policies_glob: commaList,
  orphan: bool,
  renewable: bool,
  path_suffix: text,
  token_period: alias(duration, 'period'),
  token_explicit_max_ttl: alias(duration, 'explicit_max_ttl'),
  token_bound_cidrs: alias(commaList, 'bound_cidrs'),
  token_num_uses: int,
  token_no_default_policy: bool,
  token_type: text,
} satisfies Fields

const NAMES = {
  allowed_policies: 'allowedPolicies',
  allowed_policies_glob: 'allowedPoliciesGlob',
  disallowed_policies: 'disallowedPolicies',
  disallowed_policies_glob: 'disallowedPoliciesGlob',
  orphan: 'orphan',
  renewable: 'renewable',
  path_suffix: 'pathSuffix',
  token_period: 'tokenPeriod',
  token_explicit_max_ttl: 'tokenExplicitMaxTtl',
  token_bound_cidrs: 'tokenBoundCidrs',
  token_num_uses: 'tokenNumUses',
  token_no_default_policy: 'tokenNoDefaultPolicy',
  token_type: 'tokenType',
} as const satisfies Record<keyof typeof ROLE_FIELDS, keyof TokenRole>

/** `auth/token/roles`, relative to `auth/token/`. */
export const tokenRoleRoutes = (roles: TokenRoles): Route[] => [
  { path: 'roles', on: { list: handle({}, async () => ({ data: { keys: await roles.list() } })) } },
  {
    path: 'roles/:role_name',
    on: {
      read: handle({}, async ({ capture }) => {
        const role = await roles.read(capture('role_name'))
        return role && { data: shownRole(capture('role_name'), role) }
      }),
      update: handle(ROLE_FIELDS, async ({ capture, fields }) => {
        await roles.write(capture('role_name'), changesOf(fields))
        return undefined
      }),
      delete: handle({}, async ({ capture }) => {
        await roles.remove(capture('role_name'))
        return undefined
      }),
    },
  },
]

const TOKEN_TYPES: readonly string[] = ['default-service', 'default-batch', 'service', 'batch']

function changesOf(fields: Decoded<typeof ROLE_FIELDS>): Partial<TokenRole> {
  if (fields.token_type !== undefined && !TOKEN_TYPES.includes(fields.token_type)) {
    throw new BrokerError('invalid_request', `invalid 'token_type' value "${fields.token_type}"`)
  }
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [NAMES[name as keyof typeof NAMES], value]),
  )
}

/** Under the fields' names, and the older names of those that have one. */
function shownRole(name: string, role: TokenRole): Record<string, unknown> {
  const fields = Object.entries(NAMES).map(([wire, key]) => [wire, role[key]])
  return {
    ...Object.fromEntries(fields),
    name,
    period: role.tokenPeriod,
    explicit_max_ttl: role.tokenExplicitMaxTtl,
    allowed_entity_aliases: [],
  }
}
