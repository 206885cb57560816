import { type Db, manyLocking, one } from './db.ts'
import type { Document } from './documents.ts'

/** A login that was begun. `id` is the SHA-256 that stands for its state, in hex; the state itself the ledger never has. */
export type OidcStateRow = { id: string; sealed: Document; source: string; expiresAt: Date }

/**
 * Keeps a login that was begun, unless `most` of the same source wait already: then it answers in how many seconds the
 * first of those is over. Some that arrive at the same moment may pass the bound together.
 */
export async function putOidcState(
  db: Db,
  { id, sealed, source, expiresAt }: OidcStateRow,
  most: number,
): Promise<number | undefined> {
  const full = await one<{ freeInSeconds: number }>(
    db,
    `with held as (
       select count(*) as number, min(expires_at) as first_end from leasehold.oidc_state
       where source = $3 and expires_at > leasehold.ledger_now()),
     put as (
       insert into leasehold.oidc_state (id, sealed, source, expires_at)
       select decode($1, 'hex'), $2, $3, $4 from held where number < $5::bigint returning id)
     select extract(epoch from first_end - leasehold.ledger_now())::float8 as "freeInSeconds" from held
     where not exists (select from put)`,
    [id, sealed, source, expiresAt, most],
  )
  return full?.freeInSeconds
}

/** Takes them out: of any number who ask for one, one gets it. Those that are not there are left out. */
export const takeOidcStates = (
  db: Db,
  ids: readonly string[],
): Promise<Pick<OidcStateRow, 'id' | 'sealed'>[]> =>
  manyLocking(
    db,
    `with asked as materialized (
       select s.id from unnest($1::text[]) as a (id) join leasehold.oidc_state s on s.id = decode(a.id, 'hex')
       order by s.id for update of s)
     delete from leasehold.oidc_state s using asked where s.id = asked.id
     returning encode(s.id, 'hex') as id, s.sealed`,
    [ids],
  )
