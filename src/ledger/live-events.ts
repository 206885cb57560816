import { type Db, one } from './db.ts'

/** What was committed since the last look, as far as open pages care. */
export type LiveLook = {
  /** For the next look. */
  snapshot: string
  now: Date
  /** Of the audit log. `body` only where no lease is named. */
  events: { leaseId: string | null; target: string | null; type: string; body: string | null }[]
  /** Of grants, by who moved them when: those of the last seconds, seen before or not. */
  grants: { id: string; number: number }[]
  /** Another text than last time: a target was reconciled, tried or rotated. */
  targets: string
}

/** One more than this is read, to tell that there were more. */
export const LIVE_EVENTS_AT_ONCE = 100

/** An event is dated when its transaction begins, and none of ours lasts this long. */
const GRANTS_BACK = `interval '30 seconds'`

/**
 * Every change of a lease is committed with its event, so what an earlier look could not see of the audit log is all
 * that happened since, in whatever order it was committed. Read by index: no change pays for being looked at.
 */
export async function lookForChanges(db: Db, since: string | undefined): Promise<LiveLook> {
  const look = await one<LiveLook>(
    db,
    `select pg_current_snapshot()::text as snapshot, leasehold.ledger_now() as now,
       case when $1::text is null then '[]' else coalesce((
         select json_agg(json_build_object('leaseId', e.lease_id, 'target', e.target, 'type', e.type,
           'body', case when e.lease_id is null then e.body end))
         from (
           select a.lease_id, a.target, a.type, a.body from leasehold.audit_event a
           where a.written_by >= pg_snapshot_xmin($1::text::pg_snapshot)
             and not pg_visible_in_snapshot(a.written_by, $1::text::pg_snapshot)
           order by a.written_by, a.writer, a.seq limit ${LIVE_EVENTS_AT_ONCE + 1}) e), '[]') end as events,
       coalesce((
         select json_agg(json_build_object('id', g.grant_id, 'number', g.number))
         from (
           select v.grant_id, v.number from leasehold.grant_event v
           where v.at > leasehold.ledger_now() - ${GRANTS_BACK} order by v.at desc limit 500) g), '[]') as grants,
       concat_ws(' ',
         (select max(u.finished_at)::text from leasehold.upkeep u),
         (select count(*) filter (where u.claimed_by is not null)::text from leasehold.upkeep u),
         (select sum(r.rotations + r.attempts)::text from leasehold.rotation r)) as targets`,
    [since ?? null],
  )
  if (!look) throw new Error('the ledger gave no answer')
  return look
}
