import type { BackendFactory, IQueueBackend, Job, Telemetry } from 'bullmq'
import type { Logger } from '../lib/log.ts'
import { pause } from '../lib/pause.ts'
import type { Tracer } from '../lib/trace.ts'

/** Everything a job says. Job data is clear text on the server, so it holds no fact and no secret. */
type Wakeup = { targetId: string }

export type NewJob = {
  name: string
  data: Wakeup
  /** `metadata` names the trace of who asked, so that the work goes on in it. */
  opts: { jobId: string; delay: number; telemetry?: { metadata: string } }
}

/** What we use of BullMQ's `Queue` and `Worker`, whose types differ by the server behind them. */
export type JobQueue = {
  addBulk(jobs: NewJob[]): Promise<unknown>
  close(): Promise<void>
}
export type JobWorker = {
  waitUntilReady(): Promise<unknown>
  run(): Promise<void>
  close(): Promise<void>
}

/**
 * The two kinds of server that BullMQ runs on. Both connect when first asked, survive the server's restarts, and
 * tell every trouble of a connection to `onError`.
 */
export type QueueServer = {
  kind: 'redis' | 'postgres'
  /** A round trip that leaves the server fit for use; rejects while it is not. */
  prepare(): Promise<void>
  queue(): JobQueue
  /** Does nothing until `run`. */
  worker(work: (job: Job<Wakeup>) => Promise<void>, concurrency: number): JobWorker
  /** Cuts every connection that is left. Queues and workers must have been told to close before. */
  close(): Promise<void>
}

/** How BullMQ tells of jobs, and how we tell of sending them. */
export type QueueTracing = { telemetry: Telemetry; trace: Tracer }

export type ServerParts = {
  url: string
  name: string
  onError: (error: unknown) => void
  log: Logger
  telemetry?: Telemetry
}

/** A job is gone when it is done: one that stayed would swallow the next of its id. */
export const QUEUE_OPTIONS = {
  defaultJobOptions: { removeOnComplete: true, removeOnFail: true, attempts: 1 },
  // Nobody reads the event stream.
  streams: { events: { maxLen: 10 } },
} as const

/** What a worker that died had in hand is taken up by another after 5 to 8 seconds; BullMQ's defaults take a minute. */
export const WORKER_OPTIONS = {
  autorun: false,
  lockDuration: 5_000,
  stalledInterval: 3_000,
  runRetryDelay: 1_000,
} as const

const FETCH_RETRY_MS = 1_000

/**
 * After a failed fetch BullMQ tries again at once unless the connection was refused: a server that is starting up,
 * out of memory or without our schema would cost a core and thousands of errors a second (49,406 were counted).
 */
export function patient<B extends IQueueBackend, C>(
  make: BackendFactory<B, C>,
  prepare: () => Promise<void>,
): BackendFactory<B, C> {
  return (...args) => {
    const backend = make(...args)
    const fetch = backend.moveToActive.bind(backend)
    backend.moveToActive = async (...call) => {
      try {
        return await fetch(...call)
      } catch (error) {
        await pause(FETCH_RETRY_MS)
        // It may be our schema that is gone. The error to tell is the first one.
        await prepare().catch(() => {})
        throw error
      }
    }
    return backend
  }
}
