import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { sensitive } from '../../src/lib/sensitive.ts'
import { type AwsSecretsServer, startAwsSecrets } from '../support/aws-secrets-server.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { startVault, type VaultServer, vaultFaults } from '../support/vault-server.ts'

/** A whole broker with Vault as its default store and AWS beside it, on a real PostgreSQL. */
let vault: VaultServer
let aws: AwsSecretsServer
let broker: TestBroker

const REFERENCE = 'vault:secret/data/db#password'

beforeEach(async () => {
  vault = await startVault()
  aws = await startAwsSecrets()
  broker = await openTestBroker({
    secretStores: {
      default: 'vault',
      vault: {
        address: vault.url,
        namespace: undefined,
        ca: undefined,
        mount: 'secret',
        prefix: 'leasehold',
        login: { kind: 'token', token: sensitive(vault.root) },
      },
      aws: { region: aws.region, endpoint: aws.url, prefix: 'leasehold/' },
    },
  })
})
afterEach(async () => {
  vault.behave(undefined)
  await broker.close()
  await aws.stop()
  await vault.stop()
})

const write = (fields: object, name = 'db') =>
  broker.api('POST', `database/config/${name}`, {
    plugin_name: 'postgresql-database-plugin',
    connection_url: broker.target.urlTemplate,
    username: broker.target.admin,
    allowed_roles: '*',
    ...fields,
  })
const shown = async (name = 'db') => (await broker.api('GET', `database/config/${name}`)).json?.data
const issue = () => broker.api('GET', 'database/creds/app')
/** Ends the lease, and answers what the target then has of its account. */
const end = async ({ lease_id: leaseId, data }: { lease_id: string; data: { username: string } }) => {
  await broker.api('PUT', 'sys/leases/revoke', { lease_id: leaseId })
  await broker.broker.sweep.once()
  return broker.target.account(data.username)
}
/** Everything the ledger has about credentials, as whoever steals a copy of it reads it. */
const ledgerText = async () => {
  const { rows } = await broker.ledger.ledger.query(
    `select (select string_agg(t::text, ' ') from leasehold.target t)
       || coalesce((select string_agg(encode(sealed, 'escape'), ' ') from leasehold.sealed_secret), '')
       || coalesce((select string_agg(e::text, ' ') from leasehold.audit_event e), '') as text`,
  )
  return String(rows[0]?.text)
}
const copyIsKept = () =>
  expect
    .poll(async () => {
      const { rows } = await broker.ledger.ledger.query(
        `select from leasehold.sealed_secret where name like '%/last-good'`,
      )
      return rows.length
    })
    .toBeGreaterThan(0)

describe('a password', () => {
  test('moves into the default store, and is nowhere else to be read', async () => {
    const stored = vault.requests.filter((each) => each.startsWith('POST secret/data/leasehold/target/'))
    expect(stored).toHaveLength(1)
    expect(JSON.stringify(await shown())).not.toContain(broker.target.password)
    expect(await ledgerText()).not.toContain(`"${broker.target.password}"`)
    const { status, json } = await issue()
    expect([status, json?.errors]).toEqual([200, undefined])
    expect(await end(json)).toBe('absent')
  })

  test('that is replaced leaves nothing of the one before', async () => {
    const paths = () =>
      [...new Set(vault.requests.filter((each) => each.startsWith('POST secret/data/')))].map((each) =>
        each.slice('POST '.length),
      )
    const [before = ''] = paths()
    expect((await write({ password: broker.target.password })).status).toBeLessThan(300)
    const [, after = ''] = paths()
    expect(vault.read(before)).toBeUndefined()
    expect(vault.read(after)).toBeDefined()
    const copies = await broker.ledger.ledger.query(
      `select name from leasehold.sealed_secret where name like '%/last-good'`,
    )
    expect(copies.rows).toEqual([{ name: `${after.slice('secret/data/leasehold/'.length)}/last-good` }])
  })
})

describe('a reference', () => {
  test('is shown, is followed at each login, and is no password of ours', async () => {
    vault.write('secret/data/db', { password: broker.target.password })
    expect((await write({ password: REFERENCE })).status).toBeLessThan(300)
    expect((await shown()).connection_details.password_reference).toBe(REFERENCE)
    expect((await issue()).status).toBe(200)

    aws.write('prod/db', JSON.stringify({ password: broker.target.password }))
    expect((await write({ password: 'aws:prod/db#password' })).status).toBeLessThan(300)
    expect((await issue()).status).toBe(200)

    await write({ password: broker.target.password })
    expect((await shown()).connection_details.password_reference).toBeUndefined()
  })

  test.each([
    ['vault:secret/data/none#password', /^password: Vault has nothing at secret\/data\/none/],
    ['vault:secret/data/db#none', /^password: .* no text under the key none/],
    ['vault:secret/db#password', /^password: .*vault:<mount>\/data\/<path>#<key>/],
    ['vault:', /^password: begins with vault: and so must be a reference/],
    ['vault:secret/data/leasehold/target/a#value', /^password: names what Leasehold itself keeps/],
    ['aws:prod/none', /^password: AWS Secrets Manager has no usable secret/],
    ['aws:leasehold/target/a', /^password: names what Leasehold itself keeps/],
  ])('%s is refused, and nothing is changed', async (password, message) => {
    vault.write('secret/data/db', { password: broker.target.password })
    const [before, requests] = [await shown(), vault.requests.length]
    const { status, json } = await write({ password, owner: 'somebody_else' })
    expect(status).toBe(400)
    expect(json.errors[0]).toMatch(message)
    expect(await shown()).toEqual(before)
    expect((await write({ password }, 'other')).status).toBe(400)
    expect(await shown('other')).toBeUndefined()
    expect(vault.requests.slice(requests).filter((each) => each.startsWith('POST secret/'))).toEqual([])
    expect((await issue()).status).toBe(200)
  })

  test('that is changed by others together with the password heals by itself', async () => {
    vault.write('secret/data/db', { password: broker.target.password })
    await write({ password: REFERENCE })
    const { json } = await issue()
    await broker.target.sql(`alter role ${broker.target.admin} password 'rotated by others'`)
    vault.write('secret/data/db', { password: 'rotated by others' })
    await broker.target.sql(
      `select pg_terminate_backend(pid) from pg_stat_activity where usename = '${broker.target.admin}'`,
    )
    await expect.poll(async () => (await issue()).status).toBe(200)
    expect(await end(json)).toBe('absent')
  })
})

describe('while the store is away', () => {
  test.each(Object.entries(vaultFaults))(
    '%s: leases end, issuing and new targets fail clearly, and it all comes back',
    async (_, fault) => {
      const { json } = await issue()
      await copyIsKept()
      // Another process, as after a restart: none of its connections is open yet.
      const restarted = await broker.another()
      vault.behave(fault)
      const before = await shown()

      await broker.api('PUT', 'sys/leases/revoke', { lease_id: json.lease_id })
      await restarted.sweep.once()
      expect(await broker.target.account(json.data.username)).toBe('absent')

      await broker.api('PUT', 'database/reset/db')
      const refused = await issue()
      expect(refused.status).toBe(503)
      expect(refused.json.errors[0]).toMatch(/the admin credential of "db" cannot be had/)
      const enrolled = await write({ password: broker.target.password }, 'other')
      expect([400, 503]).toContain(enrolled.status)
      expect(enrolled.json.errors[0]).toMatch(/^password: /)
      expect(await shown('other')).toBeUndefined()
      expect(await shown()).toEqual(before)

      vault.behave(undefined)
      await expect.poll(async () => (await issue()).status).toBe(200)
    },
  )
})
