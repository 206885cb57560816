import { afterAll, beforeAll, expect, test } from 'vitest'
import { openSharedTarget, openTestBroker, type SharedTarget, type TestBroker } from '../support/broker.ts'

/** What hurts the users of the peers, each a test named after its row of the collected complaints. */

let at: TestBroker
let target: SharedTarget
beforeAll(async () => {
  at = await openTestBroker()
  target = await openSharedTarget()
  await write({ password: target.password })
})
afterAll(async () => {
  await at.close()
  await target.close()
})

const write = (fields: object) =>
  at.api('POST', 'database/config/own', {
    plugin_name: 'postgresql-database-plugin',
    connection_url: target.urlTemplate,
    username: target.admin,
    allowed_roles: '*',
    ...fields,
  })
const due = async () => {
  await at.broker.rotator.sweep()
  await at.broker.rotator.idle()
}
const logsIn = async (user: { username: string; password: string }): Promise<boolean> => {
  try {
    await (await target.logIn(user)).end()
    return true
  } catch {
    return false
  }
}
const credsOf = async (name: string) => (await at.api('GET', `database/static-creds/${name}`)).json.data

test('row 11: rotating the admin password cannot lose it, and nobody can put the old one back', async () => {
  expect((await at.api('POST', 'database/rotate-root/own')).status).toBe(204)

  // As a tool does that writes its whole state again and again, with the password of the first day.
  for (const verify_connection of [true, false]) {
    const { status } = await write({ password: target.password, verify_connection })
    expect(status).toBe(400)
  }
  await at.api('POST', 'database/roles/own', { db_name: 'own', member_of: target.readers })
  const lease = await at.api('GET', 'database/creds/own')
  expect(await logsIn(lease.json.data)).toBe(true)
  const asStatic = await at.api('POST', 'database/static-roles/admin', {
    db_name: 'own',
    username: target.admin,
    rotation_period: '1h',
  })
  expect([asStatic.status, asStatic.json.errors[0]]).toEqual([
    400,
    expect.stringMatching(/is an admin account/),
  ])
  // A kill at every statement, and a failure of every call: test/faults/rotation, test/integration/rotation-machine.
})

test('row 12: of a pair, both halves never rotate together; a bad password is not tried again; a restart rotates nothing', async () => {
  await target.sql(
    `create role half_a login password 'a'; create role half_b login password 'b';
     grant half_a, half_b to ${target.admin} with admin option`,
  )
  for (const half of ['half_a', 'half_b']) {
    const fields = { db_name: 'own', username: half, rotation_period: '1h', rotation_group: 'pair' }
    expect((await at.api('POST', `database/static-roles/${half}`, fields)).status).toBe(204)
  }
  const first = { a: await credsOf('half_a'), b: await credsOf('half_b') }

  // Nothing is due: another process, just started, changes nothing.
  const restarted = await at.another()
  await restarted.rotator.sweep()
  await restarted.rotator.idle()
  expect(await credsOf('half_a')).toMatchObject({ password: first.a.password })

  // Both are due now, and one of them goes.
  await at.ledger.advance(3_700)
  await due()
  await due()
  const second = { a: await credsOf('half_a'), b: await credsOf('half_b') }
  const changed = [second.a.password !== first.a.password, second.b.password !== first.b.password]
  expect(changed.filter(Boolean)).toHaveLength(1)
  expect(await logsIn(second.a)).toBe(true)
  expect(await logsIn(second.b)).toBe(true)
  const rested = changed[0] ? 'half_b' : 'half_a'
  const tooSoon = await at.api('POST', `database/rotate-role/${rested}`)
  expect([tooSoon.status, tooSoon.json.errors[0]]).toEqual([400, expect.stringMatching(/force=true/)])

  // Half an interval later comes the other.
  await at.ledger.advance(1_900)
  await due()
  const third = { a: await credsOf('half_a'), b: await credsOf('half_b') }
  expect([third.a.password !== first.a.password, third.b.password !== first.b.password]).toEqual([true, true])
  expect((await at.api('POST', `database/rotate-role/${rested}`, { force: true })).status).toBe(204)

  // The target refuses: each try brings a password of its own, and the one that is handed out stays good.
  await at.ledger.advance(7_200)
  await target.sql(`alter role ${target.admin} nocreaterole; revoke half_a, half_b from ${target.admin}`)
  const before = await credsOf('half_a')
  await target.sql(`alter role half_a nologin`)
  await due()
  expect(await credsOf('half_a')).toMatchObject({ password: before.password })
  expect((await at.api('GET', 'database/static-roles/half_a')).json.data.rotation_error).toBeDefined()
  await target.sql(
    `alter role half_a login; alter role ${target.admin} createrole;
     grant half_a, half_b to ${target.admin} with admin option`,
  )
  for (let look = 0; look < 4; look += 1) {
    await at.ledger.advance(3_000)
    await due()
  }
  expect(await logsIn(await credsOf('half_a'))).toBe(true)
  expect(await logsIn(await credsOf('half_b'))).toBe(true)
  expect((await at.api('GET', 'database/static-roles/half_a')).json.data.rotation_error).toBeUndefined()
})
