import type { KeyObject } from 'node:crypto'
import { type CompactJWSHeaderParameters, compactVerify, decodeProtectedHeader, errors } from 'jose'
import { type Claims, type Identity, identityOf } from './claims.ts'
import type { JwtConfig } from './config.ts'
import type { KeySource } from './key-source.ts'
import { readClaims } from './payload.ts'
import { LoginRefused, MAX_TOKEN_BYTES } from './refusal.ts'
import type { JwtRole } from './role.ts'
import { checkTimes } from './times.ts'
import { ALGORITHMS } from './verification-keys.ts'

export type LoginAttempt = {
  config: JwtConfig
  keys: KeySource
  role: JwtRole
  roleName: string
  jwt: string
  now: Date
}

/**
 * Who a token speaks of, once everything about it is proved. Throws `LoginRefused` with the exact reason, also when
 * the issuer's keys cannot be had. `expiresAt` is the end of the token itself, before any skew.
 */
export async function verifyLogin(attempt: LoginAttempt): Promise<Identity & { expiresAt: Date }> {
  const { config, keys, role, roleName, jwt, now } = attempt
  if (role.role_type === 'oidc') throw new LoginRefused('oidc_role')
  if (jwt === '') throw new LoginRefused('missing_token')
  if (jwt.length > MAX_TOKEN_BYTES) throw new LoginRefused('token_too_large')
  const claims = readClaims(await verifiedPayload(jwt, keys, config.jwt_supported_algs))
  // What an issuer says of somebody is not said by them, whoever else it may be sent to.
  if (isSecurityEvent(decodeProtectedHeader(jwt).typ)) throw new LoginRefused('malformed_token', 'typ')
  checkParties(claims, config, role)
  const expiresAt = checkTimes(claims, role, now)
  if (role.bound_audiences.length === 0 && audienceOf(claims).length > 0) {
    throw new LoginRefused('unbound_audience')
  }
  return { ...identityOf(claims, role, roleName), expiresAt }
}

/** Whether the type in the header of a token is that of Security Event Tokens (RFC 8417). */
export const isSecurityEvent = (type: unknown): boolean =>
  typeof type === 'string' && /^(application\/)?secevent\+jwt$/i.test(type)

/**
 * The bytes a key of the issuer has signed; `supported` as in the configuration. The algorithm is checked before any
 * key is looked for. Throws `LoginRefused`.
 */
export async function verifiedPayload(
  jwt: string,
  keys: KeySource,
  supported: readonly string[],
): Promise<Uint8Array> {
  const options = { algorithms: [...(supported.length > 0 ? supported : ALGORITHMS)] }
  let candidates: readonly KeyObject[] = []
  const find = async (header: CompactJWSHeaderParameters | undefined): Promise<KeyObject> => {
    candidates = await candidatesFor(header, keys)
    return candidates[0] as KeyObject
  }
  for (let i = 0; ; i++) {
    try {
      // jose has read the header by the time it calls `find`; only a second key makes it read the token twice.
      const key = candidates[i]
      const { payload } = await (key === undefined
        ? compactVerify(jwt, find, options)
        : compactVerify(jwt, key, options))
      return payload
    } catch (error) {
      const isLast = i + 1 >= candidates.length
      if (!(error instanceof errors.JWSSignatureVerificationFailed) || isLast) throw refusalFor(error)
    }
  }
}

async function candidatesFor(header: CompactJWSHeaderParameters | undefined, keys: KeySource) {
  const { alg, kid, crit }: { alg?: unknown; kid?: unknown; crit?: unknown } = header ?? {}
  // An extension the issuer calls critical is one we would have to honour, and RFC 7519 knows none.
  if (crit !== undefined || typeof alg !== 'string' || (kid !== undefined && typeof kid !== 'string')) {
    throw new LoginRefused('malformed_token', 'header')
  }
  const candidates = await keys.find({ alg, kid })
  if (candidates.length === 0) throw new LoginRefused('unknown_key')
  return candidates
}

/** What jose found wrong, as a reason of ours. What is not about the token stays as it is: a fault to look into. */
function refusalFor(error: unknown): unknown {
  if (error instanceof errors.JWSSignatureVerificationFailed) return new LoginRefused('bad_signature')
  if (error instanceof errors.JOSEAlgNotAllowed) return new LoginRefused('algorithm_not_allowed')
  if (error instanceof errors.JWSInvalid || error instanceof errors.JOSENotSupported) {
    return new LoginRefused('malformed_token', 'signature', { cause: error })
  }
  return error
}

/**
 * Checks who issued the token, about whom and for whom. Keys found by discovery belong to one issuer, so its name is
 * expected even where the mount binds none. Throws `LoginRefused`.
 */
export function checkParties(claims: Claims, config: JwtConfig, role: JwtRole): void {
  const issuer = config.bound_issuer || config.oidc_discovery_url
  if (issuer !== '' && claims.iss !== issuer) throw new LoginRefused('wrong_issuer')
  if (role.bound_subject !== '' && claims.sub !== role.bound_subject) throw new LoginRefused('wrong_subject')
  const bound = role.bound_audiences
  if (bound.length > 0 && !audienceOf(claims).some((name) => bound.includes(name))) {
    throw new LoginRefused('wrong_audience')
  }
}

function audienceOf({ aud }: Claims): string[] {
  const audience: unknown = aud ?? []
  const list: unknown[] = Array.isArray(audience) ? audience : [audience]
  if (!list.every((name) => typeof name === 'string')) throw new LoginRefused('malformed_token', 'aud')
  return list
}
