import { type Ending, EngineError, type Evidence } from '../engine.ts'
import type { Connections, Facts } from './connections.ts'
import { endSessions } from './disconnect.ts'
import { runIsolated } from './isolate.ts'
import { findAccounts, type Item } from './lookup.ts'
import { lockText } from './server.ts'
import type { Session } from './session.ts'

/**
 * ACCOUNT LOCK, which costs the same however many accounts there are. It keeps everybody out, its owner cannot undo
 * it, and no open session notices it: those are ended by the next step. But where somebody holds a lock that ours has
 * to wait for, it may be one of these very sessions; then they are ended first.
 */
export async function disable(
  connections: Connections,
  endings: readonly Ending[],
): Promise<Map<Ending, Evidence | EngineError>> {
  return connections.use('ending', async (session, facts) => {
    const items = await findAccounts(session, facts, endings)
    const failures = await lock(
      session,
      facts,
      items.filter(({ found }) => !found.locked),
    )
    const held = [...failures].flatMap(([item, { kind }]) => (kind === 'blocked' ? [item] : []))
    if (held.length === 0 || !facts.seesSessions) return outcomes(endings, items, failures)
    const { ended } = await endSessions(session, facts, [...new Set(held.map(({ ending }) => ending))])
    const again = await lock(session, facts, held)
    for (const item of held) {
      const problem = again.get(item)
      if (problem) failures.set(item, problem)
      else failures.delete(item)
    }
    return outcomes(endings, items, failures, ended)
  })
}

async function lock(
  session: Session,
  { dialect }: Facts,
  items: readonly Item[],
): Promise<Map<Item, EngineError>> {
  const failures = new Map<Item, EngineError>()
  await runIsolated(
    items,
    async (batch) =>
      void (await session.run(
        lockText(
          dialect,
          batch.map(({ found }) => found),
        ),
      )),
    failures,
  )
  return failures
}

const outcomes = (
  endings: readonly Ending[],
  items: readonly Item[],
  failures: ReadonlyMap<Item, EngineError>,
  ended: ReadonlyMap<Ending, ReadonlySet<number>> = new Map(),
): Map<Ending, Evidence | EngineError> =>
  new Map(
    endings.map((ending) => {
      const answer = outcome(ending, items, failures)
      const sessions = ended.get(ending)
      return [
        ending,
        sessions && !(answer instanceof EngineError) ? { ...answer, sessions_ended: sessions.size } : answer,
      ]
    }),
  )

function outcome(
  ending: Ending,
  items: readonly Item[],
  failures: ReadonlyMap<Item, EngineError>,
): Evidence | EngineError {
  const mine = items.filter((item) => item.ending === ending)
  const failure = mine.map((item) => failures.get(item)).find((problem) => problem !== undefined)
  if (failure) return failure
  if (mine.length === 0) return { account: 'absent' }
  return {
    account: 'locked',
    was_disabled_before: mine.every(({ found }) => found.locked),
    hosts: mine.map(({ found }) => found.host),
  }
}
