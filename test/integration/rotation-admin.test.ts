import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openSharedTarget, openTestBroker, type SharedTarget, type TestBroker } from '../support/broker.ts'

let at: TestBroker
beforeAll(async () => {
  at = await openTestBroker()
})
afterAll(async () => at.close())

let target: SharedTarget
let name: string
let count = 0
const opened: SharedTarget[] = []
afterAll(async () => {
  await Promise.all(opened.map((each) => each.close()))
})
beforeEach(async () => {
  target = await openSharedTarget()
  opened.push(target)
  count += 1
  name = `db${count}`
  expect((await write({ password: target.password })).status).toBeLessThan(300)
})

const write = (fields: object) =>
  at.api('POST', `database/config/${name}`, {
    plugin_name: 'postgresql-database-plugin',
    connection_url: target.urlTemplate,
    username: target.admin,
    allowed_roles: '*',
    ...fields,
  })
const read = async () => (await at.api('GET', `database/config/${name}`)).json.data
const rotate = () => at.api('POST', `database/rotate-root/${name}`)
const logsIn = async (username: string, password: string): Promise<boolean> => {
  try {
    await (await target.logIn({ username, password })).end()
    return true
  } catch {
    return false
  }
}
const due = async () => {
  await at.broker.rotator.sweep()
  await at.broker.rotator.idle()
}
const issues = async (): Promise<boolean> => {
  await at.api('POST', `database/roles/r${count}`, { db_name: name, member_of: target.readers })
  const { status, json } = await at.api('GET', `database/creds/r${count}`)
  if (status !== 200) return false
  const works = await logsIn(json.data.username, json.data.password)
  await at.api('PUT', 'sys/leases/revoke', { lease_id: json.lease_id })
  return works && (await target.account(json.data.username)) === 'absent'
}

describe('rotate-root', () => {
  test('leaves a password that nobody knows, and leases are made and ended as before', async () => {
    expect(await rotate()).toMatchObject({ status: 204, text: '' })

    expect(await logsIn(target.admin, target.password)).toBe(false)
    expect(await issues()).toBe(true)
    expect(await read()).toMatchObject({ last_vault_rotation: expect.any(String), next_vault_rotation: null })
    expect(JSON.stringify(await read())).not.toContain('password":"')
  })

  test('reaches other processes by their next login', async () => {
    const other = await at.another()
    const mount = (await other.mounts.find('database/')) as { id: string }
    const found = await other.enrolment.find(mount.id, name)
    if (!found) throw new Error('it is enrolled')
    await rotate()
    await rotate()

    expect(found.version).toBeGreaterThan(0)
    expect(await issues()).toBe(true)
  })

  test('of a connection there is not, or without a password', async () => {
    const none = await at.api('POST', 'database/rotate-root/none')
    expect([none.status, none.json.errors[0]]).toEqual([
      400,
      'failed to find entry for connection with name: "none"',
    ])
    await at.api('POST', 'database/config/empty', {
      plugin_name: 'postgresql-database-plugin',
      connection_url: target.urlTemplate,
      username: target.admin,
      verify_connection: false,
    })
    const empty = await at.api('POST', 'database/rotate-root/empty')
    expect([empty.status, empty.json.errors[0]]).toEqual([
      400,
      expect.stringMatching(/"empty" has no stored password/),
    ])
  })

  test('by statements of its own', async () => {
    // No other may change its own limit.
    await target.sql(`alter role ${target.admin} superuser`)
    expect(
      (
        await write({
          root_rotation_statements: `ALTER ROLE {{name}} PASSWORD '{{password}}' CONNECTION LIMIT 50`,
        })
      ).status,
    ).toBeLessThan(300)
    expect((await rotate()).status).toBe(204)

    expect(await target.sql(`select rolconnlimit from pg_roles where rolname = '${target.admin}'`)).toEqual([
      { rolconnlimit: 50 },
    ])
    expect(await issues()).toBe(true)
  })

  test('that the target refuses changes nothing, and says why', async () => {
    await write({ root_rotation_statements: `ALTER ROLE no_such_role PASSWORD '{{password}}'` })

    const { status, json } = await rotate()

    expect(status).toBe(400)
    expect(json.errors[0]).toMatch(/no_such_role/)
    expect(await logsIn(target.admin, target.password)).toBe(true)
    expect((await read()).rotation_error).toMatch(/no_such_role/)
    await write({ root_rotation_statements: '' })
    // What was refused is not done later behind the back of whoever asked.
    await at.ledger.advance(3_600)
    await due()
    expect(await logsIn(target.admin, target.password)).toBe(true)
    expect((await rotate()).status).toBe(204)
    expect(await logsIn(target.admin, target.password)).toBe(false)
    expect(await issues()).toBe(true)
  })
})

describe('on a schedule', () => {
  test('an admin password is rotated when it is due', async () => {
    expect((await write({ rotation_period: '1d' })).status).toBeLessThan(300)
    expect(await read()).toMatchObject({ rotation_period: 86_400, disable_automated_rotation: false })
    await due()
    expect(await logsIn(target.admin, target.password)).toBe(true)

    await at.ledger.advance(90_000)
    await due()

    expect(await logsIn(target.admin, target.password)).toBe(false)
    const { last_vault_rotation: last, next_vault_rotation: next } = await read()
    expect(Date.parse(next) - Date.parse(last)).toBeCloseTo(86_400_000, -4)
    expect(await issues()).toBe(true)
  })

  test('a switched off one is not', async () => {
    await write({ rotation_schedule: '0 3 * * 1', rotation_window: '2h', disable_automated_rotation: true })
    expect(await read()).toMatchObject({
      rotation_schedule: '0 3 * * 1',
      rotation_window: 7_200,
      disable_automated_rotation: true,
      next_vault_rotation: null,
    })
    await at.ledger.advance(8 * 86_400)
    await due()

    expect(await logsIn(target.admin, target.password)).toBe(true)
  })

  test.each([
    [{ rotation_period: 3 }, /5 seconds or more/],
    [{ rotation_schedule: '0 0 31 2 *' }, /never fires/],
    [{ rotation_window: 7_200 }, /needs a rotation_schedule/],
    [{ root_rotation_statements: 'SELECT 1' }, /root_rotation_statements.*\{\{password\}\}/],
    [{ alternate_username: 'second' }, /alternate_username needs an alternate_password/],
    [{ alternate_password: 'secret' }, /alternate_password needs an alternate_username/],
    [{ alternate_username: 'no_such_admin', alternate_password: 'x' }, /alternate_username: .*no_such_admin/],
  ])('%j is refused, and nothing is written', async (fields, text) => {
    const before = await read()
    const { status, json } = await write({ ...fields, max_open_connections: 9 })

    expect(status).toBe(400)
    expect(json.errors[0]).toMatch(text)
    expect(await read()).toEqual(before)
  })
})

describe('what was there before', () => {
  test('a password from before the rotation is refused, proven or not', async () => {
    await rotate()

    const proven = await write({ password: target.password })
    expect([proven.status, proven.json.errors[0]]).toEqual([
      400,
      expect.stringMatching(/password authentication failed/),
    ])
    const unproven = await write({ password: target.password, verify_connection: false })
    expect([unproven.status, unproven.json.errors[0]]).toEqual([
      400,
      expect.stringMatching(/was rotated here/),
    ])
    expect(await issues()).toBe(true)
  })

  test('a configuration without the password is written as ever', async () => {
    await rotate()
    expect((await write({ max_open_connections: 6 })).status).toBeLessThan(300)
    expect(await issues()).toBe(true)
  })

  test('a password that somebody set by hand is taken when a login proves it', async () => {
    await rotate()
    await target.sql(`alter role ${target.admin} password 'by hand'`)
    const { status, json } = await rotate()
    expect([status, json.errors[0]]).toEqual([400, expect.stringMatching(/password authentication failed/)])

    expect((await write({ password: 'by hand' })).status).toBeLessThan(300)

    expect((await rotate()).status).toBe(204)
    expect(await logsIn(target.admin, 'by hand')).toBe(false)
    expect(await issues()).toBe(true)
  })
})

describe('two admin accounts', () => {
  const second = () => `${target.admin}_two`
  beforeEach(async () => {
    // As superusers either can end what the other has made.
    await target.sql(
      `alter role ${target.admin} superuser; create role ${second()} superuser login password 'two'`,
    )
    expect((await write({ alternate_username: second(), alternate_password: 'two' })).status).toBeLessThan(
      300,
    )
  })

  test('take turns: the one that is not in use is rotated and then takes over', async () => {
    expect((await read()).alternate_username).toBe(second())

    expect((await rotate()).status).toBe(204)
    expect(await logsIn(second(), 'two')).toBe(false)
    expect(await logsIn(target.admin, target.password)).toBe(true)
    expect(await issues()).toBe(true)

    expect((await rotate()).status).toBe(204)
    expect(await logsIn(target.admin, target.password)).toBe(false)
    expect(await issues()).toBe(true)
  })

  test('stay as they are when the configuration is written without their passwords', async () => {
    await rotate()
    expect((await write({ max_open_connections: 6 })).status).toBeLessThan(300)
    expect((await write({ password: 'other' })).json.errors[0]).toMatch(/alternate_password is required/)
    expect((await rotate()).status).toBe(204)
    expect(await issues()).toBe(true)
  })

  test('are one again when the second is taken away', async () => {
    await rotate()
    expect((await write({ alternate_username: '' })).status).toBeLessThan(300)
    expect((await read()).alternate_username).toBeUndefined()
    expect((await rotate()).status).toBe(204)
    expect(await issues()).toBe(true)
  })

  test('that could not end what the other makes are refused, unless nobody looked', async () => {
    const third = `${target.admin}_three`
    await target.sql(`alter role ${target.admin} nosuperuser createrole;
      create role ${third} login createrole password 'three'; grant ${target.readers} to ${third} with admin option`)
    const pair = { alternate_username: third, alternate_password: 'three' }

    const { status, json } = await write(pair)
    expect([status, json.errors?.[0]]).toEqual([
      400,
      expect.stringMatching(/^alternate_username: .*neither renew nor end what/),
    ])
    expect((await read()).alternate_username).toBe(second())

    const unseen = await write({ ...pair, verify_connection: false })
    expect([unseen.status, unseen.json.warnings]).toEqual([
      200,
      [expect.stringMatching(/able to end what the other has made/)],
    ])
    await target.sql(`alter role ${target.admin} superuser`)
  })

  test('neither can be a static role', async () => {
    const { status, json } = await at.api('POST', 'database/static-roles/no', {
      db_name: name,
      username: second(),
      rotation_period: '1h',
    })
    expect([status, json.errors[0]]).toEqual([400, expect.stringMatching(/is an admin account/)])
  })
})
