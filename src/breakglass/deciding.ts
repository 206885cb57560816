import type { Db, Ledger } from '../ledger/db.ts'
import { BrokerError } from '../lib/errors.ts'

const LOST = new Error('somebody else has moved the grant')
const ATTEMPTS = 10

/** A grant as a move left it. Where the move was lost, all that its transaction did is undone. */
export function won<T>(moved: T | undefined): T {
  if (moved === undefined) throw LOST
  return moved
}

/**
 * Runs `work` in one transaction, and again from the start for as long as somebody else has moved the grant that it
 * read: it then sees the grant as they left it, and may have to refuse.
 */
export async function deciding<T>(
  { transaction }: Pick<Ledger, 'transaction'>,
  work: (db: Db) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    try {
      return await transaction(work)
    } catch (error) {
      if (error !== LOST) throw error
    }
  }
  throw new BrokerError('conflict', 'others are changing the request; look at it and try again')
}
