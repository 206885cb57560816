import { type Db, many, manyLocking } from './db.ts'
import type { Document } from './documents.ts'
import type { LeaseLimit, LeaseState } from './lease-words.ts'

/** What renewing needs to know of a lease: its pinned role version, its mount, and the token that asked for it. */
export type Renewable = {
  id: string
  path: string
  state: LeaseState
  stuck: boolean
  account: string
  targetRef: string | null
  targetId: string
  targetVersion: number
  targetName: string
  engine: string
  mountConfig: Document
  mountType: string
  roleSpec: Document
  defaultTtlSeconds: number
  asked: Document
  outlivesToken: boolean
  tokenId: string
  principalId: string
  tokenExpiresAt: Date | null
  issuedAt: Date
  expiresAt: Date
  hardExpiresAt: Date
  hardLimitedBy: LeaseLimit
  /** The break-glass grant that allowed it. */
  grantId: string | null
  renewals: number
  now: Date
}

export function findRenewable(db: Db, ids: string[]): Promise<Renewable[]> {
  return many<Renewable>(
    db,
    `select l.id, l.path, l.state, l.state = 'revoking' and l.attempts >= 6 as stuck, l.account,
       l.target_ref as "targetRef", l.target_id as "targetId", t.version as "targetVersion", t.name as "targetName", t.engine, m.config as "mountConfig", m.type as "mountType", l.asked, r.spec as "roleSpec",
       r.default_ttl_seconds as "defaultTtlSeconds",
       l.outlives_token as "outlivesToken", encode(k.id, 'hex') as "tokenId", l.principal_id as "principalId", k.expires_at as "tokenExpiresAt",
       l.issued_at as "issuedAt", l.expires_at as "expiresAt", l.hard_expires_at as "hardExpiresAt", l.hard_limited_by as "hardLimitedBy",
       l.grant_id as "grantId", l.renewals, leasehold.ledger_now() as now
     from leasehold.lease l
     join leasehold.role r on r.id = l.role_id
     join leasehold.target t on t.id = l.target_id
     join leasehold.mount m on m.id = l.mount_id
     join leasehold.token k on k.id = l.token_id
     where l.id = any($1)`,
    [ids],
  )
}

export type Extension = { id: string; expiresAt: Date; limitedBy: LeaseLimit | null; renewals: number }

/**
 * Writes extensions whose target already agreed. Answers the ids written; a missing one was renewed by somebody else
 * since it was read, or has expired, or is being ended.
 */
export async function extendLeases(db: Db, extensions: Extension[]): Promise<Set<string>> {
  const rows = await manyLocking<{ id: string }>(
    db,
    `with asked as (
         select * from json_to_recordset($1) as e (id text, expires_at timestamptz, limited_by text, renewals integer)),
       locked as (
         select e.* from asked e join leasehold.lease l on l.id = e.id and l.renewals = e.renewals
         where l.state = 'active' and l.expires_at > leasehold.ledger_now() order by l.id for update of l)
       update leasehold.lease l
       set expires_at = e.expires_at, next_action_at = e.expires_at, limited_by = e.limited_by,
         renewed_at = leasehold.ledger_now(), renewals = l.renewals + 1
       from locked e where l.id = e.id
       returning l.id`,
    [
      JSON.stringify(
        extensions.map(({ id, expiresAt, limitedBy, renewals }) => ({
          id,
          expires_at: expiresAt,
          limited_by: limitedBy,
          renewals,
        })),
      ),
    ],
  )
  return new Set(rows.map(({ id }) => id))
}
