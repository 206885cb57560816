import { type Db, many } from './db.ts'
import type { Document } from './documents.ts'

/** A target with what is waiting on it; there is no secret in it. */
export type ListedTarget = {
  id: string
  mountId: string
  mountPath: string
  name: string
  engine: string
  spec: Document
  capabilities: Document | null
  /** Up to `LIVE_COUNTED`. */
  live: number
  stuck: number
  /** Stuck with access that may still stand: what freezes issuing. */
  freezing: number
  /** How long the lease that is due the longest has been due. */
  overdueSeconds: number
  stuckLeases: { lease_id: string; error: string; attempts: number; since: string }[]
}

const LIVE_COUNTED = 10_000
const STUCK_SHOWN = 20

/** By index alone: so much is read of each target, whatever the number of leases. */
export const listTargetStates = (db: Db): Promise<ListedTarget[]> =>
  many<ListedTarget>(
    db,
    `select t.id, t.mount_id as "mountId", m.path as "mountPath", t.name, t.engine, t.spec, t.capabilities,
       live.count as live, stuck.count as stuck, stuck.freezing, stuck.some as "stuckLeases",
       greatest(0, coalesce(extract(epoch from leasehold.ledger_now() - due.since), 0))::double precision
         as "overdueSeconds"
     from leasehold.target t join leasehold.mount m on m.id = t.mount_id
     cross join lateral (select count(*) as count from (
       select from leasehold.lease l where l.target_id = t.id and l.next_action_at is not null
       limit ${LIVE_COUNTED}) l) live
     cross join lateral (select min(d.since) as since from (
       select least(l.next_action_at, l.expires_at) as since from leasehold.lease l
       where l.target_id = t.id and l.next_action_at <= leasehold.ledger_now() and l.access_ended_at is null
       order by l.next_action_at limit 1000) d) due
     cross join lateral (
       select count(*) as count, count(*) filter (where s.access_ended_at is null) as freezing,
         coalesce(json_agg(json_build_object('lease_id', s.path || '/' || s.id, 'error', coalesce(s.last_error, ''),
           'attempts', s.attempts, 'since', s.expires_at) order by s.expires_at)
           filter (where s.n <= ${STUCK_SHOWN}), '[]') as some
       from (select l.*, row_number() over (order by l.expires_at) as n from leasehold.lease l
         where l.target_id = t.id and l.state = 'revoking' and l.attempts >= 6 limit ${LIVE_COUNTED}) s) stuck
     where t.removed_at is null and m.disabled_at is null order by m.path, t.name`,
  )

/** What is rotated: admins by `targetId`, static accounts by mount and target. */
export type ListedRotation = {
  kind: 'static' | 'admin'
  mountId: string
  targetId: string | null
  targetName: string
  name: string | null
  username: string
  lastRotatedAt: Date | null
  nextAt: Date | null
  phase: string | null
  attempts: number
  lastError: string | null
  automated: boolean
}

export const listRotations = (db: Db): Promise<ListedRotation[]> =>
  many<ListedRotation>(
    db,
    `select r.kind, r.mount_id as "mountId", r.target_id as "targetId", r.target_name as "targetName", r.name, r.username,
       r.last_rotated_at as "lastRotatedAt", coalesce(r.due_at, r.next_action_at) as "nextAt", r.phase, r.attempts,
       r.last_error as "lastError", r.automated
     from leasehold.rotation r where r.removed_at is null order by r.name, r.username limit 5000`,
  )
