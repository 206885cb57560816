import { type Db, many, manyLocking, one } from './db.ts'
import type { Document } from './documents.ts'
import type { LeaseLimit, LeaseState } from './lease-words.ts'

/** A lease that a grant allowed, as whoever looks at the grant sees it. */
export type GrantLease = {
  id: string
  path: string
  leaseId: string
  state: LeaseState
  account: string
  /** The version of its role by which it was made. */
  roleId: string
  targetId: string
  targetName: string
  engine: string
  issuedAt: Date
  expiresAt: Date
  accessEndedAt: Date | null
  endedAt: Date | null
  stuck: boolean
  lastError: string | null
}

/** All that a grant ever allowed, the oldest first. */
export const findGrantLeases = (db: Db, grantId: string): Promise<GrantLease[]> =>
  many<GrantLease>(
    db,
    `select l.id, l.path, l.path || '/' || l.id as "leaseId", l.state, l.account, l.role_id as "roleId",
       l.target_id as "targetId", t.name as "targetName", t.engine, l.issued_at as "issuedAt", l.expires_at as "expiresAt",
       l.access_ended_at as "accessEndedAt", l.ended_at as "endedAt",
       l.state = 'revoking' and l.attempts >= 6 as stuck, l.last_error as "lastError"
     from leasehold.lease l join leasehold.target t on t.id = l.target_id
     where l.grant_id = $1 order by l.issued_at, l.id`,
    [grantId],
  )

/** How far the end of a grant's leases has come. */
export type GrantLeaseCounts = {
  all: number
  /** Not proved gone. */
  unproved: number
  /** Of those, where somebody may still be in. */
  open: number
}

export async function countGrantLeases(db: Db, grantId: string): Promise<GrantLeaseCounts> {
  const counts = await one<GrantLeaseCounts>(
    db,
    `select count(*) as all, count(*) filter (where state <> 'revoked') as unproved,
       count(*) filter (where state <> 'revoked' and access_ended_at is null) as open
     from leasehold.lease where grant_id = $1`,
    [grantId],
  )
  return counts ?? { all: 0, unproved: 0, open: 0 }
}

/** What moving the end of a grant's lease rests on. */
export type ExtendableLease = {
  id: string
  account: string
  targetRef: string | null
  targetId: string
  targetVersion: number
  engine: string
  roleSpec: Document
  maxTtlSeconds: number
  mountConfig: Document
  outlivesToken: boolean
  tokenExpiresAt: Date | null
  tokenHardExpiresAt: Date | null
  issuedAt: Date
  renewals: number
  now: Date
}

/** Live leases whose latest possible end is their grant's. */
export const findExtendable = (db: Db, grantId: string): Promise<ExtendableLease[]> =>
  many<ExtendableLease>(
    db,
    `select l.id, l.account, l.target_ref as "targetRef", l.target_id as "targetId", t.version as "targetVersion",
       t.engine, r.spec as "roleSpec", r.max_ttl_seconds as "maxTtlSeconds", m.config as "mountConfig",
       l.outlives_token as "outlivesToken", k.expires_at as "tokenExpiresAt", k.hard_expires_at as "tokenHardExpiresAt",
       l.issued_at as "issuedAt", l.renewals, leasehold.ledger_now() as now
     from leasehold.lease l
     join leasehold.role r on r.id = l.role_id
     join leasehold.target t on t.id = l.target_id
     join leasehold.mount m on m.id = l.mount_id
     join leasehold.token k on k.id = l.token_id
     where l.grant_id = $1 and l.state = 'active' and l.hard_limited_by = 'grant'
       and l.expires_at > leasehold.ledger_now()
     order by l.id`,
    [grantId],
  )

export type MovedEnd = {
  id: string
  renewals: number
  expiresAt: Date
  hardExpiresAt: Date
  limitedBy: LeaseLimit | null
  hardLimitedBy: LeaseLimit
}

/**
 * Moves the ends of leases whose targets have agreed, the latest possible one with them: only here, and only of leases
 * that their grant limits. Answers the ids moved; one that was renewed or has begun to end since keeps its end.
 */
export async function moveLeaseEnds(
  db: Db,
  grantId: string,
  moved: readonly MovedEnd[],
): Promise<Set<string>> {
  if (moved.length === 0) return new Set()
  const rows = await manyLocking<{ id: string }>(
    db,
    `with asked as (
       select * from json_to_recordset($2) as e (id text, renewals integer, "expiresAt" timestamptz,
         "hardExpiresAt" timestamptz, "limitedBy" text, "hardLimitedBy" text)),
     locked as (
       select e.* from asked e join leasehold.lease l on l.id = e.id and l.renewals = e.renewals
       where l.grant_id = $1 and l.hard_limited_by = 'grant' and l.state = 'active'
         and l.expires_at > leasehold.ledger_now()
       order by l.id for update of l)
     update leasehold.lease l
     set expires_at = e."expiresAt", next_action_at = e."expiresAt", hard_expires_at = e."hardExpiresAt",
       limited_by = e."limitedBy", hard_limited_by = e."hardLimitedBy",
       renewed_at = leasehold.ledger_now(), renewals = l.renewals + 1
     from locked e where l.id = e.id
     returning l.id`,
    [grantId, JSON.stringify(moved)],
  )
  return new Set(rows.map(({ id }) => id))
}

/** Leases of a grant on these paths that are not gone. */
export const findLiveOnPaths = (
  db: Db,
  grantId: string,
  paths: readonly string[],
): Promise<Pick<GrantLease, 'id' | 'state'>[]> =>
  many(
    db,
    `select id, state from leasehold.lease where grant_id = $1 and path = any($2) and state <> 'revoked' order by id`,
    [grantId, paths],
  )
