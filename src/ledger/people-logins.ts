import { change, type Db, one } from './db.ts'
import type { Document } from './documents.ts'
import type { SomePerson } from './grant-reviews.ts'

/** Whom a mount of type `oidc` knows, and what their newest login there has said. */
export type KnownPerson = {
  mountId: string
  mountPath: string
  /** What names them there, as the ledger keeps it. */
  claim: string
  subject: string
  /**
   * The newest login there, by whichever role, over or not; null when there was none since their provider has last signed
   * them out.
   */
  identity: Document | null
  loggedInAt: Date | null
  now: Date
}

/** Where people come back to from their provider, below the mount: no other token is one that such a login made. */
const OIDC_CALLBACK = 'oidc/callback'

/** Undefined for an entity of another kind of mount, or of one that is gone. */
export const findKnownPerson = (db: Db, entityId: string): Promise<KnownPerson | undefined> =>
  one<KnownPerson>(
    db,
    `select m.id as "mountId", m.path as "mountPath", e.claim, e.subject, n.identity,
       n.issued_at as "loggedInAt", leasehold.ledger_now() as now
     from leasehold.entity e
     join leasehold.mount m on m.id = e.mount_id and m.disabled_at is null and m.type = 'oidc'
     left join lateral (
       select k.identity, k.issued_at from leasehold.token k
       where k.entity_id = e.id and k.parent_id is null and k.identity ->> 'kind' = 'human'
         and k.path = m.path || '${OIDC_CALLBACK}'
         and not exists (
           select from leasehold.signed_out_person s
           where s.id in (e.id, (k.identity -> 'claims' ->> 'iss') || '#' || (k.identity -> 'claims' ->> 'sub'))
             and s.signed_out_at >= k.issued_at)
       order by k.issued_at desc limit 1) n on true
     where e.id = $1 and e.kind = 'human'`,
    [entityId],
  )

/** Beyond it no login at a provider is old enough to give a key anything. */
const KEPT = `interval '100 days'`

/**
 * From now on no login that they have had up to now says who they are, ended or not. Run it in the transaction that ends
 * their tokens, in which nobody can log in as them.
 */
export const markSignedOut = (db: Db, { id, person }: SomePerson): Promise<number> =>
  change(
    db,
    // Of the clock and not of the transaction: a login may have begun after it, and ended before it had the lock.
    `insert into leasehold.signed_out_person (id, signed_out_at, expires_at)
     select name, n.at, n.at + ${KEPT}
     from (select leasehold.ledger_now() + (clock_timestamp() - now()) as at) n
     cross join unnest($1::text[]) name where name <> ''
     on conflict (id) do update set signed_out_at = excluded.signed_out_at, expires_at = excluded.expires_at`,
    [[id, person]],
  )
