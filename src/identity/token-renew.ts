import { findLoginRole } from '../ledger/auth.ts'
import type { Db, Ledger } from '../ledger/db.ts'
import { type KnownToken, lockLiveToken, moveTokenEnd } from '../ledger/tokens.ts'
import { BrokerError } from '../lib/errors.ts'
import { tokenFieldsOf } from './token-fields.ts'
import { readTokenRole, type TokenRole } from './token-roles.ts'
import { type LoginTermsAsk, loginTerms, type TermsAsk, tighter, tokenTerms } from './token-terms.ts'

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
  const times = { now: token.now, issuedAt: token.issuedAt, incrementSeconds }
  const login = await currentLogin(db, token)
  const { ttlSeconds, expiresAt, hardExpiresAt, warnings } = login
    ? loginTerms({ ...times, ...login })
    : await ownTerms(db, token, times)
  await moveTokenEnd(db, token.id, { expiresAt, hardExpiresAt })
  return { entry: { ...token, expiresAt, hardExpiresAt }, ttlSeconds, warnings }
}

const ownTerms = async (
  db: Db,
  token: KnownToken,
  times: Pick<TermsAsk, 'now' | 'issuedAt' | 'incrementSeconds'>,
) =>
  tokenTerms(db, {
    ...times,
    ownTtlSeconds: token.ttlSeconds,
    ownPeriodSeconds: token.periodSeconds,
    ownExplicitMaxSeconds: token.explicitMaxTtlSeconds,
    role: await currentRole(db, token),
  })

/** The role that a login was made by, as it is now; undefined for a token that no login made. */
async function currentLogin(
  db: Db,
  { entityId, path, role: name, explicitMaxTtlSeconds }: KnownToken,
): Promise<Pick<LoginTermsAsk, 'token' | 'mountConfig'> | undefined> {
  if (entityId === null || name === null || path.startsWith('auth/token/')) return undefined
  const found = await findLoginRole(db, entityId, name)
  if (!found?.spec) throw refused(`role ${JSON.stringify(name)} could not be found, not renewing`)
  const token = tokenFieldsOf(found.spec)
  // What the token was made with was said to be its end: a role that has loosened since does not move it.
  const token_explicit_max_ttl = tighter(explicitMaxTtlSeconds, token.token_explicit_max_ttl)
  return { token: { ...token, token_explicit_max_ttl }, mountConfig: found.mountConfig }
}

/** The role as it is now, not as it was: tightening one reaches the tokens that are out. */
async function currentRole(db: Db, { role: name }: KnownToken): Promise<TokenRole | undefined> {
  if (name === null) return undefined
  const role = await readTokenRole(db, name)
  if (!role) throw refused(`original token role "${name}" could not be found, not renewing`)
  return role
}

const refused = (message: string): BrokerError => new BrokerError('invalid_request', message)
