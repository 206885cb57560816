import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { pause, within } from '../lib/pause.ts'
import { oneAtATime } from './one-at-a-time.ts'
import type { JobWorker, QueueServer } from './queue-server.ts'
import type { Trouble } from './trouble.ts'

export type Handle = (targetId: string) => Promise<void>

export type Runner = {
  /** Takes no more and waits for what is in hand, 10 s at most; what is left then is taken up by others. */
  close(): Promise<void>
}

const CONCURRENCY = 100
const RETRY_MS = 1_000
const DRAIN_MS = 10_000
/** For telling the queue that work is done; when it does not listen, others do the work again and find none. */
const GOODBYE_MS = 2_000

type Parts = {
  server: QueueServer
  handle: Handle
  concurrency?: number
  trouble: Trouble
  log: Logger
  onTaken?: (lateMs: number) => void
}

/** The working side. Starts as soon as the queue answers, however long that takes. */
export function startRunner(parts: Parts): Runner {
  const { server, handle, concurrency = CONCURRENCY, trouble, log, onTaken } = parts
  // A target that hangs holds one of the worker's places, however long it hangs and however often it is woken.
  const work = oneAtATime(async (targetId) => {
    try {
      await handle(targetId)
    } catch (error) {
      // The handler's to remember, in the ledger: the queue does not try again, the sweep does.
      log.error({ targetId, error: messageOf(error) }, 'a wake-up failed; the sweep tries again')
    }
  })
  const closing = new AbortController()
  let worker: JobWorker | undefined

  const start = async (): Promise<void> => {
    await server.prepare()
    if (closing.signal.aborted) return
    worker = server.worker((job) => {
      onTaken?.(Date.now() - job.timestamp - (job.opts.delay ?? 0))
      return work.run(job.data.targetId)
    }, concurrency)
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
        await pause(RETRY_MS, closing.signal)
      }
    }
  }
  const starting = startInTheEnd()

  return {
    async close() {
      closing.abort()
      const closed = Promise.all([worker?.close(), starting]).catch(trouble.report)
      if (!(await within(work.drain(), DRAIN_MS)))
        log.warn('leaving to others wake-ups that are still in hand')
      await within(closed, GOODBYE_MS)
    },
  }
}
