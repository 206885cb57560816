import { formatDuration } from './duration.ts'
import { BrokerError } from './errors.ts'

/** What holds where neither a mount nor a role says anything. */
export const SYSTEM_DEFAULT_TTL_SECONDS = 768 * 3_600
export const SYSTEM_MAX_TTL_SECONDS = 768 * 3_600

/**
 * A bound that counts from issue; 0 stands for none, as on the wire. An end at a known time is the maximum
 * `(end - issuedAt) / 1000`: a fraction is fine, and a negative one is an end that has passed.
 */
export type Maximum<Name extends string> = { name: Name; seconds: number }

export type TtlAsk<Name extends string> = {
  now: Date
  /** Equal to `now` when issuing. Maxima count from here, the TTL counts from `now`. */
  issuedAt: Date
  /** What the caller asked for; undefined and 0 both ask for the default. */
  incrementSeconds: number | undefined
  /** The role's default, else the mount's; 0 takes the system's. */
  defaultSeconds: number
  /** All that bind, the mount's (which may exceed the system's) among them; with none above 0 the system's binds. */
  maxima: readonly Maximum<Name>[]
  /** Above 0 the TTL is the period, however old the thing is: only `explicitMaxSeconds` still ends it. */
  periodSeconds?: number
  explicitMaxSeconds?: number
}

type Limit<Name extends string> = Name | 'system_max' | 'explicit_max'

export type Ttl<Name extends string> = {
  ttlSeconds: number
  /** `now` plus the TTL; never after `hardExpiresAt`. */
  expiresAt: Date
  /** The end that no renewal can move; null when a period lets it be renewed for ever. */
  hardExpiresAt: Date | null
  /** The bound that made the TTL shorter than asked; null when none did. */
  limitedBy: Limit<Name> | null
  warnings: string[]
}

/**
 * How long a lease or a token lives from `now` on: the one place where the dialect's TTL arithmetic is written.
 * Whole seconds, cut; a renewal may shorten. Throws `past the max TTL, cannot renew` when less than one is left.
 */
export function computeTtl<Name extends string>(ask: TtlAsk<Name>): Ttl<Name> {
  const max = tightest(ask)
  const wish = wished(ask, max)
  const hardExpiresAt = hardEnd(ask, max)
  const leftSeconds = hardExpiresAt
    ? Math.floor((hardExpiresAt.getTime() - ask.now.getTime()) / 1_000)
    : Infinity
  const ttlSeconds = Math.min(wish.ttlSeconds, leftSeconds)
  if (ttlSeconds < 1) throw new BrokerError('invalid_request', 'past the max TTL, cannot renew')

  const capped = ttlSeconds < wish.ttlSeconds
  return {
    ttlSeconds,
    expiresAt: addSeconds(ask.now, ttlSeconds),
    hardExpiresAt,
    limitedBy: limit(ask, max, capped, wish.capped),
    warnings: [...wish.warnings, ...(capped ? [exceeded('TTL', wish.ttlSeconds, leftSeconds)] : [])],
  }
}

/** The smallest maximum; of equals the one named first. */
function tightest<Name extends string>(ask: TtlAsk<Name>): Maximum<Limit<Name>> {
  const binding: Maximum<Limit<Name>>[] = ask.maxima.filter(({ seconds }) => seconds !== 0)
  if (binding.length === 0) binding.push({ name: 'system_max', seconds: SYSTEM_MAX_TTL_SECONDS })
  if (ask.explicitMaxSeconds) binding.push({ name: 'explicit_max', seconds: ask.explicitMaxSeconds })
  return binding.reduce((least, next) => (next.seconds < least.seconds ? next : least))
}

/** The TTL asked for, before the age of the thing counts. */
function wished<Name extends string>(
  ask: TtlAsk<Name>,
  max: Maximum<string>,
): { ttlSeconds: number; capped: boolean; warnings: string[] } {
  const period = Math.floor(ask.periodSeconds ?? 0)
  const increment = Math.floor(ask.incrementSeconds ?? 0)
  if (period > 0 && period > max.seconds) {
    const warnings = [exceeded('period', period, max.seconds)]
    return { ttlSeconds: Math.floor(max.seconds), capped: true, warnings }
  }
  const ttlSeconds = period || increment || ask.defaultSeconds || SYSTEM_DEFAULT_TTL_SECONDS
  return { ttlSeconds, capped: false, warnings: [] }
}

/** Of a period, its age is bound by the explicit maximum alone; the other maxima only bound its length. */
function limit<Name extends string>(
  ask: TtlAsk<Name>,
  max: Maximum<Limit<Name>>,
  cappedByAge: boolean,
  cappedByLength: boolean,
): Limit<Name> | null {
  if (cappedByAge) return ask.periodSeconds ? 'explicit_max' : max.name
  return cappedByLength ? max.name : null
}

function hardEnd<Name extends string>(ask: TtlAsk<Name>, max: Maximum<string>): Date | null {
  if (!ask.periodSeconds) return addSeconds(ask.issuedAt, max.seconds)
  return ask.explicitMaxSeconds ? addSeconds(ask.issuedAt, ask.explicitMaxSeconds) : null
}

const addSeconds = (from: Date, seconds: number): Date =>
  new Date(from.getTime() + Math.round(seconds * 1_000))

const exceeded = (what: 'TTL' | 'period', asked: number, limit: number): string =>
  `${what} of "${formatDuration(asked)}" exceeded the effective max_ttl of "${formatDuration(limit)}"; ${what} value is capped accordingly`
