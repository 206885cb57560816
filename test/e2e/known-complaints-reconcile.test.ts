import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../src/lib/ids.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'

/** What hurts the users of the peers, each a test named after its row: those that the reconciler is for. */

let server: TestPostgres
let at: TestBroker
beforeAll(async () => {
  server = await startTestPostgres()
  at = await openTestBroker({ reconcileIntervalMs: 3_600_000, targetServer: server.url() })
})
afterAll(async () => {
  await at?.close()
  await server?.remove()
})

type Lease = { lease_id: string; data: { username: string; password: string } }

const take = async (role = 'app'): Promise<Lease> => (await at.api('GET', `database/creds/${role}`)).json
const status = async () => (await at.api('GET', 'database/config/db/status')).json.data
const anHourLater = async () => {
  await at.ledger.advance(4_000)
  await at.broker.sweep.once()
}
const untilAbsent = (username: string) =>
  expect
    .poll(
      async () => {
        await at.broker.sweep.once()
        return at.target.account(username)
      },
      { timeout: 30_000 },
    )
    .toBe('absent')

describe('row 7: an account that nobody knows', () => {
  test('which a restore of the database brought back is found within the hour, ended, and on record', async () => {
    const lease = await take()
    const { username } = lease.data
    await at.api('PUT', 'sys/leases/revoke', { lease_id: lease.lease_id })
    await at.target.sql(`set role ${at.target.admin}; create role ${username} login;
      comment on role ${username} is 'leasehold lease ${lease.lease_id.split('/').at(-1)}'; reset role`)
    await anHourLater()

    await untilAbsent(username)
    const [{ lease_id: leaseId }] = (await status()).reconcile.found.orphan.some
    expect((await at.api('GET', `sys/leasehold/receipts/${leaseId}`)).status).toBe(200)
  })

  test('which another installation may have made is told of and not touched', async () => {
    const name = `v_app_${newId()}`
    await at.target.sql(
      `create role ${name} login; comment on role ${name} is 'leasehold lease ${name.slice(-24)}'`,
    )
    await anHourLater()

    expect(await at.target.account(name)).toBe('enabled')
    expect((await status()).reconcile.found.unknown.some).toEqual([{ account: name }])
    await at.target.sql(`drop role ${name}`)
  })
})

test('row 8: every hour it is tried whether leases of a target can still be ended', async () => {
  await anHourLater()
  expect((await status()).revocable).toBe(true)
  await at.target.setCreateRole(false)
  await anHourLater()
  expect(await status()).toMatchObject({ revocable: false, canary: { error: expect.stringMatching(/\w/) } })
  await at.target.setCreateRole(true)
  await anHourLater()

  expect((await status()).revocable).toBe(true)
})

test('row 36: a clock that goes wrong on a target is told of, and leases end by the ledger’s all the same', async () => {
  await at.api('POST', 'database/config/db/reconcile')
  const { clock_skew_ms: skew } = (await status()).reconcile
  expect(Math.abs(skew)).toBeLessThan(60_000)
  const lease = await take()
  // By the ledger, the minute of this lease is over; by the target's clock, and its VALID UNTIL, it has hardly begun.
  await at.ledger.advance(62)
  await untilAbsent(lease.data.username)

  const { json } = await at.api('GET', `sys/leasehold/receipts/${lease.lease_id}`)
  expect(JSON.parse(Buffer.from(json.data.receipt.split('.')[1], 'base64url').toString()).reason).toBe(
    'expired',
  )
})

test('row 39: a user deleted by hand is noticed, and its lease closed with that for evidence', async () => {
  await at.api('POST', 'database/roles/long', {
    db_name: 'db',
    member_of: at.target.readers,
    default_ttl: '10h',
    max_ttl: '10h',
  })
  const lease = await take('long')
  await at.target.sql(`drop role ${lease.data.username}`)
  await anHourLater()

  await expect
    .poll(
      async () => {
        await at.broker.sweep.once()
        return (await at.api('GET', `sys/leasehold/receipts/${lease.lease_id}`)).status
      },
      { timeout: 30_000 },
    )
    .toBe(200)
  const { json } = await at.api('GET', `sys/leasehold/receipts/${lease.lease_id}`)
  const receipt = JSON.parse(Buffer.from(json.data.receipt.split('.')[1], 'base64url').toString())
  expect(receipt).toMatchObject({ reason: 'account_gone' })
  expect(receipt.steps.at(-1)).toMatchObject({ step: 'verify', evidence: { role_absent: true, sessions: 0 } })
})
