import type { Connection } from 'mysql2/promise'
import { EngineError } from '../engine.ts'

/**
 * Connections for one purpose. The driver's own pool can neither keep one open, give up waiting for one, end one that
 * is old, nor tell how many there are.
 */
export type Pool = {
  /** Waits for a free one no longer than it is told; then throws an `EngineError` of kind `blocked`. */
  acquire(): Promise<Connection>
  /** Every one that was acquired comes back through this, fit for the next or not. */
  release(connection: Connection, fit: boolean): void
  inUse(): { open: number; idle: number; waiting: number }
  close(): Promise<void>
}

export type PoolOptions = {
  name: string
  connect: () => Promise<Connection>
  max: number
  /** How many stay open when idle. */
  keep: number
  idleMs: number
  /** 0 for no limit. */
  lifetimeMs: number
  waitMs: number
}

type Waiter = { resolve: (connection: Connection) => void; reject: (error: unknown) => void }
type Idle = { connection: Connection; timer: NodeJS.Timeout }

export function openPool({ name, connect, max, keep, idleMs, lifetimeMs, waitMs }: PoolOptions): Pool {
  const born = new Map<Connection, number>()
  const waiting: Waiter[] = []
  let idle: Idle[] = []
  let opening = 0
  let closed = false

  const isOld = (connection: Connection): boolean =>
    lifetimeMs > 0 && performance.now() - (born.get(connection) ?? 0) > lifetimeMs

  const discard = (connection: Connection): void => {
    if (!born.delete(connection)) return
    const at = idle.find((each) => each.connection === connection)
    if (at) clearTimeout(at.timer)
    idle = idle.filter((each) => each !== at)
    connection.destroy()
    openForWaiter()
  }

  const open = async (): Promise<Connection> => {
    opening += 1
    try {
      const connection = await connect()
      if (closed) {
        connection.destroy()
        throw new EngineError('unreachable', 'the connections to this target are closed')
      }
      born.set(connection, performance.now())
      // One that dies while nobody uses it is an event without a caller.
      connection.on('error', () => discard(connection))
      connection.on('end', () => discard(connection))
      return connection
    } finally {
      opening -= 1
    }
  }

  const openForWaiter = (): void => {
    if (closed || waiting.length === 0 || born.size + opening >= max) return
    const waiter = waiting.shift() as Waiter
    open().then(waiter.resolve, waiter.reject).finally(openForWaiter)
  }

  const rest = (connection: Connection): void => {
    const timer = setTimeout(() => {
      if (idle.length > keep) discard(connection)
    }, idleMs)
    idle.push({ connection, timer: timer.unref() })
  }

  const queued = async (): Promise<Connection> => {
    const connection = wait(waiting, waitMs, () =>
      born.size > 0
        ? new EngineError('blocked', `all our connections for ${name} stayed busy`)
        : new EngineError('unreachable', `no connection for ${name} could be opened in time`),
    )
    openForWaiter()
    return connection
  }

  return {
    async acquire() {
      for (let last = idle.pop(); last; last = idle.pop()) {
        clearTimeout(last.timer)
        if (!isOld(last.connection)) return last.connection
        discard(last.connection)
      }
      // Whoever waits must not go on waiting for one that could not be opened.
      return born.size + opening < max ? open().finally(openForWaiter) : queued()
    },
    release(connection, fit) {
      if (!born.has(connection)) return
      if (!fit || closed || isOld(connection)) return discard(connection)
      const waiter = waiting.shift()
      if (waiter) waiter.resolve(connection)
      else rest(connection)
    },
    inUse: () => ({ open: born.size, idle: idle.length, waiting: waiting.length }),
    async close() {
      closed = true
      for (const { reject } of waiting.splice(0)) {
        reject(new EngineError('unreachable', 'the connections to this target are closed'))
      }
      const resting = idle.map(({ connection, timer }) => {
        clearTimeout(timer)
        return connection
      })
      idle = []
      const busy = [...born.keys()].filter((connection) => !resting.includes(connection))
      for (const connection of busy) discard(connection)
      await Promise.allSettled(resting.map((connection) => connection.end()))
      born.clear()
    },
  }
}

/** In line for a connection; out of it again, with that error, when nobody has begun to see to it in time. */
function wait(waiting: Waiter[], ms: number, tooLong: () => EngineError): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const settled =
      <T>(settle: (value: T) => void) =>
      (value: T) => {
        clearTimeout(timer)
        settle(value)
      }
    const waiter: Waiter = { resolve: settled(resolve), reject: settled(reject) }
    const timer = setTimeout(() => {
      const at = waiting.indexOf(waiter)
      // One is just being opened for it, which has a limit of its own.
      if (at < 0) return
      waiting.splice(at, 1)
      reject(tooLong())
    }, ms)
    waiting.push(waiter)
  })
}
