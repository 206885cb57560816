import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { leasehold } from '../support/cli.ts'

// An admin account without any right, from `leasehold target sql` to the end of a lease.

let at: TestBroker
beforeAll(async () => {
  at = await openTestBroker()
})
afterAll(() => at.close())

const print = (...args: string[]) =>
  leasehold(['target', 'sql', ...args], { VAULT_ADDR: at.url, VAULT_TOKEN: at.root })
const revoke = (leaseId: string) => at.api('PUT', 'sys/leases/revoke', { lease_id: leaseId })

test('row 33: what a server denies its admin is named, and functions of a superuser stand in for it', async () => {
  const [{ database } = { database: '' }] = await at.target.sql<{ database: string }>(
    'select current_database() as database',
  )
  await at.target.sql(`alter role ${at.target.admin} nocreaterole; revoke ${at.target.readers} from ${at.target.admin};
    revoke pg_signal_backend from ${at.target.admin}`)
  const refused = await at.api('POST', 'database/config/db', { verify_connection: true })
  expect(refused.status).toBe(400)
  expect(refused.json.errors[0]).toContain('CREATEROLE, or this version')
  expect(refused.json.errors[0]).toContain('leasehold target sql')

  const { code, stdout, stderr } = await print('db')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).not.toContain('\\connect')
  expect(stdout).toContain(at.target.readers)
  await at.target.sql(stdout)
  expect((await at.api('POST', 'database/config/db', { verify_connection: true })).status).toBe(204)

  const lease = (await at.api('GET', 'database/creds/app')).json
  const session = await at.target.logIn(lease.data)
  expect((await session.query('select note from orders')).rows).toEqual([{ note: 'first' }])
  const renewed = await at.api('PUT', 'sys/leases/renew', { lease_id: lease.lease_id, increment: 300 })
  expect(renewed.json).toMatchObject({ lease_duration: 300 })
  expect(await revoke(lease.lease_id)).toMatchObject({ status: 204 })
  await expect(session.query('select 1')).rejects.toThrow()
  expect(await at.target.account(lease.data.username)).toBe('absent')

  const scripts = (await at.api('GET', 'database/config/db/enrolment-sql')).json.data.scripts
  expect(scripts).toEqual([{ database, sql: stdout }])
})

test('another process of the installation extends what this one made, and a role of longer leases is refused by name', async () => {
  const lease = (await at.api('GET', 'database/creds/app')).json
  const other = await at.another()
  const { url } = await other.listen({ host: '127.0.0.1', port: 0 })
  const answer = await fetch(`${url}/v1/sys/leases/renew`, {
    method: 'PUT',
    headers: { 'X-Vault-Token': at.root },
    body: JSON.stringify({ lease_id: lease.lease_id, increment: 120 }),
  })
  expect(answer.status).toBe(200)
  await at.api('POST', 'database/roles/long', {
    db_name: 'db',
    member_of: at.target.readers,
    default_ttl: '1h',
  })
  const long = await at.api('GET', 'database/creds/long')
  expect(long.status).toBe(400)
  expect(long.json.errors[0]).toContain('make no account for longer than')
  await at.target.sql((await print('db')).stdout)
  expect((await at.api('GET', 'database/creds/long')).status).toBe(200)
  await at.api('PUT', 'sys/leases/revoke-prefix/database/creds')
})

test('scripts for several databases are told apart for psql, or printed one at a time', async () => {
  const all = await print('db', '--database', 'desk "2"', '--group', at.target.readers)
  expect(all.stdout.match(/^\\connect .*$/gm)).toHaveLength(2)
  expect(all.stdout).toContain(`\\connect -reuse-previous=on "dbname='desk ""2""'"`)
  const one = await print('db', '--database', 'desk "2"', '--only', 'desk "2"')
  expect(one.stdout).not.toContain('\\connect')
  expect(all.stdout).toContain(one.stdout)
  expect(one.stdout).not.toContain('leasehold_broker.make')
})

test('no name of a database tells psql to go elsewhere or to run a program', async () => {
  const elsewhere = await print('db', '--database', `host=other user='x\\`)
  expect(elsewhere.stdout).toContain(`\\connect -reuse-previous=on "dbname='host=other user=\\'x\\\\'"`)
  const program = await print('db', '--database', 'desk\n\\! id')
  expect(program).toMatchObject({ code: 1, stdout: '' })
  expect(program.stderr).toContain('psql cannot be told')
})

test('what cannot be printed says why', async () => {
  expect(await print('nowhere')).toMatchObject({
    code: 1,
    stderr: 'leasehold: there is no connection at database/config/nowhere/enrolment-sql\n',
  })
  expect(await print('db', '--only', 'desk')).toMatchObject({ code: 1, stdout: '' })
  expect(await leasehold(['target', 'sql', 'db'])).toMatchObject({
    code: 1,
    stderr: 'leasehold: VAULT_TOKEN is not set\n',
  })
})
