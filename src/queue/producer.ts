import { randomUUID } from 'node:crypto'
import type { Logger } from '../lib/log.ts'
import { pause } from '../lib/pause.ts'
import { type Mark, untraced } from '../lib/trace.ts'
import { createMemory, type Memory } from './memory.ts'
import type { JobQueue, NewJob, QueueServer, QueueTracing } from './queue-server.ts'
import type { Trouble } from './trouble.ts'

export type Producer = {
  ensure(targetId: string, dueSecond: number, delayMs: number): void
  wake(targetId: string): void
  close(): Promise<void>
}

/** Waiting for the queue. `second` is undefined for "now". Instants are `performance.now()`. */
type Alarm = { targetId: string; second: number | undefined; dueAt: number; origin?: Origin | undefined }

/** What asked for it, as far as that is traced. */
type Origin = { mark: Mark | undefined; metadata: string }

/** More than this waiting means that the queue is long gone; the sweep does the work, and memory stays bounded. */
const MAX_WAITING = 10_000
const BATCH = 100
/** How long a duplicate of what was sent costs no round trip. Short, since a wiped queue has forgotten what we remember. */
const REMEMBER_MS = 10_000
/** Later than asked, so that a worker whose clock is a little ahead of the ledger's does not find the row not yet due. */
const CLOCK_SLACK_MS = 25
const RETRY_FIRST_MS = 250
const RETRY_CAP_MS = 5_000

/** The sending side: collects what is asked for, sends it in batches one after another, and waits out a queue that is away. */
export function createProducer(
  server: QueueServer,
  trouble: Trouble,
  log: Logger,
  tracing?: QueueTracing,
): Producer {
  const waiting = new Map<string, Alarm>()
  const sent = createMemory()
  const closing = new AbortController()
  let queue: JobQueue | undefined
  let sending: Promise<void> | undefined
  let full = false

  const put = (key: string, alarm: Alarm): void => {
    if (closing.signal.aborted) return
    if (waiting.size >= MAX_WAITING) {
      if (!full)
        log.warn(
          { waiting: waiting.size },
          'too many wake-ups wait for the queue; leaving the rest to the sweep',
        )
      full = true
      return
    }
    waiting.set(key, { ...alarm, origin: tracing && originOf(tracing) })
    // A microtask later, so that what is asked for in the same turn leaves together.
    sending ??= Promise.resolve().then(send)
  }

  const sendBatch = async (): Promise<void> => {
    const batch = first(waiting, BATCH)
    // Taken out before they leave: a "now" asked for from here on may come after the worker has looked.
    for (const [key] of batch) waiting.delete(key)
    try {
      queue ??= await openQueue(server)
      await addTo(queue, batch, tracing)
      remember(sent, batch)
    } catch (error) {
      for (const [key, alarm] of batch) waiting.set(key, alarm)
      throw error
    }
  }

  const send = async (): Promise<void> => {
    for (let failures = 0; waiting.size > 0 && !closing.signal.aborted; ) {
      try {
        await sendBatch()
        failures = 0
        full = false
        trouble.over()
      } catch (error) {
        trouble.report(error)
        // BullMQ remembers a first connection that failed for ever; a new queue on the same connections is cheap.
        await queue?.close().catch(() => {})
        queue = undefined
        await pause(Math.min(RETRY_CAP_MS, RETRY_FIRST_MS * 2 ** failures++), closing.signal)
      }
    }
    sending = undefined
  }

  const wake = (targetId: string): void => put(targetId, { targetId, second: undefined, dueAt: 0 })

  return {
    wake,
    ensure(targetId, dueSecond, delayMs) {
      if (delayMs <= 0) return wake(targetId)
      const key = `${targetId}-${dueSecond}`
      const now = performance.now()
      if (waiting.has(key) || sent.knows(key)) return
      put(key, { targetId, second: dueSecond, dueAt: now + delayMs + CLOCK_SLACK_MS })
    },
    async close() {
      closing.abort()
      await sending
      await queue?.close().catch(trouble.report)
    },
  }
}

/** In no caller's context: what they ask for leaves together. */
function addTo(
  queue: JobQueue,
  batch: [string, Alarm][],
  tracing: QueueTracing | undefined,
): Promise<unknown> {
  const { trace } = tracing ?? { trace: untraced }
  const marks = batch.map(([, { origin }]) => origin?.mark)
  return trace.batch('queue.send', { 'leasehold.jobs': batch.length }, marks, () =>
    queue.addBulk(batch.map(([key, alarm]) => toJob(key, alarm))),
  )
}

const originOf = ({ trace, telemetry: { contextManager } }: QueueTracing): Origin => ({
  mark: trace.here(),
  metadata: contextManager.getMetadata(contextManager.active()),
})

async function openQueue(server: QueueServer): Promise<JobQueue> {
  await server.prepare()
  return server.queue()
}

/** An alarm for a second is one job however often and from wherever it is asked for; a "now" is always a new one. */
function toJob(key: string, { targetId, second, dueAt, origin }: Alarm): NewJob {
  const delay = second === undefined ? 0 : Math.max(0, Math.ceil(dueAt - performance.now()))
  return {
    name: 'due',
    data: { targetId },
    opts: {
      jobId: second === undefined ? `${key}-${randomUUID()}` : key,
      delay,
      ...(origin && { telemetry: { metadata: origin.metadata } }),
    },
  }
}

/** Once due the job may be running or gone: asking again must then reach the queue. */
function remember(sent: Memory, batch: [string, Alarm][]): void {
  const now = performance.now()
  for (const [key, { second, dueAt }] of batch) {
    if (second !== undefined) sent.keep(key, Math.min(now + REMEMBER_MS, dueAt - CLOCK_SLACK_MS))
  }
}

function first<K, V>(map: Map<K, V>, count: number): [K, V][] {
  const entries: [K, V][] = []
  for (const entry of map) {
    if (entries.length === count) break
    entries.push(entry)
  }
  return entries
}
