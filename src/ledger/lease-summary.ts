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

/** The ledger's time and, of the `ENDED_AT_MOST` leases that ended last in so many seconds, when the first ended; null when there are not so many. */
export async function firstCounted(db: Db, seconds: number): Promise<{ now: Date; at: Date | null }> {
  const row = await one<{ now: Date; at: Date | null }>(
    db,
    `select leasehold.ledger_now() as now, (
       select l.ended_at from leasehold.lease l
       where l.state = 'revoked' and l.ended_at > leasehold.ledger_now() - $1::integer * interval '1 second'
       order by l.ended_at desc offset ${ENDED_AT_MOST} limit 1) as at`,
    [seconds],
  )
  if (!row) throw new Error('the ledger gave no answer')
  return row
}

/** Of the first `LIVE_AT_MOST` that the ledger comes upon. */
export type LiveCounts = { issuing: number; active: number; revoking: number; stuck: number }

/** In which part of the window a time is; less than 0 before it. */
const PART = (time: string): string =>
  `floor((date_part('epoch', ${time}) - date_part('epoch', $1::timestamptz)) / $3::integer)::integer`

const LATE_MS = `greatest(0, date_part('epoch', l.access_ended_at - l.expires_at) * 1000)`

const RECENT = `l.issued_at >= $2::timestamptz - $4::integer * interval '1 second'`

/**
 * Leases that live, counted as they are read, as those that do the same in the same part of the window are alike; and
 * those that have ended, one by one.
 */
const KNOWN = `alive as materialized (
       select l.state, l.attempts >= 6 as stuck, ${RECENT} as recent, ${PART('l.issued_at')} as issued_in,
         case when l.state = 'revoking' then ${PART(`least(l.expires_at,
           coalesce(l.access_ended_at, $2::timestamptz - interval '1 millisecond'))`)} end as due_in,
         case when l.end_reason = 'expired' then ${PART('l.access_ended_at')} end as cut_in,
         case when l.end_reason = 'expired' then ${LATE_MS} end as late, count(*) as count
       from (select * from leasehold.lease where next_action_at is not null limit ${LIVE_AT_MOST}) l
       group by 1, 2, 3, 4, 5, 6, 7),
     gone as materialized (
       select ${RECENT} as recent, ${PART('l.issued_at')} as issued_in, ${PART('l.ended_at')} as ended_in,
         ${PART('least(l.expires_at, l.access_ended_at)')} as due_in,
         case when l.end_reason = 'expired' then ${PART('l.access_ended_at')} end as cut_in,
         case when l.end_reason = 'expired' then ${LATE_MS} end as late
       from leasehold.lease l where l.state = 'revoked' and l.ended_at > $1
       order by l.ended_at desc limit ${ENDED_AT_MOST}),
     known as materialized (
       select issued_in, null::integer as ended_in, due_in, recent, count from alive
       union all
       select issued_in, ended_in, due_in, recent, count(*) from gone group by 1, 2, 3, 4)`

/**
 * Counts by equal parts of time, up to now, each with the counts of now and of how many were made in the last
 * `recentSeconds`. Every lease made in the window is live or has ended in it: so leases that ended before it are never
 * read. Of one told to end early, nobody kept when: it counts from when its access was cut.
 */
export const summarizeLeases = (
  db: Db,
  window: { from: Date; to: Date; seconds: number; recentSeconds: number },
): Promise<(SummaryRow & LiveCounts & { recent: number })[]> =>
  many(
    db,
    `with ${KNOWN},
     parts as (
       select n, $1::timestamptz + n * $3::integer * interval '1 second' as at from generate_series(0, greatest(0,
         ceil(date_part('epoch', $2::timestamptz - $1::timestamptz) / $3::integer)::integer - 1)) n),
     issued as (select issued_in as n, sum(count) as count from known where issued_in >= 0 group by 1),
     over as (select ended_in as n, sum(count) as count from known where ended_in >= 0 group by 1),
     due as (select greatest(due_in, -1) as n, sum(count) as count from known where due_in is not null group by 1),
     lag as (
       select cut_in as n, percentile_cont(array[0.5, 0.95, 0.99, 1]) within group (order by late) as p
       from (select cut_in, late from gone
         union all select cut_in, late from alive cross join generate_series(1, alive.count)) cut
       where cut_in >= 0 group by 1),
     before as (
       select coalesce(sum(count) filter (where issued_in < 0), 0) as live,
         coalesce(sum(count) filter (where recent), 0)::integer as recent from known),
     now as (
       select coalesce(sum(count) filter (where state = 'issuing'), 0)::integer as issuing,
         coalesce(sum(count) filter (where state = 'active'), 0)::integer as active,
         coalesce(sum(count) filter (where state = 'revoking'), 0)::integer as revoking,
         coalesce(sum(count) filter (where state = 'revoking' and stuck), 0)::integer as stuck
       from alive)
     select p.at, coalesce(i.count, 0)::integer as issued, coalesce(o.count, 0)::integer as ended,
       (b.live + sum(coalesce(i.count, 0)) over w - sum(coalesce(o.count, 0)) over w)::integer as live,
       greatest(0, coalesce((select d.count from due d where d.n = -1), 0) + sum(coalesce(d.count, 0)) over w
         - sum(coalesce(o.count, 0)) over w)::integer as ending,
       g.p[1] as p50, g.p[2] as p95, g.p[3] as p99, g.p[4] as max,
       b.recent, t.issuing, t.active, t.revoking, t.stuck
     from parts p cross join before b cross join now t
     left join issued i on i.n = p.n left join over o on o.n = p.n left join due d on d.n = p.n
     left join lag g on g.n = p.n
     window w as (order by p.n) order by p.n`,
    [window.from, window.to, window.seconds, window.recentSeconds],
  )
