import { change, type Db, one } from './db.ts'

/** An answer that waits. `id` is the SHA-256 of its wrapping token, in hex; the token itself the ledger never has. */
export type WrappedRow = {
  id: string
  accessor: string
  sealed: Buffer
  creationPath: string
  ttlSeconds: number
}

/** What is known of an answer without opening it. */
export type WrappedFacts = Pick<WrappedRow, 'accessor' | 'creationPath' | 'ttlSeconds'> & { createdAt: Date }

/** Answers when it was put there. */
export async function insertWrapped(db: Db, row: WrappedRow): Promise<Date> {
  const inserted = await one<{ createdAt: Date }>(
    db,
    `insert into leasehold.wrapped (id, accessor, sealed, creation_path, ttl_seconds, created_at, expires_at)
     values (decode($1, 'hex'), $2, $3, $4, $5::bigint, leasehold.ledger_now(),
       leasehold.ledger_now() + $5::bigint * interval '1 second')
     returning created_at as "createdAt"`,
    [row.id, row.accessor, row.sealed, row.creationPath, row.ttlSeconds],
  )
  if (!inserted) throw new Error('an answer was not kept')
  return inserted.createdAt
}

/** Takes the answer out: of any number who ask, one gets it. Undefined when it is gone, or its time is over. */
export const takeWrapped = (db: Db, id: string): Promise<WrappedRow | undefined> =>
  one<WrappedRow>(
    db,
    `delete from leasehold.wrapped where id = decode($1, 'hex') and expires_at > leasehold.ledger_now()
     returning encode(id, 'hex') as id, accessor, sealed, creation_path as "creationPath",
       ttl_seconds as "ttlSeconds"`,
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
