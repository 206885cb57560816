import { type Db, many } from './db.ts'

/** What a target's leases wait for, for the gauges. Targets of one name on one mount, live and removed, are one. */
export type TargetGauges = {
  mount: string
  target: string
  ids: string[]
  /** How long the lease with standing access that is due the longest has been due; 0 when there is none. */
  overdueSeconds: number
  stuck: number
}

/** Held by a worker, or waiting for a try before the sixth: nothing to be ended is further ahead than that. */
const SOON = `interval '25 seconds'`
/** So many of the longest due are looked at on each target, so that a long outage costs no more. */
const DUE_LIMIT = 10_000

/**
 * By index alone, whatever the number of leases. A lease is due from its expiry, or from when it was told to end if
 * that came first; of one told to end early that fails, the ledger keeps the next try only, so until it would have
 * expired it counts from there.
 */
export function readTargetGauges(db: Db): Promise<TargetGauges[]> {
  return many<TargetGauges>(
    db,
    `select m.path as mount, t.name as target, array_agg(t.id) as ids,
       coalesce(max(greatest(0, extract(epoch from leasehold.ledger_now()
         - least(due.since, trying.since, stuck.since)))), 0)::double precision as "overdueSeconds",
       sum(stuck.count)::integer as stuck
     from leasehold.target t
     join leasehold.mount m on m.id = t.mount_id
     cross join lateral (
       select min(least(d.next_action_at, d.expires_at)) as since from (
         select l.next_action_at, l.expires_at from leasehold.lease l
         where l.target_id = t.id and l.next_action_at <= leasehold.ledger_now() and l.access_ended_at is null
         order by l.next_action_at limit ${DUE_LIMIT}) d) due
     cross join lateral (
       select min(l.expires_at) as since from leasehold.lease l
       where l.target_id = t.id and l.state = 'revoking' and l.access_ended_at is null
         and l.next_action_at > leasehold.ledger_now()
         and l.next_action_at <= leasehold.ledger_now() + ${SOON}) trying
     cross join lateral (
       select count(*) as count, min(l.expires_at) filter (where l.access_ended_at is null) as since
       from leasehold.lease l
       where l.target_id = t.id and l.state = 'revoking' and l.attempts >= 6) stuck
     where t.removed_at is null
       or exists (select from leasehold.lease l where l.target_id = t.id and l.next_action_at is not null)
     group by m.path, t.name`,
  )
}
