import { type Db, many, one } from './db.ts'

export type SummaryRow = {
  at: Date
  issued: number
  ended: number
  live: number
  ending: number
  p50: number | null
  p95: number | null
  p99: number | null
  max: number | null
}

/** So many leases that ended are counted, and so many that live: of a larger ledger the window is told shorter. */
const ENDED_AT_MOST = 50_000
export const LIVE_AT_MOST = 200_000

/** Of the `ENDED_AT_MOST` leases that ended last, when the first ended; undefined when there are not so many. */
export const firstCounted = (db: Db, from: Date): Promise<{ at: Date } | undefined> =>
  one(
    db,
    `select l.ended_at as at from leasehold.lease l where l.state = 'revoked' and l.ended_at > $1
     order by l.ended_at desc offset ${ENDED_AT_MOST} limit 1`,
    [from],
  )

/**
 * Counts by equal parts of time, up to now. Every lease made in the window is live or has ended in it: so leases that
 * ended before it are never read. Of one told to end early, nobody kept when: it counts from when its access was cut.
 */
export const summarizeLeases = (
  db: Db,
  { from, to, seconds }: { from: Date; to: Date; seconds: number },
): Promise<SummaryRow[]> =>
  many<SummaryRow>(
    db,
    `with known as materialized (
       (select l.issued_at, l.ended_at, l.access_ended_at, l.expires_at,
          case when l.state = 'revoking' then least(l.expires_at,
            coalesce(l.access_ended_at, $2::timestamptz - interval '1 millisecond')) end as due_at,
          l.end_reason
        from leasehold.lease l where l.next_action_at is not null limit ${LIVE_AT_MOST})
       union all
       (select l.issued_at, l.ended_at, l.access_ended_at, l.expires_at,
          least(l.expires_at, l.access_ended_at), l.end_reason
        from leasehold.lease l where l.state = 'revoked' and l.ended_at > $1
        order by l.ended_at desc limit ${ENDED_AT_MOST})),
     parts as (
       select n, $1::timestamptz + n * $3::integer * interval '1 second' as at
       from generate_series(0, ceil(extract(epoch from $2::timestamptz - $1::timestamptz) / $3::integer)::integer - 1) n),
     numbered as (
       select k.*,
         floor(extract(epoch from k.issued_at - $1) / $3::integer)::integer as issued_in,
         floor(extract(epoch from k.ended_at - $1) / $3::integer)::integer as ended_in,
         floor(extract(epoch from k.due_at - $1) / $3::integer)::integer as due_in,
         floor(extract(epoch from k.access_ended_at - $1) / $3::integer)::integer as cut_in
       from known k),
     issued as (select issued_in as n, count(*) as count from numbered where issued_in >= 0 group by 1),
     over as (select ended_in as n, count(*) as count from numbered where ended_in >= 0 group by 1),
     due as (select greatest(due_in, -1) as n, count(*) as count from numbered where due_in is not null group by 1),
     lag as (
       select cut_in as n, percentile_cont(array[0.5, 0.95, 0.99, 1]) within group (order by
         greatest(0, extract(epoch from access_ended_at - expires_at) * 1000)::double precision) as p
       from numbered where end_reason = 'expired' and cut_in >= 0 group by 1),
     before as (
       select count(*) filter (where issued_in < 0) as live from numbered)
     select p.at, coalesce(i.count, 0) as issued, coalesce(o.count, 0) as ended,
       (b.live + sum(coalesce(i.count, 0)) over w - sum(coalesce(o.count, 0)) over w)::integer as live,
       greatest(0, coalesce((select d.count from due d where d.n = -1), 0) + sum(coalesce(d.count, 0)) over w
         - sum(coalesce(o.count, 0)) over w)::integer as ending,
       g.p[1] as p50, g.p[2] as p95, g.p[3] as p99, g.p[4] as max
     from parts p cross join before b
     left join issued i on i.n = p.n left join over o on o.n = p.n left join due d on d.n = p.n
     left join lag g on g.n = p.n
     window w as (order by p.n) order by p.n`,
    [from, to, seconds],
  )

export type LiveCounts = { issuing: number; active: number; revoking: number; stuck: number; now: Date }

/** Of the first `LIVE_AT_MOST` that the ledger comes upon. */
export async function countByState(db: Db): Promise<LiveCounts> {
  const row = await one<LiveCounts>(
    db,
    `select count(*) filter (where state = 'issuing') as issuing, count(*) filter (where state = 'active') as active,
       count(*) filter (where state = 'revoking') as revoking,
       count(*) filter (where state = 'revoking' and attempts >= 6) as stuck, leasehold.ledger_now() as now
     from (select state, attempts from leasehold.lease where next_action_at is not null limit ${LIVE_AT_MOST}) l`,
  )
  if (!row) throw new Error('the ledger gave no answer')
  return row
}
