import { createHash } from 'node:crypto'
import type { Ledger } from '../ledger/db.ts'
import type { Reading } from '../ledger/reading.ts'
import { endTrees, type TokensEnded } from '../ledger/token-ending.ts'
import { type KnownToken, readTokens, type Spent, spendUses, type Token } from '../ledger/tokens.ts'
import { batcher } from '../lib/batcher.ts'
import { BrokerError } from '../lib/errors.ts'
import { ok, type Result } from '../lib/result.ts'
import { type Identity, NO_LOGIN, type Principal } from '../policy/principal.ts'
import { isWithin } from './cidr.ts'

/** What the ledger calls a token. The text itself is never compared, so no comparison can leak it. */
export const tokenIdOf = (token: string): string => createHash('sha256').update(token).digest('hex')

/** What one look at the ledger told of a request. */
export type Identified = {
  reading: Reading
  /** Throws 403 `invalid token` for a token that is absent, unknown, over, used up or from the wrong address. */
  prove(sourceAddress: string): Promise<Principal>
}

/**
 * Looks tokens up and proves them. Requests that arrive together share one look-up; only tokens with limited uses cost
 * a write. The last use ends the token before the request is served, so a crash in between cannot leave it usable: the
 * principal says `lastUse`, and nothing can be made under it any more.
 */
export function authenticator(
  ledger: Ledger,
  ended: (tokens: TokensEnded) => void,
): (token: string | undefined) => Promise<Identified> {
  const lookUp = batcher<string | undefined, Found>((tokenIds) => lookUpAll(ledger, tokenIds), {
    inFlight: 2,
  })
  const takeUse = batcher<string, Use>((tokenIds) => takeUses(ledger, tokenIds, ended))

  return async (text) => {
    const { reading, token } = await lookUp(text ? tokenIdOf(text) : undefined)
    return {
      reading,
      async prove(sourceAddress) {
        if (!token?.live || !mayComeFrom(token, sourceAddress)) throw invalidToken()
        if (token.usesLeft === null) return principalOf(token, false)
        const use = await takeUse(token.id)
        if (use === 'none') throw invalidToken()
        return principalOf(token, use === 'last')
      },
    }
  }
}

/** One answer for every bad token: unknown, ended, expired, used up or from the wrong address. */
const invalidToken = (): BrokerError => new BrokerError('permission_denied', 'invalid token')

type Found = { reading: Reading; token: KnownToken | undefined }

async function lookUpAll(ledger: Ledger, tokenIds: (string | undefined)[]): Promise<Result<Found>[]> {
  const asked = new Set(tokenIds.filter((id) => id !== undefined))
  const { reading, tokens } = await readTokens(ledger, [...asked])
  const byId = new Map(tokens.map((token) => [token.id, token]))
  return tokenIds.map((id) => ok({ reading, token: id === undefined ? undefined : byId.get(id) }))
}

const mayComeFrom = ({ boundCidrs }: KnownToken, address: string): boolean =>
  boundCidrs.length === 0 || isWithin(boundCidrs, address)

type Use = 'one' | 'last' | 'none'

/** Takes one use per request, and gives them out one by one, in order of arrival. */
async function takeUses(
  ledger: Ledger,
  requests: string[],
  ended: (tokens: TokensEnded) => void,
): Promise<Result<Use>[]> {
  const uses = new Map<string, number>()
  for (const id of requests) uses.set(id, (uses.get(id) ?? 0) + 1)
  const wanted = [...uses].map(([id, count]) => ({ id, uses: count }))
  const spent = await ledger.transaction((db) => spendAndEnd(db, wanted))
  if (spent.ended.tokenIds.length > 0) ended(spent.ended)

  const had = new Map(spent.uses.map(({ id, usesBefore }) => [id, usesBefore]))
  return requests.map((id) => {
    const left = had.get(id) ?? 0
    had.set(id, left - 1)
    return ok(left <= 0 ? 'none' : left === 1 ? 'last' : 'one')
  })
}

async function spendAndEnd(
  db: Parameters<typeof spendUses>[0],
  wanted: { id: string; uses: number }[],
): Promise<{ uses: Spent[]; ended: TokensEnded }> {
  const uses = await spendUses(db, wanted)
  const usedUp = uses.filter(({ usesLeft }) => usesLeft === 0).map(({ id }) => id)
  return { uses, ended: await endTrees(db, usedUp) }
}

/** What a token counts as where no login says who it is. */
export const treeIdOf = ({ treeId, accessor, id }: Pick<Token, 'treeId' | 'accessor' | 'id'>): string =>
  treeId ?? accessor ?? id

/** Logins say where they came in, and no mount is there. */
const isDerived = ({ path, identity }: Token): boolean => identity !== null && path.startsWith('auth/token/')

/** Who a token speaks for. */
export const principalOf = (token: Token, lastUse: boolean): Principal => ({
  tokenId: token.id,
  accessor: token.accessor ?? '',
  displayName: token.displayName,
  policies: token.policies,
  metadata: token.metadata ?? {},
  tokenExpiresAt: token.expiresAt,
  tokenHardExpiresAt: token.hardExpiresAt,
  lastUse,
  entityId: token.entityId ?? '',
  treeId: treeIdOf(token),
  ...(isDerived(token) && { derived: true }),
  // Written by our own login, and by nothing else.
  identity: (token.identity as Identity | null) ?? NO_LOGIN,
})
