import { type Db, many, one } from './db.ts'
import { type Document, startingWith } from './documents.ts'
import type { RecordedStep } from './lease-ending.ts'
import type { EndReason, LeaseLimit, LeaseState } from './lease-words.ts'
import { MOUNT_ACCESSOR } from './mounts.ts'

/** A lease as its holder and the operators may see it; there is no secret in it. */
export type Lease = {
  id: string
  path: string
  state: LeaseState
  account: string
  targetName: string
  engine: string
  roleSpec: Document
  capabilities: Document | null
  tokenId: string
  principalId: string
  issuedAt: Date
  expiresAt: Date
  hardExpiresAt: Date
  limitedBy: LeaseLimit | null
  /** The break-glass grant it belongs to. */
  grantId: string | null
  renewedAt: Date | null
  attempts: number
  stuck: boolean
  lastError: string | null
  endReason: EndReason | null
  steps: RecordedStep[]
  accessEndedAt: Date | null
  endedAt: Date | null
  now: Date
}

const LEASE = `
  l.id, l.path, l.state, l.account, t.name as "targetName", t.engine, r.spec as "roleSpec", t.capabilities, encode(l.token_id, 'hex') as "tokenId",
  l.principal_id as "principalId",
  l.issued_at as "issuedAt", l.expires_at as "expiresAt", l.hard_expires_at as "hardExpiresAt",
  l.limited_by as "limitedBy", l.grant_id as "grantId", l.renewed_at as "renewedAt", l.attempts,
  l.state = 'revoking' and l.attempts >= 6 as stuck, l.last_error as "lastError", l.end_reason as "endReason",
  l.steps, l.access_ended_at as "accessEndedAt", l.ended_at as "endedAt", leasehold.ledger_now() as now`

export function findLease(db: Db, path: string, id: string): Promise<Lease | undefined> {
  return one<Lease>(
    db,
    `select ${LEASE} from leasehold.lease l join leasehold.target t on t.id = l.target_id join leasehold.role r on r.id = l.role_id
     where l.id = $2 and l.path = $1`,
    [path, id],
  )
}

export type LeaseProgress = { id: string; state: LeaseState; attempts: number; lastError: string | null }

export const findLeaseStates = (db: Db, ids: string[]): Promise<LeaseProgress[]> =>
  many<LeaseProgress>(
    db,
    'select id, state, attempts, last_error as "lastError" from leasehold.lease where id = any($1)',
    [ids],
  )

/** One level of the tree of live lease ids below `prefix` (which ends in `/` or is empty): ids, and folders with `/`. */
export async function listLeaseKeys(db: Db, prefix: string): Promise<string[]> {
  const rows = await many<{ key: string }>(
    db,
    `select distinct case when strpos(rest, '/') > 0 then left(rest, strpos(rest, '/')) else rest end as key
     from (select substr(path || '/' || id, length($1) + 1) as rest from leasehold.lease
       where state <> 'revoked' and (path || '/' || id) like $2) below
     order by key`,
    [prefix, startingWith(prefix)],
  )
  return rows.map(({ key }) => key)
}

export type StuckLease = { leaseId: string; mountAccessor: string; error: string }

/** Leases whose ending failed six times or more; it is still being tried. `limit` null lists all. */
export function listStuckLeases(db: Db, limit: number | null): Promise<StuckLease[]> {
  return many<StuckLease>(
    db,
    `select l.path || '/' || l.id as "leaseId", ${MOUNT_ACCESSOR} as "mountAccessor", coalesce(l.last_error, '') as error
     from leasehold.lease l join leasehold.mount m on m.id = l.mount_id
     where l.state = 'revoking' and l.attempts >= 6 order by l.issued_at, l.id limit $1`,
    [limit],
  )
}

export function countStuckLeases(db: Db): Promise<{ accessor: string; count: number }[]> {
  return many(
    db,
    `select ${MOUNT_ACCESSOR} as accessor, count(*) as count
     from leasehold.lease l join leasehold.mount m on m.id = l.mount_id
     where l.state = 'revoking' and l.attempts >= 6 group by m.id`,
  )
}

/** How many leases of a target are not yet `revoked`. */
export async function countLiveLeases(db: Db, targetId: string): Promise<number> {
  const row = await one<{ count: number }>(
    db,
    `select count(*) as count from leasehold.lease where target_id = $1 and next_action_at is not null`,
    [targetId],
  )
  return row?.count ?? 0
}

export async function findReceipt(db: Db, path: string, id: string): Promise<string | undefined> {
  const row = await one<{ jws: string }>(
    db,
    `select r.jws from leasehold.receipt r join leasehold.lease l on l.id = r.lease_id
     where l.id = $2 and l.path = $1`,
    [path, id],
  )
  return row?.jws
}
