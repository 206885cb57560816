import type { Ledger } from '../ledger/db.ts'
import { endAndOrphan, endExpired, endTokens, type TokensEnded } from '../ledger/token-ending.ts'
import {
  findToken,
  findTokenByAccessor,
  insertToken,
  type KnownToken,
  listAccessors,
  reviveRootToken,
} from '../ledger/tokens.ts'
import { BrokerError } from '../lib/errors.ts'
import { newId, newToken } from '../lib/ids.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { type Principal, principalId } from '../policy/principal.ts'
import { authenticator, type Identified, principalOf, tokenIdOf } from './authenticate.ts'
import { type CreatedToken, createToken, type TokenRequest } from './token-create.ts'
import { type RenewedToken, renewToken } from './token-renew.ts'
import { type TokenRoles, tokenRoles } from './token-roles.ts'

export type { CreatedToken, KnownToken, RenewedToken, TokenRequest }

/** The token store: who is calling, and what becomes of tokens. Refusals are `BrokerError`s in the dialect's words. */
export type TokenStore = {
  /** Reads the ledger for a request, and with it whose token it carries, if it carries one. */
  identify(token: string | undefined): Promise<Identified>
  create(principal: Principal, request: TokenRequest): Promise<CreatedToken>
  /** A root token without end; of this very text if one is given, however often it is asked for. */
  createRootToken(given?: string): Promise<{ token: Sensitive; accessor: string }>
  lookup(token: string): Promise<KnownToken>
  lookupSelf(principal: Principal): Promise<KnownToken>
  lookupAccessor(accessor: string): Promise<KnownToken>
  /** Who a live token speaks for, without its being used. */
  holder(token: string): Promise<Principal>
  holderOf(accessor: string): Promise<Principal>
  /** By the id that the ledger gives it, over or not: of a lease, who asked for it. */
  holderById(tokenId: string): Promise<Principal>
  renew(token: string, incrementSeconds: number | undefined): Promise<RenewedToken>
  renewSelf(principal: Principal, incrementSeconds: number | undefined): Promise<RenewedToken>
  renewAccessor(accessor: string, incrementSeconds: number | undefined): Promise<RenewedToken>
  /**
   * Ends the token, all below it and their leases. A token there is not is ended already. `by`: who does, where that is
   * a caller, since what others take away is another thing than what somebody gives back.
   */
  revoke(token: string, by?: Principal): Promise<void>
  revokeSelf(principal: Principal): Promise<void>
  /** False when no token has this accessor. */
  revokeAccessor(accessor: string, by?: Principal): Promise<boolean>
  /** Ends the token and its leases alone. */
  revokeOrphan(token: string, by?: Principal): Promise<void>
  listAccessors(): Promise<string[]>
  /** Ends every token whose time is over, and answers how many. Any number of workers may do it at once. */
  endExpiredTokens(): Promise<number>
  roles: TokenRoles
}

/** So many expired tokens end in one transaction; with them all that hangs on them. */
const SWEEP_BATCH = 200

/**
 * `leasesEnding` hears, after the commit, on which targets leases now wait to be ended. `uses` and `roots`: the ledger
 * for taking uses of tokens, which no request alone does, and for making root tokens, which none does.
 */
export function createTokenStore(
  ledger: Ledger,
  leasesEnding: (targetIds: string[]) => void,
  { uses = ledger, roots = ledger }: { uses?: Ledger; roots?: Ledger } = {},
): TokenStore {
  const ended = ({ targetIds }: TokensEnded): void => {
    if (targetIds.length > 0) leasesEnding(targetIds)
  }
  const end = async (id: string, by?: Principal): Promise<void> =>
    ended(await endTokens(ledger, [id], { by: by && principalId(by) }))

  return {
    identify: authenticator(uses, ended),
    create: (principal, request) => createToken(ledger, principal, request),
    createRootToken: (given) => createRootToken(roots, given),

    lookup: async (token) => liveOr(await findToken(ledger, tokenIdOf(token)), badToken),
    lookupSelf: async ({ tokenId, lastUse }) => {
      const token = await findToken(ledger, tokenId)
      // Its last use has ended it already; it may still be told what it was.
      return token && lastUse ? token : liveOr(token, badToken)
    },
    lookupAccessor: (accessor) => byAccessor(ledger, accessor),
    holder: async (token) => principalOf(liveOr(await findToken(ledger, tokenIdOf(token)), badToken), false),
    holderById: async (tokenId) => {
      const token = await findToken(ledger, tokenId)
      if (!token) throw new Error(`token ${tokenId} is not in the ledger`)
      return principalOf(token, false)
    },
    holderOf: async (accessor) => principalOf(await byAccessor(ledger, accessor), false),

    renew: (token, incrementSeconds) => renewToken(ledger, tokenIdOf(token), incrementSeconds),
    renewSelf: ({ tokenId }, incrementSeconds) => renewToken(ledger, tokenId, incrementSeconds),
    renewAccessor: async (accessor, incrementSeconds) =>
      renewToken(ledger, (await byAccessor(ledger, accessor)).id, incrementSeconds),

    revoke: (token, by) => end(tokenIdOf(token), by),
    revokeSelf: ({ tokenId }) => end(tokenId),
    revokeAccessor: async (accessor, by) => {
      const token = await findTokenByAccessor(ledger, accessor)
      if (!token?.live) return false
      await end(token.id, by)
      return true
    },
    revokeOrphan: async (text, by) => {
      const token = liveOr(await findToken(ledger, tokenIdOf(text)), unknownToken)
      ended(await endAndOrphan(ledger, token.id, { by: by && principalId(by) }))
    },

    listAccessors: () => listAccessors(ledger),
    endExpiredTokens: () => endExpiredTokens(ledger, ended),
    roles: tokenRoles(ledger),
  }
}

const badToken = (): BrokerError => new BrokerError('permission_denied', 'bad token')
const invalidAccessor = (): BrokerError => new BrokerError('invalid_request', 'invalid accessor')
const unknownToken = (): BrokerError => new BrokerError('invalid_request', 'token to revoke not found')

function liveOr(token: KnownToken | undefined, refusal: () => BrokerError): KnownToken {
  if (!token?.live) throw refusal()
  return token
}

const byAccessor = async (ledger: Ledger, accessor: string): Promise<KnownToken> =>
  liveOr(await findTokenByAccessor(ledger, accessor), invalidAccessor)

async function endExpiredTokens(ledger: Ledger, ended: (tokens: TokensEnded) => void): Promise<number> {
  let count = 0
  for (;;) {
    const batch = await endExpired(ledger, SWEEP_BATCH)
    if (batch.tokenIds.length === 0) return count
    ended(batch)
    count += batch.tokenIds.length
  }
}

/** `made`: it was not there, or had ended. */
export type RootToken = { root: KnownToken | undefined; made: boolean }

async function createRootToken(
  ledger: Ledger,
  given: string | undefined,
): Promise<{ token: Sensitive; accessor: string }> {
  const text = given ?? newToken()
  const id = tokenIdOf(text)
  const { root } = await ledger.transaction(async (db): Promise<RootToken> => {
    const inserted = await insertToken(db, {
      id,
      accessor: newId(),
      parentId: null,
      type: 'service',
      policies: ['root'],
      path: 'auth/token/root',
      displayName: 'root',
      metadata: null,
      role: null,
      renewable: false,
      usesLeft: null,
      ttlSeconds: 0,
      explicitMaxTtlSeconds: 0,
      periodSeconds: 0,
      boundCidrs: [],
      expiresAt: null,
      hardExpiresAt: null,
      entityId: null,
      treeId: null,
      identity: null,
    })
    const made = inserted || (await reviveRootToken(db, id)) > 0
    return { root: await findToken(db, id), made }
  })
  if (!root?.live || root.expiresAt || !root.policies.includes('root') || root.accessor === null) {
    throw new Error('a token of this text exists, and it is not a root token; choose another')
  }
  return { token: sensitive(text), accessor: root.accessor }
}
