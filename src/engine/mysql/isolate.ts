import type { EngineError } from '../engine.ts'
import { isStatementFault, isWait, toEngineError } from './errors.ts'

/**
 * Does something for a whole batch, and when that fails for its halves, until what fails stands alone; the others
 * still happen. Statements about accounts commit by themselves and may have done a part, so `undo` comes before each
 * new try. Fills `failures`. Throws when the connection is at fault.
 */
export async function runIsolated<Item>(
  items: readonly Item[],
  run: (items: readonly Item[]) => Promise<void>,
  failures: Map<Item, EngineError>,
  undo: (items: readonly Item[]) => Promise<void> = async () => {},
): Promise<void> {
  if (items.length === 0) return
  const problem = await tried(() => run(items))
  if (problem === undefined) return
  const notUndone = await tried(() => undo(items))
  // A lock on the grant tables holds up each part as it does the whole; asking for all of them would take for ever.
  const all = toEngineError(notUndone ?? problem)
  if (items.length === 1 || notUndone !== undefined || isWait(problem)) {
    for (const item of items) failures.set(item, all)
    return
  }
  const middle = Math.ceil(items.length / 2)
  await runIsolated(items.slice(0, middle), run, failures, undo)
  await runIsolated(items.slice(middle), run, failures, undo)
}

async function tried(work: () => Promise<void>): Promise<unknown> {
  try {
    await work()
    return undefined
  } catch (error) {
    if (!isStatementFault(error)) throw error
    return error
  }
}
