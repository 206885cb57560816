import type { Ledger } from '../../ledger/db.ts'
import { dropExpired } from '../../ledger/expired.ts'
import { putOidcState, takeOidcStates } from '../../ledger/oidc-states.ts'
import { batcher } from '../../lib/batcher.ts'
import { BrokerError } from '../../lib/errors.ts'
import { ok } from '../../lib/result.ts'
import type { PendingStates } from './pending.ts'

/** So many logins begun from one source may wait for their person: more than a whole office needs behind one address. */
export const MOST_PENDING = 200

export type OidcStates = {
  /** As whoever begins logins from one source sees them; throws 429 where too many of those wait. */
  of(source: string): PendingStates
  /** For the sweep. */
  dropExpired(): Promise<number>
}

/** The logins that were begun, in the ledger. */
export function createOidcStates(ledger: Ledger, most = MOST_PENDING): OidcStates {
  // Together, and in nobody's name: what is recorded of a request that takes a state is the login that comes of it.
  const take = batcher<string, unknown>(async (ids) => {
    const taken = new Map((await takeOidcStates(ledger, ids)).map(({ id, sealed }) => [id, sealed]))
    return ids.map((id) => {
      const sealed = taken.get(id)
      taken.delete(id)
      return ok(sealed)
    })
  })
  return {
    of: (source) => ({
      take,
      put: (id, sealed, expiresAt) =>
        ledger.transaction(async (db) => {
          const wait = await putOidcState(db, { id, sealed, source, expiresAt }, most)
          if (wait !== undefined) throw tooMany(wait)
        }),
    }),
    dropExpired: () => dropExpired(ledger, 'oidc_state'),
  }
}

const tooMany = (seconds: number): BrokerError =>
  new BrokerError('too_many_requests', 'too many logins of this address wait to be ended; try again later', {
    retryAfterSeconds: Math.max(1, Math.ceil(seconds)),
  })
