import { BrokerError } from '../lib/errors.ts'
import { tidyPolicies } from '../policy/policy-names.ts'
import { isCidr } from './cidr.ts'

/** What every role of an auth mount says of the tokens it gives: as the wire names it, and as it is stored. */
export type TokenFields = {
  /** Seconds; 0 for the mount's. */
  token_ttl: number
  token_max_ttl: number
  token_period: number
  token_explicit_max_ttl: number
  token_policies: string[]
  token_bound_cidrs: string[]
  /** 0 for any number. */
  token_num_uses: number
  token_no_default_policy: boolean
  token_type: 'default' | 'service' | 'batch'
}

const NEW: TokenFields = {
  token_ttl: 0,
  token_max_ttl: 0,
  token_period: 0,
  token_explicit_max_ttl: 0,
  token_policies: [],
  token_bound_cidrs: [],
  token_num_uses: 0,
  token_no_default_policy: false,
  token_type: 'default',
}

/** The fields of a role that are these, as it is stored or was sent. */
export const tokenFieldsOf = (spec: Readonly<Record<string, unknown>>): TokenFields => ({
  ...NEW,
  ...(Object.fromEntries(Object.keys(NEW).flatMap((name) => (name in spec ? [[name, spec[name]]] : []))) as
    | Partial<TokenFields>
    | undefined),
})

const MAX_USES = 1_000_000_000

/** Throws the dialect's refusal when the whole would make no sense. Fields not sent keep what they were. */
export function checkTokenFields(
  sent: Readonly<Record<string, unknown>>,
  before: Readonly<Record<string, unknown>> | undefined,
): TokenFields {
  const fields = tokenFieldsOf({ ...before, ...sent })
  if (fields.token_max_ttl > 0 && fields.token_ttl > fields.token_max_ttl) {
    throw refused("'token_ttl' cannot be greater than 'token_max_ttl'")
  }
  if (fields.token_num_uses < 0) throw refused("'token_num_uses' cannot be negative")
  if (fields.token_num_uses > MAX_USES) throw refused(`'token_num_uses' cannot be greater than ${MAX_USES}`)
  const unreadable = fields.token_bound_cidrs.find((block) => !isCidr(block))
  if (unreadable !== undefined) {
    throw refused(`token_bound_cidrs: "${unreadable}" is no address or CIDR block`)
  }
  if (!['default', 'service', 'batch'].includes(fields.token_type)) {
    throw refused(`invalid 'token_type' value "${fields.token_type}"`)
  }
  if (fields.token_type === 'batch' && (fields.token_num_uses > 0 || fields.token_period > 0)) {
    throw refused(
      "'token_type' cannot be 'batch' when set to generate tokens with limited use count or a period",
    )
  }
  const token_policies = tidyPolicies(fields.token_policies)
  // A role is writable by more people than hold root; what it gives must stay below it.
  if (token_policies.includes('root')) throw refused('auth methods cannot create root tokens')
  return { ...fields, token_policies }
}

const refused = (message: string): BrokerError => new BrokerError('invalid_request', message)
