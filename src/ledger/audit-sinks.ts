import type { StoredAuditEvent } from './audit.ts'
import { change, type Db, many, one } from './db.ts'

/** As it was enabled. */
export type AuditSink = {
  path: string
  id: string
  type: string
  description: string
  /** Without the token. */
  options: Readonly<Record<string, string>>
  /** Under which the secret store has the token. */
  tokenName: string | null
  local: boolean
}

/** How it does, besides. */
export type AuditSinkState = AuditSink & {
  /** Events it has not taken, as last counted. */
  backlog: number
  /** Age of the first event that it has not taken; null when it has taken all. */
  lagSeconds: number | null
  claimedBy: string | null
  /** Below 0 when the claim has lapsed. */
  claimLeftSeconds: number | null
  failures: number
  error: string | null
  /** Its position is not one of this server's: the ledger was moved here as a dump. */
  displaced: boolean
}

/** The place of an event in the order of shipping. */
export type AuditPosition = { xid: string; writer: string; seq: number }

/** Begins with what is committed from now on; of what was committed just before it may get some. */
export const insertAuditSink = (db: Db, sink: AuditSink): Promise<unknown> =>
  db.query(
    `insert into leasehold.audit_sink (path, id, type, description, options, token_name, local,
       taken_xid, counted_xid)
     select $1, $2, $3, $4, $5, $6, $7, horizon, horizon
     from (select pg_snapshot_xmin(pg_current_snapshot()) as horizon) here`,
    [sink.path, sink.id, sink.type, sink.description, sink.options, sink.tokenName, sink.local],
  )

/** Answers the sink that was there. */
export const removeAuditSink = (db: Db, path: string): Promise<Pick<AuditSink, 'tokenName'> | undefined> =>
  one(db, 'delete from leasehold.audit_sink where path = $1 returning token_name as "tokenName"', [path])

/** By path. */
export const listAuditSinks = (db: Db): Promise<AuditSinkState[]> =>
  many<AuditSinkState>(
    db,
    `select s.path, s.id, s.type, s.description, s.options, s.token_name as "tokenName",
       s.local, greatest(0, s.backlog) as backlog,
       extract(epoch from leasehold.ledger_now() - first.at_time)::double precision as "lagSeconds",
       s.claimed_by as "claimedBy",
       extract(epoch from s.claimed_until - leasehold.ledger_now())::double precision as "claimLeftSeconds",
       s.failures, s.error, s.taken_xid > pg_snapshot_xmax(pg_current_snapshot()) as displaced
     from leasehold.audit_sink s
     left join lateral (
       select e.at_time from leasehold.audit_event e
       where (e.written_by, e.writer, e.seq) > (s.taken_xid, s.taken_writer, s.taken_seq)
       order by e.written_by, e.writer, e.seq limit 1) first on true
     order by s.path`,
  )

/**
 * Adds what was committed since the last count to every backlog that nobody has counted for a second. So each event is
 * counted once for each sink, by whichever process comes first, and never again, however long the backlog.
 */
export const countAuditBacklogs = (db: Db): Promise<number> =>
  change(
    db,
    `with due as materialized (
       select id, counted_xid from leasehold.audit_sink
       where counted_at <= leasehold.ledger_now() - interval '0.8 seconds'
       order by path for update skip locked),
     here as materialized (select pg_snapshot_xmin(pg_current_snapshot()) as horizon)
     update leasehold.audit_sink s
     set backlog = s.backlog + (
           select count(*) from leasehold.audit_event e
           where e.written_by >= due.counted_xid and e.written_by < here.horizon),
         counted_xid = greatest(due.counted_xid, here.horizon), counted_at = leasehold.ledger_now()
     from due, here
     where s.id = due.id`,
  )

export type AuditSinkClaim = { fence: number; position: AuditPosition }

/** Takes a sink, or takes it again, for so many seconds; undefined while it is another's, or when it is no more. */
export async function claimAuditSink(
  db: Db,
  { id, by, seconds }: { id: string; by: string; seconds: number },
): Promise<AuditSinkClaim | undefined> {
  const row = await one<{ fence: number } & AuditPosition>(
    db,
    `update leasehold.audit_sink
     set claimed_by = $2, claimed_until = leasehold.ledger_now() + $3 * interval '1 second', fence = fence + 1
     where id = $1 and (claimed_by is null or claimed_by = $2 or claimed_until <= leasehold.ledger_now())
     returning fence, taken_xid::text as xid, taken_writer as writer, taken_seq as seq`,
    [id, by, seconds],
  )
  if (!row) return undefined
  const { fence, ...position } = row
  return { fence, position }
}

/**
 * The events after a position, in the order of shipping. What a transaction still under way might come before is left
 * for later, so that none is ever passed over.
 */
export const readAuditBatch = (
  db: Db,
  after: AuditPosition,
  limit: number,
): Promise<(StoredAuditEvent & { xid: string })[]> =>
  many(
    db,
    `select writer, seq, at, body, hash, written_by::text as xid from leasehold.audit_event
     where (written_by, writer, seq) > ($1::xid8, $2, $3)
       and written_by < pg_snapshot_xmin(pg_current_snapshot())
     order by written_by, writer, seq limit $4`,
    [after.xid, after.writer, after.seq, limit],
  )

/** Moves the position, and the end of the claim; false when another process has the sink by now, or it is no more. */
export async function advanceAuditSink(
  db: Db,
  {
    id,
    fence,
    to,
    taken,
    seconds,
  }: { id: string; fence: number; to: AuditPosition; taken: number; seconds: number },
): Promise<boolean> {
  const moved = await change(
    db,
    `update leasehold.audit_sink
     set taken_xid = $3::xid8, taken_writer = $4, taken_seq = $5, backlog = backlog - $6,
       claimed_until = leasehold.ledger_now() + $7 * interval '1 second', failures = 0, error = null
     where id = $1 and fence = $2`,
    [id, fence, to.xid, to.writer, to.seq, taken, seconds],
  )
  return moved === 1
}

/** Leaves a sink to whoever comes next, with what went wrong, if something did. */
export const releaseAuditSink = (
  db: Db,
  { id, fence, error }: { id: string; fence: number; error?: string },
): Promise<unknown> =>
  db.query(
    `update leasehold.audit_sink
     set claimed_by = null, claimed_until = null, error = coalesce($3, error),
       failures = failures + case when $3::text is null then 0 else 1 end
     where id = $1 and fence = $2`,
    [id, fence, error ?? null],
  )
