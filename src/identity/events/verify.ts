import { createHash } from 'node:crypto'
import { decodeProtectedHeader } from 'jose'
import type { Claims } from '../jwt/claims.ts'
import { eventIssuerOf, type JwtConfig } from '../jwt/config.ts'
import { isObject } from '../jwt/fields.ts'
import type { KeySource } from '../jwt/key-source.ts'
import { readClaims } from '../jwt/payload.ts'
import { LoginRefused, MAX_TOKEN_BYTES, type RefusalReason } from '../jwt/refusal.ts'
import { isSecurityEvent, verifiedPayload } from '../jwt/verify.ts'
import { type SetRefusal, SetRefused } from './refusal.ts'

/** A Security Event Token whose issuer has signed it for us, and just now. */
export type VerifiedSet = {
  /** SHA-256 of mount, issuer and `jti`, in hex. */
  id: string
  jti: string
  issuer: string
  issuedAt: Date
  /** From when on it would be too old. */
  forgetAt: Date
  /** At the top, or in each event: what it is about. */
  subject: unknown
  events: readonly { type: string; payload: Readonly<Record<string, unknown>> }[]
}

/** Transmitters try again for as long as we are away, and what they say is true still. */
const MAX_AGE_SECONDS = 7 * 86_400
/** The issuer's clock may be ahead of ours by so much. */
const SKEW_SECONDS = 60
const MAX_JTI_BYTES = 256
const MAX_EVENTS = 16
const MAX_TYPE_CHARACTERS = 256

/**
 * Checks everything that RFC 8417 and RFC 8935 ask of a recipient, the signature first. `exp` does not belong in such a
 * token and is no reason to refuse one while it has not passed. Throws `SetRefused`, or 503 when the issuer's keys
 * cannot be had, which is not its sender's fault.
 */
export async function verifySet(
  token: string,
  { mountId, config, keys, now }: { mountId: string; config: JwtConfig; keys: KeySource; now: Date },
): Promise<VerifiedSet> {
  if (token === '') throw new SetRefused('missing')
  if (token.length > MAX_TOKEN_BYTES) throw new SetRefused('too_large')
  checkType(token)
  const claims = await signedClaims(token, keys, config)
  const issuer = eventIssuerOf(config)
  if (claims.iss !== issuer) throw new SetRefused('wrong_issuer')
  if (!audienceOf(claims).some((name) => (config.event_audience as unknown[]).includes(name))) {
    throw new SetRefused('wrong_audience')
  }
  const { jti } = claims
  if (typeof jti !== 'string' || jti === '' || Buffer.byteLength(jti) > MAX_JTI_BYTES) {
    throw new SetRefused('no_jti')
  }
  const issuedAt = checkTimes(claims, now)
  return {
    id: createHash('sha256')
      .update(JSON.stringify([mountId, issuer, jti]))
      .digest('hex'),
    jti,
    issuer,
    issuedAt: new Date(issuedAt * 1_000),
    forgetAt: new Date((issuedAt + MAX_AGE_SECONDS + SKEW_SECONDS) * 1_000),
    subject: claims.sub_id,
    events: eventsOf(claims),
  }
}

/** Explicit, so that no token made for anything else, such as an id token, is ever an event. */
function checkType(token: string): void {
  let type: unknown
  try {
    type = decodeProtectedHeader(token).typ
  } catch (cause) {
    throw new SetRefused('malformed', { cause })
  }
  if (!isSecurityEvent(type)) throw new SetRefused('wrong_type')
}

const REASON: Partial<Record<RefusalReason, SetRefusal>> = {
  algorithm_not_allowed: 'algorithm',
  unknown_key: 'unknown_key',
  bad_signature: 'bad_signature',
  malformed_token: 'malformed',
}

async function signedClaims(token: string, keys: KeySource, config: JwtConfig): Promise<Claims> {
  try {
    return readClaims(await verifiedPayload(token, keys, config.jwt_supported_algs))
  } catch (error) {
    const reason = error instanceof LoginRefused ? REASON[error.reason] : undefined
    if (reason === undefined) throw error
    throw new SetRefused(reason, { cause: error })
  }
}

function audienceOf({ aud }: Claims): unknown[] {
  return Array.isArray(aud) ? aud : [aud]
}

/** Answers `iat`. */
function checkTimes({ iat, nbf, exp }: Claims, now: Date): number {
  const seconds = now.getTime() / 1_000
  if (typeof iat !== 'number' || !Number.isFinite(iat)) throw new SetRefused('no_iat')
  const starts = typeof nbf === 'number' ? Math.max(iat, nbf) : iat
  if (starts > seconds + SKEW_SECONDS) throw new SetRefused('in_future')
  if (iat < seconds - MAX_AGE_SECONDS) throw new SetRefused('too_old')
  if (exp !== undefined && !(typeof exp === 'number' && exp > seconds - SKEW_SECONDS)) {
    throw new SetRefused('expired')
  }
  return Math.trunc(iat)
}

function eventsOf({ events }: Claims): VerifiedSet['events'] {
  if (!isObject(events)) throw new SetRefused('no_events')
  const listed = Object.entries(events)
  if (listed.length === 0 || listed.length > MAX_EVENTS) throw new SetRefused('no_events')
  return listed.map(([type, payload]) => {
    if (!isObject(payload) || type.length > MAX_TYPE_CHARACTERS) throw new SetRefused('no_events')
    return { type, payload }
  })
}
