import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { handle } from '../../src/http/route.ts'
import type { TraceServing } from '../../src/lib/trace.ts'
import { ask, parts, serving } from '../support/wire.ts'

const routes = {
  database: [
    { path: 'creds/:name', on: { read: handle({}, async () => ({ data: {} })) } },
    {
      path: 'broken',
      on: {
        read: handle({}, async () => {
          throw new Error('broken')
        }),
      },
    },
  ],
}

function recorder() {
  const lines: Record<string, unknown>[] = []
  return { lines, log: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }) }
}

/** One request; its line in the log, and its answer. */
async function asked(headers: Record<string, string>) {
  const { lines, log } = recorder()
  const answer = await serving(parts(routes, { log }), (at) =>
    ask(at, 'GET', '/v1/database/creds/app', { headers }),
  )
  return { answer, line: lines.find(({ msg }) => msg === 'request') }
}

describe('a request id that comes in', () => {
  test.each(['a', 'req-1.2:3_x', 'x'.repeat(64)])('comes out again, beside our own: %s', async (id) => {
    const { answer, line } = await asked({ 'X-Request-Id': id })
    const own = answer.headers.get('leasehold-request-id')
    expect(own).toMatch(/^[0-9a-f-]{36}$/)
    expect(own).not.toBe(id)
    expect(answer.json.request_id).toBe(own)
    expect(answer.headers.get('x-request-id')).toBe(id)
    expect(line).toMatchObject({ request_id: own, client_request_id: id })
  })

  test.each([
    ['too long', 'x'.repeat(65)],
    ['with a space', 'a b'],
    ['with a quote', 'a"b'],
    ['not of ASCII', 'ä'],
    ['a token', 'hvs.abcdefghijklmnop'],
  ])('that is %s is passed over', async (_, id) => {
    const { answer, line } = await asked({ 'X-Request-Id': id })
    expect(answer.status).toBe(200)
    expect(answer.headers.has('x-request-id')).toBe(false)
    expect(line).not.toHaveProperty('client_request_id')
  })

  test('is not made up', async () => {
    const { answer, line } = await asked({})
    expect(answer.headers.has('x-request-id')).toBe(false)
    expect(line).not.toHaveProperty('client_request_id')
    expect(line).not.toHaveProperty('trace_id')
  })
})

describe('what a trace is told of a request', () => {
  type Told = {
    traceparent: string | undefined
    name: string
    facts: Record<string, unknown>
    fault?: string
  }

  async function told(method: string, path: string, headers: Record<string, string> = {}) {
    const heard: Told[] = []
    const { lines, log } = recorder()
    const listener: TraceServing = (traceparent, serve) =>
      serve({
        traceId: 'trace-of-the-test',
        answered: (name, facts, fault) =>
          void heard.push({ traceparent, name, facts, ...(fault !== undefined && { fault }) }),
      })
    await serving(parts(routes, { log, serving: listener }), (at) => ask(at, method, path, { headers }))
    expect(lines.find(({ msg }) => msg === 'request')).toMatchObject({ trace_id: 'trace-of-the-test' })
    expect(heard).toHaveLength(1)
    return heard[0] as Told
  }

  test.each([
    ['GET', '/v1/database/creds/app', 'read database/creds/:name', '/v1/database/creds/:name'],
    ['GET', '/v1/team-a/db/creds/app', 'read database/creds/:name', '/v1/team-a/db/creds/:name'],
    ['GET', '/v1/database/no/such/route', 'read database', undefined],
    ['POST', '/v1/nothing/mounted?token=x', 'update', undefined],
    ['GET', '/elsewhere/hvs.abcdefghijkl', 'GET', undefined],
    ['GET', '/v1/a%ff', 'GET', undefined],
  ])('%s %s is %s', async (method, path, name, route) => {
    const heard = await told(method, path)
    expect(heard.name).toBe(name)
    expect(heard.facts['http.route']).toBe(route)
    expect(JSON.stringify(heard)).not.toMatch(/app|hvs|nothing|token=/)
  })

  test('a method of the dialect’s own goes by that name', async () => {
    expect((await told('LIST', '/v1/database/creds')).facts).toMatchObject({
      'http.request.method': '_OTHER',
      'http.request.method_original': 'LIST',
    })
  })

  test('a fault of ours is one, the caller’s is not', async () => {
    expect((await told('GET', '/v1/database/broken')).fault).toBe('500')
    expect(await told('GET', '/v1/database/none')).not.toHaveProperty('fault')
  })

  test('the names of the caller', async () => {
    const heard = await told('GET', '/v1/database/creds/x', {
      traceparent: 'any text',
      'X-Request-Id': 'mine',
    })
    expect(heard.traceparent).toBe('any text')
    expect(heard.facts['leasehold.client_request_id']).toBe('mine')
  })
})
