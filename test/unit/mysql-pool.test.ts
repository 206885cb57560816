import { EventEmitter } from 'node:events'
import type { Connection } from 'mysql2/promise'
import { expect, test } from 'vitest'
import { openPool } from '../../src/engine/mysql/pool.ts'

const LONG_MS = 600_000

const fakeConnection = (): Connection =>
  Object.assign(new EventEmitter(), {
    destroy: () => {},
    end: async () => {},
  }) as unknown as Connection

const poolOf = (connect: () => Promise<Connection>, waitMs = LONG_MS) =>
  openPool({ name: 'tests', connect, max: 1, keep: 1, idleMs: LONG_MS, lifetimeMs: 0, waitMs })

test('whoever waits behind a connection that cannot be opened is told so at once, and not after the wait', async () => {
  const pool = poolOf(() => Promise.reject(new Error('connect ECONNREFUSED')))
  const asked = await Promise.allSettled([pool.acquire(), pool.acquire(), pool.acquire()])
  expect(asked.map((each) => each.status === 'rejected' && each.reason.message)).toEqual(
    Array(3).fill('connect ECONNREFUSED'),
  )
  await pool.close()
})

test('a wait for a server that lets nobody in is not a wait for busy connections', async () => {
  const hanging = poolOf(() => new Promise(() => {}), 1)
  void hanging.acquire()
  await expect(hanging.acquire()).rejects.toMatchObject({ kind: 'unreachable' })
  const busy = poolOf(async () => fakeConnection(), 1)
  await busy.acquire()
  await expect(busy.acquire()).rejects.toMatchObject({ kind: 'blocked' })
  await Promise.all([hanging.close(), busy.close()])
})
