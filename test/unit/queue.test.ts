import type { BackendFactory, IQueueBackend } from 'bullmq'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createMemory } from '../../src/queue/memory.ts'
import { oneAtATime } from '../../src/queue/one-at-a-time.ts'
import { createProducer } from '../../src/queue/producer.ts'
import { type NewJob, patient, type QueueServer } from '../../src/queue/queue-server.ts'
import { troubleLog } from '../../src/queue/trouble.ts'

/** A queue server in memory that can be down, and counts what reaches it. */
function fakeServer() {
  const jobs: NewJob[] = []
  const state = { down: false, trips: 0, jobs }
  const trip = async () => {
    state.trips += 1
    if (state.down) throw new Error('connect ECONNREFUSED')
  }
  const server: QueueServer = {
    kind: 'redis',
    prepare: trip,
    queue: () => ({
      addBulk: async (batch) => {
        await trip()
        jobs.push(...batch)
      },
      close: async () => {},
    }),
    worker: () => {
      throw new Error('not for this test')
    },
    close: async () => {},
  }
  return { server, state }
}

function memoryLog() {
  const lines: { msg: string; error?: string; errors?: number }[] = []
  return { lines, log: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }) }
}

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }))
afterEach(() => void vi.useRealTimers())

describe('the producer', () => {
  function open() {
    const [{ server, state }, { lines, log }] = [fakeServer(), memoryLog()]
    return { ...createProducer(server, troubleLog(log), log), state, lines }
  }

  test('a duplicate costs no round trip while the job is surely there, and reaches the queue after that', async () => {
    const { ensure, state } = open()
    ensure('a', 2_000, 60_000)
    await vi.advanceTimersByTimeAsync(1)
    const { trips } = state
    for (let i = 0; i < 100; i++) ensure('a', 2_000, 60_000)
    await vi.advanceTimersByTimeAsync(9_000)
    ensure('a', 2_000, 51_000)
    expect(state.trips).toBe(trips)
    // A wiped queue is blind for a repeated alarm no longer than this.
    await vi.advanceTimersByTimeAsync(1_001)
    ensure('a', 2_000, 50_000)
    await vi.advanceTimersByTimeAsync(1)
    expect(state.jobs.map(({ opts }) => opts.jobId)).toEqual(['a-2000', 'a-2000'])
  })

  test('what is due by now is a job of its own every time', async () => {
    const { ensure, wake, state } = open()
    ensure('a', 1_003, 3_000)
    await vi.advanceTimersByTimeAsync(3_000)
    ensure('a', 1_003, 0)
    await vi.advanceTimersByTimeAsync(1)
    wake('a')
    await vi.advanceTimersByTimeAsync(1)
    const ids = state.jobs.map(({ opts }) => opts.jobId)
    expect(new Set(ids).size).toBe(3)
    for (const id of ids) expect(id).not.toMatch(/:|^\d+$/) // BullMQ refuses those
  })

  test('a job says which target, and nothing else', async () => {
    const { ensure, state } = open()
    ensure('a', 2_000, 500)
    await vi.advanceTimersByTimeAsync(1)
    expect(state.jobs[0]?.data).toEqual({ targetId: 'a' })
  })

  test('asked for in one turn, sent in one trip', async () => {
    const { wake, state } = open()
    for (let i = 0; i < 100; i++) wake(`t${i}`)
    await vi.advanceTimersByTimeAsync(1)
    expect(state.trips).toBe(2) // prepare, add
    expect(state.jobs).toHaveLength(100)
  })

  test('with the queue down: no throw, a bounded backlog, few lines, and all of it sent later with what is left of its delay', async () => {
    const { ensure, state, lines } = open()
    state.down = true
    for (let i = 0; i < 12_000; i++) ensure(`t${i}`, 2_000, 100_000)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(state.trips).toBeLessThan(30)
    expect(lines.length).toBeLessThan(6)
    state.down = false
    await vi.advanceTimersByTimeAsync(6_000)
    expect(state.jobs).toHaveLength(10_000)
    for (const { opts } of state.jobs) expect(opts.delay).toBeLessThan(41_000)
    expect(lines.at(-1)?.msg).toBe('the wake-up queue works again')
  })

  test('closed: takes nothing more and stops trying', async () => {
    const { wake, close, state } = open()
    state.down = true
    wake('a')
    await vi.advanceTimersByTimeAsync(1)
    await close()
    const { trips } = state
    wake('b')
    await vi.advanceTimersByTimeAsync(60_000)
    expect(state.trips).toBe(trips)
  })
})

describe('the trouble log', () => {
  test('one line for a storm, with its size, and one for its end', () => {
    const { lines, log } = memoryLog()
    let now = 0
    const trouble = troubleLog(log, () => now)
    trouble.over()
    for (let i = 0; i < 50_000; i++) trouble.report(new Error('down'))
    expect(lines).toHaveLength(1)
    now += 30_000
    trouble.report(Object.assign(new Error('WRONGPASS'), { command: { name: 'auth', args: ['s3cret'] } }))
    expect(lines).toHaveLength(2)
    expect(lines[1]).toMatchObject({ error: 'WRONGPASS', errors: 50_000 })
    expect(JSON.stringify(lines)).not.toContain('s3cret')
    trouble.over()
    trouble.over()
    expect(lines).toHaveLength(3)
  })
})

describe('fetching', () => {
  test('a failing fetch waits before BullMQ may try again, and has the server made fit', async () => {
    const prepare = vi.fn(async () => {})
    const backend = { moveToActive: async () => Promise.reject(new Error('no such function')) }
    const make = patient((() => backend) as unknown as BackendFactory<IQueueBackend, unknown>, prepare)
    let settled = false
    const fetched = make('q', { connection: {} })
      .moveToActive('token')
      .catch((error: unknown) => {
        settled = true
        return error
      })
    await vi.advanceTimersByTimeAsync(999)
    expect(settled).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(await fetched).toMatchObject({ message: 'no such function' })
    expect(prepare).toHaveBeenCalledOnce()
  })
})

describe('one at a time', () => {
  test('calls during a run become one more run; other keys go on', async () => {
    const begun: string[] = []
    const gates: (() => void)[] = []
    const { run, drain } = oneAtATime((key) => {
      begun.push(key)
      return new Promise((resolve) => gates.push(resolve))
    })
    void run('a')
    for (let i = 0; i < 5; i++) await run('a')
    void run('b')
    expect(begun).toEqual(['a', 'b'])
    gates[0]?.()
    await vi.advanceTimersByTimeAsync(0)
    expect(begun).toEqual(['a', 'b', 'a'])
    await run('a') // not again: draining
    const drained = drain()
    gates[1]?.()
    gates[2]?.()
    await drained
    expect(begun).toEqual(['a', 'b', 'a'])
  })
})

test('memory keeps until the instant, and lets go of what is past', () => {
  let now = 0
  const memory = createMemory(() => now)
  memory.keep('a', 100)
  expect([memory.knows('a'), memory.knows('b')]).toEqual([true, false])
  now = 100
  expect(memory.knows('a')).toBe(false)
  memory.keep('b', 50)
  expect(memory.knows('b')).toBe(false)
})
