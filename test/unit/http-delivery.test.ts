import { once } from 'node:events'
import { expect, test } from 'vitest'
import type { AppParts } from '../../src/http/app.ts'
import { handle, type Route } from '../../src/http/route.ts'
import { ask, dial, parts, serving } from '../support/wire.ts'

/** A promise with its own switch, so that a test decides when a handler answers. */
function gate() {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

type Told = { events: string[]; started: ReturnType<typeof gate>; release: ReturnType<typeof gate> }

function tellingRoutes(): Told & { routes: Route[] } {
  const told: Told = { events: [], started: gate(), release: gate() }
  const creds = handle({}, async (call) => {
    call.onUndelivered(async () => {
      told.events.push('undone')
    })
    told.started.open()
    await told.release.opened
    told.events.push('answered')
    if (call.capture('name') === 'failing') throw new Error('broken')
    if (call.capture('name') === 'circular') return { data: { n: 1n } }
    return { data: { password: 'x'.repeat(call.capture('name') === 'big' ? 50_000_000 : 10) } }
  })
  return { ...told, routes: [{ path: 'creds/:name', on: { read: creds } }] }
}

const REQUEST = 'GET /v1/database/creds/a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: good\r\n\r\n'

const withRoutes = (told: { routes: Route[] }, changes: Partial<AppParts> = {}) =>
  parts({ database: told.routes }, changes)

test('an answer that arrives is not undone', async () => {
  const told = tellingRoutes()
  told.release.open()
  await serving(withRoutes(told), async (at) => {
    expect((await ask(at, 'GET', '/v1/database/creds/a')).status).toBe(200)
    await at.api.settled()
  })
  expect(told.events).toEqual(['answered'])
})

test.each([
  ['resets the connection', (socket: { resetAndDestroy(): void }) => socket.resetAndDestroy()],
  ['closes the connection', (socket: { destroy(): void }) => socket.destroy()],
  ['will send no more', (socket: { end(): void }) => socket.end()],
])(
  'a caller that %s while the handler runs gets its answer undone, after the handler',
  async (_how, leave) => {
    const told = tellingRoutes()
    await serving(withRoutes(told), async (at) => {
      const socket = await dial(at.port)
      socket.on('error', () => {}).resume()
      socket.write(REQUEST)
      await told.started.opened
      const gone = once(socket, 'close')
      leave(socket)
      await gone
      // Another request on a new connection: by the time it is answered the server has seen the first one close.
      await ask(at, 'GET', '/v1/database/none')
      told.release.open()
      await at.api.settled()
    })
    expect(told.events).toEqual(['answered', 'undone'])
  },
)

test('a caller that leaves in the middle of a long answer gets it undone', async () => {
  const told = tellingRoutes()
  told.release.open()
  await serving(withRoutes(told), async (at) => {
    const socket = await dial(at.port)
    socket.write(REQUEST.replace('/a', '/big'))
    await once(socket, 'data')
    socket.destroy()
    await at.api.settled()
  })
  expect(told.events).toEqual(['answered', 'undone'])
})

test('of pipelined answers, those behind the one that was lost are undone too', async () => {
  const told = tellingRoutes()
  await serving(withRoutes(told), async (at) => {
    const socket = await dial(at.port)
    socket.write(REQUEST + REQUEST + REQUEST)
    await told.started.opened
    const gone = once(socket, 'close')
    socket.destroy()
    await gone
    await ask(at, 'GET', '/v1/database/none')
    told.release.open()
    await at.api.settled()
  })
  expect(told.events.filter((event) => event === 'undone')).toHaveLength(3)
})

test.each(['failing', 'circular'])('an answer that turned into an error is undone (%s)', async (name) => {
  const told = tellingRoutes()
  told.release.open()
  await serving(withRoutes(told), async (at) => {
    expect((await ask(at, 'GET', `/v1/database/creds/${name}`)).status).toBe(500)
    await at.api.settled()
  })
  expect(told.events).toEqual(['answered', 'undone'])
})

test('a HEAD cannot carry a secret, so what it made is undone', async () => {
  const told = tellingRoutes()
  told.release.open()
  await serving(withRoutes(told), async (at) => {
    expect((await ask(at, 'HEAD', '/v1/database/creds/a')).status).toBe(200)
    await at.api.settled()
  })
  expect(told.events).toEqual(['answered', 'undone'])
})

test('a handler that outlives its deadline is answered for, and undone once it is through', async () => {
  const told = tellingRoutes()
  await serving(withRoutes(told, { deadlineMs: 10 }), async (at) => {
    const { status, json } = await ask(at, 'GET', '/v1/database/creds/a')
    expect(status).toBe(500)
    expect(json.errors[0]).toContain('no answer within 0.01 s')
    expect(told.events).toEqual([])
    told.release.open()
    await at.api.settled()
  })
  expect(told.events).toEqual(['answered', 'undone'])
})

test('an undo that fails is logged, and the others still run', async () => {
  const lines: string[] = []
  const told: string[] = []
  const creds = handle({}, async (call) => {
    call.onUndelivered(() => Promise.reject(new Error('ledger down')))
    call.onUndelivered(async () => {
      told.push('undone')
    })
    throw new Error('broken')
  })
  const { pino } = await import('pino')
  const log = pino({ level: 'error' }, { write: (line: string) => void lines.push(line) })
  await serving(parts({ database: [{ path: 'creds', on: { read: creds } }] }, { log }), async (at) => {
    await ask(at, 'GET', '/v1/database/creds')
    await at.api.settled()
  })
  expect(told).toEqual(['undone'])
  expect(lines.filter((line) => line.includes('ledger down'))).toHaveLength(1)
})
