import { describe, expect, test } from 'vitest'
import { routes } from '../support/example-routes.ts'
import { ask, dial, exchange, parts, serving, statuses } from '../support/wire.ts'

const using = <T>(use: Parameters<typeof serving<T>>[1]) => serving(parts(routes), use)

describe('paths', () => {
  test.each([
    ['/v1/database//roles///a', 'database/roles/a'],
    ['/v1/database/roles%2Fa', 'database/roles/a'],
    ['/v1/%64atabase/roles/a', 'database/roles/a'],
    ['/v1/database/roles/a/', 'database/roles/a'],
    ['/v1/team-a/db/roles/a', 'team-a/db/roles/a'],
    ['/v1/database/deep/x/y/z/tune', 'database/deep/x/y/z/tune'],
    ['http://elsewhere/v1/database/roles/a', 'database/roles/a'],
  ])('%s is %s', (path, full) =>
    using(async (at) => {
      const heard = await exchange(
        await dial(at.port),
        `GET ${path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: good\r\nConnection: close\r\n\r\n`,
      )
      expect(JSON.parse(heard.slice(heard.indexOf('{'))).data.path).toBe(full)
    }),
  )

  test.each([
    '/v1/database/%2e%2e/sys/mounts',
    '/v1/database/../sys/mounts',
    '/v1/database/./roles',
    '/v1/database/%2e/roles',
    '/v1/database/roles/a%00',
    '/v1/database/roles/%0d%0a',
    '/v1/database/%zz',
    '/v1/database/%',
    '/v1/database/%c0%ae',
    '/v1/database/%e2%80%ae',
    '/v1/database/..%2f..%2fsys',
  ])('%s is refused', (path) =>
    using(async (at) => {
      const heard = await exchange(
        await dial(at.port),
        `GET ${path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: good\r\nConnection: close\r\n\r\n`,
      )
      expect(statuses(heard)).toEqual([400])
    }),
  )
})

describe('headers', () => {
  test.each([
    ['60', 200],
    ['1h', 200],
    ['768h', 200],
    ['769h', 400],
    ['0.5', 400],
    ['500ms', 400],
    ['-1', 400],
    ['60, 60', 400],
    ['x', 400],
    ['0', 200],
    ['', 200],
  ])('a wrap TTL of "%s" is %i', (ttl, status) =>
    using(async (at) => {
      expect(
        (await ask(at, 'GET', '/v1/database/creds/a', { headers: { 'X-Vault-Wrap-TTL': ttl } })).status,
      ).toBe(status)
    }),
  )

  test.each([
    ['', 200],
    ['/', 200],
    ['root', 200],
    ['root/', 200],
    ['team', 404],
  ])('the namespace "%s" is %i', (name, status) =>
    using(async (at) => {
      const answer = await ask(at, 'GET', '/v1/database/creds/a', { headers: { 'X-Vault-Namespace': name } })
      expect(answer.status).toBe(status)
      if (status === 200) expect(answer.headers.get('x-vault-namespace')).toBe(name)
      else expect(answer.json.errors).toEqual(['namespace not found'])
    }),
  )

  test.each([
    ['k'.repeat(128), 200],
    ['k'.repeat(129), 400],
    ['é', 400],
  ])('the idempotency key %.10s… is %i', (key, status) =>
    using(async (at) => {
      const headers = { 'Leasehold-Idempotency-Key': key }
      expect((await ask(at, 'GET', '/v1/database/creds/a', { headers })).status).toBe(status)
    }),
  )
})
