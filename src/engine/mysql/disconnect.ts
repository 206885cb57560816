import { pause } from '../../lib/pause.ts'
import { type Ending, EngineError, type Evidence } from '../engine.ts'
import type { Connections, Facts } from './connections.ts'
import { isServerError, NO_SUCH_THREAD, toEngineError } from './errors.ts'
import { userOf } from './lookup.ts'
import type { Session } from './session.ts'
import { fullName } from './sql.ts'
import { type Stripped, strip } from './strip.ts'

/** A session ends at its next look around; what has not by then is named, and tried again later. */
const PATIENCE_MS = 5_000
const FIRST_POLL_MS = 2
const LONGEST_POLL_MS = 100

/**
 * Ends every session of the accounts and looks until none is left, then takes away what programs of theirs that the
 * server runs by itself could go on with.
 *
 * A session shows the user's name and the client's address, never the host its account was made for. It is known by
 * the user's name, which holds the lease's id and so belongs to one lease alone; also after somebody dropped the
 * account, when its sessions go on under that name.
 */
export async function disconnect(
  connections: Connections,
  endings: readonly Ending[],
): Promise<Map<Ending, Evidence | EngineError>> {
  return connections.use('ending', async (session, facts) => {
    refuseBlind(facts)
    const { ended, left } = await endSessions(session, facts, endings)
    const stripped = await strip(
      session,
      facts,
      endings.filter((ending) => !left.has(ending)),
    )
    return new Map(
      endings.map((ending) => [
        ending,
        left.get(ending) ?? evidence(ended.get(ending)?.size ?? 0, stripped.get(ending)),
      ]),
    )
  })
}

/** Without this right a server shows our own sessions only, and there would never seem to be any other. */
export function refuseBlind({ seesSessions, admin }: Facts): void {
  if (seesSessions) return
  const name = fullName(admin)
  throw new EngineError(
    'denied',
    `the admin account ${name} may not see the sessions of others; run: GRANT PROCESS ON *.* TO ${name}`,
  )
}

const evidence = (ended: number, stripped: Stripped | undefined): Evidence => ({
  sessions_ended: ended,
  sessions_left: 0,
  ...stripped,
})

/** The ids of those that were ended, and why one that is left is. */
type Ended = { ended: Map<Ending, Set<number>>; left: Map<Ending, EngineError> }

/** Ends what sessions the accounts have and looks until none is left, as long as patience lasts. */
export async function endSessions(
  session: Session,
  facts: Facts,
  endings: readonly Ending[],
): Promise<Ended> {
  const byUser = new Map(endings.map((ending) => [userOf(ending.account), ending]))
  const ended = new Map<Ending, Set<number>>()
  const untilMs = performance.now() + PATIENCE_MS
  for (let wait = FIRST_POLL_MS; ; wait = Math.min(LONGEST_POLL_MS, wait * 2)) {
    const rows = await session.run(facts.dialect.sessionsQuery(byUser.keys()))
    if (rows.length === 0) return { ended, left: new Map() }
    const refused = await kill(
      session,
      facts,
      rows.map(({ id }) => Number(id)),
    )
    const left = new Map<Ending, EngineError>()
    for (const { id, user } of rows) {
      const ending = byUser.get(String(user))
      if (!ending) continue
      ended.set(ending, (ended.get(ending) ?? new Set()).add(Number(id)))
      left.set(
        ending,
        refused.get(Number(id)) ??
          new EngineError('blocked', `session ${id} was told to end and has not yet`),
      )
    }
    if (refused.size === rows.length || performance.now() > untilMs) return { ended, left }
    await pause(wait)
  }
}

/** All in one go; where one is refused or has just gone by itself, each alone. Answers those that may not be ended. */
async function kill(
  session: Session,
  { admin, dialect }: Facts,
  ids: readonly number[],
): Promise<Map<number, EngineError>> {
  const refused = new Map<number, EngineError>()
  try {
    await session.many(ids.map((id) => `KILL CONNECTION ${id}`))
    return refused
  } catch (error) {
    if (!isServerError(error)) throw error
  }
  for (const id of ids) {
    try {
      await session.run(`KILL CONNECTION ${id}`)
    } catch (error) {
      if (!isServerError(error)) throw error
      if (error.errno === NO_SUCH_THREAD) continue
      const right = dialect.server.flavour === 'MariaDB' ? 'CONNECTION ADMIN' : 'CONNECTION_ADMIN'
      const cure = `run: GRANT ${right} ON *.* TO ${fullName(admin)}`
      refused.set(id, new EngineError('denied', `${toEngineError(error).message}; ${cure}`))
    }
  }
  return refused
}
