import type { Logger } from '../lib/log.ts'
import { within } from '../lib/pause.ts'
import { postgresServer } from './postgres-server.ts'
import { createProducer } from './producer.ts'
import type { QueueServer, QueueTracing, ServerParts } from './queue-server.ts'
import { redisServer } from './redis-server.ts'
import { type Handle, type Runner, startRunner } from './runner.ts'
import { troubleLog } from './trouble.ts'

/**
 * The alarm clock: says "look at this target", to whichever worker is free, at about the right time. It is speed and
 * not truth. A wake-up may be lost, late, early or doubled, and the queue may be away, wiped or full; leases end all
 * the same, because every worker also sweeps the ledger. So nothing here fails the caller or makes it wait.
 */
export type Wakeups = {
  /**
   * Wakes a worker for the target once `delayMs` have passed. `dueSecond` names the alarm: whoever asks for the same
   * target and second again asks for the same job. The row it is for must be committed before. In the past means now.
   */
  ensure(targetId: string, dueSecond: number, delayMs: number): void
  /** Wakes a worker for the target at once; never joined with a wake-up that may already be running. */
  wake(targetId: string): void
  /**
   * Works on wake-ups until closed, beside any number of other processes. `handle` runs once at a time for each
   * target in this process, and starts at least once after every wake-up; what it throws is logged.
   */
  run(handle: Handle, options?: { concurrency?: number }): Runner
  /** Closes the runners too. What could not be sent by then is left to the sweep. Bounded. */
  close(): Promise<void>
}

const CLOSE_MS = 2_000

/**
 * Connects in the background, for as long as it takes. `redis://` and `rediss://` URLs mean Redis or Valkey,
 * `postgres://` BullMQ's own backend there. Installations that share a server are kept apart by their id.
 */
export function openWakeups(parts: {
  url: string
  installation: string
  log: Logger
  /** Hears of each wake-up how long after it was due it was taken; by the two machines' own clocks. */
  onTaken?: (lateMs: number) => void
  tracing?: QueueTracing | undefined
}): Wakeups {
  const { log, onTaken, tracing } = parts
  const trouble = troubleLog(log)
  let closed: Promise<void> | undefined
  // Once we close, lost connections are our own doing.
  const onError = (error: unknown) => closed ?? trouble.report(error)
  const server = openServer({
    ...parts,
    ...(tracing && { telemetry: tracing.telemetry }),
    name: `leasehold-${parts.installation}`,
    onError,
  })
  const producer = createProducer(server, trouble, log, tracing)
  const runners: Runner[] = []

  const close = async (): Promise<void> => {
    await Promise.all([within(producer.close(), CLOSE_MS), ...runners.map((runner) => runner.close())])
    await within(server.close(), CLOSE_MS)
  }

  return {
    ensure: producer.ensure,
    wake: producer.wake,
    run(handle, options) {
      const runner = startRunner({ ...options, ...(onTaken && { onTaken }), server, handle, trouble, log })
      runners.push(runner)
      return runner
    },
    close: () => (closed ??= close()),
  }
}

function openServer(parts: ServerParts): QueueServer {
  return /^rediss?:/.test(parts.url) ? redisServer(parts) : postgresServer(parts)
}
