import type { Db } from '../ledger/db.ts'
import type { Document } from '../ledger/documents.ts'
import { findMount } from '../ledger/mounts.ts'
import { computeTtl, SYSTEM_MAX_TTL_SECONDS, type Ttl } from '../lib/ttl.ts'
import type { TokenFields } from './token-fields.ts'
import type { TokenRole } from './token-roles.ts'

export type TermsAsk = {
  now: Date
  issuedAt: Date
  incrementSeconds: number | undefined
  /** What the token was made with, which a renewal without an increment asks for again. */
  ownTtlSeconds: number
  ownPeriodSeconds: number
  ownExplicitMaxSeconds: number
  role: TokenRole | undefined
}

/** How long a token lives from `now` on: its own terms and its role's, the tighter of each, within the mount's. */
export async function tokenTerms(db: Db, ask: TermsAsk): Promise<Ttl<'mount_max'>> {
  const mount = await findMount(db, 'auth/token/')
  const periodSeconds = tighter(ask.ownPeriodSeconds, ask.role?.tokenPeriod ?? 0)
  return computeTtl({
    now: ask.now,
    issuedAt: ask.issuedAt,
    incrementSeconds: ask.incrementSeconds,
    defaultSeconds: ask.ownTtlSeconds || Number(mount?.config.default_lease_ttl ?? 0),
    maxima: [{ name: 'mount_max', seconds: Number(mount?.config.max_lease_ttl ?? 0) }],
    periodSeconds,
    explicitMaxSeconds: tighter(ask.ownExplicitMaxSeconds, ask.role?.tokenExplicitMaxTtl ?? 0),
  })
}

export type LoginTermsAsk = {
  now: Date
  issuedAt: Date
  incrementSeconds: number | undefined
  /** What the role says, as it is now. */
  token: TokenFields
  mountConfig: Document
}

/** How long a token from a login lives from `now` on: as its role says, within the mount's bounds. */
export const loginTerms = ({ token, mountConfig, ...times }: LoginTermsAsk): Ttl<'role_max' | 'mount_max'> =>
  computeTtl({
    ...times,
    defaultSeconds: token.token_ttl || Number(mountConfig.default_lease_ttl ?? 0),
    maxima: [
      { name: 'role_max', seconds: token.token_max_ttl },
      { name: 'mount_max', seconds: Number(mountConfig.max_lease_ttl ?? 0) || SYSTEM_MAX_TTL_SECONDS },
    ],
    periodSeconds: token.token_period,
    explicitMaxSeconds: token.token_explicit_max_ttl,
  })

/** The smaller of two bounds, of which 0 is none. */
export const tighter = (a: number, b: number): number => (a > 0 && b > 0 ? Math.min(a, b) : Math.max(a, b))
