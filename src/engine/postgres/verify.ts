import { type Ending, EngineError, type Evidence } from '../engine.ts'
import type { Connections } from './connections.ts'
import { many } from './isolate.ts'
import { namesOf, theirOids } from './lookup.ts'
import { preparedQuery } from './prepared.ts'
import { literal, lockKey } from './sql.ts'

type Row = { name: string | null; oid: string }

/**
 * Proves absence: no role of that name or OID, no session and no prepared transaction by either. Under the lock that
 * making the account takes, and only after its create deadline: see `beginCreate` for why nothing can come later.
 */
export async function verify(
  connections: Connections,
  endings: readonly Ending[],
): Promise<Map<Ending, Evidence | EngineError>> {
  const answers = new Map<Ending, Evidence | EngineError>()
  const due = endings.filter((ending) => {
    if (ending.createWithinMs <= 0) return true
    answers.set(ending, new EngineError('pending', 'a create of this account may still arrive'))
    return false
  })
  if (due.length === 0) return answers
  const seen = await connections.use('ending', async (session) => {
    const results = await many(
      session,
      `BEGIN; ${locksQuery(due)}; SELECT rolname AS name, oid::text FROM pg_roles WHERE oid IN ${theirOids(due)};
       ${sessionsQuery(due)}; ${preparedQuery(due)}; COMMIT`,
    )
    const [, locks, roles, sessions, prepared] = results.map(({ rows }) => rows)
    return { locks: locks ?? [], roles: roles ?? [], sessions: sessions ?? [], prepared: prepared ?? [] }
  })
  const locked = new Set(seen.locks.filter((row) => row.locked).map((row) => row.name as string))
  const prepared = seen.prepared.map((row) => ({
    name: row.owner as string | null,
    oid: row.owner_oid as string,
  }))
  const roles = index(seen.roles as Row[])
  const sessions = index(seen.sessions as Row[])
  const left = index(prepared)
  for (const ending of due) {
    answers.set(ending, judge(ending, locked.has(ending.account.name), { roles, sessions, prepared: left }))
  }
  return answers
}

/** Tried, not waited for: one create that hangs must not hold up the proof of the others. */
const locksQuery = (endings: readonly Ending[]): string => {
  const rows = namesOf(endings).map((name) => `(${literal(name)}, '${lockKey(name)}'::bigint)`)
  return `SELECT name, pg_try_advisory_xact_lock(key) AS locked FROM (VALUES ${rows.join(', ')}) AS t (name, key)`
}

const sessionsQuery = (endings: readonly Ending[]): string => `
  SELECT usename AS name, usesysid::text AS oid FROM pg_stat_activity
  WHERE usesysid IN ${theirOids(endings)}`

type Index = { names: Set<string | null>; oids: Set<string> }

const index = (rows: readonly Row[]): Index => ({
  names: new Set(rows.map(({ name }) => name)),
  oids: new Set(rows.map(({ oid }) => oid)),
})

const holds = ({ names, oids }: Index, { account }: Ending): boolean =>
  names.has(account.name) || (account.targetRef !== null && oids.has(account.targetRef))

function judge(
  ending: Ending,
  locked: boolean,
  seen: { roles: Index; sessions: Index; prepared: Index },
): Evidence | EngineError {
  const { name, targetRef } = ending.account
  if (!locked) return new EngineError('pending', 'a create of this account is under way')
  if (holds(seen.roles, ending))
    return new EngineError('blocked', `"${name}" (OID ${targetRef ?? 'unknown'}) is still there`)
  if (holds(seen.sessions, ending)) return new EngineError('blocked', `"${name}" still has a session`)
  if (holds(seen.prepared, ending))
    return new EngineError('blocked', `"${name}" still has a prepared transaction`)
  return { role_absent: true, sessions: 0, checked_by: targetRef === null ? ['name'] : ['name', 'oid'] }
}
