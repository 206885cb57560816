import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { JobWorker, QueueServer } from './queue-server.ts'
import type { Trouble } from './trouble.ts'

export type Handle = (targetId: string) => Promise<void>

export type Runner = {
  /** Takes no more and waits for what is in hand, 10 s at most; what is left then is taken up by others. */
  close(): Promise<void>
}

const CONCURRENCY = 100
const RETRY_MS = 1_000
export const CLOSE_MS = 10_000

type Parts = { server: QueueServer; handle: Handle; concurrency?: number; trouble: Trouble; log: Logger }

/** The working side. Starts as soon as the queue answers, however long that takes. */
export function startRunner({ server, handle, concurrency = CONCURRENCY, trouble, log }: Parts): Runner {
  const closing = new AbortController()
  const work = oneAtATime(handle, closing.signal, log)
  let worker: JobWorker | undefined

  const start = async (): Promise<void> => {
    await server.prepare()
    if (closing.signal.aborted) return
    worker = server.worker((job) => work(job.data.targetId), concurrency)
    await worker.waitUntilReady()
    trouble.over()
    worker.run().catch(trouble.report)
  }

  const startInTheEnd = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      try {
        return await start()
      } catch (error) {
        trouble.report(error)
        await worker?.close().catch(() => {})
        worker = undefined
        await sleep(RETRY_MS, undefined, { signal: closing.signal }).catch(() => {})
      }
    }
  }
  const starting = startInTheEnd()

  return {
    async close() {
      closing.abort()
      const closed = Promise.all([worker?.close(), starting]).catch(trouble.report)
      if (!(await within(closed, CLOSE_MS)))
        log.warn('leaving wake-ups that are still being worked on to others')
    },
  }
}

/**
 * Runs the handler once at a time for each target. A wake-up that arrives meanwhile makes it run once more instead of
 * taking up another place, so a target that hangs holds one of the worker's places however long it hangs.
 */
function oneAtATime(handle: Handle, closing: AbortSignal, log: Logger): Handle {
  const running = new Map<string, { again: boolean }>()
  return async (targetId) => {
    const before = running.get(targetId)
    if (before) {
      before.again = true
      return
    }
    const mine = { again: false }
    running.set(targetId, mine)
    do {
      mine.again = false
      // A failure is the handler's to remember, in the ledger: the queue does not try again, the sweep does.
      await handle(targetId).catch((error: unknown) =>
        log.error(
          { targetId, error: messageOf(error) },
          'a wake-up was not seen through; the sweep tries again',
        ),
      )
    } while (mine.again && !closing.aborted)
    running.delete(targetId)
  }
}

/** Waits for the promise, but no longer than this; false when it was not settled by then. */
export async function within(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController()
  const late = sleep(ms, false, { signal: timer.signal }).catch(() => false)
  const done = await Promise.race([promise.then(() => true), late])
  timer.abort()
  return done
}
