import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { type MysqlTarget, openMysqlTarget } from '../support/mysql-target.ts'

/** What hurts the users of the peers on MySQL and MariaDB, each a test named after its row of the collected complaints. */

let at: TestBroker
let target: MysqlTarget
beforeAll(async () => {
  at = await openTestBroker()
  target = await openMysqlTarget(inject('mariadbUrl'), 'few rights')
})
afterAll(async () => {
  await target?.close()
  await at?.close()
})

const enrol = (name: string) =>
  at.api('POST', `database/config/${name}`, {
    plugin_name: 'mysql-database-plugin',
    connection_url: target.url(),
    username: target.admin.username,
    password: target.admin.password,
    allowed_roles: '*',
  })
const writeRole = (name: string, fields: object) =>
  at.api('POST', `database/roles/${name}`, { db_name: 'shop', ...fields })
const hostsOf = async (user: string) =>
  (await target.sql(`SELECT Host FROM mysql.user WHERE User = '${user}'`)).map(({ Host }) => Host)
const state = async (user: string) => {
  const [row] = await target.sql(
    `SELECT JSON_VALUE(Priv, '$.account_locked') = 1 AS locked FROM mysql.global_priv WHERE User = '${user}'`,
  )
  if (!row) return 'absent'
  return Number(row.locked) === 1 ? 'locked' : 'open'
}

test('row 33: a server that denies what ending needs is refused at enrolment, with the right that is missing', async () => {
  for (const right of ['CONNECTION ADMIN', 'PROCESS', 'CREATE USER']) {
    await target.sql(`REVOKE ${right} ON *.* FROM ${target.admin.username}`)
    const { status, json } = await enrol('shop')
    expect(status).toBe(400)
    expect(json.errors.join()).toContain(`GRANT ${right} ON *.* TO ${target.admin.username}`)
    expect((await at.api('GET', 'database/config/shop')).status).toBe(404)
    await target.sql(`GRANT ${right} ON *.* TO ${target.admin.username}`)
  }
  expect((await enrol('shop')).json.warnings.join()).toContain('ends no account by the clock')
  const { data } = (await at.api('GET', 'database/config/shop')).json
  expect(data).toMatchObject({
    revocability: 'immediate',
    server_version: expect.stringContaining('MariaDB'),
  })

  // Taken away later, it shows in the lease that it holds up, and is made good by giving it back.
  await writeRole('reader', { member_of: target.readers })
  const { json: lease } = await at.api('GET', 'database/creds/reader')
  const guest = await target.logIn({
    username: lease.data.username,
    password: { reveal: () => lease.data.password, toString: () => '', toJSON: () => '' },
  })
  await target.sql(`REVOKE CONNECTION ADMIN ON *.* FROM ${target.admin.username}`)
  await target.sql(`KILL USER ${target.admin.username}`)
  const stuck = await at.api('PUT', 'sys/leases/revoke', { lease_id: lease.lease_id })
  expect(stuck.status).toBe(400)
  expect(await state(lease.data.username)).toBe('locked')
  await guest.query('SELECT 1')

  await target.sql(`GRANT CONNECTION ADMIN ON *.* TO ${target.admin.username}`)
  await target.sql(`KILL USER ${target.admin.username}`)
  await expect
    .poll(
      async () => {
        await at.ledger.advance(60)
        await at.broker.sweep.once()
        return state(lease.data.username)
      },
      { timeout: 30_000 },
    )
    .toBe('absent')
  await expect(guest.query('SELECT 1')).rejects.toThrow()
})

test('row 34: an account is its user and its host, no cut makes two names one, and a step that fails leaves nothing', async () => {
  await enrol('shop')
  const long = 'reporting-and-analysis-of-the-quarter'
  await writeRole(`${long}-north`, { member_of: target.readers, host: '127.0.0.%' })
  await writeRole(`${long}-south`, { member_of: target.readers, host: 'LOCALHOST' })
  const north = (await at.api('GET', `database/creds/${long}-north`)).json
  const south = (await at.api('GET', `database/creds/${long}-south`)).json
  expect(north.data.username).toHaveLength(32)
  expect(await hostsOf(north.data.username)).toEqual(['127.0.0.%'])
  expect(await hostsOf(south.data.username)).toEqual(['localhost'])
  await at.api('PUT', 'sys/leases/revoke', { lease_id: north.lease_id })
  expect(await state(north.data.username)).toBe('absent')
  expect(await state(south.data.username)).toBe('open')
  await at.api('PUT', 'sys/leases/revoke', { lease_id: south.lease_id })
  expect(await state(south.data.username)).toBe('absent')

  const before = await target.sql('SELECT COUNT(*) AS n FROM mysql.user')
  await writeRole('halfway', {
    creation_statements: [
      `CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`,
      `GRANT SELECT ON nowhere.nothing TO '{{name}}'@'%'`,
    ],
  })
  expect((await at.api('GET', 'database/creds/halfway')).status).toBe(400)
  expect(await target.sql('SELECT COUNT(*) AS n FROM mysql.user')).toEqual(before)
})
