import type { Claims } from './claims.ts'
import { LoginRefused } from './refusal.ts'
import type { JwtRole } from './role.ts'

const DEFAULT_LEEWAY_SECONDS = 150
const DEFAULT_SKEW_SECONDS = 60
/** The end of the year 9999: later ends are beyond what `Date` and PostgreSQL agree on. */
const LAST_SECOND = 253_402_300_799

/**
 * Checks `exp`, `nbf` and `iat` the dialect's way and returns when the token ends. One of the three must be there.
 * The skew is allowed on all of them; the two other leeways only stand in for a claim that is missing: a token
 * without `exp` ends that long after its start, one without start begins that long before its end.
 */
export function checkTimes(claims: Claims, role: JwtRole, now: Date): Date {
  const issuedAt = secondsOf(claims, 'iat')
  const statedStart = secondsOf(claims, 'nbf')
  const statedEnd = secondsOf(claims, 'exp')
  if (issuedAt === 0 && statedStart === 0 && statedEnd === 0) throw new LoginRefused('no_time_claims')

  const end =
    statedEnd || Math.max(issuedAt, statedStart) + leeway(role.expiration_leeway, DEFAULT_LEEWAY_SECONDS)
  const start = statedStart || issuedAt || end - leeway(role.not_before_leeway, DEFAULT_LEEWAY_SECONDS)

  const nowSeconds = now.getTime() / 1_000
  const skew = leeway(role.clock_skew_leeway, DEFAULT_SKEW_SECONDS)
  if (nowSeconds + skew < start) throw new LoginRefused('not_yet_valid')
  if (nowSeconds - skew > end) throw new LoginRefused('expired')
  if (nowSeconds + skew < issuedAt) throw new LoginRefused('issued_in_future')
  return new Date(Math.min(end, LAST_SECOND) * 1_000)
}

const leeway = (seconds: number, byDefault: number): number =>
  seconds === 0 ? byDefault : Math.max(seconds, 0)

/** Whole seconds; 0 for a claim that is absent. */
function secondsOf(claims: Claims, name: string): number {
  const value = claims[name] ?? 0
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new LoginRefused('malformed_token', name)
  return Math.trunc(value)
}
