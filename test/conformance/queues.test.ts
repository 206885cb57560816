import { createServer, connect as dial, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../src/lib/ids.ts'
import { openWakeups, type Wakeups } from '../../src/queue/wakeups.ts'
import { startRedis, startTestPostgres } from '../support/servers.ts'

/** A server of the suite's own, to be stopped and emptied at will. */
type QueueHost = {
  url: string
  port: number
  stop(): Promise<void>
  start(): Promise<void>
  /** Every job gone, as after FLUSHALL or a restored database. */
  wipe(): Promise<void>
  /** Connections of ours that the server still has. */
  connections(): Promise<number>
  remove(): Promise<void>
}

async function redisHost(): Promise<QueueHost> {
  const server = await startRedis({ keep: true })
  return {
    url: server.url,
    port: server.port,
    stop: server.kill,
    start: server.start,
    wipe: server.flush,
    async connections() {
      const client = new Redis(server.url)
      const list = (await client.client('LIST')) as string
      client.disconnect()
      return list.trim().split('\n').length - 1
    },
    remove: server.stop,
  }
}

async function postgresHost(): Promise<QueueHost> {
  const server = await startTestPostgres({ tcp: true })
  const query = async (text: string): Promise<Record<string, unknown>[]> => {
    const client = new pg.Client({ connectionString: server.url('postgres') })
    client.on('error', () => {})
    await client.connect()
    const { rows } = await client.query(text)
    await client.end()
    return rows
  }
  return {
    url: server.url('postgres'),
    port: server.port,
    stop: () => server.stop('immediate'),
    start: () => server.restart(),
    async wipe() {
      const tables = await query(
        `select string_agg(format('bullmq.%I', tablename), ', ') as all from pg_tables
         where schemaname = 'bullmq' and tablename <> 'migration'`,
      )
      await query(`truncate ${tables[0]?.all} cascade`)
    },
    async connections() {
      const rows = await query(
        `select count(*)::int as n from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`,
      )
      return rows[0]?.n as number
    },
    remove: server.remove,
  }
}

const HOSTS = { redis: redisHost, postgres: postgresHost }

/** Waits until it holds; fails after half a minute, which no healthy run comes near. */
async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let waited = 0; waited < 30_000; waited += 20) {
    if (await holds()) return
    await sleep(20)
  }
  throw new Error(`never happened: ${what}`)
}

/** What a handler saw, and gates to hold it. */
function recorder() {
  const seen: string[] = []
  const gates = new Map<string, Promise<void>>()
  return {
    seen,
    count: (targetId: string) => seen.filter((id) => id === targetId).length,
    /** Holds the handler of this target until the answer is called. */
    hold(targetId: string): () => void {
      let open = () => {}
      gates.set(targetId, new Promise((resolve) => (open = resolve)))
      return () => {
        gates.delete(targetId)
        open()
      }
    },
    handle: async (targetId: string) => {
      seen.push(targetId)
      await gates.get(targetId)
    },
  }
}

/** The second `ms` from now falls into, as the ledger would name it. */
const secondIn = (ms: number): number => Math.ceil((Date.now() + ms) / 1_000)

describe.each(Object.entries(HOSTS))('wake-ups over %s', (kind, startHost) => {
  let host: QueueHost
  const opened: Wakeups[] = []
  const lines: string[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })

  const open = (installation: string, url = host.url): Wakeups => {
    const wakeups = openWakeups({ url, installation, log })
    opened.push(wakeups)
    return wakeups
  }
  beforeAll(async () => {
    host = await startHost()
  })
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((wakeups) => wakeups.close()))
    lines.length = 0
  })
  afterAll(() => host.remove())

  test('come in order of their due time, none too early', async () => {
    const [wakeups, { seen, handle }] = [open(newId()), recorder()]
    const begun = Date.now()
    const at: number[] = []
    wakeups.run(async (targetId) => {
      at.push(Date.now() - begun)
      await handle(targetId)
    })
    for (const delay of [1_200, 400, 800]) wakeups.ensure(`t${delay}`, secondIn(delay), delay)
    await eventually('three wake-ups', () => seen.length === 3)
    expect(seen).toEqual(['t400', 't800', 't1200'])
    for (const [i, delay] of [400, 800, 1_200].entries()) expect(at[i]).toBeGreaterThanOrEqual(delay)
  })

  test('asked for many times, by many, for one second: one', async () => {
    const installation = newId()
    const { seen, count, handle } = recorder()
    const servers = [open(installation), open(installation), open(installation)]
    const second = secondIn(1_500)
    for (let i = 0; i < 50; i++) for (const server of servers) server.ensure('a', second, 1_500)
    servers[0]?.run(handle)
    await eventually('the wake-up', () => seen.length > 0)
    servers[1]?.wake('marker')
    await eventually('the marker', () => seen.includes('marker'))
    expect(count('a')).toBe(1)
  })

  test('one asked for in the past comes at once', async () => {
    const [wakeups, { seen, handle }] = [open(newId()), recorder()]
    wakeups.run(handle)
    wakeups.ensure('a', secondIn(-5_000), -5_000)
    await eventually('the wake-up', () => seen.includes('a'))
  })

  test('one that arrives during the handler’s run makes it run again', async () => {
    const installation = newId()
    const { count, hold, handle } = recorder()
    const [worker, server] = [open(installation), open(installation)]
    const release = hold('a')
    worker.run(handle)
    const second = secondIn(300)
    server.ensure('a', second, 300)
    await eventually('the handler runs', () => count('a') === 1)
    // The same alarm while its job is active, which the queue by itself would swallow.
    server.ensure('a', second, 0)
    server.wake('b')
    await eventually('the later one was taken', () => count('b') === 1)
    release()
    await eventually('the second run', () => count('a') === 2)
  })

  test('"now" is never joined with one that is done', async () => {
    const [wakeups, { count, handle }] = [open(newId()), recorder()]
    wakeups.run(handle)
    for (let i = 1; i <= 5; i++) {
      wakeups.wake('a')
      await eventually(`run ${i}`, () => count('a') === i)
    }
  })

  test('a handler that fails harms neither others nor its next run', async () => {
    const [wakeups, { seen, count, handle }] = [open(newId()), recorder()]
    wakeups.run(async (targetId) => {
      await handle(targetId)
      if (targetId === 'bad') throw new Error('no good')
    })
    wakeups.wake('bad')
    wakeups.wake('good')
    await eventually('both ran', () => seen.includes('bad') && seen.includes('good'))
    wakeups.wake('bad')
    await eventually('it ran again', () => count('bad') === 2)
    expect(lines.join('')).toContain('no good')
  })

  test('a handler that hangs holds up no other target, however often its own is woken', async () => {
    const [wakeups, { seen, count, hold, handle }] = [open(newId()), recorder()]
    const release = hold('hung')
    wakeups.run(handle, { concurrency: 2 })
    wakeups.wake('hung')
    await eventually('it hangs', () => count('hung') === 1)
    for (let i = 0; i < 10; i++) {
      wakeups.wake('hung')
      wakeups.wake(`other-${i}`)
      await eventually(`other ${i}`, () => seen.includes(`other-${i}`))
    }
    expect(count('hung')).toBe(1)
    release()
    await eventually('its second run', () => count('hung') === 2)
  })

  test('two runners share the work', async () => {
    const installation = newId()
    const inHand: string[] = []
    let release = () => {}
    const gate = new Promise<void>((resolve) => (release = resolve))
    const runAs = (name: string) => {
      const wakeups = open(installation)
      wakeups.run(
        async () => {
          inHand.push(name)
          await gate
        },
        { concurrency: 1 },
      )
      return wakeups
    }
    const [first] = [runAs('first'), runAs('second')]
    for (let i = 0; i < 4; i++) first?.wake(`t${i}`)
    await eventually('both have one', () => inHand.includes('first') && inHand.includes('second'))
    release()
    await eventually('all four', () => inHand.length === 4)
  })

  test('installations on one server do not hear each other', async () => {
    const [ours, theirs] = [recorder(), recorder()]
    const [a, b] = [open(newId()), open(newId())]
    a.run(ours.handle)
    b.run(theirs.handle)
    a.wake('x')
    b.wake('y')
    await eventually('each its own', () => ours.seen.length > 0 && theirs.seen.length > 0)
    expect([ours.seen, theirs.seen]).toEqual([['x'], ['y']])
  })

  test('the server is down at the start and comes later', async () => {
    await host.stop()
    const [wakeups, { seen, handle }] = [open(newId()), recorder()]
    wakeups.run(handle)
    wakeups.wake('now')
    wakeups.ensure('soon', secondIn(500), 500)
    await eventually('a word about it', () => lines.length > 0)
    await host.start()
    await eventually('both', () => seen.includes('now') && seen.includes('soon'))
    wakeups.wake('later')
    await eventually('the next', () => seen.includes('later'))
  })

  test('the server is restarted under a running worker', async () => {
    const [wakeups, { seen, handle }] = [open(newId()), recorder()]
    wakeups.run(handle)
    wakeups.wake('before')
    wakeups.ensure('over', secondIn(3_000), 3_000)
    await eventually('before', () => seen.includes('before'))
    await host.stop()
    wakeups.wake('while')
    await sleep(1_500)
    await host.start()
    await eventually('while', () => seen.includes('while'))
    wakeups.wake('after')
    await eventually('after', () => seen.includes('after'))
    await eventually('what was scheduled before', () => seen.includes('over'))
    expect(lines.length).toBeLessThan(10)
  })

  test('everything is wiped in between; later ones come', async () => {
    const [wakeups, { seen, handle }] = [open(newId()), recorder()]
    wakeups.run(handle)
    wakeups.ensure('lost', secondIn(60_000), 60_000)
    wakeups.wake('before')
    await eventually('before', () => seen.includes('before'))
    await host.wipe()
    wakeups.wake('now')
    wakeups.ensure('soon', secondIn(300), 300)
    await eventually('both', () => seen.includes('now') && seen.includes('soon'))
  })

  test('what a worker had in hand when it was cut off is taken up by another', async () => {
    const installation = newId()
    const proxy = await startProxy(host.port)
    const url = new URL(host.url)
    url.hostname = '127.0.0.1'
    url.port = String(proxy.port)
    const [doomed, other] = [recorder(), recorder()]
    const release = doomed.hold('a')
    const cutOff = open(installation, url.href)
    cutOff.run(doomed.handle)
    cutOff.wake('a')
    await eventually('the first has it', () => doomed.count('a') === 1)
    await proxy.cut()
    open(installation).run(other.handle)
    await eventually('the other has it', () => other.count('a') === 1)
    release()
  })

  test('close waits for what is in hand, takes nothing new, and leaves no connection', async () => {
    const [wakeups, { seen, hold, handle }] = [open(newId()), recorder()]
    const release = hold('a')
    let finished = false
    wakeups.run(async (targetId) => {
      await handle(targetId)
      finished = true
    })
    wakeups.wake('a')
    await eventually('in hand', () => seen.includes('a'))
    const closed = wakeups.close()
    wakeups.wake('b')
    await sleep(200)
    expect(finished).toBe(false)
    release()
    await closed
    expect(finished).toBe(true)
    expect(seen).toEqual(['a'])
    await eventually('no connection left', async () => (await host.connections()) === 0)
  })

  test('close comes to an end with the server away, and with a handler that does not', async () => {
    const [never, stuck] = [open(newId()), open(newId())]
    const { seen, hold, handle } = recorder()
    const release = hold('a')
    stuck.run(handle)
    stuck.wake('a')
    await eventually('in hand', () => seen.includes('a'))
    await host.stop()
    never.run(handle)
    never.wake('b')
    await Promise.all([never.close(), stuck.close()])
    release()
    await host.start()
    await eventually('no connection left', async () => (await host.connections()) === 0)
  })

  if (kind === 'postgres') {
    test('the whole schema is dropped in between; it is made anew', async () => {
      const [wakeups, { seen, handle }] = [open(newId()), recorder()]
      wakeups.run(handle)
      wakeups.wake('before')
      await eventually('before', () => seen.includes('before'))
      const client = new pg.Client({ connectionString: host.url })
      await client.connect()
      await client.query('drop schema bullmq cascade')
      await client.end()
      wakeups.wake('after')
      await eventually('after', () => seen.includes('after'))
    })
  }

  if (kind === 'redis') {
    test('a policy that drops jobs is told once, in our log', async () => {
      const client = new Redis(host.url)
      await client.config('SET', 'maxmemory-policy', 'allkeys-lru')
      const [wakeups, { seen, handle }] = [open(newId()), recorder()]
      wakeups.run(handle)
      wakeups.wake('a')
      await eventually('a', () => seen.includes('a'))
      await client.config('SET', 'maxmemory-policy', 'noeviction')
      client.disconnect()
      expect(lines.filter((line) => line.includes('allkeys-lru'))).toHaveLength(1)
    })
  }
})

/** A plain TCP relay, to cut somebody off without touching the server. */
async function startProxy(to: number): Promise<{ port: number; cut(): Promise<void> }> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((near) => {
    const far = dial(to, '127.0.0.1')
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    near.pipe(far)
    far.pipe(near)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    cut: () => {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
