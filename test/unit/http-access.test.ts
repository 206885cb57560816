import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import type { Question } from '../../src/http/ports.ts'
import { routes } from '../support/example-routes.ts'
import { ask, judgedBy, parts, serving } from '../support/wire.ts'

const BAD_TOKEN = ['2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n']
const DENIED = ['1 error occurred:\n\t* permission denied\n\n']
const using = <T>(use: Parameters<typeof serving<T>>[1]) => serving(parts(routes), use)

describe('who may', () => {
  const everywhere = [
    '/v1/database/roles/a',
    '/v1/database/unknown',
    '/v1/nowhere',
    '/v1/database/accepted',
    '/v1/sys/nothing',
  ]

  test.each(everywhere)('a bad token and none at all are told so before anything about %s', (path) =>
    using(async (at) => {
      for (const headers of [
        { 'X-Vault-Token': 'bad' },
        { 'X-Vault-Token': '' },
        { 'X-Vault-Token': '', Authorization: 'bearer good' },
      ]) {
        const { status, json } = await ask(at, 'GET', path, { headers })
        expect([status, json.errors]).toEqual([403, BAD_TOKEN])
      }
    }),
  )

  test.each(everywhere)('a token without rights is denied before anything about %s', (path) =>
    using(async (at) => {
      const { status, json } = await ask(at, 'GET', path, { headers: { 'X-Vault-Token': 'weak' } })
      expect([status, json.errors]).toEqual([403, DENIED])
    }),
  )

  test('either header carries the token, and the dialect’s own wins', () =>
    using(async (at) => {
      const tries = [
        { 'X-Vault-Token': '', Authorization: 'Bearer good' },
        { 'X-Vault-Token': 'good', Authorization: 'Bearer bad' },
        { 'X-Vault-Token': 'bad', Authorization: 'Bearer good' },
      ]
      const answers = await Promise.all(
        tries.map((headers) => ask(at, 'GET', '/v1/database/roles/a', { headers })),
      )
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 403])
    }))

  test('an open path ignores a bad token; one that reads a token if sent does not', () =>
    using(async (at) => {
      const bad = { 'X-Vault-Token': 'bad' }
      expect(
        (await ask(at, 'PUT', '/v1/auth/jwt/login', { body: { jwt: 'x' }, headers: bad })).json.auth.known,
      ).toBeNull()
      expect((await ask(at, 'GET', '/v1/auth/jwt/either', { headers: bad })).status).toBe(403)
      expect(
        (await ask(at, 'GET', '/v1/auth/jwt/either', { headers: { 'X-Vault-Token': '' } })).json.data.who,
      ).toBeNull()
      expect((await ask(at, 'GET', '/v1/auth/jwt/either')).json.data.who).toBe('good')
    }))

  test('policy is asked about the modern path, decoded, with what it needs to decide', async () => {
    const asks: Question[] = []
    const asked = parts(routes, { authorizer: judgedBy((question) => asks.push(question) > 0) })
    await serving(asked, async (at) => {
      await ask(at, 'PUT', '/v1/sys/revoke-prefix/database%2Fcreds//a', { body: { why: 'x' } })
      await ask(at, 'GET', '/v1/database/roles?list=1')
      await ask(at, 'GET', '/v1/database/roles/a/')
    })
    expect(
      asks.map(({ operation, path, sudo, sourceAddress, parameters }) => [
        operation,
        path,
        sudo,
        sourceAddress,
        parameters,
      ]),
    ).toEqual([
      ['update', 'sys/leases/revoke-prefix/database/creds/a', true, '127.0.0.1', { why: 'x' }],
      ['list', 'database/roles/', false, '127.0.0.1', {}],
      ['read', 'database/roles/a', false, '127.0.0.1', {}],
    ])
  })
})

test('each request is one log line that holds no token, no body and no query', async () => {
  const lines: string[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  await serving(parts(routes, { log }), async (at) => {
    await ask(at, 'PUT', '/v1/database/roles/lh.0123456789?token=hunter2', { body: { note: 'hunter2' } })
    await at.api.settled()
  })
  expect(lines).toHaveLength(1)
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({
    method: 'PUT',
    path: '/v1/database/roles/[token]',
    status: 200,
    accessor: 'accessor-of-good',
    request_id: expect.any(String),
    ms: expect.any(Number),
  })
  expect(lines[0]).not.toMatch(/hunter2|0123456789|"good"/)
})
