import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../src/lib/ids.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'

/** Targets held against the ledger, on a real server, with an admin account that is no superuser. */

let server: TestPostgres
let at: TestBroker
beforeAll(async () => {
  server = await startTestPostgres()
  at = await openTestBroker({ targetServer: server.url() })
})
afterAll(async () => {
  await at?.close()
  await server?.remove()
})

type Lease = { lease_id: string; data: { username: string; password: string } }

const take = async (role = 'app'): Promise<Lease> => (await at.api('GET', `database/creds/${role}`)).json
const reconcile = async (endUnknown?: string) => {
  const answer = await at.api(
    'POST',
    'database/config/db/reconcile',
    endUnknown && { end_unknown: endUnknown },
  )
  expect(answer.status, answer.text).toBe(200)
  return answer.json.data.reconcile
}
const found = async (endUnknown?: string) => (await reconcile(endUnknown)).found
const nothing = { count: 0, some: [] }
/** Leases that have ended as well, of which the API tells nothing more. */
const lookup = async (leaseId: string) =>
  (
    await at.ledger.ledger.query(
      `select state, end_reason, access_ended_at, steps from leasehold.lease where path || '/' || id = $1`,
      [leaseId],
    )
  ).rows[0]
const events = async (leaseId: string): Promise<Record<string, unknown>[]> =>
  (
    await at.ledger.ledger.query(
      `select body::jsonb -> 'details' as details from leasehold.audit_event
       where lease_id = $1 and body::jsonb -> 'what' ->> 'operation' = 'reconcile'`,
      [leaseId],
    )
  ).rows.map(({ details }) => details)
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
/** As somebody would who restores the server from a backup: the account is there again, mark and all. */
const bringBack = (name: string, mark: string) =>
  at.target.sql(`set role ${at.target.admin}; create role "${name}" login;
    comment on role "${name}" is 'leasehold lease ${mark}'; reset role`)
const idOf = ({ lease_id: leaseId }: Lease): string => leaseId.slice(leaseId.lastIndexOf('/') + 1)

test('what is as it was made is left as it is', async () => {
  const lease = await take()
  const report = await reconcile()

  expect(report).toMatchObject({ accounts: 1, leases: 1, elsewhere: 0 })
  expect(Object.values(report.found)).toEqual([nothing, nothing, nothing, nothing, nothing])
  expect(await lookup(lease.lease_id)).toMatchObject({ state: 'active' })
  await at.api('PUT', 'sys/leases/renew', { lease_id: lease.lease_id, increment: 300 })
  expect((await found()).foreign_change).toEqual(nothing)
  await at.api('PUT', 'sys/leases/revoke', { lease_id: lease.lease_id })
})

describe('accounts without a lease', () => {
  test('one whose lease has ended is ended, with a lease, a receipt and an event of its own', async () => {
    const lease = await take()
    await at.api('PUT', 'sys/leases/revoke', { lease_id: lease.lease_id })
    const { username } = lease.data
    await bringBack(username, idOf(lease))
    const { orphan } = await found()

    expect(orphan).toEqual({
      count: 1,
      some: [{ account: username, lease_id: expect.stringMatching(/^database\/orphan\/db\/[0-9a-z]{24}$/) }],
    })
    await untilAbsent(username)
    const [{ lease_id: leaseId }] = orphan.some
    expect(await events(leaseId)).toEqual([{ found: 'orphan', account: username }])
    expect((await at.api('GET', `sys/leasehold/receipts/${leaseId}`)).status).toBe(200)
    expect(await lookup(leaseId)).toMatchObject({ state: 'revoked', end_reason: 'orphan' })
  })

  test('one that comes back a second time is ended a second time', async () => {
    const lease = await take()
    await at.api('PUT', 'sys/leases/revoke', { lease_id: lease.lease_id })
    for (let time = 1; time <= 2; time += 1) {
      await bringBack(lease.data.username, idOf(lease))
      expect((await found()).orphan.count).toBe(1)
      await untilAbsent(lease.data.username)
    }
  })

  test('one that this ledger does not know is told of, and left alone until an operator names it', async () => {
    const [other, another] = [`v_app_${newId()}`, `v_app_${newId()}`]
    await bringBack(other, other.slice(-24))
    await bringBack(another, another.slice(-24))
    const { unknown, orphan } = await found()
    await at.broker.sweep.once()

    expect(unknown.count).toBe(2)
    expect(unknown.some).toEqual(expect.arrayContaining([{ account: other }, { account: another }]))
    expect(orphan).toEqual(nothing)
    expect(await at.target.account(other)).toBe('enabled')
    const { json } = await at.api('GET', 'database/config/db/status')
    expect(json.data.warnings.join()).toContain('end_unknown')
    const ended = await found(other)
    expect(ended).toMatchObject({ unknown: { count: 1 }, orphan: { count: 1, some: [{ account: other }] } })
    await untilAbsent(other)
    expect(await at.target.account(another)).toBe('enabled')
    await found('*')
    await untilAbsent(another)
  })

  test('a mark that was put on a role of somebody else does not end it', async () => {
    const lease = await take()
    await at.api('PUT', 'sys/leases/revoke', { lease_id: lease.lease_id })
    const innocent = `billing_${newId()}`
    await bringBack(innocent, idOf(lease))
    const { orphan, unknown } = await found()
    await at.broker.sweep.once()

    expect(orphan).toEqual(nothing)
    expect(unknown).toEqual({ count: 1, some: [{ account: innocent }] })
    expect(await at.target.account(innocent)).toBe('enabled')
    expect(await found('*')).toMatchObject({ orphan: nothing, unknown: { count: 1 } })
    await at.target.sql(`drop role ${innocent}`)
  })

  test('of a ledger that was restored from a backup, live accounts are left alone', async () => {
    const lease = await take()
    await at.ledger.ledger.query('delete from leasehold.lease where id = $1', [idOf(lease)])
    expect(await found()).toMatchObject({ orphan: nothing, unknown: { count: 1 } })
    await at.broker.sweep.once()

    expect(await at.target.account(lease.data.username)).toBe('enabled')
    await at.target.sql(`drop role ${lease.data.username}`)
  })
})

describe('leases without an account', () => {
  test('one whose account was dropped is closed with that for a reason, and its sessions are cut', async () => {
    const lease = await take()
    const session = await at.target.logIn(lease.data)
    const cut = new Promise((resolve) => session.once('error', resolve))
    await at.target.sql(`drop role ${lease.data.username}`)
    const { account_gone: gone } = await found()

    expect(gone).toEqual({ count: 1, some: [{ account: lease.data.username, lease_id: lease.lease_id }] })
    await at.broker.sweep.once()
    await cut
    const { steps, ...row } = (await lookup(lease.lease_id)) ?? {}
    expect(row).toMatchObject({ state: 'revoked', end_reason: 'account_gone' })
    expect(steps.at(-1)).toMatchObject({ step: 'verify', evidence: { role_absent: true, sessions: 0 } })
    expect(await events(lease.lease_id)).toEqual([{ found: 'account_gone', account: lease.data.username }])
  })

  test('none is closed where another server answers than the one that was enrolled', async () => {
    const lease = await take()
    await at.target.sql(`drop role ${lease.data.username}`)
    const setServer = (id: string) =>
      at.ledger.ledger.query(
        `update leasehold.target set capabilities = jsonb_set(capabilities, '{serverId}', to_jsonb($1::text))`,
        [id],
      )
    const { rows } = await at.ledger.ledger.query(
      `select capabilities ->> 'serverId' as id from leasehold.target`,
    )
    await setServer('elsewhere')
    const report = await reconcile()

    expect(report.error).toContain('another server answers')
    expect(await lookup(lease.lease_id)).toMatchObject({ state: 'active' })
    await setServer(rows[0]?.id)
    expect((await found()).account_gone.count).toBe(1)
    await at.broker.sweep.once()
  })
})

describe('a leased account that somebody else changed is ended:', () => {
  test.each([
    ['given rights', (name: string) => `grant insert on orders to ${name}`, 'rights on table'],
    [
      'put into a group',
      (name: string) => `create role extra_${name}; grant extra_${name} to ${name}`,
      'put into extra_',
    ],
    ['for ever', (name: string) => `alter role ${name} valid until 'infinity'`, 'VALID UNTIL was taken away'],
    ['for a day more', (name: string) => `alter role ${name} valid until 'tomorrow'`, 'beyond the end'],
    ['cut short', (name: string) => `alter role ${name} valid until 'yesterday'`, 'before the end'],
    ['an attribute', (name: string) => `alter role ${name} createdb`, 'made CREATEDB'],
    ['locked', (name: string) => `alter role ${name} nologin`, 'login was disabled'],
    ['renamed', (name: string) => `alter role ${name} rename to "${name}_x"`, 'renamed'],
  ])('%s', async (_, change, words) => {
    const lease = await take()
    const { username } = lease.data
    await at.target.sql(change(username))
    const { foreign_change: changed } = await found()

    expect(changed).toEqual({
      count: 1,
      some: [{ account: username, lease_id: lease.lease_id, seen: [expect.stringContaining(words)] }],
    })
    await at.broker.sweep.once()
    expect(await lookup(lease.lease_id)).toMatchObject({
      end_reason: 'foreign_change',
      access_ended_at: expect.any(Date),
    })
    expect(await events(lease.lease_id)).toEqual([
      { found: 'foreign_change', account: username, seen: [expect.stringContaining(words)] },
    ])
    // An admin that is no superuser cannot take rights that somebody else gave.
    await at.target.sql(
      `do $$ begin revoke all on orders from ${username}; exception when undefined_object then end $$`,
    )
    await at.ledger.advance(3_600)
    await untilAbsent(username)
    expect(await at.target.account(`${username}_x`)).toBe('absent')
  })

  test('but not for what one leased account gives another', async () => {
    const [giver, taker] = [await take(), await take()]
    const client = await at.target.logIn(giver.data)
    await client.query(`create table gift (id int); grant select on gift to ${taker.data.username}`)
    await client.end()

    expect((await found()).foreign_change).toEqual(nothing)
    await at.api('PUT', 'sys/leases/revoke', { lease_id: giver.lease_id })
    expect((await found()).foreign_change).toEqual(nothing)
    expect(await lookup(taker.lease_id)).toMatchObject({ state: 'active' })
    await at.target.sql('drop table gift')
    await at.api('PUT', 'sys/leases/revoke', { lease_id: taker.lease_id })
  })

  test('by what it looked like at first, where its role has statements of its own', async () => {
    await at.api('POST', 'database/roles/own', {
      db_name: 'db',
      creation_statements: `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' IN ROLE ${at.target.readers}`,
    })
    const [kept, changed] = [await take('own'), await take('own')]
    expect((await found()).foreign_change).toEqual(nothing)
    await at.target.sql(`alter role ${changed.data.username} createdb`)
    const { foreign_change: seen } = await found()

    expect(seen.some).toMatchObject([{ account: changed.data.username, seen: ['it was made CREATEDB'] }])
    expect(await lookup(kept.lease_id)).toMatchObject({ state: 'active' })
    await at.api('PUT', 'sys/leases/revoke', { lease_id: kept.lease_id })
    await untilAbsent(changed.data.username)
    await found()
    expect((await at.ledger.ledger.query('select from leasehold.sighting')).rowCount).toBe(0)
  })

  test('one that is let in again while it waits to be removed', async () => {
    const lease = await take()
    const { username } = lease.data
    // Keeps it from being dropped, since a superuser gave it.
    await at.target.sql(`grant insert on orders to ${username}`)
    await at.api('PUT', 'sys/leases/revoke', { lease_id: lease.lease_id })
    expect(await lookup(lease.lease_id)).toMatchObject({
      state: 'revoking',
      access_ended_at: expect.any(Date),
    })
    await at.target.sql(`alter role ${username} login password 'mine' valid until 'infinity'`)
    const session = await at.target.logIn({ username, password: 'mine' })
    const cut = new Promise((resolve) => session.once('error', resolve))
    const { let_in_again: again } = await found()

    expect(again).toEqual({ count: 1, some: [{ account: username, lease_id: lease.lease_id }] })
    await at.broker.sweep.once()
    await cut
    expect(await at.target.account(username)).toBe('disabled')
    await at.target.sql(`revoke insert on orders from ${username}`)
    await at.ledger.advance(3_600)
    await untilAbsent(username)
  })
})

describe('on the wire', () => {
  test('a connection that is not there', async () => {
    expect((await at.api('GET', 'database/config/none/status')).status).toBe(404)
    const { status, json } = await at.api('POST', 'database/config/none/reconcile')
    expect({ status, ...json }).toEqual({
      status: 400,
      errors: ['failed to find entry for connection with name: "none"'],
    })
  })

  test('one that is being reconciled already', async () => {
    await at.ledger.ledger.query(
      `update leasehold.upkeep set claimed_by = 'another', next_action_at = leasehold.ledger_now() + interval '1 minute'
       where task = 'reconcile'`,
    )
    const { status, json } = await at.api('POST', 'database/config/db/reconcile')
    expect({ status, text: json.errors[0] }).toMatchObject({
      status: 409,
      text: expect.stringContaining('is being reconciled'),
    })
    expect((await at.api('GET', 'database/config/db/status')).json.data.reconcile.running).toBe(true)
    // Its worker died; nobody has to wait for ever.
    await at.ledger.advance(61)
    expect((await reconcile()).error).toBeUndefined()
  })

  test('a target that does not answer is told of, with what was known before', async () => {
    await at.target.sql(`alter role ${at.target.admin} nologin`)
    await at.api('POST', 'database/reset/db')
    const report = await reconcile()
    await at.target.sql(`alter role ${at.target.admin} login`)

    expect(report).toMatchObject({ error: expect.stringMatching(/\w/), accounts: expect.any(Number) })
    expect((await reconcile()).error).toBeUndefined()
  })
})
