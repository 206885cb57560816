import { type Db, one } from './db.ts'
import type { Document } from './documents.ts'

/** Whom a mount of type `oidc` knows, and what their newest login there has said. */
export type KnownPerson = {
  mountId: string
  mountPath: string
  /** What names them there, as the ledger keeps it. */
  claim: string
  subject: string
  /** The newest login by the role, over or not; null when there was none. */
  identity: Document | null
  loggedInAt: Date | null
  now: Date
}

/** Where people come back to from their provider, below the mount: no other token is one that such a login made. */
const OIDC_CALLBACK = 'oidc/callback'

/** Undefined for an entity of another kind of mount, or of one that is gone. */
export const findKnownPerson = (db: Db, entityId: string, role: string): Promise<KnownPerson | undefined> =>
  one<KnownPerson>(
    db,
    `select m.id as "mountId", m.path as "mountPath", e.claim, e.subject, n.identity,
       n.issued_at as "loggedInAt", leasehold.ledger_now() as now
     from leasehold.entity e
     join leasehold.mount m on m.id = e.mount_id and m.disabled_at is null and m.type = 'oidc'
     left join lateral (
       select k.identity, k.issued_at from leasehold.token k
       where k.entity_id = e.id and k.parent_id is null and k.identity ->> 'kind' = 'human'
         and k.path = m.path || '${OIDC_CALLBACK}' and coalesce(k.identity -> 'metadata' ->> 'role', '') = $2
       order by k.issued_at desc limit 1) n on true
     where e.id = $1 and e.kind = 'human'`,
    [entityId, role],
  )
