import {
  flagField,
  listField,
  mapField,
  refused,
  secondsField,
  textField,
  type WireFields,
} from './fields.ts'

/** What a token must be like to log in under a role, as the wire names it and as it is stored. */
export type JwtRole = {
  role_type: 'jwt' | 'oidc'
  user_claim: string
  user_claim_json_pointer: boolean
  bound_audiences: string[]
  bound_subject: string
  bound_claims: Record<string, unknown>
  bound_claims_type: 'string' | 'glob'
  claim_mappings: Record<string, string>
  groups_claim: string
  /** Seconds. 0 stands for the dialect's default, anything below for none. */
  expiration_leeway: number
  not_before_leeway: number
  clock_skew_leeway: number
  /** Seconds since the person last proved who they are; 0 for any. Only the OIDC login looks at it. */
  max_age: number
  allowed_redirect_uris: string[]
  oidc_scopes: string[]
  verbose_oidc_logging: boolean
}

type RoleContext = {
  mountType: 'jwt' | 'oidc'
  /** The role as it was: a field that was not sent keeps its value. */
  before?: JwtRole | undefined
  /** Whether the role also has `token_bound_cidrs`, which counts as a bound constraint. */
  hasBoundCidrs?: boolean
}

/** It is part of what the ledger knows a principal by, beside the subject, and both have to fit its index. */
const MAX_USER_CLAIM_BYTES = 256
const RESERVED_METADATA = 'role'
const OFF = -1

/** The document to store for what was sent, `token_*` fields apart. Throws the dialect's refusal. */
export function checkJwtRole(fields: WireFields, context: RoleContext): JwtRole {
  const role = merged(fields, context.before ?? newRole(context.mountType))
  if (role.user_claim === '') throw refused('a user claim must be defined on the role')
  if (Buffer.byteLength(role.user_claim) > MAX_USER_CLAIM_BYTES) {
    throw refused(`'user_claim' cannot be over ${MAX_USER_CLAIM_BYTES} bytes`)
  }
  checkBoundClaims(role)
  checkMappings(role.claim_mappings)
  if (role.role_type === 'oidc') {
    if (role.allowed_redirect_uris.length > 0) return role
    throw refused("'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.")
  }
  const bound =
    role.bound_audiences.length > 0 ||
    role.bound_subject !== '' ||
    Object.keys(role.bound_claims).length > 0 ||
    context.hasBoundCidrs === true
  if (bound) return role
  throw refused('must have at least one bound constraint when creating/updating a role')
}

const newRole = (role_type: JwtRole['role_type']): JwtRole => ({
  role_type,
  user_claim: '',
  user_claim_json_pointer: false,
  bound_audiences: [],
  bound_subject: '',
  bound_claims: {},
  bound_claims_type: 'string',
  claim_mappings: {},
  groups_claim: '',
  expiration_leeway: 0,
  not_before_leeway: 0,
  clock_skew_leeway: 0,
  max_age: 0,
  allowed_redirect_uris: [],
  oidc_scopes: [],
  verbose_oidc_logging: false,
})

type Sent = { [Name in keyof JwtRole]: JwtRole[Name] | undefined }

function merged(fields: WireFields, before: JwtRole): JwtRole {
  const sent: Sent = {
    role_type: oneOf(fields, 'role_type', ['jwt', 'oidc']),
    user_claim: textField(fields, 'user_claim'),
    user_claim_json_pointer: flagField(fields, 'user_claim_json_pointer'),
    bound_audiences: listField(fields, 'bound_audiences'),
    bound_subject: textField(fields, 'bound_subject'),
    bound_claims: mapField(fields, 'bound_claims'),
    bound_claims_type: oneOf(fields, 'bound_claims_type', ['string', 'glob']),
    claim_mappings: textMap(fields, 'claim_mappings'),
    groups_claim: textField(fields, 'groups_claim'),
    expiration_leeway: secondsField(fields, 'expiration_leeway', OFF),
    not_before_leeway: secondsField(fields, 'not_before_leeway', OFF),
    clock_skew_leeway: secondsField(fields, 'clock_skew_leeway', OFF),
    max_age: secondsField(fields, 'max_age', 0),
    allowed_redirect_uris: listField(fields, 'allowed_redirect_uris'),
    oidc_scopes: listField(fields, 'oidc_scopes'),
    verbose_oidc_logging: flagField(fields, 'verbose_oidc_logging'),
  }
  const given = Object.entries(sent).filter(([, value]) => value !== undefined)
  return { ...before, ...(Object.fromEntries(given) as Partial<JwtRole>) }
}

/** An empty text is the same as none: Vault's own defaults show as such. */
function oneOf<const T extends string>(
  fields: WireFields,
  name: string,
  values: readonly T[],
): T | undefined {
  const text = textField(fields, name) ?? ''
  const value = values.find((candidate) => candidate === text)
  if (value === undefined && text !== '') throw refused(`invalid '${name}': ${text}`)
  return value
}

function textMap(fields: WireFields, name: string): Record<string, string> | undefined {
  const map = mapField(fields, name)
  return map && Object.fromEntries(Object.keys(map).map((key) => [key, textField(map, key) ?? '']))
}

function checkBoundClaims({ bound_claims: bound, bound_claims_type: type }: JwtRole): void {
  for (const [claim, value] of Object.entries(bound)) {
    const named = JSON.stringify(claim)
    const values: unknown[] = Array.isArray(value) ? value : [value]
    if (type === 'glob' && !values.every((item) => typeof item === 'string')) {
      throw refused(`claim is not a string or a list of strings: ${named}`)
    }
    if (!values.every(isComparable)) {
      throw refused(`bound claim is not a string, bool, int or list: ${named}`)
    }
  }
}

/** Numbers beyond 2^53 are refused: two of them may read as the same, and one token would pass for the other. */
const isComparable = (value: unknown): boolean =>
  (typeof value === 'string' && !value.includes('\0')) ||
  typeof value === 'boolean' ||
  (typeof value === 'number' && Math.abs(value) <= Number.MAX_SAFE_INTEGER)

function checkMappings(mappings: Readonly<Record<string, string>>): void {
  const targets = new Set<string>()
  for (const target of Object.values(mappings)) {
    const named = JSON.stringify(target)
    if (target === RESERVED_METADATA) {
      throw refused(`metadata key ${named} is reserved and may not be a mapping destination`)
    }
    if (targets.has(target)) throw refused(`multiple keys are mapped to metadata key ${named}`)
    targets.add(target)
  }
}
