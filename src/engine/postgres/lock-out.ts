import type { Ending, EngineError } from '../engine.ts'
import type { Connections, Facts, Session } from './connections.ts'
import { call } from './definer.ts'
import { cutOnce, owners } from './disconnect.ts'
import { runIsolated } from './isolate.ts'
import { type Found, theirOids } from './lookup.ts'
import { actAs, underMakers } from './makers.ts'
import { preparedQuery, rollBackPrepared } from './prepared.ts'
import { identifier } from './sql.ts'

/** One account on the target, with the ending it belongs to. */
export type Item = { ending: Ending; found: Found }
/** What had to be ended before an account could be disabled: its sessions, and transactions it had prepared. */
export type Cut = { pids: Map<Ending, Set<number>>; prepared: Map<Ending, number> }
type At = { connections: Connections; session: Session; facts: Facts }

/** Nobody holds the row of an account for longer than a moment, unless to keep us waiting. */
const FIRST_LOCK_MS = 50
/** A session that was told to end lets go within this time. */
const CUT_LOCK_MS = 500
/** Until its login is closed, an account may come back as often as it likes, and hold its row again. */
const ROUNDS = 8

/**
 * Who is changing a role right now, in a session or a prepared transaction. All that a leased user may change is its
 * own row, by its own password for one; and while that is not committed, NOLOGIN waits for it.
 */
export const writersQuery = (endings: readonly Ending[]): string => `
  SELECT a.usesysid::text AS oid FROM pg_locks l JOIN pg_stat_activity a USING (pid)
  WHERE l.locktype = 'relation' AND l.relation = 'pg_authid'::regclass AND l.granted
    AND l.mode = 'RowExclusiveLock' AND a.usesysid IN ${theirOids(endings)}
  UNION SELECT p.ownerid::text FROM pg_locks l JOIN pg_prepared_xact() p
    ON l.virtualtransaction = '-1/' || p.transaction
  WHERE l.locktype = 'relation' AND l.relation = 'pg_authid'::regclass AND p.ownerid IN ${theirOids(endings)}`

/**
 * NOLOGIN for all, in a transaction the caller began, which leaves it in another one. Accounts that hold their own
 * row are set aside, so that they delay nobody; when the others are committed, the sessions of these are ended.
 */
export async function lockOut(
  at: At,
  open: readonly Item[],
  writers: ReadonlySet<string>,
  failures: Map<Item, EngineError>,
): Promise<Cut> {
  const { session, facts } = at
  const calm = open.filter(({ found }) => !writers.has(found.oid))
  const patience = `SET LOCAL lock_timeout = ${FIRST_LOCK_MS}`
  const first = (batch: readonly Item[]): string => `${patience}; ${noLogin(batch, facts)}`
  await runIsolated(session, calm, first, failures, { finish: 'COMMIT; BEGIN', searchLockMs: FIRST_LOCK_MS })
  const blocked = [...open.filter(({ found }) => writers.has(found.oid)), ...takeBlocked(failures)]
  const cut: Cut = { pids: new Map(), prepared: new Map() }
  if (blocked.length === 0) return cut
  await session.query('COMMIT')
  // Ending sessions is a right of the admin account alone.
  await actAs(session, facts, null)
  await cutAndLockOut(at, blocked, failures, cut)
  await session.query('BEGIN')
  return cut
}

const noLogin = (batch: readonly Item[], facts: Facts): string =>
  facts.functions
    ? call.lockOut(batch.map(({ found }) => found))
    : underMakers(
        batch,
        ({ found }) => found.maker,
        facts,
        (theirs) => theirs.map(({ found }) => `ALTER ROLE ${identifier(found.name)} NOLOGIN`).join('; '),
      )

function takeBlocked(failures: Map<Item, EngineError>): Item[] {
  const blocked = [...failures].flatMap(([item, { kind }]) => (kind === 'blocked' ? [item] : []))
  for (const item of blocked) failures.delete(item)
  return blocked
}

/** NOLOGIN follows at once, so that it stands first in the row's queue when the ended session lets go. */
async function cutAndLockOut(
  { connections, session, facts }: At,
  blocked: readonly Item[],
  failures: Map<Item, EngineError>,
  cut: Cut,
): Promise<void> {
  let left = blocked
  for (let round = 1; left.length > 0; round += 1) {
    const endings = [...new Set(left.map(({ ending }) => ending))]
    const prepared = (await session.query(preparedQuery(endings, facts))).rows
    const { counts } = await rollBackPrepared({ connections, facts }, endings, prepared)
    for (const [ending, count] of counts) cut.prepared.set(ending, (cut.prepared.get(ending) ?? 0) + count)
    const belongsTo = owners(endings)
    for (const row of await cutOnce(session, facts, endings)) {
      const ending = belongsTo(row)
      if (ending) cut.pids.set(ending, (cut.pids.get(ending) ?? new Set()).add(row.pid))
    }
    await session.query(`BEGIN; SET LOCAL lock_timeout = ${CUT_LOCK_MS}`)
    await runIsolated(session, left, (batch) => noLogin(batch, facts), failures)
    if (round === ROUNDS) return
    left = takeBlocked(failures)
  }
}
