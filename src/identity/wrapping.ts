import type { Ledger } from '../ledger/db.ts'
import { dropExpired } from '../ledger/expired.ts'
import {
  dropWrapped,
  findWrapped,
  insertWrapped,
  takeWrapped,
  type WrappedFacts,
  type WrappedRow,
} from '../ledger/wrapped.ts'
import { BrokerError } from '../lib/errors.ts'
import { newId, newToken } from '../lib/ids.ts'
import { openText, sealText } from '../lib/sealed-text.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { tokenIdOf } from './authenticate.ts'

/** A wrapping token. It is no client token: all it does is to open, show or pass on the one answer it was made for. */
export type WrapInfo = {
  token: Sensitive
  accessor: string
  ttlSeconds: number
  createdAt: Date
  creationPath: string
}

/** Which answer it is: what may be told of it, and shows where it came from and where it went. */
export type WrappedTrace = Pick<WrapInfo, 'accessor' | 'creationPath'>

/** How an answer is kept, and as whose. */
export type Keeping = Pick<WrappedRow, 'ttlSeconds' | 'creationPath' | 'principalId'>

/** Answers kept for whoever has their token, once. Every refusal of a token is the dialect's one 400. */
export type Wrapping = {
  /**
   * Keeps a body for `ttlSeconds`, or throws 429 where too much of the principal waits already. `begun` hears of the
   * token and its accessor before anything is written, so that even what was written without our being told can be
   * dropped.
   */
  wrap(body: string, about: Keeping, begun: (token: Sensitive, accessor: string) => void): Promise<WrapInfo>
  /**
   * Gives the body back, and as whose it was kept, and forgets it. `taking` hears which it is while that can still be
   * undone.
   */
  unwrap(
    token: string,
    taking?: (taken: WrappedTrace) => void,
  ): Promise<{ body: string; principalId: string }>
  lookup(token: string): Promise<WrappedFacts>
  /** The same, with undefined for a token that is none. */
  find(token: string): Promise<WrappedFacts | undefined>
  /**
   * Moves the body under a new token, for the time it had at first; the old token is good for nothing any more. `moving`
   * hears which it was and which it becomes while that can still be undone.
   */
  rewrap(token: string, moving?: (from: WrappedTrace, to: WrappedTrace) => void): Promise<WrapInfo>
  /** Forgets the body, if it is still there. */
  drop(token: Sensitive): Promise<void>
  /** Forgets bodies whose time is over, which nobody can have any more. For the sweep. */
  dropExpired(): Promise<number>
}

export const createWrapping = (ledger: Ledger): Wrapping => ({
  async wrap(body, about, begun) {
    const { row, token } = seal(body, about)
    begun(token, row.accessor)
    return ledger.transaction(async (db) => {
      const createdAt = await insertWrapped(db, row, ROOM_BYTES)
      if (!createdAt) throw noRoom()
      return infoOf(row, token, createdAt)
    })
  },
  async unwrap(token, taking) {
    const row = await ledger.transaction(async (db) => {
      const taken = await takeWrapped(db, tokenIdOf(token))
      if (!taken) throw notValid()
      taking?.(taken)
      return taken
    })
    return { body: open(token, row), principalId: row.principalId }
  },
  find: (token) => findWrapped(ledger, tokenIdOf(token)),
  async lookup(token) {
    const facts = await findWrapped(ledger, tokenIdOf(token))
    if (!facts) throw notValid()
    return facts
  },
  rewrap: (token, moving) =>
    ledger.transaction(async (db) => {
      const taken = await takeWrapped(db, tokenIdOf(token))
      if (!taken) throw notValid()
      const { row, token: next } = seal(open(token, taken), taken)
      moving?.(taken, row)
      const createdAt = await insertWrapped(db, row)
      if (!createdAt) throw new Error('an answer was not kept')
      return infoOf(row, next, createdAt)
    }),
  async drop(token) {
    await dropWrapped(ledger, tokenIdOf(token.reveal()))
  },
  dropExpired: () => dropExpired(ledger, 'wrapped'),
})

/** So much may wait of one principal: the tokens of thousands of jobs, and no heap of whatever anybody likes to keep. */
const ROOM_BYTES = 8 * 1_024 * 1_024

const noRoom = (): BrokerError =>
  new BrokerError(
    'too_many_requests',
    'too much waits wrapped: at most 8 MiB of one principal, each answer counting as 1 KiB at least; unwrap some of it, or wrap for a shorter time',
    { retryAfterSeconds: RETRY_SECONDS },
  )

/** Nobody knows when something will be fetched. */
const RETRY_SECONDS = 10

const notValid = (cause?: unknown): BrokerError =>
  new BrokerError('invalid_request', 'wrapping token is not valid or does not exist', { cause })

const infoOf = (row: WrappedRow, token: Sensitive, createdAt: Date): WrapInfo => ({
  token,
  accessor: row.accessor,
  ttlSeconds: row.ttlSeconds,
  createdAt,
  creationPath: row.creationPath,
})

/** The token has 190 random bits, and seals one body only. */
const PURPOSE = 'leasehold/wrapping/v1'

/** Who reads where an answer came from trusts it: a row whose path was edited does not open. */
const bindingOf = ({
  accessor,
  creationPath,
  ttlSeconds,
}: Pick<WrappedRow, 'accessor' | 'creationPath' | 'ttlSeconds'>): unknown => [
  accessor,
  creationPath,
  ttlSeconds,
]

function seal(
  body: string,
  { ttlSeconds, creationPath, principalId }: Keeping,
): { row: WrappedRow; token: Sensitive } {
  const token = newToken()
  const about = { accessor: newId(), ttlSeconds, creationPath }
  const sealed = sealText(token, PURPOSE, body, bindingOf(about))
  return { row: { id: tokenIdOf(token), ...about, principalId, sealed }, token: sensitive(token) }
}

function open(token: string, row: WrappedRow): string {
  try {
    return openText(token, PURPOSE, row.sealed, bindingOf(row))
  } catch (cause) {
    throw notValid(cause)
  }
}
