import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'

export type QuotaKind = 'lease-count' | 'rate-limit'

export type QuotaRow = { kind: QuotaKind; name: string; id: string; spec: Document }

export const listQuotas = (db: Db): Promise<QuotaRow[]> =>
  many<QuotaRow>(db, 'select kind, name, id, spec from leasehold.quota order by kind, name')

export const findQuota = (db: Db, kind: QuotaKind, name: string): Promise<QuotaRow | undefined> =>
  one<QuotaRow>(db, 'select kind, name, id, spec from leasehold.quota where kind = $1 and name = $2', [
    kind,
    name,
  ])

/** Writes a quota whole; one that exists keeps its id. */
export const putQuota = (db: Db, { kind, name, id, spec }: QuotaRow): Promise<number> =>
  change(
    db,
    `insert into leasehold.quota (kind, name, id, spec) values ($1, $2, $3, $4)
     on conflict (kind, name) do update set spec = excluded.spec`,
    [kind, name, id, spec],
  )

export const removeQuota = (db: Db, kind: QuotaKind, name: string): Promise<number> =>
  change(db, 'delete from leasehold.quota where kind = $1 and name = $2', [kind, name])

/** Paths that leases are asked for at: one, or all that begin alike. */
export type LeasePaths = { path: string } | { prefix: string }

/** Live leases that one quota counts together. */
export type LeaseCount = {
  /** Which count it is: asks with the same one take turns. */
  key: string
  max: number
  where: LeasePaths
  /** Where other quotas count the leases. */
  except: readonly LeasePaths[]
  principalId: string | null
  targetId: string | null
}

/** Above everything that begins alike, compared byte by byte. */
const LAST = '\u{10ffff}'

const COUNTED = `l.state <> 'revoked' and l.kind = 'issued' and starts_with(l.path || '/', a.prefix)
  and (a.path is null or l.path = a.path) and l.path <> all(a.except_paths)
  and not exists (select from unnest(a.except_prefixes) e where starts_with(l.path, e))`

// Ids on the wire begin with the path, and live leases are found by them.
const IN_PLACE = `(l.path || '/' || l.id) ~>=~ a.prefix and (l.path || '/' || l.id) ~<~ a.beyond`

const upTo = (condition: string): string =>
  `(select count(*) from (select from leasehold.lease l where ${condition} and ${COUNTED} limit a.max) counted)`

/**
 * How many live leases each count has, none above its maximum. Whoever counts the same waits until the end of the
 * transaction, so that what is added in it keeps the maximum.
 */
export async function countLeases(db: Db, counts: readonly LeaseCount[]): Promise<Map<string, number>> {
  const sorted = [...counts].sort((a, b) => (a.key < b.key ? -1 : 1))
  await db.query(
    `select pg_advisory_xact_lock(hashtextextended('lease count ' || key, 0))
     from unnest($1::text[]) with ordinality as k (key, n) order by n`,
    [sorted.map(({ key }) => key)],
  )
  // A statement of its own: it sees what those who had the locks before us have committed.
  const rows = await many<{ key: string; held: number }>(
    db,
    `select a.key, case
         when a.principal is not null then
           ${upTo('l.principal_id = a.principal and (a.target is null or l.target_id = a.target)')}
         when a.target is not null then ${upTo('l.target_id = a.target and l.next_action_at is not null')}
         else ${upTo(IN_PLACE)}
       end as held
     from json_to_recordset($1)
       as a (key text, max bigint, path text, prefix text, beyond text, except_paths text[],
         except_prefixes text[], principal text, target text)`,
    [JSON.stringify(sorted.map(toRecord))],
  )
  return new Map(rows.map(({ key, held }) => [key, held]))
}

function toRecord({ key, max, where, except, principalId, targetId }: LeaseCount): Record<string, unknown> {
  const prefix = 'path' in where ? `${where.path}/` : where.prefix
  return {
    key,
    max,
    path: 'path' in where ? where.path : null,
    prefix,
    beyond: `${prefix}${LAST}`,
    except_paths: except.flatMap((paths) => ('path' in paths ? [paths.path] : [])),
    except_prefixes: except.flatMap((paths) => ('prefix' in paths ? [paths.prefix] : [])),
    principal: principalId,
    target: targetId,
  }
}
