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

export type StoredAuditEvent = { writer: string; seq: number; at: string; body: string; hash: string }

/** What to look for; undefined is anything. Times are inclusive. */
export type AuditQuestion = {
  from?: Date | undefined
  to?: Date | undefined
  principal?: string | undefined
  leaseId?: string | undefined
  target?: string | undefined
  type?: string | undefined
  /** Continue after this event of an earlier answer. */
  after?: { at: string; writer: string; seq: number } | undefined
  limit: number
}

/** Oldest first. */
export const findAuditEvents = (db: Db, question: AuditQuestion): Promise<StoredAuditEvent[]> =>
  many<StoredAuditEvent>(
    db,
    `select writer, seq, at, body, hash from leasehold.audit_event
     where ($1::timestamptz is null or at_time >= $1) and ($2::timestamptz is null or at_time <= $2)
       and ($3::text is null or principal = $3) and ($4::text is null or lease_id = $4)
       and ($5::text is null or target = $5) and ($6::text is null or type = $6)
       and ($7::timestamptz is null or (at_time, writer, seq) > ($7, $8, $9::bigint))
     order by at_time, writer, seq limit $10`,
    [
      question.from ?? null,
      question.to ?? null,
      question.principal ?? null,
      question.leaseId ?? null,
      question.target ?? null,
      question.type ?? null,
      question.after?.at ?? null,
      question.after?.writer ?? null,
      question.after?.seq ?? null,
      question.limit,
    ],
  )

const PAGE = 1_000

/** Every event, chain by chain: what verifying and exporting read. */
export async function* auditEvents(db: Db): AsyncGenerator<StoredAuditEvent> {
  let after = { writer: '', seq: 0 }
  for (;;) {
    const page = await many<StoredAuditEvent>(
      db,
      `select writer, seq, at, body, hash from leasehold.audit_event
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

/** Where each chain stands that was written since the checkpoint before. */
export const movedHeads = (db: Db): Promise<{ writer: string; seq: number; hash: string }[]> =>
  many(
    db,
    // An event may be dated before the last checkpoint and committed after it, by as long as a transaction lasts.
    `select distinct on (writer) writer, seq, hash from leasehold.audit_event
     where at_time > coalesce((select max(made_at) from leasehold.audit_checkpoint), '-infinity') - interval '5 minutes'
     order by writer, seq desc`,
  )

/** The ledger's time as the log writes it. */
export async function auditTime(db: Db): Promise<string> {
  const row = await one<{ at: string }>(db, `select ${AUDIT_TIME} as at`)
  if (!row) throw new Error('the ledger does not say what time it is')
  return row.at
}

const AUDIT_TIME = `to_char(leasehold.ledger_now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
