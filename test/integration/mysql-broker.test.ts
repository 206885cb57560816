import { randomBytes } from 'node:crypto'
import { createConnection } from 'mysql2/promise'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { type MysqlTarget, openMysqlTarget } from '../support/mysql-target.ts'

let at: TestBroker
let target: MysqlTarget
beforeAll(async () => {
  at = await openTestBroker()
  target = await openMysqlTarget(inject('mariadbUrl'), 'few rights')
  await at.api('POST', 'database/config/shop', config())
  await at.api('POST', 'database/roles/shop', {
    db_name: 'shop',
    member_of: target.readers,
    host: '127.%',
    default_ttl: '1m',
    max_ttl: '10m',
  })
})
afterAll(async () => {
  await target?.close()
  await at?.close()
})

const config = (change: object = {}) => ({
  plugin_name: 'mysql-database-plugin',
  connection_url: target.url(),
  username: target.admin.username,
  password: target.admin.password,
  allowed_roles: '*',
  ...change,
})
const leasedUsers = async () =>
  (await target.sql(`SELECT User FROM mysql.user WHERE User LIKE 'v\\_shop\\_%'`)).map(({ User }) => User)
const logIn = async ({ username, password }: { username: string; password: string }) => {
  const { hostname, port } = new URL(inject('mariadbUrl'))
  const client = await createConnection({
    host: hostname,
    port: Number(port),
    user: username,
    password,
    database: target.database,
  })
  client.on('error', () => {})
  return client
}

test('a lease is issued, logs in, is renewed, and ends with a receipt', async () => {
  const { json: lease, status } = await at.api('GET', 'database/creds/shop')
  expect(status).toBe(200)
  const client = await logIn(lease.data)
  await client.query('SELECT * FROM orders')
  const renewed = await at.api('PUT', 'sys/leases/renew', { lease_id: lease.lease_id, increment: 120 })
  expect(renewed.json.lease_duration).toBe(120)
  const looked = await at.api('PUT', 'sys/leases/lookup', { lease_id: lease.lease_id })
  expect(looked.json.data.revocability).toBe('immediate')

  expect((await at.api('PUT', 'sys/leases/revoke', { lease_id: lease.lease_id })).status).toBe(204)
  await expect(client.query('SELECT 1')).rejects.toThrow()
  await expect(logIn(lease.data)).rejects.toThrow('Access denied')
  expect(await leasedUsers()).toEqual([])
  const { json } = await at.api('GET', `sys/leasehold/receipts/${lease.lease_id}`)
  const receipt = JSON.parse(Buffer.from(json.data.receipt.split('.')[1], 'base64url').toString())
  expect(receipt).toMatchObject({
    account: `${lease.data.username}@127.%`,
    reason: 'revoked',
    residual: [],
    steps: [
      { step: 'disable', evidence: { account: 'locked', hosts: ['127.%'] } },
      { step: 'disconnect', evidence: { sessions_ended: 1, sessions_left: 0 } },
      { step: 'remove', evidence: { account: 'dropped' } },
      { step: 'verify', evidence: { account_absent: true, sessions: 0 } },
    ],
  })
})

test('a renewed lease whose account somebody dropped says so', async () => {
  const { json: lease } = await at.api('GET', 'database/creds/shop')
  await target.sql(`DROP USER ${lease.data.username}@'127.%'`)
  const { status, json } = await at.api('PUT', 'sys/leases/renew', { lease_id: lease.lease_id })
  expect(status).toBe(400)
  expect(json.errors[0]).toContain('is gone from the target')
  await at.api('PUT', 'sys/leases/revoke', { lease_id: lease.lease_id })
})

test('what a connection holds is shown without its secrets', async () => {
  const key =
    '-----BEGIN CERTIFICATE-----\na\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nhidden-key\n'
  await at.api('POST', 'database/config/shown', {
    ...config(),
    verify_connection: false,
    tls_server_name: 'db.internal',
    tls_certificate_key: key,
  })
  const { text, json } = await at.api('GET', 'database/config/shown')
  expect(json.data.connection_details).toMatchObject({
    connection_url: target.url(),
    tls_server_name: 'db.internal',
  })
  for (const secret of ['hidden-key', target.admin.password]) expect(text).not.toContain(secret)
  const { rows } = await at.ledger.ledger.query('select spec::text from leasehold.target')
  expect(JSON.stringify(rows)).not.toContain('hidden-key')
})

test.each([
  ['an unreachable host', () => ({ connection_url: 'a:{{password}}@tcp(127.0.0.1:1)/' }), 'ECONNREFUSED'],
  ['a wrong password', () => ({ password: 'wrong' }), 'Access denied'],
  [
    'TLS that the server does not have',
    () => ({ connection_url: `${target.url()}?tls=true` }),
    'secure connection',
  ],
  ['a URL that is none', () => ({ connection_url: 'nowhere' }), 'connection_url'],
  ['statements that cannot run', () => ({ root_rotation_statements: 'COMMIT' }), 'root_rotation_statements'],
])('%s is refused, and nothing is kept', async (_, change, problem) => {
  const name = `bad${randomBytes(3).toString('hex')}`
  const { status, json } = await at.api('POST', `database/config/${name}`, config(change()))
  expect(status).toBe(400)
  expect(json.errors.join()).toContain(problem)
  expect((await at.api('GET', `database/config/${name}`)).status).toBe(404)
})

test('every name of the plugin makes leases', async () => {
  for (const kind of ['aurora', 'rds', 'legacy']) {
    const plugin_name = `mysql-${kind}-database-plugin`
    expect((await at.api('POST', `database/config/${kind}`, config({ plugin_name }))).status).toBeLessThan(
      300,
    )
    await at.api('POST', `database/roles/${kind}`, { db_name: kind, member_of: target.readers })
    const { json } = await at.api('GET', `database/creds/${kind}`)
    await (await logIn(json.data)).end()
    expect((await at.api('PUT', 'sys/leases/revoke', { lease_id: json.lease_id })).status).toBe(204)
  }
})
