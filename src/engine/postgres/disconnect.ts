import { setTimeout as wait } from 'node:timers/promises'
import { type Ending, EngineError, type Evidence } from '../engine.ts'
import type { Connections, Facts, Session } from './connections.ts'
import { creatorOf } from './creators.ts'
import { call } from './definer.ts'
import { type FoundRow, foundQuery, matchFound, theirOids } from './lookup.ts'
import { actAs } from './makers.ts'
import { becomeMember } from './membership.ts'
import { preparedQuery, rollBackPrepared } from './prepared.ts'

export type SessionRow = { pid: number; usesysid: string; usename: string | null; allowed: boolean }

/** A session ends at its next check for interrupts; what has not by then is named, and tried again later. */
const PATIENCE_MS = 5_000
const FIRST_POLL_MS = 5
const LONGEST_POLL_MS = 100

/**
 * Ends every session of the accounts and looks until none is left. Sessions are found by OID as well as by name: a
 * role that somebody dropped leaves its sessions running without a name. Transactions they prepared are rolled
 * back, since those outlive a session and hold what it had locked.
 */
export async function disconnect(
  connections: Connections,
  endings: readonly Ending[],
): Promise<Map<Ending, Evidence | EngineError>> {
  const ended = await connections.useActing('ending', (session, facts) =>
    endSessions(session, facts, endings),
  )
  const { prepared, facts } = await connections.useActing('ending', async (session, facts) => ({
    prepared: (await session.query(preparedQuery(endings, facts))).rows,
    facts,
  }))
  const rolledBack = await rollBackPrepared({ connections, facts }, endings, prepared)
  return new Map(
    endings.map((ending) => {
      const problem = ended.left.get(ending) ?? rolledBack.problems.get(ending)
      return [ending, problem ?? evidence(ending, ended.pids, rolledBack.counts)]
    }),
  )
}

const evidence = (
  ending: Ending,
  pids: Map<Ending, Set<number>>,
  rolledBack: Map<Ending, number>,
): Evidence => ({
  sessions_ended: pids.get(ending)?.size ?? 0,
  sessions_left: 0,
  ...(rolledBack.has(ending) ? { prepared_transactions_rolled_back: rolledBack.get(ending) ?? 0 } : {}),
})

type Ended = { pids: Map<Ending, Set<number>>; left: Map<Ending, EngineError> }

async function endSessions(session: Session, facts: Facts, endings: readonly Ending[]): Promise<Ended> {
  const pids = new Map<Ending, Set<number>>()
  if (creatorOf(facts) !== undefined && !(await haveSessions(session, endings)))
    return { pids, left: new Map() }
  // Ending sessions is a right of the admin account alone.
  await actAs(session, facts, null)
  const belongsTo = owners(endings)
  const untilMs = performance.now() + PATIENCE_MS
  for (let pause = FIRST_POLL_MS; ; pause = Math.min(LONGEST_POLL_MS, pause * 2)) {
    const rows = await cutOnce(session, facts, endings)
    for (const row of rows) {
      const ending = belongsTo(row)
      if (ending) pids.set(ending, (pids.get(ending) ?? new Set()).add(row.pid))
    }
    if (rows.length === 0) return { pids, left: new Map() }
    if (rows.every(({ allowed }) => !allowed) || performance.now() > untilMs) {
      return { pids, left: problems(rows, belongsTo, facts) }
    }
    await wait(pause)
  }
}

/** Worth a query of its own: to become a creator again costs more. */
async function haveSessions(session: Session, endings: readonly Ending[]): Promise<boolean> {
  const { rows } = await session.query(
    `SELECT FROM pg_stat_activity WHERE usesysid IN ${theirOids(endings)} LIMIT 1`,
  )
  return rows.length > 0
}

/**
 * Tells every session of the accounts to end, and answers those there were. Outside of any transaction, which would
 * show the same sessions to its end.
 */
export async function cutOnce(
  session: Session,
  facts: Facts,
  endings: readonly Ending[],
): Promise<SessionRow[]> {
  const rows = await cutSessions(session, facts, endings)
  if (facts.functions || rows.every(({ allowed }) => allowed)) return rows
  await joinThose(session, facts, endings, rows)
  return cutSessions(session, facts, endings)
}

const SIGNALS = `pg_has_role('pg_signal_backend', 'USAGE') OR pg_has_role(usesysid, 'USAGE')`

/** Without its timeout argument: with one, the function waits in steps of 100 ms for one session after another. */
async function cutSessions(
  session: Session,
  { isSuperuser, functions }: Facts,
  endings: readonly Ending[],
): Promise<SessionRow[]> {
  if (functions) {
    const { rows } = await session.query(call.endSessions(theirOids(endings)))
    return rows as SessionRow[]
  }
  const result = await session.query(
    `SELECT pid, usesysid::text, usename, allowed, CASE WHEN allowed THEN pg_terminate_backend(pid) END
     FROM (SELECT pid, usesysid, usename, (${isSuperuser ? 'true' : SIGNALS}) AS allowed FROM pg_stat_activity
           WHERE usesysid IN ${theirOids(endings)}
           OFFSET 0) AS theirs`,
  )
  return result.rows as SessionRow[]
}

async function joinThose(
  session: Session,
  facts: Facts,
  endings: readonly Ending[],
  rows: readonly SessionRow[],
): Promise<void> {
  const found = matchFound(endings, (await session.query(foundQuery(endings, facts))).rows as FoundRow[])
  const oids = new Set(rows.map(({ usesysid }) => usesysid))
  await becomeMember(
    session,
    facts,
    [...found.values()].flat().filter(({ oid }) => oids.has(oid)),
  )
}

export function owners(
  endings: readonly Ending[],
): (row: { usesysid: string; usename: string | null }) => Ending | undefined {
  const byName = new Map(endings.map((ending) => [ending.account.name, ending]))
  const byOid = new Map(endings.map((ending) => [ending.account.targetRef, ending]))
  return ({ usesysid, usename }) =>
    byOid.get(usesysid) ?? (usename === null ? undefined : byName.get(usename))
}

function problems(
  rows: readonly SessionRow[],
  belongsTo: (row: SessionRow) => Ending | undefined,
  { admin }: Facts,
): Map<Ending, EngineError> {
  const left = new Map<Ending, EngineError>()
  for (const row of rows) {
    const ending = belongsTo(row)
    if (!ending) continue
    const problem = row.allowed
      ? new EngineError('blocked', `session ${row.pid} was told to end and has not yet`)
      : new EngineError(
          'denied',
          `the admin account "${admin}" may not end session ${row.pid}; run: GRANT pg_signal_backend TO "${admin}"`,
        )
    left.set(ending, problem)
  }
  return left
}
