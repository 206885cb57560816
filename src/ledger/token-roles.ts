import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'

export async function findTokenRole(db: Db, name: string): Promise<Document | undefined> {
  const row = await one<{ spec: Document }>(db, 'select spec from leasehold.token_role where name = $1', [
    name,
  ])
  return row?.spec
}

/** For reading, changing and writing back in one transaction; waits for another that does the same. */
export async function lockTokenRole(db: Db, name: string): Promise<Document | undefined> {
  await db.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`leasehold.token_role ${name}`])
  return findTokenRole(db, name)
}

export const putTokenRole = (db: Db, name: string, spec: Document): Promise<number> =>
  change(
    db,
    `insert into leasehold.token_role (name, spec) values ($1, $2)
     on conflict (name) do update set spec = excluded.spec`,
    [name, spec],
  )

export const removeTokenRole = (db: Db, name: string): Promise<number> =>
  change(db, 'delete from leasehold.token_role where name = $1', [name])

export async function listTokenRoleNames(db: Db): Promise<string[]> {
  const rows = await many<{ name: string }>(db, 'select name from leasehold.token_role order by name')
  return rows.map(({ name }) => name)
}
