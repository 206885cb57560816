import { describe, expect, test } from 'vitest'
import { routes } from '../support/example-routes.ts'
import { ask, parts, serving } from '../support/wire.ts'

const using = <T>(use: Parameters<typeof serving<T>>[1]) => serving(parts(routes), use)

describe('answers', () => {
  test('carry all eight keys, mount type and our own key, with the exact content type', () =>
    using(async (at) => {
      const { status, headers, json } = await ask(at, 'GET', '/v1/database/creds/app')

      expect(status).toBe(200)
      expect(json).toEqual({
        request_id: headers.get('leasehold-request-id'),
        lease_id: 'database/creds/app/id',
        renewable: true,
        lease_duration: 60,
        data: { username: 'u' },
        wrap_info: null,
        warnings: null,
        auth: null,
        mount_type: 'database',
        leasehold: { limited_by: null },
      })
      expect(headers.get('content-type')).toBe('application/json')
      expect(headers.get('cache-control')).toBe('no-store')
      expect(Math.abs(Date.parse(headers.get('date') ?? '') - Date.now())).toBeLessThan(60_000)
      expect(headers.get('x-powered-by')).toBeNull()
    }))

  test.each([
    ['GET', '/v1/database/silent/a', 404],
    ['HEAD', '/v1/database/silent/a', 404],
    ['PUT', '/v1/database/silent/a', 204],
    ['DELETE', '/v1/database/silent/a', 204],
    ['GET', '/v1/database/empty?list=true', 404],
    ['GET', '/v1/database/warned?list=true', 200],
  ])('of nothing to %s %s are %i', (method, path, status) =>
    using(async (at) => {
      const answer = await ask(at, method, path)

      expect(answer.status).toBe(status)
      if (status === 404 && method !== 'HEAD') expect(answer.json).toEqual({ errors: [] })
      if (status === 204) expect(answer.text).toBe('')
    }),
  )

  test('of 202 have no body but a type, unless they say something', () =>
    using(async (at) => {
      const bare = await ask(at, 'PUT', '/v1/database/accepted')
      const tidy = await ask(at, 'PUT', '/v1/database/tidy', { body: {} })

      expect([bare.status, bare.text, bare.headers.get('content-type')]).toEqual([
        202,
        '',
        'application/json',
      ])
      expect([tidy.status, tidy.json.warnings]).toEqual([202, ['started']])
    }))

  test('repeat their data at the top, go without an envelope, or are plain text, where the dialect has it so', () =>
    using(async (at) => {
      expect((await ask(at, 'GET', '/v1/sys/mounts')).json).toMatchObject({
        'database/': { type: 'database' },
        data: { 'database/': { type: 'database' } },
        lease_id: '',
      })
      const health = await ask(at, 'GET', '/v1/sys/health', { headers: { 'X-Vault-Token': 'bad' } })
      expect([health.status, health.json]).toEqual([299, { sealed: false }])
      const response = await fetch(`${at.url}/v1/sys/metrics`, { headers: { 'X-Vault-Token': 'good' } })
      expect([response.headers.get('content-type'), await response.text()]).toEqual(['text/plain', 'up 1\n'])
    }))
})

describe('errors', () => {
  test.each([
    ['/v1/database/fails/target', 500, ['1 error occurred:\n\t* connection refused\n\n']],
    ['/v1/database/fails/plain', 400, ['lease not found']],
    ['/v1/database/fails/token', 403, ['bad token']],
    ['/v1/nowhere/x', 404, ['no handler for route "nowhere/x". route entry not found.']],
    ['/v1/database/unknown', 404, [expect.stringContaining('unsupported path')]],
    ['/v1/database/roles/-bad-', 404, [expect.stringContaining('unsupported path')]],
    ['/v1/database/accepted', 405, [expect.stringContaining('unsupported operation')]],
    ['/v1/database/roles?list=maybe', 400, []],
    ['/v2/database/roles', 404, []],
    ['/v1', 404, []],
    ['/', 404, []],
  ])('%s is %i %j', (path, status, errors) =>
    using(async (at) => {
      const answer = await ask(at, 'GET', path)

      expect([answer.status, answer.json]).toEqual([status, { errors }])
      expect(answer.headers.get('content-type')).toBe('application/json')
    }),
  )

  test('of our own reveal nothing and name the request', () =>
    using(async (at) => {
      const { status, headers, json } = await ask(at, 'GET', '/v1/database/fails/inside')

      expect(status).toBe(500)
      expect(json.errors).toEqual([
        `internal error, logged under request id ${headers.get('leasehold-request-id')}`,
      ])
    }))

  test('of a login are never in multierror form', () =>
    using(async (at) => {
      const down = await ask(at, 'PUT', '/v1/auth/jwt/login', { body: { jwt: 'down' } })
      const bad = await ask(at, 'PUT', '/v1/auth/jwt/login', { body: { jwt: 'bad' } })
      const none = await ask(at, 'PUT', '/v1/auth/jwt/login')

      expect([down.status, down.json.errors]).toEqual([500, ['no keys']])
      expect([bad.status, bad.json.errors]).toEqual([403, ['permission denied']])
      expect([none.status, none.json.errors]).toEqual([400, ['missing jwt']])
    }))
})
