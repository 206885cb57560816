import type { LeaseLimit } from '../ledger/lease-words.ts'
import { formatDuration } from '../lib/duration.ts'
import { BrokerError } from '../lib/errors.ts'
import { computeTtl, type Maximum } from '../lib/ttl.ts'

export type LeaseTerms = {
  /** What the answer says: exactly what was asked unless something limited it. */
  ttlSeconds: number
  expiresAt: Date
  hardExpiresAt: Date
  hardLimitedBy: LeaseLimit
  limitedBy: LeaseLimit | null
  warnings: string[]
}

export type TermsAsk = {
  now: Date
  issuedAt: Date
  incrementSeconds: number | undefined
  defaultSeconds: number
  /** The bounds that no renewal moves, from issue on; at least one above zero. */
  maxima: readonly Maximum<LeaseLimit>[]
  /** The token's present end, which its holder may still move by renewing it; null when it does not bind. */
  tokenExpiresAt: Date | null
}

/** How long a lease lives from `now` on. Throws a `BrokerError` when no time is left. */
export function leaseTerms(ask: TermsAsk): LeaseTerms {
  const ttl = computeTtl(ask)
  const hard = tightest(ask)
  const terms: LeaseTerms = {
    ttlSeconds: ttl.ttlSeconds,
    expiresAt: earlier(ceilToSecond(ttl.expiresAt), hard.endsAt),
    hardExpiresAt: hard.endsAt,
    hardLimitedBy: hard.name,
    limitedBy: ttl.limitedBy === null ? null : hard.name,
    warnings: ttl.warnings,
  }
  return ask.tokenExpiresAt ? withinToken(terms, ask.now, ask.tokenExpiresAt) : terms
}

function withinToken(terms: LeaseTerms, now: Date, tokenExpiresAt: Date): LeaseTerms {
  const capSeconds = Math.floor((tokenExpiresAt.getTime() - now.getTime()) / 1_000)
  if (capSeconds <= 0) throw new BrokerError('permission_denied', 'the token is about to expire')
  if (terms.ttlSeconds <= capSeconds) return { ...terms, expiresAt: earlier(terms.expiresAt, tokenExpiresAt) }
  return {
    ...terms,
    ttlSeconds: capSeconds,
    expiresAt: tokenExpiresAt,
    limitedBy: 'token',
    warnings: [
      ...terms.warnings,
      `TTL of "${formatDuration(terms.ttlSeconds)}" exceeds the token's remaining "${formatDuration(capSeconds)}"; TTL value is capped accordingly`,
    ],
  }
}

function tightest(ask: TermsAsk): { name: LeaseLimit; endsAt: Date } {
  const binding = ask.maxima.filter(({ seconds }) => seconds !== 0)
  const least = binding.reduce((least, next) => (next.seconds < least.seconds ? next : least))
  return { name: least.name, endsAt: new Date(ask.issuedAt.getTime() + least.seconds * 1_000) }
}

/** Leases that end in the same second end in one batch; a lease lives at most that much longer, never past its bound. */
const ceilToSecond = (at: Date): Date => new Date(Math.ceil(at.getTime() / 1_000) * 1_000)

const earlier = (a: Date, b: Date): Date => (a < b ? a : b)
