import { PLACE_TIME, type StoredAuditEvent } from './audit.ts'
import { type Db, many, one } from './db.ts'

/** What to look for; undefined is anything. Times are as the log writes them, and inclusive. */
export type AuditQuestion = {
  from?: string | undefined
  to?: string | undefined
  principal?: string | undefined
  leaseId?: string | undefined
  target?: string | undefined
  type?: string | undefined
  /** What its `what.path` begins with, as the text of the event has it. */
  path?: string | undefined
  /** The grant it was about, likewise. */
  grant?: string | undefined
  /** The newest first; else the oldest. */
  newest?: boolean | undefined
  /** Continue behind this event of an earlier answer. */
  after?: AuditPlace | undefined
  limit: number
}

/** Where an event stands in the order of answers; `at` is a time as the log writes it, or infinite. */
export type AuditPlace = { at: string; writer: string; seq: number }

export type FoundAuditEvent = StoredAuditEvent & {
  /** The time it is ordered by: that of its column, which is not what was hashed. */
  place: string
}

/** In the order asked for. */
export const findAuditEvents = (db: Db, question: AuditQuestion): Promise<FoundAuditEvent[]> =>
  many<FoundAuditEvent>(db, findSql(question), [
    question.from ?? '-infinity',
    question.to ?? 'infinity',
    question.after?.at ?? null,
    question.after?.writer ?? null,
    question.after?.seq ?? null,
    question.principal ?? null,
    question.leaseId ?? null,
    question.target ?? null,
    question.type ?? null,
    question.limit,
    question.path === undefined ? null : `"path":"${escaped(question.path)}`,
    question.path === undefined ? null : indexed(question.path),
    question.grant === undefined ? null : `"grant_id":"${escaped(question.grant)}"`,
    question.grant === undefined ? null : indexed(question.grant),
  ])

/** How a text stands in that of an event. */
const escaped = (value: string): string => JSON.stringify(value).slice(1, -1)

/** So many characters of a value are in its index, and none behind a mark that is escaped there. */
const INDEXED_CHARACTERS = 128
const indexed = (value: string): string =>
  [...(escaped(value).split('"', 1)[0] ?? '')].slice(0, INDEXED_CHARACTERS).join('')

const PATH = `leasehold.audit_path(e.body) collate "C"`
const HAS_PATH = `strpos(e.body, '"path":"') > 0`
const GRANT = `leasehold.audit_grant(e.body) collate "C"`
const HAS_GRANT = `strpos(e.body, '"grant_id":"') > 0`

/** A plan for any value would use no index, so what there is one for is said apart: the narrowest of them leads. */
function findSql(question: AuditQuestion): string {
  const { leaseId, grant, principal, target, path } = question
  if (leaseId !== undefined) return pageSql(question, 'e.lease_id = $7')
  if (grant !== undefined) return pageSql(question, `${HAS_GRANT} and ${GRANT} = $14`)
  if (principal !== undefined) return pageSql(question, 'e.principal = $6')
  if (target !== undefined) return pageSql(question, 'e.target = $8')
  return path === undefined ? pageSql(question, 'true') : byPathSql(question)
}

const inOrder = ({ newest }: AuditQuestion): string => {
  const order = newest ? 'desc' : 'asc'
  return `at_time ${order}, writer ${order}, seq ${order}`
}

function pageSql(question: AuditQuestion, leading: string): string {
  const place = '($3::timestamptz, $4::text, $5::bigint)'
  const behind = question.newest ? '<' : '>'
  return `select e.writer, e.seq, e.at, e.body, e.hash, ${PLACE_TIME} as place, e.at_time
     from leasehold.audit_event e
     where ${leading} and e.at_time >= $1::timestamptz and e.at_time <= $2::timestamptz
       and ${question.after ? `(e.at_time, e.writer, e.seq) ${behind} ${place}` : `${place} is null`}
       and ($6::text is null or e.principal = $6) and ($7::text is null or e.lease_id = $7)
       and ($8::text is null or e.target = $8) and ($9::text is null or e.type = $9)
       and ($11::text is null or strpos(e.body, $11) > 0)
       and ($12::text is null or starts_with(leasehold.audit_path(e.body), $12))
       and ($13::text is null or strpos(e.body, $13) > 0)
       and ($14::text is null or leasehold.audit_grant(e.body) = $14)
     order by ${inOrder(question)} limit $10`
}

/** So many paths of one beginning are each read by the index; where there are more, enough are among the next events. */
const PATHS_AT_MOST = 64

/** An index of paths knows the times of each path alone: so the paths are found first, by stepping from one to the next. */
function byPathSql(question: AuditQuestion): string {
  const next = (condition: string) => `select ${PATH} as path from leasehold.audit_event e
       where ${HAS_PATH} and ${condition} and ${PATH} < ($12 || chr(1114111)) order by ${PATH} limit 1`
  const areFew = `(select count(*) from paths) <= ${PATHS_AT_MOST}`
  return `with recursive known as (
       (${next(`${PATH} >= $12`)})
       union all
       select (${next(`${PATH} > known.path`)}) from known where known.path is not null),
     paths as materialized (select path from known where path is not null limit ${PATHS_AT_MOST} + 1)
     select * from (
       (select found.* from paths cross join lateral (
         ${pageSql(question, `${HAS_PATH} and ${PATH} = paths.path`)}) found where ${areFew})
       union all
       (select found.* from (${pageSql(question, 'true')}) found where not ${areFew})) found
     order by ${inOrder(question)} limit $10`
}

/** The time by which the last event is ordered now. */
export async function newestPlaceTime(db: Db): Promise<string | undefined> {
  const row = await one<{ at: string }>(
    db,
    `select ${PLACE_TIME} as at from leasehold.audit_event order by at_time desc, writer desc, seq desc limit 1`,
  )
  return row?.at
}
