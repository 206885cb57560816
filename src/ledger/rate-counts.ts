import { change, type Db, many, manyLocking } from './db.ts'

/** Something that may happen so often in a window of time, which begins when it happens first. */
export type RateAsk = {
  counter: string
  key: string
  /** How often it happens at once now. */
  times: number
  max: number
  windowSeconds: number
  /** For so long nothing is let through once the maximum has been passed; 0 is until the window ends. */
  blockSeconds: number
}

export type RateTaken = {
  counter: string
  key: string
  /** With the times asked for. Above the maximum the last of these were too many. */
  taken: number
  /** When the count starts anew. */
  freeAt: Date
  freeInSeconds: number
}

/** Counts all asks in one statement; no two of them are of one counter and key. */
export const takeRates = (db: Db, asks: readonly RateAsk[]): Promise<RateTaken[]> =>
  manyLocking<RateTaken>(
    db,
    `with ask as materialized (
       select a.*, leasehold.ledger_now() as now from json_to_recordset($1) as a
         (counter text, key text, times bigint, max bigint, "windowSeconds" float8, "blockSeconds" float8)),
     fresh as (
       select *, now + "windowSeconds" * interval '1 second' as window_end,
         case when "blockSeconds" > 0 then now + "blockSeconds" * interval '1 second' end as block_end
       from ask)
     insert into leasehold.rate_count as c (counter, key, started_at, taken, blocked_until, free_at)
     select counter, key, now, times, case when times > max then block_end end,
       greatest(window_end, case when times > max then block_end end)
     from fresh order by counter, key
     on conflict (counter, key) do update set (started_at, taken, blocked_until, free_at) = (
       select case when running then c.started_at else f.now end, total, blocked,
         greatest(case when running then c.started_at else f.now end
           + f."windowSeconds" * interval '1 second', blocked)
       from fresh f,
         lateral (select c.free_at > f.now as running) r,
         lateral (select case when running then c.taken else 0 end + f.times as total) t,
         lateral (select case
             when running and c.blocked_until > f.now then c.blocked_until
             when total > f.max then f.block_end
           end as blocked) b
       where f.counter = c.counter and f.key = c.key)
     returning counter, key, taken, free_at as "freeAt",
       extract(epoch from free_at - leasehold.ledger_now())::float8 as "freeInSeconds"`,
    [JSON.stringify(asks)],
  )

export type RateQuestion = { counter: string; key: string; max: number }

/** Those of the counts that have come to their maximum and do not start anew yet. */
export const fullRates = (
  db: Db,
  questions: readonly RateQuestion[],
): Promise<Pick<RateTaken, 'counter' | 'key' | 'freeAt' | 'freeInSeconds'>[]> =>
  many(
    db,
    `select c.counter, c.key, c.free_at as "freeAt",
       extract(epoch from c.free_at - leasehold.ledger_now())::float8 as "freeInSeconds"
     from unnest($1::text[], $2::text[], $3::bigint[]) as q (counter, key, max)
     join leasehold.rate_count c on c.counter = q.counter and c.key = q.key
     where c.taken >= q.max and c.free_at > leasehold.ledger_now()`,
    [
      questions.map(({ counter }) => counter),
      questions.map(({ key }) => key),
      questions.map(({ max }) => max),
    ],
  )

const DROPPED_AT_ONCE = 10_000

/** Takes away counts that are void, the oldest first and not all at once; says how many. */
export const dropFreeRates = (db: Db): Promise<number> =>
  change(
    db,
    `delete from leasehold.rate_count where (counter, key) in (
       select counter, key from leasehold.rate_count where free_at <= leasehold.ledger_now()
       order by free_at limit ${DROPPED_AT_ONCE} for update skip locked)`,
    [],
  )
