import { createHash } from 'node:crypto'
import type { Ledger } from '../ledger/db.ts'
import { endTrees, type TokensEnded } from '../ledger/token-ending.ts'
import { findTokens, type KnownToken, type Spent, spendUses } from '../ledger/tokens.ts'
import { batcher } from '../lib/batcher.ts'
import { BrokerError } from '../lib/errors.ts'
import { failed, ok, type Result } from '../lib/result.ts'
import type { Principal } from '../policy/principal.ts'
import { isWithin } from './cidr.ts'

/** What the ledger calls a token. The text itself is never compared, so no comparison can leak it. */
export const tokenIdOf = (token: string): string => createHash('sha256').update(token).digest('hex')

type Caller = { tokenId: string; sourceAddress: string }

/**
 * Proves tokens. Requests that arrive together share one look-up; only tokens with limited uses cost a write. The
 * last use ends the token before the request is served, so a crash in between cannot leave it usable: the principal
 * says `lastUse`, and nothing can be made under it any more.
 */
export function authenticator(
  ledger: Ledger,
  ended: (tokens: TokensEnded) => void,
): (token: string | undefined, sourceAddress: string) => Promise<Principal> {
  const prove = batcher<Caller, Principal>((callers) => proveAll(ledger, callers, ended), { inFlight: 2 })
  return async (token, sourceAddress) => {
    if (!token) throw invalidToken()
    return prove({ tokenId: tokenIdOf(token), sourceAddress })
  }
}

/** One answer for every bad token: unknown, ended, expired, used up or from the wrong address. */
const invalidToken = (): BrokerError => new BrokerError('permission_denied', 'invalid token')

async function proveAll(
  ledger: Ledger,
  callers: Caller[],
  ended: (tokens: TokensEnded) => void,
): Promise<Result<Principal>[]> {
  const rows = await findTokens(ledger, [...new Set(callers.map(({ tokenId }) => tokenId))])
  const tokens = new Map(rows.map((row) => [row.id, row]))
  const proven = callers.map(({ tokenId, sourceAddress }) => {
    const token = tokens.get(tokenId)
    return token?.live && mayComeFrom(token, sourceAddress) ? token : undefined
  })
  const limited = proven.flatMap((token) => (token && token.usesLeft !== null ? [token.id] : []))
  const take = limited.length > 0 ? await takeUses(ledger, limited, ended) : undefined
  return proven.map((token) => {
    if (!token) return failed(invalidToken())
    if (token.usesLeft === null) return ok(principalOf(token, false))
    const use = take?.(token.id) ?? 'none'
    return use === 'none' ? failed(invalidToken()) : ok(principalOf(token, use === 'last'))
  })
}

const mayComeFrom = ({ boundCidrs }: KnownToken, address: string): boolean =>
  boundCidrs.length === 0 || isWithin(boundCidrs, address)

/** Takes one use per request, and gives them out one by one, in order of arrival. */
async function takeUses(
  ledger: Ledger,
  requests: string[],
  ended: (tokens: TokensEnded) => void,
): Promise<(id: string) => 'one' | 'last' | 'none'> {
  const uses = new Map<string, number>()
  for (const id of requests) uses.set(id, (uses.get(id) ?? 0) + 1)
  const wanted = [...uses].map(([id, count]) => ({ id, uses: count }))
  const spent = await ledger.transaction((db) => spendAndEnd(db, wanted))
  if (spent.ended.tokenIds.length > 0) ended(spent.ended)

  const had = new Map(spent.uses.map(({ id, usesBefore }) => [id, usesBefore]))
  return (id) => {
    const left = had.get(id) ?? 0
    had.set(id, left - 1)
    return left <= 0 ? 'none' : left === 1 ? 'last' : 'one'
  }
}

async function spendAndEnd(
  db: Parameters<typeof spendUses>[0],
  wanted: { id: string; uses: number }[],
): Promise<{ uses: Spent[]; ended: TokensEnded }> {
  const uses = await spendUses(db, wanted)
  const usedUp = uses.filter(({ usesLeft }) => usesLeft === 0).map(({ id }) => id)
  return { uses, ended: await endTrees(db, usedUp) }
}

const principalOf = (token: KnownToken, lastUse: boolean): Principal => ({
  tokenId: token.id,
  accessor: token.accessor ?? '',
  displayName: token.displayName,
  policies: token.policies,
  tokenExpiresAt: token.expiresAt,
  tokenHardExpiresAt: token.hardExpiresAt,
  lastUse,
})
