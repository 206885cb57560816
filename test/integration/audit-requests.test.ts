import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AuditEvent } from '../../src/audit/event.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { auditCheckpoints, auditEvents } from '../../src/ledger/audit.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { until } from '../support/processes.ts'

// What the whole broker puts on record: who asked, what was decided, what became of it, and never a secret.

let at: TestBroker
beforeEach(async () => {
  at = await openTestBroker()
  await at.ledger.ledger.query('delete from leasehold.audit_event')
})
afterEach(() => at.close())

type Recorded = AuditEvent & { what: { parameters?: Record<string, unknown> } }

async function events(): Promise<Recorded[]> {
  const { rows } = await at.ledger.ledger.query<{ body: string }>(
    'select body from leasehold.audit_event order by at_time, writer, seq',
  )
  return rows.map(({ body }) => JSON.parse(body))
}
const eventOf = async (requestId: string | null): Promise<Recorded[]> =>
  (await events()).filter(({ request_id }) => request_id === requestId)
const idOf = ({ headers }: { headers: Headers }) => headers.get('leasehold-request-id')
const withToken = (token: string) => ({ 'X-Vault-Token': token })

async function tokenFor(policy: string): Promise<string> {
  await at.api('PUT', 'sys/policies/acl/theirs', { policy })
  return (await at.api('POST', 'auth/token/create', { policies: ['theirs'] })).json.auth.client_token
}

test('a lease’s whole life is on record, each change with its event', async () => {
  const issued = await at.api('GET', 'database/creds/app')
  const { lease_id } = issued.json
  const renewed = await at.api('PUT', 'sys/leases/renew', { lease_id, increment: 300 })
  const revoked = await at.api('PUT', 'sys/leases/revoke', { lease_id })

  expect(await eventOf(idOf(issued))).toMatchObject([
    {
      type: 'request',
      who: { mount: 'auth/token/', kind: 'workload', source_address: '127.0.0.1' },
      what: { operation: 'read', path: 'database/creds/app' },
      decision: { allowed: true, policy: 'root' },
      lease_id,
      target: 'db',
      role: 'app',
      outcome: {},
    },
  ])
  expect(await eventOf(idOf(renewed))).toMatchObject([
    { what: { path: 'sys/leases/renew', parameters: { increment: 300, lease_id } }, lease_id },
  ])
  expect(await eventOf(idOf(revoked))).toMatchObject([{ what: { path: 'sys/leases/revoke' }, lease_id }])
  const steps = (await events()).filter(({ type }) => type === 'lease_step')
  expect(steps.map(({ what }) => what.operation)).toEqual([
    'disable',
    'disconnect',
    'remove',
    'verify',
    'finish',
  ])
  for (const step of steps)
    expect(step).toMatchObject({ lease_id, target: 'db', details: { reason: 'revoked' } })
  const principals = new Set(
    (await events()).filter((event) => event.lease_id).map(({ who }) => who?.principal),
  )
  expect(principals.size).toBe(1)
})

test('an expiry has no request, and is on record by its steps', async () => {
  const { json } = await at.api('GET', 'database/creds/app')
  await at.ledger.advance(100)
  await at.broker.sweep.once()
  const steps = (await events()).filter(
    ({ lease_id, type }) => lease_id === json.lease_id && type === 'lease_step',
  )
  expect(steps.map(({ details }) => details?.reason)).toEqual(Array(5).fill('expired'))
})

test.each<[string, string, string, object | undefined]>([
  [
    'a connection',
    'POST',
    'database/config/db',
    { plugin_name: 'postgresql-database-plugin', connection_url: '', username: '', password: 'secret' },
  ],
  ['a role', 'POST', 'database/roles/new', { db_name: 'db', member_of: 'readers' }],
  ['a mount', 'POST', 'sys/mounts/other', { type: 'database' }],
  ['a policy', 'PUT', 'sys/policies/acl/p', { policy: 'path "a" { capabilities = ["read"] }' }],
  ['a quota', 'PUT', 'sys/quotas/lease-count/q', { max_leases: 5 }],
  ['a token', 'POST', 'auth/token/create', {}],
  ['an auth mount', 'POST', 'sys/auth/jwt', { type: 'jwt' }],
  ['an audit sink', 'POST', 'sys/audit/none', { type: 'file', options: { file_path: 'discard' } }],
])('%s is written in the transaction that holds its event', async (what, method, path, fields) => {
  const body =
    what === 'a connection'
      ? { ...fields, connection_url: at.target.urlTemplate, username: at.target.admin }
      : what === 'a role'
        ? { ...fields, member_of: at.target.readers }
        : fields
  const answer = await at.api(method, path, body)
  expect([answer.status, answer.text]).toEqual([expect.toSatisfy((status) => status < 300), answer.text])
  // An event of its own would have the status of the answer.
  expect((await eventOf(idOf(answer))).map(({ outcome }) => outcome)).toEqual([{}])
})

describe('one event for', () => {
  test('a denial, with the rule that decided and not told to the caller', async () => {
    const token = await tokenFor(`path "database/creds/*" {
      capabilities = ["read"]
      condition = "role.environment == 'prod'"
    }`)
    const denied = await at.api('GET', 'database/creds/app', undefined, withToken(token))
    expect([denied.status, denied.text]).toEqual([403, expect.not.stringContaining('environment')])
    expect(await eventOf(idOf(denied))).toMatchObject([
      {
        decision: { allowed: false },
        outcome: { status: 403, error: 'permission_denied' },
        details: { unmet_conditions: [expect.stringContaining('environment')] },
      },
    ])
  })

  test.each<[string, string, string, unknown, number, object]>([
    ['a bad token', 'GET', 'database/creds/app', undefined, 403, { decision: undefined }],
    ['a read', 'GET', 'sys/mounts', undefined, 200, { decision: { allowed: true } }],
    ['a path that is not there', 'GET', 'nowhere/x', undefined, 404, { decision: { allowed: true } }],
    ['a policy that does not parse', 'PUT', 'sys/policies/acl/p', { policy: 'path {' }, 400, {}],
    [
      'an ACL with an unknown capability',
      'PUT',
      'sys/policies/acl/p',
      { policy: 'path "a" { capabilities = ["fly"] }' },
      400,
      {},
    ],
    [
      'a condition that names an unknown field',
      'PUT',
      'sys/policies/acl/p',
      { policy: 'path "a" { capabilities = ["read"]\n condition = "role.nme == \'x\'" }' },
      400,
      {},
    ],
    ['a quota of zero', 'PUT', 'sys/quotas/lease-count/q', { max_leases: 0 }, 400, {}],
    ['a role of an unknown connection', 'POST', 'database/roles/x', { db_name: 'none' }, 400, {}],
  ])('%s', async (what, method, path, body, status, expected) => {
    const headers = what === 'a bad token' ? withToken('lh.nobody') : {}
    const answer = await at.api(method, path, body, headers)
    expect(answer.status).toBe(status)
    const recorded = await eventOf(idOf(answer))
    expect(recorded).toHaveLength(1)
    expect(recorded[0]?.outcome.status).toBe(status)
    expect(recorded[0]).toMatchObject(JSON.parse(JSON.stringify(expected)))
  })

  test('an issue that fails on the target, which tells what became of the row', async () => {
    await at.target.sql(`revoke ${at.target.readers} from ${at.target.admin}`)
    const failed = await at.api('GET', 'database/creds/app')
    expect(failed.status).toBeGreaterThanOrEqual(400)
    const recorded = await eventOf(idOf(failed))
    expect(recorded).toMatchObject([{ outcome: { status: failed.status }, role: 'app' }])
    const cleared = (await events()).filter(({ what }) => what.operation === 'issue_failed')
    expect(cleared).toMatchObject([{ type: 'system', lease_id: recorded[0]?.lease_id }])
  })

  test('tokens that ran out, and for the login of nobody none', async () => {
    await at.api('POST', 'auth/token/create', { ttl: '5s' })
    await at.ledger.advance(10)
    await at.broker.sweep.once()
    await until('the sweep has ended it', async () =>
      (await events()).some(({ what }) => what.operation === 'end_expired_tokens'),
    )
    await at.api('GET', 'sys/health')
    expect((await events()).filter(({ what }) => what.path === 'sys/health')).toEqual([])
  })
})

test('no event holds a secret, and sensitive values are hashed', async () => {
  const made = await at.api('POST', 'auth/token/create', { ttl: '1h', meta: { note: 'personal' } })
  const { client_token, accessor } = made.json.auth
  expect(await eventOf(idOf(made))).toMatchObject([{ details: { created_accessor: accessor } }])
  await at.api('GET', 'database/creds/app', undefined, withToken(client_token))
  const { json } = await at.api('GET', 'database/creds/app')
  await at.api('POST', 'auth/token/lookup', { token: client_token })
  await at.api('GET', `auth/token/lookup/${client_token}`)
  const wrapped = await at.api('GET', 'database/creds/app', undefined, { 'X-Vault-Wrap-TTL': '60' })
  const wrapping = wrapped.json.wrap_info.token
  await at.api('POST', 'sys/wrapping/unwrap', { token: wrapping })
  await at.api('POST', 'database/config/other', {
    plugin_name: 'postgresql-database-plugin',
    connection_url: at.target.urlTemplate,
    username: at.target.admin,
    password: 'a-very-secret-password',
    verify_connection: false,
  })
  const all = JSON.stringify(await events())
  for (const secret of [
    client_token,
    json.data.password,
    wrapping,
    'a-very-secret-password',
    'personal',
    at.root,
  ]) {
    expect(all).not.toContain(secret)
    expect(all).not.toContain(Buffer.from(secret).toString('hex'))
  }
  expect(all).toMatch(/"password":"hmac-sha256:[0-9a-f]{64}"/)
})

test('what is wrapped stands hashed, whatever its fields are called', async () => {
  const secrets = {
    name: 'hunter2',
    type: 'swordfish',
    target: 'pin-1234',
    rate: 471_147,
    path: 'x'.repeat(20),
  }
  const { status } = await at.api('POST', 'sys/wrapping/wrap', secrets, { 'X-Vault-Wrap-TTL': '60' })
  expect(status).toBe(200)
  const all = JSON.stringify(await events())
  for (const secret of Object.values(secrets)) expect(all).not.toContain(String(secret))
})

test('a root token is on record when it is made or given back its life, and not when it is there', async () => {
  const made = await at.broker.tokens.createRootToken()
  await at.broker.tokens.createRootToken(made.token.reveal())
  const roots = async () => (await events()).filter(({ what }) => what.operation === 'create_root_token')
  expect(await roots()).toMatchObject([{ type: 'system', details: { created_accessor: made.accessor } }])
  await at.api('POST', 'auth/token/revoke', { token: made.token.reveal() })
  await at.broker.tokens.createRootToken(made.token.reveal())
  expect(await roots()).toHaveLength(2)
})

test('a token that ends by its last use is on record, also when its request was turned away', async () => {
  const { json } = await at.api('POST', 'auth/token/create', { num_uses: 2, policies: ['root'] })
  const { client_token, accessor } = json.auth
  await at.api('GET', 'database/creds/app', undefined, withToken(client_token))
  await at.api('PUT', 'sys/quotas/rate-limit/one', {
    path: 'sys/mounts',
    rate: 1,
    interval: '1h',
    group_by: 'principal',
  })
  await at.api('GET', 'sys/mounts')
  await at.api('GET', 'sys/mounts', undefined, withToken(client_token))
  expect((await events()).filter(({ what }) => what.operation === 'end_used_up_tokens')).toMatchObject([
    { type: 'system', details: { tokens: 1, accessors: [accessor], leases_ending: 1 } },
  ])
})

test('a revocation names the tokens it ended', async () => {
  const { json } = await at.api('POST', 'auth/token/create', {})
  const { client_token, accessor } = json.auth
  const revoked = await at.api('POST', 'auth/token/revoke', { token: client_token })
  expect(await eventOf(idOf(revoked))).toMatchObject([
    { outcome: {}, details: { ended_accessors: [accessor], leases_ending: 0 } },
  ])
})

test('a change that found nothing to change is not put on record as one', async () => {
  const { json } = await at.api('GET', 'sys/mounts', undefined, { 'X-Vault-Wrap-TTL': '60' })
  const { token } = json.wrap_info
  await at.api('POST', 'sys/wrapping/unwrap', { token })
  const again = await at.api('POST', 'sys/wrapping/unwrap', { token })
  expect(again.status).toBe(400)
  expect((await eventOf(idOf(again))).map(({ outcome }) => outcome.status)).toEqual([400])
})

describe('names without case', () => {
  test('are one path to policy, whatever their spelling', async () => {
    await at.api('POST', 'sys/auth/approle', { type: 'approle' })
    await at.api('POST', 'auth/approle/role/prod', { token_policies: ['admin'] })
    await at.api('PUT', 'sys/policies/acl/admin', { policy: 'path "*" { capabilities = ["read"] }' })
    const token = await tokenFor(`
      path "sys/policies/acl/*" { capabilities = ["create", "read", "update"] }
      path "sys/policies/acl/admin" { capabilities = ["deny"] }
      path "sys/policy/admin" { capabilities = ["deny"] }
      path "auth/approle/role/*" { capabilities = ["create", "read", "update"] }
      path "auth/approle/role/prod*" { capabilities = ["deny"] }`)
    for (const [method, path, body] of [
      ['PUT', 'sys/policies/acl/Admin', { policy: 'path "*" { capabilities = ["sudo"] }' }],
      ['GET', 'sys/policies/acl/ADMIN', undefined],
      ['POST', 'auth/approle/role/PROD/secret-id', {}],
      ['POST', 'auth/approle/role/Prod', { token_policies: ['root'] }],
    ] as const) {
      const answer = await at.api(method, path, body, withToken(token))
      expect([path, answer.status]).toEqual([path, 403])
      expect((await eventOf(idOf(answer)))[0]?.what.path).toBe(path.toLowerCase())
    }
  })
})

describe('what cannot be put on record', () => {
  const fillUp = () =>
    at.ledger.ledger.query('alter table leasehold.audit_event add constraint full_up check (false) not valid')

  test('is not granted, not answered and not changed', async () => {
    await fillUp()
    const issued = await at.api('GET', 'database/creds/app')
    expect([issued.status, issued.json.data]).toEqual([500, undefined])
    expect((await at.api('GET', 'sys/mounts')).status).toBe(500)
    expect(
      (await at.api('PUT', 'sys/policies/acl/p', { policy: 'path "a" { capabilities = ["read"] }' })).status,
    ).toBe(500)
    await at.ledger.ledger.query('alter table leasehold.audit_event drop constraint full_up')
    expect((await at.api('GET', 'sys/policies/acl/p')).status).toBe(404)
    await at.ledger.advance(100)
    await at.broker.sweep.once()
    expect((await at.api('LIST', 'sys/leases/lookup/database/creds/app')).status).toBe(404)
    const accounts = await at.target.sql(`select from pg_roles where rolname like 'v-%'`)
    expect(accounts).toEqual([])
  })
})

test('many at once leave chains that hold', async () => {
  const leases = await Promise.all(Array.from({ length: 20 }, () => at.api('GET', 'database/creds/app')))
  await Promise.all(leases.map(({ json }) => at.api('PUT', 'sys/leases/revoke', { lease_id: json.lease_id })))
  const own = (await events()).filter(
    ({ what }) => what.path === 'database/creds/app' && what.operation === 'read',
  )
  expect(new Set(own.map(({ lease_id }) => lease_id)).size).toBe(20)
})

test('the log of a working broker verifies, and an edited event is named', async () => {
  const other = await openTestBroker()
  try {
    await other.api('GET', 'database/creds/app')
    const jwks = (await other.api('GET', 'sys/leasehold/jwks')).json
    const { ledger } = other.ledger
    const verify = () =>
      verifyLog(
        { checkpoints: auditCheckpoints(ledger), events: auditEvents(ledger) },
        { keys: jwks.data ?? jwks },
      )
    expect(await verify()).toMatchObject({ problemsTotal: 0 })
    const { rows } = await ledger.query<{ request_id: string }>(
      `update leasehold.audit_event set body = replace(body, 'creds/app', 'creds/apx')
       where body like '%"path":"database/creds/app"%' returning body::json ->> 'request_id' as request_id`,
    )
    const { problems } = await verify()
    expect(problems[0]).toMatchObject({ kind: 'edited', requestId: rows[0]?.request_id })
  } finally {
    await other.close()
  }
})
