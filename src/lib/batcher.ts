import { AsyncResource } from 'node:async_hooks'
import { failed, type Result } from './result.ts'

/** A batch belongs to none of its callers, so it runs in the context of none, not even of who made the batcher. */
const OUTSIDE = new AsyncResource('leasehold.batch')

type Waiting<In, Out> = { item: In; settle: (result: Result<Out>) => void }

/**
 * Joins calls that arrive together into one. A lone call leaves within a turn of the event loop; while `inFlight` batches are out,
 * the calls that arrive wait and leave together, up to `max` at a time, so batches grow with the load.
 * `run` answers per item, in order; when it throws, every item of that batch fails with its error.
 */
export function batcher<In, Out>(
  run: (items: In[]) => Promise<Result<Out>[]>,
  { max = 128, inFlight = 1 }: { max?: number; inFlight?: number } = {},
): (item: In) => Promise<Out> {
  let waiting: Waiting<In, Out>[] = []
  let flying = 0

  const launch = async (): Promise<void> => {
    const batch = waiting.slice(0, max)
    waiting = waiting.slice(max)
    flying += 1
    try {
      const results = await run(batch.map(({ item }) => item))
      batch.forEach(({ settle }, i) => {
        settle(results[i] ?? failed(new Error('the batch gave no answer for this item')))
      })
    } catch (error) {
      for (const { settle } of batch) settle(failed(error))
    } finally {
      flying -= 1
      launchSoon()
    }
  }

  let launching = false
  const outside = (work: () => void): void => OUTSIDE.runInAsyncScope(work)

  /** When everything that has already arrived at this process has been looked at: it may bring more calls. */
  const launchSoon = (): void => {
    if (launching || waiting.length === 0 || flying >= inFlight) return
    launching = true
    setImmediate(outside, () => {
      launching = false
      while (waiting.length > 0 && flying < inFlight) void launch()
    })
  }

  return (item) =>
    new Promise<Out>((resolve, reject) => {
      const settle = (result: Result<Out>) => (result.ok ? resolve(result.value) : reject(result.error))
      waiting.push({ item, settle })
      launchSoon()
    })
}
