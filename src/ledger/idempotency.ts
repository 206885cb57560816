import { createHash } from 'node:crypto'
import { type Db, one } from './db.ts'

/** What the ledger keeps of a key: callers may put anything in one. */
export const idempotencyHash = (key: string): string => createHash('sha256').update(key).digest('hex')

/** The lease that stands in the way of another one of the same key: it is being made, or may be used. */
export const findByIdempotencyKey = (
  db: Db,
  ask: { principalId: string; path: string; idempotencyKey: string },
): Promise<{ id: string; state: 'issuing' | 'active' } | undefined> =>
  one(
    db,
    `select id, state from leasehold.lease
     where principal_id = $1 and idempotency_key = decode($2, 'hex') and path = $3
       and idempotency_key is not null and state in ('issuing', 'active')`,
    [ask.principalId, ask.idempotencyKey, ask.path],
  )
