import { matchesAny } from '../../lib/glob.ts'
import { isObject } from './fields.ts'
import { LoginRefused } from './refusal.ts'
import type { JwtRole } from './role.ts'

/** A token's payload, as its issuer wrote it. */
export type Claims = Readonly<Record<string, unknown>>

/** Who a checked token speaks of. */
export type Identity = {
  /** The value of the role's user claim: the same text of the same claim on the same mount is the same principal. */
  subject: string
  /** That claim, as a JSON pointer; left out for `sub`. */
  subjectClaim?: string
  /** `role`, and the claims the role maps. */
  metadata: Record<string, string>
  groups: string[]
  /** The payload without what binds it to one exchange (nonce, hashes of codes and tokens, session id). */
  claims: Record<string, unknown>
  /** When and how a person proved who they are, if the issuer says so; `authTime` in seconds since 1970. */
  authTime?: number
  amr?: string[]
  acr?: string
}

const BOUND_TO_ONE_EXCHANGE = ['nonce', 'at_hash', 'c_hash', 's_hash', 'sid']
/** Longer ones do not fit the ledger's indexes. */
const MAX_SUBJECT_BYTES = 1_024

/**
 * Reads a checked payload the way the role says. Throws `LoginRefused` when a claim it needs is missing or has
 * another value. The signature, times, issuer, subject and audience must have been checked before.
 */
export function identityOf(claims: Claims, role: JwtRole, roleName: string): Identity {
  const identity: Identity = {
    subject: subjectOf(claims, role),
    ...subjectClaimOf(role),
    metadata: metadataOf(claims, role, roleName),
    groups: groupsOf(claims, role.groups_claim),
    claims: Object.fromEntries(
      Object.entries(claims).filter(([name]) => !BOUND_TO_ONE_EXCHANGE.includes(name)),
    ),
    ...authenticationOf(claims),
  }
  checkBoundClaims(claims, role)
  return identity
}

const stepsOf = (name: string): string[] =>
  name.startsWith('/') ? name.slice(1).split('/').map(unescaped) : [name]

/**
 * A claim by its name, or by JSON pointer when the name starts with a slash. Undefined when absent or null. Only own
 * members count: `constructor` is no claim.
 */
function claimAt(claims: Claims, name: string): unknown {
  const steps = stepsOf(name)
  let at: unknown = claims
  for (const step of steps) {
    if (Array.isArray(at)) at = /^(0|[1-9]\d{0,5})$/.test(step) ? at[Number(step)] : undefined
    else at = isObject(at) && Object.hasOwn(at, step) ? at[step] : undefined
  }
  return at ?? undefined
}

const unescaped = (step: string): string => step.replaceAll('~1', '/').replaceAll('~0', '~')
const escaped = (step: string): string => step.replaceAll('~', '~0').replaceAll('/', '~1')

/** Issuers write a list of one as the bare value. Undefined for what is neither. */
function listOf(value: unknown): unknown[] | undefined {
  if (Array.isArray(value)) return value
  return ['string', 'boolean', 'number'].includes(typeof value) ? [value] : undefined
}

function subjectOf(
  claims: Claims,
  { user_claim: name, user_claim_json_pointer: isPointer }: JwtRole,
): string {
  const plain = Object.hasOwn(claims, name) ? (claims[name] ?? undefined) : undefined
  const value = isPointer ? claimAt(claims, name) : plain
  if (value === undefined) throw new LoginRefused('user_claim_missing', name)
  if (typeof value !== 'string' || value === '' || Buffer.byteLength(value) > MAX_SUBJECT_BYTES) {
    throw new LoginRefused('user_claim_unusable', name)
  }
  return value
}

/** One claim has one name here, however the role writes it. */
function subjectClaimOf({
  user_claim: name,
  user_claim_json_pointer: isPointer,
}: JwtRole): Pick<Identity, 'subjectClaim'> {
  const steps = isPointer ? stepsOf(name) : [name]
  const pointer = steps.map((step) => `/${escaped(step)}`).join('')
  return pointer === '/sub' ? {} : { subjectClaim: pointer }
}

function metadataOf(claims: Claims, role: JwtRole, roleName: string): Record<string, string> {
  const metadata: [string, string][] = [['role', roleName]]
  for (const [claim, key] of Object.entries(role.claim_mappings)) {
    const value = claimAt(claims, claim)
    if (value === undefined) continue
    if (typeof value !== 'string') throw new LoginRefused('mapped_claim_unusable', claim)
    metadata.push([key, value])
  }
  return Object.fromEntries(metadata)
}

function groupsOf(claims: Claims, name: string): string[] {
  if (name === '') return []
  const value = claimAt(claims, name)
  if (value === undefined) throw new LoginRefused('groups_claim_missing', name)
  const groups = listOf(value)
  if (!groups?.every((group) => typeof group === 'string')) {
    throw new LoginRefused('groups_claim_unusable', name)
  }
  return [...new Set(groups)].filter((group) => group !== '')
}

/** Every bound claim must be there; of the values on either side, one must meet one of the other. */
function checkBoundClaims(claims: Claims, role: JwtRole): void {
  const meets = role.bound_claims_type === 'glob' ? meetsGlob : meetsExactly
  for (const [name, bound] of Object.entries(role.bound_claims)) {
    const value = claimAt(claims, name)
    if (value === undefined) throw new LoginRefused('bound_claim_missing', name)
    const actual = listOf(value) ?? []
    const wanted = listOf(bound) ?? []
    if (!wanted.some((want) => actual.some((item) => meets(want, item)))) {
      throw new LoginRefused('bound_claim_mismatch', name)
    }
  }
}

const meetsGlob = (want: unknown, item: unknown): boolean =>
  typeof want === 'string' && typeof item === 'string' && matchesAny([want], item)

/** Beyond 2^53 two different numbers may read as one, so none of them matches. */
const meetsExactly = (want: unknown, item: unknown): boolean =>
  want === item && (typeof item !== 'number' || Math.abs(item) <= Number.MAX_SAFE_INTEGER)

function authenticationOf(claims: Claims): Pick<Identity, 'authTime' | 'amr' | 'acr'> {
  const { auth_time: authTime, amr, acr } = claims
  return {
    ...(typeof authTime === 'number' ? { authTime } : {}),
    ...(Array.isArray(amr) ? { amr: amr.filter((method) => typeof method === 'string') } : {}),
    ...(typeof acr === 'string' ? { acr } : {}),
  }
}
