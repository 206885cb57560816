import type pg from 'pg'
import type { EngineError } from '../engine.ts'
import { LOCK_TIMEOUT_MS, type Session } from './connections.ts'
import { isLostRace, isStatementFault, toEngineError } from './errors.ts'

/** How long one batch is halved to find its bad items; then those left are tried one by one, with less patience. */
const SEARCH_MS = 15_000
/** Patience with a lock while searching: each bad item costs it several times over, and the good ones wait. */
const SEARCH_LOCK_MS = 50
const LAST_TRY_LOCK_MS = 10

type Options = {
  /** Ends the transaction, in the same round trip. */
  finish?: string
  searchLockMs?: number
}

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
  { finish = 'COMMIT', searchLockMs = SEARCH_LOCK_MS }: Options = {},
): Promise<pg.QueryResult[]> {
  try {
    return await many(session, `SAVEPOINT batch; ${textFor(items)}; RELEASE batch; ${finish}`)
  } catch (error) {
    if (!isStatementFault(error)) throw error
    await session.query(`ROLLBACK TO batch; SET LOCAL lock_timeout = ${searchLockMs}`)
    const search = { session, textFor, failures, untilMs: performance.now() + SEARCH_MS }
    await narrow(search, items, error)
    await session.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`)
    return many(session, finish)
  }
}

type Search<Item> = {
  session: Session
  textFor: (items: readonly Item[]) => string
  failures: Map<Item, EngineError>
  untilMs: number
}

async function narrow<Item>(search: Search<Item>, items: readonly Item[], error: unknown): Promise<void> {
  const { session, textFor, failures, untilMs } = search
  if (items.length === 1 && !isLostRace(error)) {
    failures.set(items[0] as Item, toEngineError(error))
    return
  }
  const middle = Math.ceil(items.length / 2)
  for (const half of [items.slice(0, middle), items.slice(middle)]) {
    if (half.length === 0) continue
    if (performance.now() > untilMs) {
      await tryEach(search, half)
      continue
    }
    const problem = await tryHalf(session, textFor(half))
    if (problem === undefined) continue
    if (items.length === 1) failures.set(items[0] as Item, toEngineError(problem))
    else await narrow(search, half, problem)
  }
}

/** However many bad items there are: a good one among them is never given up without a try of its own. */
async function tryEach<Item>(
  { session, textFor, failures }: Search<Item>,
  items: readonly Item[],
): Promise<void> {
  await session.query(`SET LOCAL lock_timeout = ${LAST_TRY_LOCK_MS}`)
  for (const item of items) {
    const problem = await tryHalf(session, textFor([item]))
    if (problem !== undefined) failures.set(item, toEngineError(problem))
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
