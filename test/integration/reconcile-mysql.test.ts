import { afterAll, beforeAll, expect, test } from 'vitest'
import { sensitive } from '../../src/lib/sensitive.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { startTestMariadb, type TestMariadb } from '../support/mariadb.ts'
import { type MysqlTarget, openMysqlTarget } from '../support/mysql-target.ts'

/** A target of MariaDB held against the ledger, by an admin account of few rights. */

let at: TestBroker
let server: TestMariadb
let target: MysqlTarget
beforeAll(async () => {
  at = await openTestBroker()
  // Of its own: ending all that is unknown must not reach the accounts of other tests.
  server = await startTestMariadb()
  target = await openMysqlTarget(server.url, 'few rights')
  await at.api('POST', 'database/config/shop', {
    plugin_name: 'mysql-database-plugin',
    connection_url: target.url(),
    username: target.admin.username,
    password: target.admin.password,
    allowed_roles: '*',
  })
  await at.api('POST', 'database/roles/shop', { db_name: 'shop', member_of: target.readers, max_ttl: '10m' })
})
afterAll(async () => {
  await target?.close()
  await at?.close()
  await server?.remove()
})

type Lease = { lease_id: string; data: { username: string; password: string } }

const take = async (): Promise<Lease> => (await at.api('GET', 'database/creds/shop')).json
const revoke = ({ lease_id: leaseId }: Lease) => at.api('PUT', 'sys/leases/revoke', { lease_id: leaseId })
const reconcile = async (endUnknown?: string) => {
  const answer = await at.api(
    'POST',
    'database/config/shop/reconcile',
    endUnknown && { end_unknown: endUnknown },
  )
  expect(answer.status, answer.text).toBe(200)
  return answer.json.data
}
/** Other tests have accounts on the same server. */
const of = ({ data }: Lease, { some }: { some: { account: string }[] }) =>
  some.filter(({ account }) => account.startsWith(data.username))
const lookup = async ({ lease_id: leaseId }: Lease) =>
  (
    await at.ledger.ledger.query(
      `select state, end_reason as reason, access_ended_at as ended from leasehold.lease where path || '/' || id = $1`,
      [leaseId],
    )
  ).rows[0]
const hostsOf = async ({ data }: Lease): Promise<string[]> =>
  (await target.sql(`SELECT Host FROM mysql.user WHERE User = '${data.username}'`)).map(({ Host }) => Host)
const untilAbsent = (lease: Lease) =>
  expect
    .poll(
      async () => {
        await at.ledger.advance(60)
        await at.broker.sweep.once()
        return hostsOf(lease)
      },
      { timeout: 30_000 },
    )
    .toEqual([])

test('what is as it was made is left as it is, and the canary shows that it can be ended', async () => {
  const lease = await take()
  const { reconcile: report, revocable, canary } = await reconcile()

  expect(report.error).toBeUndefined()
  expect(report.leases).toBe(1)
  expect(report.found).toMatchObject({
    orphan: { count: 0 },
    account_gone: { count: 0 },
    foreign_change: { count: 0 },
    let_in_again: { count: 0 },
  })
  expect({ revocable, canary }).toMatchObject({ revocable: true, canary: { state: 'ended' } })
  expect(report.limits.map(({ name }: { name: string }) => name)).toEqual(['accounts', 'connection_slots'])
  expect((await at.ledger.ledger.query('select traits from leasehold.sighting')).rows).toMatchObject([
    { traits: { groups: [target.readers], grants: {}, password: expect.any(String) } },
  ])
  expect((await reconcile()).reconcile.found.foreign_change.count).toBe(0)
  expect(await lookup(lease)).toMatchObject({ state: 'active' })
  await revoke(lease)
})

test('an account that somebody changed is ended, with what was seen', async () => {
  const lease = await take()
  await reconcile()
  await target.sql(`GRANT ${target.readers} TO ${lease.data.username} WITH ADMIN OPTION`)
  await target.sql(`ALTER USER ${lease.data.username} IDENTIFIED BY 'another'`)
  const { found } = (await reconcile()).reconcile

  expect(of(lease, found.foreign_change)).toEqual([
    {
      account: `${lease.data.username}@%`,
      lease_id: lease.lease_id,
      seen: [
        'its password or way to log in was changed',
        `it was put into ${target.readers} (and may give it)`,
      ],
    },
  ])
  await untilAbsent(lease)
  expect(await lookup(lease)).toMatchObject({ state: 'revoked', reason: 'foreign_change' })
})

test('one that is let in again before its end was proven', async () => {
  const lease = await take()
  const { username } = lease.data
  // Whoever holds this may be making the account, so nothing is proven while somebody does.
  await target.sql(`DO GET_LOCK('leasehold.${username}', 0)`)
  await revoke(lease)
  expect(await lookup(lease)).toMatchObject({ state: 'revoking', ended: expect.any(Date) })
  const quiet = (await reconcile()).reconcile.found
  expect([...of(lease, quiet.let_in_again), ...of(lease, quiet.account_gone)]).toEqual([])
  await target.sql(`CREATE USER ${username} IDENTIFIED BY 'mine'`)
  await target.sql(`GRANT SELECT ON ${target.database}.* TO ${username}`)
  const session = await target.logIn({ username, password: sensitive('mine') })
  const { found } = (await reconcile()).reconcile

  expect(of(lease, found.let_in_again)).toEqual([{ account: `${username}@%`, lease_id: lease.lease_id }])
  await at.broker.sweep.once()
  await expect(session.query('SELECT 1')).rejects.toThrow()
  expect(await hostsOf(lease)).toEqual([])
  await target.sql(`DO RELEASE_ALL_LOCKS()`)
  await at.ledger.advance(60)
  await at.broker.sweep.once()
  expect(await lookup(lease)).toMatchObject({ state: 'revoked', reason: 'revoked' })
})

test('an account that came back is ended, and one that is gone closes its lease', async () => {
  const [back, gone] = [await take(), await take()]
  await revoke(back)
  await target.sql(`CREATE USER ${back.data.username} IDENTIFIED BY 'x'`)
  await target.sql(`DROP USER ${gone.data.username}`)
  const { found, server_id: serverId, warnings } = (await reconcile()).reconcile

  expect(of(back, found.orphan)).toHaveLength(1)
  await untilAbsent(back)
  if (serverId === undefined) {
    // Before 10.11.9 a server does not say which one it is.
    expect(warnings).toEqual([expect.stringContaining('1 live leases have no account here')])
    expect(await revoke(gone)).toMatchObject({ status: 204 })
    return
  }
  expect(of(gone, found.account_gone)).toHaveLength(1)
  await at.broker.sweep.once()
  expect(await lookup(gone)).toMatchObject({ state: 'revoked', reason: 'account_gone' })
})

test('the same user at another host is of the same lease, which ending all that is unknown does not harm', async () => {
  const lease = await take()
  await target.sql(`CREATE USER ${lease.data.username}@'10.%' IDENTIFIED BY 'x'`)
  const { found } = (await reconcile(`${lease.data.username}@10.%`)).reconcile
  await at.broker.sweep.once()

  expect([...of(lease, found.unknown), ...of(lease, found.orphan)]).toEqual([])
  expect(await hostsOf(lease)).toContain('%')
  expect(await lookup(lease)).toMatchObject({ state: 'active' })
  await revoke(lease)
  await untilAbsent(lease)
})
