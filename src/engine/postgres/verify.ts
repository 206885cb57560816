import type pg from 'pg'
import { provable } from '../ending.ts'
import { type Ending, EngineError, type Evidence } from '../engine.ts'
import type { Connections, Facts, Session } from './connections.ts'
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
  const due = provable(endings, answers)
  if (due.length === 0) return answers
  const seen = await connections.useActing('ending', async (session, facts) => {
    const [, locks, ...looks] = await many(
      session,
      `BEGIN; ${locksQuery(due)}; ${looksQuery(due, facts)}; COMMIT`,
    )
    const held = (locks?.rows ?? []).filter(({ locked }) => !locked).map(({ name }) => name as string)
    if (held.length === 0) return { underWay: new Set<string>(), ...lookedAt(looks) }
    // Looked at again: whoever held a lock at first may have made an account before a stranger took the lock.
    const underWay = await createsUnderWay(session, held)
    return { underWay, ...lookedAt(await many(session, looksQuery(due, facts))) }
  })
  const prepared = seen.prepared.map((row) => ({
    name: row.owner as string | null,
    oid: row.owner_oid as string,
  }))
  const roles = index(seen.roles as Row[])
  const sessions = index(seen.sessions as Row[])
  const left = index(prepared)
  for (const ending of due) {
    answers.set(
      ending,
      judge(ending, seen.underWay.has(ending.account.name), { roles, sessions, prepared: left }),
    )
  }
  return answers
}

const looksQuery = (endings: readonly Ending[], facts: Facts): string => `
  SELECT rolname AS name, oid::text FROM pg_roles WHERE oid IN ${theirOids(endings)};
  ${sessionsQuery(endings)}; ${preparedQuery(endings, facts)}`

function lookedAt(results: readonly pg.QueryResult[]) {
  const [roles = [], sessions = [], prepared = []] = results.map(({ rows }) => rows)
  return { roles, sessions, prepared }
}

/** Tried, not waited for: one create that hangs must not hold up the proof of the others. */
const locksQuery = (endings: readonly Ending[]): string => {
  const rows = namesOf(endings).map((name) => `(${literal(name)}, '${lockKey(name)}'::bigint)`)
  return `SELECT name, pg_try_advisory_xact_lock(key) AS locked FROM (VALUES ${rows.join(', ')}) AS t (name, key)`
}

/**
 * For which of these names the lock is held by somebody who can make accounts. Any user of the target can compute the
 * key and take the lock; one that cannot make accounts holds up no proof. A holder that went meanwhile counts as one.
 */
async function createsUnderWay(session: Session, names: readonly string[]): Promise<Set<string>> {
  if (names.length === 0) return new Set()
  const keys = names.map((name) => `(${literal(name)}, '${lockKey(name)}'::bigint)`)
  const { rows } = await session.query(
    `SELECT t.name FROM (VALUES ${keys.join(', ')}) AS t (name, key)
     LEFT JOIN (SELECT (classid::bigint << 32) | objid::bigint AS key, pid FROM pg_locks
                WHERE locktype = 'advisory' AND objsubid = 1 AND granted
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS l USING (key)
     LEFT JOIN pg_stat_activity a ON a.pid = l.pid LEFT JOIN pg_roles r ON r.oid = a.usesysid
     WHERE l.key IS NULL
        -- Without a process it is a prepared transaction, and none of ours is ever prepared.
        OR (l.pid IS NOT NULL AND (a.pid IS NULL OR r.rolcreaterole OR r.rolsuper OR r.rolname = current_user))`,
  )
  return new Set(rows.map(({ name }) => name as string))
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
  underWay: boolean,
  seen: { roles: Index; sessions: Index; prepared: Index },
): Evidence | EngineError {
  const { name, targetRef } = ending.account
  if (underWay) return new EngineError('pending', 'a create of this account is under way')
  if (holds(seen.roles, ending))
    return new EngineError('blocked', `"${name}" (OID ${targetRef ?? 'unknown'}) is still there`)
  if (holds(seen.sessions, ending)) return new EngineError('blocked', `"${name}" still has a session`)
  if (holds(seen.prepared, ending))
    return new EngineError('blocked', `"${name}" still has a prepared transaction`)
  return { role_absent: true, sessions: 0, checked_by: targetRef === null ? ['name'] : ['name', 'oid'] }
}
