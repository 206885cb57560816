import { principalOf } from '../../src/identity/authenticate.ts'
import {
  type CreatedToken,
  createTokenStore,
  type TokenRequest,
  type TokenStore,
} from '../../src/identity/tokens.ts'
import type { Ledger } from '../../src/ledger/db.ts'
import { isRoot } from '../../src/policy/authorize.ts'
import type { Principal } from '../../src/policy/principal.ts'

/** A request to make a token, as one without any field arrives. */
export const aRequest = (changes: Partial<TokenRequest> = {}): TokenRequest => ({
  sudo: false,
  path: 'auth/token/create',
  orphan: false,
  id: '',
  policies: [],
  metadata: null,
  noParent: false,
  noDefaultPolicy: false,
  renewable: true,
  ttlSeconds: 0,
  explicitMaxTtlSeconds: 0,
  periodSeconds: 0,
  type: '',
  displayName: '',
  numUses: 0,
  entityAlias: '',
  ...changes,
})

export const SOMEWHERE = '192.0.2.7'

/** As the API does it: one look at the ledger, then the proof. */
export const prove = async (store: TokenStore, text: string | undefined, from = SOMEWHERE) =>
  (await store.identify(text)).prove(from)

/** A store on the ledger, with a root token to start from, and the targets it said have leases ending. */
export async function aTokenStore(ledger: Ledger): Promise<{
  store: TokenStore
  root: Principal
  woken: string[][]
  /** Makes a token under another (under root if none is said). */
  make(changes?: Partial<TokenRequest>, maker?: Principal): Promise<Made>
}> {
  const woken: string[][] = []
  const store = createTokenStore(ledger, (targetIds) => void woken.push(targetIds))
  const { token } = await store.createRootToken()
  const root = await prove(store, token.reveal())
  return {
    store,
    root,
    woken,
    async make(changes = {}, maker = root) {
      const created = await store.create(maker, aRequest({ sudo: isRoot(maker), ...changes }))
      // As whom it is proven, without a use spent on the proof.
      return { ...created, text: created.token.reveal(), principal: principalOf(created.entry, false) }
    },
  }
}

export type Made = CreatedToken & { text: string; principal: Principal }
