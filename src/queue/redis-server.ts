import { once } from 'node:events'
import { createRedisBackend, Queue, Worker } from 'bullmq'
import { Redis, type RedisOptions } from 'ioredis'
import type { Logger } from '../lib/log.ts'
import { patient, QUEUE_OPTIONS, type QueueServer, type ServerParts, WORKER_OPTIONS } from './queue-server.ts'

const TIMEOUT_MS = 5_000

/** BullMQ on Redis or Valkey. Docs recommend `hz 100` there: at the default, delayed jobs are up to 100 ms late. */
export function redisServer({ url, name, onError, log, telemetry }: ServerParts): QueueServer {
  const clients = new Set<Redis>()
  const readInfo = policyCheck(log)

  const watched = (client: Redis): Redis => {
    clients.add(client)
    client.on('error', onError)
    client.on('connecting', () => clients.add(client))
    client.on('end', () => clients.delete(client))
    const info = client.info.bind(client) as (...args: unknown[]) => Promise<string>
    // The form with a callback is ioredis' own, to see whether the server has loaded its data.
    client.info = (...args: unknown[]) => (args.length > 0 ? info(...args) : info().then(readInfo))
    // BullMQ makes the worker's blocking connection as a copy of the one it is given.
    const duplicate = client.duplicate.bind(client)
    client.duplicate = (override) => watched(duplicate(override))
    return client
  }

  const connect = (options: Omit<RedisOptions, 'replyMapping'>): Redis =>
    watched(new Redis(url, { connectTimeout: TIMEOUT_MS, retryStrategy: reconnectMs, ...options }))

  // Fails fast while Redis is away: our own backlog waits, is bounded, and says so.
  const producer = connect({ enableOfflineQueue: false, maxRetriesPerRequest: 1, commandTimeout: TIMEOUT_MS })
  // One for all workers: BullMQ copies it for what blocks, and leaves it open, being ours.
  let consumer: Redis | undefined
  const prepare = async (): Promise<void> => {
    // Rejects with the connection's own error, which says more than "not writeable".
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    if (producer.status !== 'ready') await once(producer, 'ready', { signal })
    await producer.ping()
  }

  const told = telemetry && { telemetry }
  const makeBackend = patient(createRedisBackend, prepare)

  return {
    kind: 'redis',
    prepare,
    queue() {
      const queue = new Queue(name, { ...QUEUE_OPTIONS, ...told, connection: producer }, createRedisBackend)
      queue.on('error', onError)
      return queue
    },
    worker(work, concurrency) {
      consumer ??= connect({ maxRetriesPerRequest: null })
      const options = { ...WORKER_OPTIONS, ...told, connection: consumer, concurrency }
      const worker = new Worker(name, work, options, makeBackend)
      worker.on('error', onError)
      return worker
    },
    async close() {
      for (const client of clients) cut(client)
    },
  }
}

/**
 * Whatever waits for an answer is told that there is none. Between two attempts to connect ioredis has nothing that it
 * could close, and would leave that waiting for good, and BullMQ's worker with it: so an attempt is begun and cut.
 */
function cut(client: Redis): void {
  if (client.status === 'reconnecting') client.connect().catch(() => {})
  client.disconnect()
}

const reconnectMs = (attempt: number): number => Math.min(attempt * 100, 2_000)

/**
 * Redis may drop delayed jobs when it is full unless told not to. BullMQ says so on the console, once for every
 * connection; we say it once, in the log, and take the line out of what BullMQ reads.
 */
function policyCheck(log: Logger): (info: string) => string {
  let said = false
  return (info) => {
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1]
    if (policy !== undefined && policy !== 'noeviction' && !said) {
      said = true
      log.warn({ policy }, 'Redis may drop wake-ups when it is full; set its maxmemory-policy to noeviction')
    }
    return info.replace(/^maxmemory_policy:\S*/m, 'maxmemory_policy:noeviction')
  }
}
