import { afterAll, beforeAll, expect, test } from 'vitest'
import { sensitive } from '../../src/lib/sensitive.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { startTestMariadb, type TestMariadb } from '../support/mariadb.ts'
import { type MysqlTarget, openMysqlTarget } from '../support/mysql-target.ts'

let at: TestBroker
let server: TestMariadb
let target: MysqlTarget
beforeAll(async () => {
  server = await startTestMariadb()
  target = await openMysqlTarget(server.url, 'few rights')
  at = await openTestBroker()
  const { status, json } = await at.api('POST', 'database/config/shop', {
    plugin_name: 'mysql-database-plugin',
    connection_url: target.url(),
    username: target.admin.username,
    password: target.admin.password,
    allowed_roles: '*',
  })
  expect(json?.errors).toBeUndefined()
  expect(status).toBeLessThan(300)
})
afterAll(async () => {
  await at.close()
  await target.close()
  await server.remove()
})

const logsIn = async ({ username, password }: { username: string; password: string }): Promise<boolean> => {
  try {
    const client = await target.logIn({ username, password: sensitive(password) })
    await client.end()
    return true
  } catch {
    return false
  }
}
const creds = async (name: string) => (await at.api('GET', `database/static-creds/${name}`)).json?.data

test('a static role on MariaDB is rotated, imported and refused as on PostgreSQL', async () => {
  await target.sql(`CREATE USER reports@'%' IDENTIFIED BY 'first'`)
  await target.sql(`GRANT SELECT ON ${target.database}.* TO reports@'%'`)
  const written = await at.api('POST', 'database/static-roles/reports', {
    db_name: 'shop',
    username: 'reports',
    rotation_period: '1h',
  })
  expect([written.status, written.json?.errors]).toEqual([204, undefined])

  const first = await creds('reports')
  expect(await logsIn(first)).toBe(true)
  expect(await logsIn({ username: 'reports', password: 'first' })).toBe(false)
  await at.ledger.advance(3_700)
  await at.broker.rotator.sweep()
  await at.broker.rotator.idle()
  const second = await creds('reports')
  expect(second.password).not.toBe(first.password)
  expect(await logsIn(second)).toBe(true)
  expect(await logsIn(first)).toBe(false)

  for (const username of ['nobody_here', target.admin.username, `${target.admin.username}@%`]) {
    const fields = { db_name: 'shop', username, rotation_period: '1h' }
    expect((await at.api('POST', 'database/static-roles/bad', fields)).status).toBe(400)
    expect((await at.api('GET', 'database/static-roles/bad')).status).toBe(404)
  }
})

test('rotate-root on MariaDB leaves leases as they were', async () => {
  expect((await at.api('POST', 'database/rotate-root/shop')).status).toBe(204)

  expect(await logsIn(target.admin)).toBe(false)
  await at.api('POST', 'database/roles/shop', { db_name: 'shop', member_of: target.readers })
  const lease = await at.api('GET', 'database/creds/shop')
  expect(await logsIn(lease.json.data)).toBe(true)
  expect((await at.api('PUT', 'sys/leases/revoke', { lease_id: lease.json.lease_id })).status).toBe(204)
  expect(await logsIn(lease.json.data)).toBe(false)
})

test('statements of its own on MariaDB are checked, and run in a session that ends when it falls silent', async () => {
  await target.sql(`CREATE USER own@'%' IDENTIFIED BY 'first'`)
  await target.sql(`GRANT SELECT ON ${target.database}.* TO own@'%'`)
  const write = (rotation_statements: string[]) =>
    at.api('POST', 'database/static-roles/own', {
      db_name: 'shop',
      username: 'own',
      rotation_period: '1h',
      rotation_statements,
    })
  const refused = await write(['SELECT 1'])
  expect([refused.status, refused.json.errors[0]]).toEqual([
    400,
    expect.stringMatching(/^rotation_statements: no statement has \{\{password\}\}/),
  ])

  // The second row is an error where the server would wait for hours.
  const { status, json } = await write([
    'SELECT (SELECT 1 UNION ALL SELECT 2 WHERE @@SESSION.wait_timeout > 20)',
    `ALTER USER '{{name}}'@'{{host}}' IDENTIFIED BY '{{password}}'`,
  ])
  expect([status, json?.errors]).toEqual([204, undefined])

  expect(await logsIn(await creds('own'))).toBe(true)
})
