import { change, type Db, lockNamed, one } from './db.ts'

/** An answer that waits. `id` is the SHA-256 of its wrapping token, in hex; the token itself the ledger never has. */
export type WrappedRow = {
  id: string
  accessor: string
  /** Whose room it takes. */
  principalId: string
  sealed: Buffer
  creationPath: string
  ttlSeconds: number
}

/** What is known of an answer without opening it. */
export type WrappedFacts = Pick<WrappedRow, 'accessor' | 'creationPath' | 'ttlSeconds'> & { createdAt: Date }

/** As how many bytes a small answer counts: its row and what finds it take room as well. */
const COUNTS_AT_LEAST = 1_024

const SIZE = (sealed: string): string => `greatest(octet_length(${sealed}), ${COUNTS_AT_LEAST})`

/**
 * Answers when it was put there; undefined where more than `roomBytes` of the principal would wait then. Without
 * `roomBytes` it is not asked: for one that takes the place of another. Run it in a transaction.
 */
export async function insertWrapped(db: Db, row: WrappedRow, roomBytes?: number): Promise<Date | undefined> {
  // The statement below sees what those who had the lock before have put there.
  if (roomBytes !== undefined) await lockNamed(db, `wrapped ${row.principalId}`)
  const inserted = await one<{ createdAt: Date }>(
    db,
    // What is over goes first and not by the sweep alone, or it would take room that nobody counts.
    `with gone as (
       delete from leasehold.wrapped
       where $7::bigint is not null and principal_id = $6 and expires_at <= leasehold.ledger_now())
     insert into leasehold.wrapped
       (id, accessor, sealed, creation_path, ttl_seconds, principal_id, created_at, expires_at)
     select decode($1, 'hex'), $2, $3::bytea, $4, $5::bigint, $6, leasehold.ledger_now(),
       leasehold.ledger_now() + $5::bigint * interval '1 second'
     where $7::bigint is null or $7 >= ${SIZE('$3')} + coalesce((
       select sum(${SIZE('w.sealed')}) from leasehold.wrapped w
       where w.principal_id = $6 and w.expires_at > leasehold.ledger_now()), 0)
     returning created_at as "createdAt"`,
    [row.id, row.accessor, row.sealed, row.creationPath, row.ttlSeconds, row.principalId, roomBytes ?? null],
  )
  return inserted?.createdAt
}

/** Takes the answer out: of any number who ask, one gets it. Undefined when it is gone, or its time is over. */
export const takeWrapped = (db: Db, id: string): Promise<WrappedRow | undefined> =>
  one<WrappedRow>(
    db,
    `delete from leasehold.wrapped where id = decode($1, 'hex') and expires_at > leasehold.ledger_now()
     returning encode(id, 'hex') as id, accessor, principal_id as "principalId", sealed,
       creation_path as "creationPath", ttl_seconds as "ttlSeconds"`,
    [id],
  )

export const findWrapped = (db: Db, id: string): Promise<WrappedFacts | undefined> =>
  one<WrappedFacts>(
    db,
    `select accessor, creation_path as "creationPath", ttl_seconds as "ttlSeconds", created_at as "createdAt"
     from leasehold.wrapped where id = decode($1, 'hex') and expires_at > leasehold.ledger_now()`,
    [id],
  )

export const dropWrapped = (db: Db, id: string): Promise<number> =>
  change(db, `delete from leasehold.wrapped where id = decode($1, 'hex')`, [id])
