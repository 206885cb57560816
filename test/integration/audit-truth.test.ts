import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { AuditEvent } from '../../src/audit/event.ts'
import { type ApiAnswer, openTestBroker, type TestBroker } from '../support/broker.ts'
import { ask, parts, serving } from '../support/wire.ts'

// That what stands on record is what happened: by the right decision, about the right thing, and without tokens.

let at: TestBroker
let shared: TestBroker
beforeAll(async () => {
  shared = await openTestBroker()
  at = shared
})
afterAll(() => shared.close())

async function events(): Promise<AuditEvent[]> {
  const { rows } = await at.ledger.ledger.query<{ body: string }>(
    'select body from leasehold.audit_event order by at_time, writer, seq',
  )
  return rows.map(({ body }) => JSON.parse(body))
}
const eventsOf = async ({ headers }: ApiAnswer): Promise<AuditEvent[]> =>
  (await events()).filter(({ request_id }) => request_id === headers.get('leasehold-request-id'))

const withToken = (token: string) => ({ 'X-Vault-Token': token })
const NOBODY = withToken('')
const WRAP = { 'X-Vault-Wrap-TTL': '60' }

const writePolicy = (name: string, policy: string) => at.api('PUT', `sys/policies/acl/${name}`, { policy })
async function tokenOf(fields: object): Promise<{ client_token: string; accessor: string }> {
  return (await at.api('POST', 'auth/token/create', fields)).json.auth
}
async function holder(name: string, policy: string) {
  await writePolicy(name, policy)
  return tokenOf({ policies: [name] })
}
const CREDS = 'path "database/creds/app" { capabilities = ["read"] }'
const issue = (headers = {}) => at.api('GET', 'database/creds/app', undefined, headers)

describe('a denial names what denied it:', () => {
  test('the rule that let the holder have it no more, of a renewal', async () => {
    const { client_token } = await holder('theirs', CREDS)
    const { lease_id } = (await issue(withToken(client_token))).json
    await writePolicy('theirs', 'path "database/creds/app" { capabilities = ["deny"] }')
    const renewed = await at.api('PUT', 'sys/leases/renew', { lease_id }, withToken(client_token))
    expect(renewed.status).toBe(403)
    const recorded = await eventsOf(renewed)
    expect(recorded).toMatchObject([
      {
        what: { path: 'sys/leases/renew' },
        decision: { allowed: false, policy: 'theirs', version: 2, pattern: 'database/creds/app' },
        outcome: { status: 403 },
        lease_id,
        details: { reason: 'recheck', recheck: { path: 'database/creds/app' }, why: 'denied' },
      },
    ])
    // Whose renewal it is does not matter: it is the holder who may have it no more.
    const byRoot = await at.api('PUT', 'sys/leases/renew', { lease_id })
    const [event] = await eventsOf(byRoot)
    expect([byRoot.status, event?.decision?.allowed, event?.decision?.policy]).toEqual([403, false, 'theirs'])
    expect(event?.details?.recheck).toEqual(recorded[0]?.details?.recheck)
  })

  test.each([
    ['PUT', 'sys/leases/lookup', 'body'],
    ['PUT', 'sys/leases/renew', 'body'],
    ['GET', 'sys/leasehold/receipts/', 'path'],
  ])('%s %s of another’s lease', async (method, path, place) => {
    const { lease_id } = (await issue()).json
    const { client_token } = await holder('other', 'path "other" { capabilities = ["read"] }')
    await writePolicy(
      'default',
      `path "sys/leases/*" { capabilities = ["update"] }
       path "sys/leasehold/receipts/*" { capabilities = ["read"] }`,
    )
    const answer =
      place === 'path'
        ? await at.api(method, path + lease_id, undefined, withToken(client_token))
        : await at.api(method, path, { lease_id }, withToken(client_token))
    expect(answer.status).toBe(403)
    expect(await eventsOf(answer)).toMatchObject([
      {
        decision: { allowed: false },
        outcome: { status: 403 },
        lease_id,
        details: { reason: 'not_own_lease' },
      },
    ])
  })
})

describe('what is wrapped can be followed by its accessor:', () => {
  test('from its wrapping over a rewrap and a look to its unwrapping', async () => {
    const wrapped = await at.api('POST', 'sys/wrapping/wrap', { a: 1 }, WRAP)
    const first = wrapped.json.wrap_info
    const rewrapped = await at.api('POST', 'sys/wrapping/rewrap', undefined, withToken(first.token))
    const second = rewrapped.json.wrap_info
    const seen = await at.api('POST', 'sys/wrapping/lookup', { token: second.token }, NOBODY)
    const opened = await at.api('POST', 'sys/wrapping/unwrap', undefined, withToken(second.token))
    expect([seen.status, opened.status]).toEqual([200, 200])

    const creation_path = 'sys/wrapping/wrap'
    const known = { wrapping_accessor: second.accessor, creation_path }
    expect(await eventsOf(wrapped)).toMatchObject([
      { outcome: {}, details: { wrapping_accessor: first.accessor, creation_path } },
    ])
    expect(await eventsOf(rewrapped)).toMatchObject([
      { outcome: {}, details: { ...known, rewrapped_accessor: first.accessor } },
    ])
    expect(await eventsOf(seen)).toMatchObject([{ outcome: { status: 200 }, details: known }])
    expect(await eventsOf(opened)).toMatchObject([{ outcome: {}, details: known }])
    const all = JSON.stringify(await events())
    for (const { token } of [first, second]) expect(all).not.toContain(token)
  })

  test('of what had changed something before, by an event of its own', async () => {
    const issued = await issue(WRAP)
    const { accessor } = issued.json.wrap_info
    const [made, wrapped, ...more] = await eventsOf(issued)
    expect([made?.what.operation, made?.details, more]).toEqual(['read', undefined, []])
    expect(wrapped).toMatchObject({
      type: 'request',
      who: made?.who,
      what: { operation: 'wrap', path: 'database/creds/app' },
      lease_id: made?.lease_id,
      details: { wrapping_accessor: accessor, creation_path: 'database/creds/app' },
    })
    expect(made?.lease_id).toMatch(/^database\/creds\/app\//)
  })

  test.each(['unwrap', 'rewrap', 'lookup'])('a failed %s says so, once', async (what) => {
    const { token } = (await at.api('POST', 'sys/wrapping/wrap', { a: 1 }, WRAP)).json.wrap_info
    await at.api('POST', 'sys/wrapping/unwrap', undefined, withToken(token))
    const again = await at.api('POST', `sys/wrapping/${what}`, { token }, withToken(token))
    expect(again.status).toBe(400)
    expect((await eventsOf(again)).map(({ outcome }) => outcome.status)).toEqual([400])
  })
})

test.each<[string, (token: { client_token: string; accessor: string }) => [string, object]]>([
  ['token', ({ client_token }) => ['revoke', { token: client_token }]],
  ['accessor', ({ accessor }) => ['revoke-accessor', { accessor }]],
  ['token and not what is below it', ({ client_token }) => ['revoke-orphan', { token: client_token }]],
])('a token ended by its %s is named, and how many leases end with it', async (_, revocation) => {
  const token = await tokenOf({ policies: ['root'] })
  await issue(withToken(token.client_token))
  await issue(withToken(token.client_token))
  const [path, fields] = revocation(token)
  const revoked = await at.api('POST', `auth/token/${path}`, fields)
  expect(await eventsOf(revoked)).toMatchObject([
    { outcome: {}, details: { ended_accessors: [token.accessor], leases_ending: 2 } },
  ])
})

describe('a refused issue names no lease that never was:', () => {
  // Each does something to its target or to everybody's limits.
  beforeEach(async () => {
    at = await openTestBroker()
  })
  afterEach(async () => {
    await at.close()
    at = shared
  })

  test('one of a key whose lease lives names that one', async () => {
    const key = { 'Leasehold-Idempotency-Key': 'k' }
    const { lease_id } = (await issue(key)).json
    const again = await issue(key)
    expect(again.status).toBe(409)
    expect(await eventsOf(again)).toMatchObject([{ outcome: { status: 409 }, lease_id, role: 'app' }])
  })

  test.each<[string, number, string, () => Promise<unknown>]>([
    [
      'of a full quota',
      429,
      'quota exceeded',
      () => at.api('PUT', 'sys/quotas/lease-count/q', { path: 'database', max_leases: 1 }),
    ],
    [
      'of a frozen target',
      500,
      'is frozen',
      async () => {
        await at.api('POST', 'database/config/db', { stuck_freeze: 1, ...connection() })
        await at.ledger.ledger.query(`update leasehold.lease set state = 'revoking', attempts = 6`)
      },
    ],
    [
      'of a target that has been away for some tries',
      500,
      'is paused',
      () =>
        at.api('POST', 'database/config/db', {
          ...connection(),
          connection_url: 'postgresql://{{username}}:{{password}}@127.0.0.1:1/none',
          verify_connection: false,
        }),
    ],
  ])('one %s', async (_, status, why, arrange) => {
    const { client_token } = await holder('theirs', CREDS)
    expect((await issue(withToken(client_token))).status).toBe(200)
    await arrange()
    let refused = await issue(withToken(client_token))
    for (let tries = 1; tries < 10 && !refused.text.includes(why); tries += 1)
      refused = await issue(withToken(client_token))
    expect([refused.status, refused.text]).toEqual([status, expect.stringContaining(why)])
    const [event, ...more] = await eventsOf(refused)
    expect([event?.outcome.status, event?.role, event?.target, event?.lease_id, more]).toEqual([
      status,
      'app',
      'db',
      undefined,
      [],
    ])
  })

  const connection = () => ({
    plugin_name: 'postgresql-database-plugin',
    connection_url: at.target.urlTemplate,
    username: at.target.admin,
    password: at.target.password,
    allowed_roles: '*',
  })
})

const TOKEN_PATHS = [
  '/auth/token/lookup/my-own-id',
  '/auth/token/renew/my-own-id',
  '/auth/token/revoke/my-own-id',
  '/auth/token/revoke-orphan/my-own-id',
  '/auth/token/lookup/my-own-id/',
  '/auth/token/lookup/dir/my-own-id',
  '/auth//token///lookup/my-own-id',
  '/auth/token/lookup/my%2down%2Did',
  '/auth%2ftoken%2flookup%2Fmy-own-id',
  '/team/auth/token/lookup/my-own-id',
  '/database/roles/hvs.0123456789abcdef',
]

describe('a token in a path is told nobody,', () => {
  test.each(TOKEN_PATHS)('not in the log, as %s', async (path) => {
    const answer = await at.api('GET', path.slice(1))
    expect(answer.status).toBe(404)
    const recorded = await eventsOf(answer)
    expect(recorded.map(({ what }) => what.path)).toEqual([expect.stringContaining('[token]')])
    expect(JSON.stringify(recorded)).not.toMatch(/my.*own|0123456789/)
  })

  test('not in the line of a request, whether or not its path can be read', async () => {
    const lines: string[] = []
    const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
    const odd = [
      '/auth/token/lookup/my-own-id%zz',
      '/auth/token/lookup/my%2down-id%ff',
      '/auth/token/./lookup/my-own-id',
    ]
    const paths = [...TOKEN_PATHS, ...odd]
    await serving(parts({}, { log }), async (served) => {
      for (const path of paths) await ask(served, 'GET', `/v1${path}?token=my-own-id`)
      await ask(served, 'GET', '/auth/token/lookup/my-own-id')
      for (const path of ['auth/token/roles/app', 'auth/token/create/app', 'auth/token/lookup-self'])
        await ask(served, 'GET', `/v1/${path}`)
    })
    const told = lines.map((line) => JSON.parse(line).path as string)
    const named = told.splice(-3)
    expect(told).toHaveLength(paths.length + 1)
    for (const path of told) expect(path).toMatch(/^(?!.*(?:own|0123456789)).*\[token\]$/)
    expect(named).toEqual([
      '/v1/auth/token/roles/app',
      '/v1/auth/token/create/app',
      '/v1/auth/token/lookup-self',
    ])
  })
})

test.each<[string, Record<string, string>, number]>([
  ['for a namespace that is not there', { 'X-Vault-Namespace': 'team-a' }, 404],
  ['with a bad time to be wrapped', { 'X-Vault-Wrap-TTL': 'soon' }, 400],
])('a login %s is on record, and no other request that is refused for it', async (_, headers, status) => {
  await at.api('POST', 'sys/auth/jwt', { type: 'jwt' })
  const login = await at.api('POST', 'auth/jwt/login', { role: 'x', jwt: 'a.b.c' }, { ...NOBODY, ...headers })
  expect(login.status).toBe(status)
  expect(await eventsOf(login)).toMatchObject([
    { type: 'login', what: { operation: 'login', path: 'auth/jwt/login' }, outcome: { status } },
  ])
  const other = await at.api('GET', 'sys/mounts', undefined, { ...NOBODY, ...headers })
  expect([other.status, await eventsOf(other)]).toEqual([status, []])
})

test('a lease in the body is judged by its own path, and not by that of the request', async () => {
  await at.api('POST', 'database/roles/dev', {
    db_name: 'db',
    member_of: at.target.readers,
    default_ttl: '1m',
    max_ttl: '10m',
  })
  const { client_token } = await holder(
    'dev-ops',
    'path "sys/leases/revoke/database/creds/dev/*" { capabilities = ["update"] }',
  )
  const [own, other] = [
    (await at.api('GET', 'database/creds/dev')).json.lease_id,
    (await at.api('GET', 'database/creds/app')).json.lease_id,
  ]
  const revoke = (lease_id: string) =>
    at.api('PUT', `sys/leases/revoke/${own}`, { lease_id }, withToken(client_token))
  const refused = await revoke(other)
  expect([refused.status, await eventsOf(refused)]).toMatchObject([403, [{ decision: { allowed: false } }]])
  expect((await at.api('PUT', 'sys/leases/lookup', { lease_id: other })).status).toBe(200)
  expect((await revoke(own)).status).toBe(204)
})
