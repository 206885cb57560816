import { type Db, many, one } from './db.ts'

/** An event as it rests, with the parts of its body that questions go by. */
export type AuditRow = {
  writer: string
  seq: number
  at: string
  body: string
  hash: string
  type: string
  principal: string | undefined
  leaseId: string | undefined
  target: string | undefined
}

export async function insertAuditEvents(db: Db, rows: readonly AuditRow[]): Promise<void> {
  if (rows.length === 0) return
  await db.query(
    `insert into leasehold.audit_event (writer, seq, at, body, hash, at_time, type, principal, lease_id, target)
     select e.writer, e.seq, e.at, e.body, e.hash, e.at::timestamptz, e.type, e.principal, e."leaseId", e.target
     from json_to_recordset($1) as e (writer text, seq bigint, at text, body text, hash text, type text,
       principal text, "leaseId" text, target text)`,
    [JSON.stringify(rows)],
  )
}

const timeText = (time: string): string =>
  `to_char(${time} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

/** The time that an event is ordered by: that of its column, which may be infinite. */
export const PLACE_TIME = `case when isfinite(at_time) then ${timeText('at_time')} else at_time::text end`

export type StoredAuditEvent = { writer: string; seq: number; at: string; body: string; hash: string }

/** The parts of an event that questions go by, as its columns repeat them. They are not hashed. */
export type AuditCopies = {
  at: string
  type: string
  principal: string | null
  lease_id: string | null
  target: string | null
}

const PAGE = 1_000

/** Every event, chain by chain: what verifying and exporting read. */
export async function* auditEvents(db: Db): AsyncGenerator<StoredAuditEvent & { copies: AuditCopies }> {
  let after = { writer: '', seq: 0 }
  for (;;) {
    const page = await many<StoredAuditEvent & { copies: AuditCopies }>(
      db,
      `select writer, seq, at, body, hash, json_build_object('at', ${PLACE_TIME}, 'type', type,
         'principal', principal, 'lease_id', lease_id, 'target', target) as copies
       from leasehold.audit_event
       where (writer, seq) > ($1, $2) order by writer, seq limit ${PAGE}`,
      [after.writer, after.seq],
    )
    yield* page
    const last = page.at(-1)
    if (!last || page.length < PAGE) return
    after = last
  }
}

export type AuditCheckpoint = { number: number; jws: string }

export async function* auditCheckpoints(db: Db): AsyncGenerator<AuditCheckpoint> {
  let after = 0
  for (;;) {
    const page = await many<AuditCheckpoint>(
      db,
      `select number, jws from leasehold.audit_checkpoint where number > $1 order by number limit ${PAGE}`,
      [after],
    )
    yield* page
    const last = page.at(-1)
    if (!last || page.length < PAGE) return
    after = last.number
  }
}

export const lastCheckpoint = (db: Db): Promise<AuditCheckpoint | undefined> =>
  one<AuditCheckpoint>(db, 'select number, jws from leasehold.audit_checkpoint order by number desc limit 1')

/** The unique number refuses the second of two that are made at once. */
export const insertCheckpoint = (db: Db, { number, jws }: AuditCheckpoint): Promise<unknown> =>
  db.query('insert into leasehold.audit_checkpoint (number, jws) values ($1, $2)', [number, jws])

/** The newest first, of the last minutes at least. */
export const recentCheckpoints = (db: Db): Promise<(AuditCheckpoint & { ageSeconds: number })[]> =>
  many(
    db,
    `select number, jws, extract(epoch from leasehold.ledger_now() - made_at)::float8 as "ageSeconds"
     from leasehold.audit_checkpoint order by number desc limit 64`,
  )

/** Every chain there ever was: two steps down an index for each, however many events it has. */
export async function auditWriters(db: Db): Promise<string[]> {
  const rows = await many<{ writer: string }>(
    db,
    `with recursive known as (
       (select writer from leasehold.audit_event order by writer limit 1)
       union all
       select (select e.writer from leasehold.audit_event e where e.writer > known.writer order by e.writer limit 1)
       from known where known.writer is not null)
     select writer from known where writer is not null`,
  )
  return rows.map(({ writer }) => writer)
}

/** How the log stands, as far as can be told without reading it. */
export type AuditState = {
  /** As the ledger's own statistics have it: near, and cheap. */
  eventsEstimate: number
  /** The chains that were written to last. */
  writers: { writer: string; lastSeq: number; lastAt: string }[]
  checkpoint: (AuditCheckpoint & { madeAt: Date }) | undefined
  now: Date
}

/** So many of the newest events are looked at for the chains that were written to last. */
const STATE_EVENTS = 2_000

export async function auditState(db: Db, { writers }: { writers: number }): Promise<AuditState> {
  const row = await one<
    Omit<AuditState, 'checkpoint'> & { number: number | null; jws: string; madeAt: Date }
  >(
    db,
    `select c.number, c.jws, c.made_at as "madeAt", leasehold.ledger_now() as now,
       case when t.reltuples >= ${STATE_EVENTS} then t.reltuples::bigint
         else (select count(*) from (select from leasehold.audit_event limit ${STATE_EVENTS}) e) end as "eventsEstimate",
       coalesce((select json_agg(json_build_object('writer', w.writer, 'lastSeq', w.seq, 'lastAt', w.at)
           order by w.at_time desc, w.writer)
         from (select head.* from (
             select e.writer from (select writer, at_time from leasehold.audit_event
               order by at_time desc, writer desc, seq desc limit ${STATE_EVENTS}) e
             group by e.writer order by max(e.at_time) desc, e.writer limit $1) known
           cross join lateral (select writer, seq, at, at_time from leasehold.audit_event
             where writer = known.writer order by seq desc limit 1) head) w), '[]') as writers
     from pg_class t left join lateral (
       select number, jws, made_at from leasehold.audit_checkpoint order by number desc limit 1) c on true
     where t.oid = 'leasehold.audit_event'::regclass`,
    [writers],
  )
  if (!row) throw new Error('the ledger has no audit log')
  const { number, jws, madeAt, ...state } = row
  return { ...state, checkpoint: number === null ? undefined : { number, jws, madeAt } }
}

/** An event may be dated so long before it is committed: longer than any transaction. */
const LATE = `interval '5 minutes'`

/** The chains that began after a time, and maybe some that began a little before. */
export async function startedWriters(db: Db, after: string): Promise<string[]> {
  const rows = await many<{ writer: string }>(
    db,
    `select writer from leasehold.audit_event where seq = 1 and at_time > $1::timestamptz - ${LATE}`,
    [after],
  )
  return rows.map(({ writer }) => writer)
}

/** Where a chain stands; `recent` when it may have come there after the last checkpoint. */
export type AuditHead = { writer: string; seq: number; hash: string; closed: boolean; recent: boolean }

export const auditHeads = (db: Db, writers: readonly string[]): Promise<AuditHead[]> =>
  many<AuditHead>(
    db,
    `select head.writer, head.seq, head.hash, head.type = 'close' as closed, head.at_time > coalesce(
       (select made_at from leasehold.audit_checkpoint order by number desc limit 1), '-infinity') - ${LATE} as recent
     from unnest($1::text[]) as asked (writer)
     cross join lateral (
       select writer, seq, hash, type, at_time from leasehold.audit_event e
       where e.writer = asked.writer order by e.seq desc limit 1) head`,
    [writers],
  )

/** The ledger's time as the log writes it. */
export async function auditTime(db: Db): Promise<string> {
  const row = await one<{ at: string }>(db, `select ${timeText('leasehold.ledger_now()')} as at`)
  if (!row) throw new Error('the ledger does not say what time it is')
  return row.at
}

/** The later of the ledger's time and that of the last event: nothing in the log now is later, wherever the clock was. */
export async function newestAuditTime(db: Db): Promise<string> {
  const row = await one<{ at: string }>(
    db,
    'select at from leasehold.audit_event order by at_time desc, writer desc, seq desc limit 1',
  )
  const now = await auditTime(db)
  return row && row.at > now ? row.at : now
}
