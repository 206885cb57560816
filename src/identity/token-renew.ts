import type { Db, Ledger } from '../ledger/db.ts'
import { type KnownToken, lockLiveToken, moveTokenEnd } from '../ledger/tokens.ts'
import { BrokerError } from '../lib/errors.ts'
import { readTokenRole, type TokenRole } from './token-roles.ts'
import { tokenTerms } from './token-terms.ts'

/** `ttlSeconds` is what is left from now on; the entry's own is what it was made with. */
export type RenewedToken = { entry: KnownToken; ttlSeconds: number; warnings: string[] }

/** Moves a token's end, counted from now; it may come nearer. The row stays locked, so two at once take turns. */
export const renewToken = (
  ledger: Ledger,
  tokenId: string,
  incrementSeconds: number | undefined,
): Promise<RenewedToken> => ledger.transaction((db) => renew(db, tokenId, incrementSeconds))

async function renew(db: Db, tokenId: string, incrementSeconds: number | undefined): Promise<RenewedToken> {
  const token = await lockLiveToken(db, tokenId, 'update')
  if (!token) throw refused('token not found')
  if (token.type === 'batch') throw refused('batch tokens cannot be renewed')
  if (!token.renewable) throw refused('lease is not renewable')
  const { ttlSeconds, expiresAt, hardExpiresAt, warnings } = await tokenTerms(db, {
    now: token.now,
    issuedAt: token.issuedAt,
    incrementSeconds,
    ownTtlSeconds: token.ttlSeconds,
    ownPeriodSeconds: token.periodSeconds,
    ownExplicitMaxSeconds: token.explicitMaxTtlSeconds,
    role: await currentRole(db, token),
  })
  await moveTokenEnd(db, token.id, { expiresAt, hardExpiresAt })
  return { entry: { ...token, expiresAt, hardExpiresAt }, ttlSeconds, warnings }
}

/** The role as it is now, not as it was: tightening one reaches the tokens that are out. */
async function currentRole(db: Db, { role: name }: KnownToken): Promise<TokenRole | undefined> {
  if (name === null) return undefined
  const role = await readTokenRole(db, name)
  if (!role) throw refused(`original token role "${name}" could not be found, not renewing`)
  return role
}

const refused = (message: string): BrokerError => new BrokerError('invalid_request', message)
