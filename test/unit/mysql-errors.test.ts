import { describe, expect, test } from 'vitest'
import { EngineError } from '../../src/engine/engine.ts'
import { isStatementFault, toEngineError } from '../../src/engine/mysql/errors.ts'
import { runIsolated } from '../../src/engine/mysql/isolate.ts'

const ofServer = (errno: number, sqlMessage = 'no') =>
  Object.assign(new Error('the driver names these wrongly'), { errno, sqlState: 'HY000', sqlMessage })

describe('errors', () => {
  test.each([
    [1045, 'denied'],
    [1227, 'denied'],
    [4151, 'denied'],
    [1040, 'unreachable'],
    [1053, 'unreachable'],
    [1836, 'unreachable'],
    [1205, 'blocked'],
    [4006, 'blocked'],
    [1047, 'unreachable'],
    [1820, 'denied'],
    [1396, 'failed'],
  ])('%i of the server is %s', (errno, kind) => {
    expect(toEngineError(ofServer(errno)).kind).toBe(kind)
    expect(isStatementFault(ofServer(errno))).toBe(kind !== 'unreachable')
  })

  test.each([
    ['The MariaDB server is running with the --read-only option so it cannot execute this', 'unreachable'],
    ['The MySQL server is running with the --super-read-only option so it cannot execute', 'unreachable'],
    ['The MySQL server is running with the LOCK_WRITE_GROWTH or read_only=1 option', 'unreachable'],
    ['The MySQL server is running with the --secure-file-priv option so it cannot execute', 'failed'],
  ])('1290, %s, is %s', (text, kind) => {
    expect(toEngineError(ofServer(1290, text)).kind).toBe(kind)
  })

  test.each([
    [Object.assign(new Error('connect'), { code: 'ECONNREFUSED', errno: -111 }), 'unreachable'],
    [Object.assign(new Error('lost'), { code: 'PROTOCOL_CONNECTION_LOST' }), 'unreachable'],
    [Object.assign(new Error('slow'), { code: 'PROTOCOL_SEQUENCE_TIMEOUT' }), 'unreachable'],
    [Object.assign(new Error('no TLS'), { code: 'HANDSHAKE_NO_SSL_SUPPORT' }), 'unreachable'],
    [new TypeError('undefined is not a function'), 'failed'],
    [new Error('something else'), 'failed'],
  ])('%s is %s', (error, kind) => {
    expect(toEngineError(error)).toMatchObject({ kind })
  })

  test('hold no hash of a password, and not the statement', () => {
    const text = `near '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19' and '$A$005$abc/def'`
    const error = toEngineError(ofServer(1064, text), 'creating')
    expect(error.message).toBe("creating: near '[hash]' and '[hash]' [1064]")
    expect(error.cause).toBeUndefined()
  })
})

describe('a batch with bad items', () => {
  const attempt = async (bad: readonly number[], errno = 1396) => {
    const done = new Set<number>()
    let tries = 0
    const failures = new Map<number, EngineError>()
    await runIsolated(
      Array.from({ length: 16 }, (_, i) => i),
      async (items) => {
        tries += 1
        // Like the server: those before the bad one are done.
        for (const item of items) {
          if (bad.includes(item)) throw ofServer(errno)
          if (done.has(item)) throw new EngineError('failed', 'done twice')
          done.add(item)
        }
      },
      failures,
      async (items) => {
        for (const item of items) done.delete(item)
      },
    )
    return { done: [...done], failures: [...failures.keys()], tries }
  }

  test('does all others once', async () => {
    const { done, failures } = await attempt([3, 11])
    expect(failures.sort((a, b) => a - b)).toEqual([3, 11])
    expect(done).toHaveLength(14)
  })

  test('is not tried again in parts when it waited too long for a lock', async () => {
    const { done, failures, tries } = await attempt([15], 1205)
    expect({ done, tries, failed: failures.length }).toEqual({ done: [], tries: 1, failed: 16 })
  })

  test('is given up when the connection is lost', async () => {
    await expect(attempt([0], 1053)).rejects.toMatchObject({ errno: 1053 })
  })
})
