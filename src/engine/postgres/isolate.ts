import type pg from 'pg'
import { EngineError } from '../engine.ts'
import type { Session } from './connections.ts'
import { isLostRace, isStatementFault, toEngineError } from './errors.ts'

/** How long one batch may go on looking for its bad items; what is then untried waits for the next time. */
const SEARCH_MS = 15_000

/**
 * Runs one text for a whole batch, inside a transaction the caller began, and ends it with `finish` in the same
 * round trip. DDL has no partial success, so on an error the batch is halved until a bad item stands alone; the
 * others still happen. Fills `failures`; returns the results of `finish`. Throws when the connection is at fault.
 */
export async function runIsolated<Item>(
  session: Session,
  items: readonly Item[],
  textFor: (items: readonly Item[]) => string,
  failures: Map<Item, EngineError>,
  finish = 'COMMIT',
): Promise<pg.QueryResult[]> {
  try {
    return await many(session, `SAVEPOINT batch; ${textFor(items)}; RELEASE batch; ${finish}`)
  } catch (error) {
    if (!isStatementFault(error)) throw error
    await session.query('ROLLBACK TO batch')
    await narrow(session, items, textFor, failures, error, performance.now() + SEARCH_MS)
    return many(session, finish)
  }
}

async function narrow<Item>(
  session: Session,
  items: readonly Item[],
  textFor: (items: readonly Item[]) => string,
  failures: Map<Item, EngineError>,
  error: unknown,
  untilMs: number,
): Promise<void> {
  if (items.length === 1 && !isLostRace(error)) {
    failures.set(items[0] as Item, toEngineError(error))
    return
  }
  const middle = Math.ceil(items.length / 2)
  for (const half of [items.slice(0, middle), items.slice(middle)]) {
    if (half.length === 0) continue
    if (performance.now() > untilMs) {
      for (const item of half)
        failures.set(
          item,
          new EngineError('blocked', `not tried: its batch met ${toEngineError(error).message}`),
        )
      continue
    }
    const problem = await tryHalf(session, textFor(half))
    if (problem === undefined) continue
    if (items.length === 1) failures.set(items[0] as Item, toEngineError(problem))
    else await narrow(session, half, textFor, failures, problem, untilMs)
  }
}

async function tryHalf(session: Session, text: string): Promise<unknown> {
  try {
    await session.query(`SAVEPOINT batch; ${text}; RELEASE batch`)
    return undefined
  } catch (error) {
    if (!isStatementFault(error)) throw error
    await session.query('ROLLBACK TO batch')
    return error
  }
}

/** Several statements in one round trip; a result for each. */
export async function many(session: Session, text: string): Promise<pg.QueryResult[]> {
  const results = (await session.query(text)) as unknown as pg.QueryResult | pg.QueryResult[]
  return Array.isArray(results) ? results : [results]
}
