import { describe, expect, test } from 'vitest'
import { routes } from '../support/example-routes.ts'
import { ask, dial, exchange, parts, serving, statuses } from '../support/wire.ts'

const using = <T>(use: Parameters<typeof serving<T>>[1]) => serving(parts(routes), use)

describe('requests', () => {
  test.each(['POST', 'PUT'])('%s is an update, whatever the content type says', (method) =>
    using(async (at) => {
      for (const type of [
        'text/plain',
        'application/json; charset=utf-8',
        'application/x-www-form-urlencoded',
        'x',
      ]) {
        const headers = { 'Content-Type': type }
        const { json } = await ask(at, method, '/v1/database/roles/a', { body: ' {"ttl":"1h"}', headers })
        expect(json.data).toMatchObject({ operation: 'update', fields: { ttl: 3600 } })
      }
    }),
  )

  test('a form is read as one only when it looks like one', () =>
    using(async (at) => {
      const headers = { 'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8' }
      const { json } = await ask(at, 'POST', '/v1/database/roles/a', { body: 'ttl=5m&note=a+b%26c', headers })
      expect(json.data.fields).toEqual({ ttl: 300, note: 'a b&c' })
    }))

  test.each([
    ['', {}],
    ['  \n', {}],
    ['{}', {}],
    ['null', {}],
    ['{"note":null}', {}],
    ['{"note":"a","note":"b"}', { note: 'b' }],
  ])('the body %j is taken', (body, fields) =>
    using(async (at) => {
      const { status, json } = await ask(at, 'PUT', '/v1/database/roles/a', { body })
      expect([status, json.data.fields]).toEqual([200, fields])
    }),
  )

  test.each([
    ['{"password":"hunter2"', 'failed to parse JSON input'],
    ['hunter2', 'failed to parse JSON input'],
    ['[]', 'failed to parse JSON input'],
    ['"a"', 'failed to parse JSON input'],
    ['{"note":"\\u0000"}', '"note"'],
    ['{"note":{"a":["\\ud800"]}}', '"note"'],
    ['{"\\u0000":1}', 'Field validation failed'],
    [`{"note":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, '"note" is nested too deeply'],
    [`{"note":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}`, '"note" is nested too deeply'],
    ['{"ttl":-1}', 'Field validation failed: error converting input for field "ttl"'],
  ])('the body %.40s is refused', (body, message) =>
    using(async (at) => {
      const { status, json } = await ask(at, 'PUT', '/v1/database/roles/a', { body })
      expect([status, json.errors]).toEqual([400, [expect.stringContaining(message)]])
      expect(json.errors[0]).not.toContain('hunter2')
    }),
  )

  test('__proto__ in a body changes nothing', () =>
    using(async (at) => {
      const body =
        '{"__proto__":{"ttl":5,"polluted":1},"note":"a","constructor":{"prototype":{"polluted":1}}}'
      const { json } = await ask(at, 'PUT', '/v1/database/roles/a', { body })
      expect(json.data.fields).toEqual({ note: 'a' })
      expect(json.data.parameters).toEqual({ note: 'a', constructor: { prototype: { polluted: 1 } } })
      expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    }))

  test('a body over 1 MiB is 413, with or without its length said, and the connection goes on', () =>
    using(async (at) => {
      const body = '{"note":""}'.padEnd(1024 * 1024 + 1)
      expect((await ask(at, 'PUT', '/v1/database/roles/a', { body })).status).toBe(413)
      expect((await ask(at, 'PUT', '/v1/database/roles/a', { body: body.slice(0, -1) })).status).toBe(200)
      const head =
        'PUT /v1/database/roles/a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: good\r\nTransfer-Encoding: chunked\r\n\r\n'
      const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
      const next =
        'GET /v1/database/creds/a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: good\r\nConnection: close\r\n\r\n'
      expect(statuses(await exchange(await dial(at.port), head, chunked, next))).toEqual([413, 200])
    }))

  test('the query gives the fields of a read, a repeated one as a list', () =>
    using(async (at) => {
      const { json } = await ask(at, 'GET', '/v1/database/roles/a?ttl=1h&list=false&x=1&x=2')
      expect(json.data).toMatchObject({
        operation: 'read',
        fields: { ttl: 3600 },
        parameters: { x: ['1', '2'] },
      })
      expect(json.warnings).toEqual(['Endpoint ignored these unrecognized parameters: [x]'])
    }))

  test('what the path captures wins over the body, and the answer says so', () =>
    using(async (at) => {
      const { json } = await ask(at, 'PUT', '/v1/database/roles/a', { body: { zz: 1, aa: 2 } })
      expect(json.warnings).toEqual(['Endpoint ignored these unrecognized parameters: [aa zz]'])
      const none = await ask(at, 'PUT', '/v1/database/silent/a', { body: { zz: 1 } })
      expect([none.status, none.text]).toEqual([204, ''])
    }))

  test('LIST, with any number of slashes, is GET with list', () =>
    using(async (at) => {
      const request = (path: string) => `LIST ${path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: good\r\n`
      const heard = await exchange(
        await dial(at.port),
        `${request('/v1/database/roles')}\r\n${request('/v1//database/roles//?list=true')}\r\n`,
        `${request('/v1/database/empty')}Connection: close\r\n\r\n`,
      )
      expect(statuses(heard)).toEqual([200, 200, 404])
      expect(heard.split('"keys":["a","b"]')).toHaveLength(3)
      expect((await ask(at, 'GET', '/v1/database/roles/?list=T')).json.data).toEqual({ keys: ['a', 'b'] })
    }))

  test('PATCH wants its own content type', () =>
    using(async (at) => {
      const headers = { 'Content-Type': 'application/merge-patch+json' }
      expect((await ask(at, 'PATCH', '/v1/database/roles/a', { body: {} })).status).toBe(415)
      expect(
        (await ask(at, 'PATCH', '/v1/database/roles/a', { body: {}, headers })).json.data.operation,
      ).toBe('patch')
    }))

  test.each(['TRACE', 'MKCOL', 'LOCK', 'SCAN', 'LINK', 'FOO'])('%s is 405 with no text', (method) =>
    using(async (at) => {
      const heard = await exchange(
        await dial(at.port),
        `${method} /v1/database/roles HTTP/1.1\r\nHost: x\r\nX-Vault-Token: good\r\nConnection: close\r\n\r\n`,
      )
      expect(statuses(heard)).toEqual([405])
      expect(heard).toContain('Content-Type: application/json\r\n')
      expect(heard).toMatch(/\{"errors":\[\]\}\n$/)
    }),
  )

  test('OPTIONS says what there is, HEAD is GET without its body, help is bare', () =>
    using(async (at) => {
      const options = await ask(at, 'OPTIONS', '/v1/database/roles', { headers: { 'X-Vault-Token': '' } })
      expect([options.status, options.headers.get('allow')]).toEqual([204, expect.stringContaining('LIST')])
      const head = await ask(at, 'HEAD', '/v1/database/roles/a')
      expect([head.status, head.text]).toEqual([200, ''])
      const help = await ask(at, 'GET', '/v1/database/roles/a?help=1')
      expect(Object.keys(help.json)).toEqual(['help', 'see_also', 'openapi'])
    }))

  test('a write to a path ending in a slash is refused', () =>
    using(async (at) => {
      const { status, json } = await ask(at, 'PUT', '/v1/database/roles/a/', { body: {} })
      expect([status, json.errors]).toEqual([400, ["cannot write to a path ending in '/'"]])
    }))
})
