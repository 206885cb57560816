import { packed, unpacked } from '../lib/packed.ts'
import { type Db, many, manyLocking, one } from './db.ts'
import type { Document } from './documents.ts'
import type { LeaseState } from './lease-words.ts'

/** What the ledger knows of an account that was found on a target. */
export type KnownLease = {
  id: string
  targetId: string
  account: string
  targetRef: string | null
  state: LeaseState
  roleId: string
  /** Its lease had ended by `since`; false for one that ended later, or has not. */
  endedBefore: boolean
}

/** The rows of these leases, live or not; an id that is missing is not of this ledger. */
export const findKnown = (db: Db, ids: readonly string[], since: Date): Promise<KnownLease[]> =>
  manyPacked<KnownLease>(
    db,
    `select id, target_id as "targetId", account, target_ref as "targetRef", state, role_id as "roleId",
       coalesce(ended_at < $2, false) as "endedBefore"
     from leasehold.lease where id = any($1)`,
    [ids, since],
  )

const manyPacked = async <Row>(db: Db, sql: string, values: unknown[]): Promise<Row[]> =>
  unpacked<Row>(await db.query(packed(sql), values))

export async function ledgerNow(db: Db): Promise<Date> {
  const row = await one<{ now: Date }>(db, 'select leasehold.ledger_now() as now')
  return row?.now ?? new Date(NaN)
}

/** Whose lease it is when it is nobody's: no token hashes to this. */
const OURS = 'leasehold'
const NO_TOKEN = `convert_to('${OURS}', 'UTF8')`

export type OwnLease = {
  id: string
  path: string
  mountId: string
  roleId: string
  targetId: string
  account: string
}

/** Leases that only end: of accounts that are there without one. Answers the ids written; one that is ending already has its row. */
export async function insertOrphans(
  db: Db,
  orphans: readonly (OwnLease & { targetRef: string | null })[],
): Promise<Set<string>> {
  const rows = await many<{ id: string }>(
    db,
    `insert into leasehold.lease (id, kind, path, mount_id, role_id, target_id, token_id, principal_id, account, target_ref,
       state, end_reason, issued_at, expires_at, hard_expires_at, hard_limited_by, create_deadline, next_action_at)
     select i.id, 'orphan', i.path, i."mountId", i."roleId", i."targetId", ${NO_TOKEN}, '${OURS}', i.account, i."targetRef",
       'revoking', 'orphan', n, n, n, 'role_max', n, n
     from json_to_recordset($1) as i (id text, path text, "mountId" text, "roleId" text, "targetId" text, account text,
       "targetRef" text), leasehold.ledger_now() n
     on conflict (target_id, account) where kind = 'orphan' and state <> 'revoked' do nothing
     returning id`,
    [JSON.stringify(orphans)],
  )
  return new Set(rows.map(({ id }) => id))
}

/** The intent of a throwaway lease. False when the target was removed meanwhile. */
export async function insertCanary(
  db: Db,
  lease: OwnLease,
  { ttlMs, createWithinMs }: { ttlMs: number; createWithinMs: number },
): Promise<boolean> {
  const rows = await many(
    db,
    `insert into leasehold.lease (id, kind, path, mount_id, role_id, target_id, token_id, principal_id, account, state,
       issued_at, expires_at, hard_expires_at, hard_limited_by, create_deadline, next_action_at)
     select $1, 'canary', $2, $3, $4, t.id, ${NO_TOKEN}, '${OURS}', $6, 'issuing', n, n + $7 * interval '1 millisecond',
       n + $7 * interval '1 millisecond', 'role_max', n + $8 * interval '1 millisecond', n + $8 * interval '1 millisecond'
     from leasehold.ledger_now() n, leasehold.target t
     where t.id = $5 and t.removed_at is null for share of t
     returning id`,
    [lease.id, lease.path, lease.mountId, lease.roleId, lease.targetId, lease.account, ttlMs, createWithinMs],
  )
  return rows.length > 0
}

/**
 * The role that leases of our own are made by: kept like a replaced version, so that nobody can ask for it. `name`
 * begins with a dot, which no role's name on the wire does.
 */
export async function ownRole(
  db: Db,
  { id, mountId, name, spec }: { id: string; mountId: string; name: `.${string}`; spec: Document },
): Promise<string> {
  const known = await one<{ id: string }>(
    db,
    'select id from leasehold.role where mount_id = $1 and name = $2 and spec = $3 order by version limit 1',
    [mountId, name, spec],
  )
  if (known) return known.id
  await db.query(
    `insert into leasehold.role (id, mount_id, name, version, target_name, spec, replaced_at)
     select $1, $2, $3, coalesce(max(version), 0) + 1, '', $4, leasehold.ledger_now()
     from leasehold.role where mount_id = $2 and name = $3
     on conflict (mount_id, name, version) do nothing`,
    [id, mountId, name, spec],
  )
  return ownRole(db, { id, mountId, name, spec })
}

/** A lease whose account has to be there as it was made, or, where its access has ended, must not let anybody in. */
export type Standing = {
  id: string
  path: string
  account: string
  targetRef: string | null
  state: 'active' | 'revoking'
  renewals: number
  fence: number
  roleId: string
  lifetimeMs: number
  hardLifetimeMs: number
  firstTraits: Document | null
  /** How often it had been renewed at the first look. */
  firstRenewals: number | null
  /** When it is due. Microseconds count, so it is kept as the ledger printed it. */
  at: string
}

/** The last lease of a page, after which the next begins. */
export type Place = { at: string; id: string }

export const FIRST_PAGE: Place = { at: '-infinity', id: '' }

/**
 * A page of them, by when each is due; no transaction is held open between two pages. A column for each value and none
 * for what many leases share: of a hundred thousand, each object more is seen in the memory it takes.
 */
export const standingLeases = (
  db: Db,
  { targetId, after, limit }: { targetId: string; after: Place; limit: number },
): Promise<Standing[]> =>
  manyPacked<Standing>(
    db,
    `select l.id, l.path, l.account, l.target_ref as "targetRef", l.state, l.renewals, l.fence, l.role_id as "roleId",
       (extract(epoch from l.expires_at - leasehold.ledger_now()) * 1000)::double precision as "lifetimeMs",
       (extract(epoch from l.hard_expires_at - leasehold.ledger_now()) * 1000)::double precision as "hardLifetimeMs",
       s.traits as "firstTraits", s.renewals as "firstRenewals", l.next_action_at::text as at
     from leasehold.lease l left join leasehold.sighting s on s.lease_id = l.id
     where l.target_id = $1 and l.next_action_at is not null
       and l.next_action_at >= $2 and (l.next_action_at, l.id) > ($2::timestamptz, $3)
       and (l.state = 'active' or (l.state = 'revoking' and l.access_ended_at is not null and l.claimed_by is null))
     order by l.next_action_at, l.id limit $4`,
    [targetId, after.at, after.id, limit],
  )

/** How accounts of these roles are made, by role; a version of a role never changes. */
export async function roleSpecs(db: Db, ids: Iterable<string>): Promise<Map<string, Document>> {
  const rows = await many<{ id: string; spec: Document }>(
    db,
    'select id, spec from leasehold.role where id = any($1)',
    [[...ids]],
  )
  return new Map(rows.map(({ id, spec }) => [id, spec]))
}

/**
 * Dooms those that are still `active`, and were not renewed since they were read. `active` is never entered twice, so
 * what was seen on the target in between was seen of a live lease. Answers their ids.
 */
export async function doomIfStanding(
  db: Db,
  seen: readonly { id: string; renewals: number }[],
  reason: 'account_gone' | 'foreign_change',
): Promise<Set<string>> {
  const rows = await manyLocking<{ id: string }>(
    db,
    `with locked as (
       select l.id from json_to_recordset($1) as s (id text, renewals integer)
       join leasehold.lease l on l.id = s.id and l.renewals = s.renewals
       where l.state = 'active' order by l.id for update of l)
     update leasehold.lease l
     set state = 'revoking', end_reason = $2, next_action_at = leasehold.ledger_now()
     from locked where l.id = locked.id returning l.id`,
    [JSON.stringify(seen), reason],
  )
  return new Set(rows.map(({ id }) => id))
}

/** Somebody let an account in again whose access had ended: every step is to be taken anew. Answers the ids. */
export async function endAnew(db: Db, seen: readonly { id: string; fence: number }[]): Promise<Set<string>> {
  const rows = await manyLocking<{ id: string }>(
    db,
    `with locked as (
       select l.id from json_to_recordset($1) as s (id text, fence integer)
       join leasehold.lease l on l.id = s.id and l.fence = s.fence
       where l.state = 'revoking' and l.access_ended_at is not null and l.claimed_by is null
       order by l.id for update of l)
     update leasehold.lease l
     set access_ended_at = null, steps = '[]', next_action_at = leasehold.ledger_now()
     from locked where l.id = locked.id returning l.id`,
    [JSON.stringify(seen)],
  )
  return new Set(rows.map(({ id }) => id))
}

/** What live leases' accounts looked like now is what they are held against from here on. */
export async function keepSightings(
  db: Db,
  targetId: string,
  sightings: readonly { id: string; renewals: number; traits: Document }[],
): Promise<void> {
  await db.query(
    `insert into leasehold.sighting (lease_id, target_id, traits, renewals)
     select s.id, $2, s.traits, s.renewals from json_to_recordset($1) as s (id text, renewals integer, traits jsonb)
     order by s.id
     on conflict (lease_id) do update set traits = excluded.traits, renewals = excluded.renewals`,
    [JSON.stringify(sightings), targetId],
  )
}

/** Of leases that have ended. */
export async function dropSightings(db: Db, targetId: string): Promise<void> {
  await db.query(
    `delete from leasehold.sighting s where s.target_id = $1
       and not exists (select from leasehold.lease l where l.id = s.lease_id and l.state <> 'revoked')`,
    [targetId],
  )
}
