import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'

let at: TestBroker
beforeAll(async () => {
  at = await openTestBroker()
  // From 16 on the admin needs this of an account to change its password.
  await at.target.sql(
    `create role app_a login password 'first-a'; create role app_b login password 'first-b';
     create role app_c login password 'first-c';
     grant app_a, app_b, app_c to ${at.target.admin} with admin option`,
  )
})
afterAll(async () => at.close())
afterEach(async () => {
  const { json } = await at.api('LIST', 'database/static-roles?list=true')
  for (const name of json.data?.keys ?? []) await at.api('DELETE', `database/static-roles/${name}`)
})

const write = (name: string, fields: object) =>
  at.api('POST', `database/static-roles/${name}`, {
    db_name: 'db',
    username: 'app_a',
    rotation_period: '1h',
    ...fields,
  })
const read = async (name: string) => (await at.api('GET', `database/static-creds/${name}`)).json?.data
const logsIn = async (user: { username: string; password: string }): Promise<boolean> => {
  try {
    await (await at.target.logIn(user)).end()
    return true
  } catch {
    return false
  }
}
const rotateDue = async () => {
  await at.broker.rotator.sweep()
  await at.broker.rotator.idle()
}
const errorOf = async (answer: Promise<{ status: number; json: { errors: string[] } }>) => {
  const { status, json } = await answer
  return [status, json?.errors?.[0]]
}

describe('a static role', () => {
  test('has a new password before its writer gets an answer, and hands it out without a lease', async () => {
    expect((await write('a', {})).status).toBe(204)

    const { json } = await at.api('GET', 'database/static-creds/a')
    expect(json).toMatchObject({
      lease_id: '',
      lease_duration: 0,
      renewable: false,
      data: { username: 'app_a', rotation_period: 3600 },
    })
    expect(json.data.ttl).toBeGreaterThan(3_500)
    expect(json.data.ttl).toBeLessThanOrEqual(3_600)
    expect(Date.parse(json.data.last_vault_rotation)).toBeGreaterThan(0)
    expect(await logsIn(json.data)).toBe(true)
    expect(await logsIn({ username: 'app_a', password: 'first-a' })).toBe(false)
    expect((await at.api('GET', 'database/static-roles/a')).json.data).toMatchObject({
      db_name: 'db',
      username: 'app_a',
      rotation_period: 3600,
      rotation_statements: [],
      credential_type: 'password',
    })
    expect((await at.api('GET', 'database/static-roles?list=true')).json.data.keys).toEqual(['a'])
  })

  test('is rotated when it is due, not before, and plans the next time', async () => {
    await write('a', {})
    const first = await read('a')
    await rotateDue()
    expect(await read('a')).toMatchObject({ password: first.password })

    await at.ledger.advance(3_700)
    await rotateDue()

    const second = await read('a')
    expect(second.password).not.toBe(first.password)
    expect(second.ttl).toBeGreaterThan(3_500)
    expect(await logsIn(second)).toBe(true)
    expect(await logsIn({ ...first })).toBe(false)
  })

  test('is rotated by hand', async () => {
    await write('a', {})
    const first = await read('a')

    expect((await at.api('POST', 'database/rotate-role/a')).status).toBe(204)

    const second = await read('a')
    expect(second.password).not.toBe(first.password)
    expect(await logsIn(second)).toBe(true)
    expect(await errorOf(at.api('POST', 'database/rotate-role/none'))).toEqual([
      400,
      'no static role found for role name',
    ])
  })

  test('is imported without being rotated, once a login has proved its password', async () => {
    await at.target.sql(`alter role app_b password 'known-b'`)
    const fields = { username: 'app_b', skip_import_rotation: true }
    expect(await errorOf(write('b', { ...fields, password: 'wrong' }))).toEqual([
      400,
      'password: "db" does not let "app_b" in with it',
    ])
    expect((await at.api('GET', 'database/static-roles/b')).status).toBe(404)

    expect((await write('b', { ...fields, password: 'known-b' })).status).toBe(204)

    expect(await read('b')).toMatchObject({ username: 'app_b', password: 'known-b' })
    await at.ledger.advance(3_700)
    await rotateDue()
    expect(await logsIn(await read('b'))).toBe(true)
    expect(await logsIn({ username: 'app_b', password: 'known-b' })).toBe(false)
  })

  test('that was imported without a password says so until the first rotation', async () => {
    await write('b', { username: 'app_b', skip_import_rotation: true })
    const [status, text] = await errorOf(at.api('GET', 'database/static-creds/b'))
    expect(status).toBe(400)
    expect(text).toMatch(/not known yet.*rotate-role\/b/)

    await at.api('POST', 'database/rotate-role/b')
    expect(await logsIn(await read('b'))).toBe(true)
  })

  test('has its password changed by statements of its own', async () => {
    const rotation_statements = [`ALTER ROLE {{name}} PASSWORD '{{password}}' CONNECTION LIMIT 7`]
    expect((await write('c', { username: 'app_c', rotation_statements })).status).toBe(204)

    expect(await logsIn(await read('c'))).toBe(true)
    expect(await at.target.sql(`select rolconnlimit from pg_roles where rolname = 'app_c'`)).toEqual([
      { rolconnlimit: 7 },
    ])
  })

  test('is changed without being rotated, and keeps its account and connection', async () => {
    await write('a', {})
    const first = await read('a')
    expect((await at.api('POST', 'database/static-roles/a', { rotation_period: '2h' })).status).toBe(204)
    expect(await read('a')).toMatchObject({ password: first.password, rotation_period: 7_200 })
    expect((await read('a')).ttl).toBeGreaterThan(7_000)

    expect(await errorOf(write('a', { username: 'app_b' }))).toEqual([
      400,
      'cannot update static account username',
    ])
  })

  test('goes by a schedule, within its window', async () => {
    await write('a', { rotation_period: undefined, rotation_schedule: '0 3 * * *', rotation_window: '1h' })
    const first = await read('a')
    expect(first).toMatchObject({ rotation_schedule: '0 3 * * *', rotation_window: 3_600 })
    expect(first.rotation_period).toBeUndefined()
    const due = Math.round((first.ttl - 60) / 60) * 60

    await at.ledger.advance(first.ttl + 5_400)
    await rotateDue()
    expect(await read('a')).toMatchObject({ password: first.password })
    const missed = (await at.api('GET', 'database/static-roles/a')).json.data
    expect(missed.rotation_error).toMatch(/could not be rotated in its window/)
    expect(due).toBeLessThan(86_400)

    const { ttl } = await read('a')
    await at.ledger.advance(ttl + 60)
    await rotateDue()
    const second = await read('a')
    expect(second.password).not.toBe(first.password)
    expect(await logsIn(second)).toBe(true)
  })

  test('is gone with its password when it is deleted; the account stays', async () => {
    await write('a', {})
    const last = await read('a')
    const stored = async () => {
      const { rows } = await at.ledger.ledger.query(
        `select name from leasehold.sealed_secret where name like 'static/%'`,
      )
      return rows.length
    }

    expect((await at.api('DELETE', 'database/static-roles/a')).status).toBe(204)
    await rotateDue()

    expect((await at.api('GET', 'database/static-creds/a')).status).toBe(404)
    expect(await stored()).toBe(0)
    expect(await logsIn(last)).toBe(true)
  })
})

describe('what a static role may not be', () => {
  test.each([
    [{ db_name: '' }, /^database name is required$/],
    [{ db_name: 'other' }, /no connection "other"/],
    [{ username: '' }, /username is a required field/],
    [{ rotation_period: 4 }, /rotation_period must be 5 seconds or more/],
    [{ rotation_period: 0 }, /rotation_period or rotation_schedule must be provided/],
    [{ rotation_schedule: '0 3 * * *' }, /cannot both be set/],
    [{ rotation_period: undefined, rotation_schedule: '0 0 31 2 *' }, /never fires/],
    [{ rotation_period: undefined, rotation_schedule: 'every day' }, /no cron expression of five fields/],
    [{ rotation_period: undefined, rotation_schedule: '0 3 * * *', rotation_window: 60 }, /3600 seconds/],
    [{ rotation_window: 7_200 }, /rotation_window needs a rotation_schedule/],
    [{ credential_type: 'rsa_private_key' }, /unsupported credential_type/],
    [{ rotation_statements: 'ALTER ROLE {{name}} NOLOGIN' }, /rotation_statements.*\{\{password\}\}/],
    [{ rotation_statements: "ALTER ROLE {{nme}} PASSWORD '{{password}}'" }, /rotation_statements.*nme/],
    [{ username: 'nobody_here' }, /nobody_here/],
    [{ username: `v_app_${'0'.repeat(24)}` }, /account of a lease/],
  ])('%j', async (fields, text) => {
    const { status, json } = await write('bad', fields)

    expect(status).toBe(400)
    expect(json.errors[0]).toMatch(text)
    expect((await at.api('GET', 'database/static-roles/bad')).status).toBe(404)
  })

  test('an admin account, a leased one, or the account of another', async () => {
    const admin = await write('bad', { username: at.target.admin })
    expect([admin.status, admin.json.errors[0]]).toEqual([400, expect.stringMatching(/is an admin account/)])
    const { json } = await at.api('GET', 'database/creds/app')
    const leased = await write('bad', { username: json.data.username })
    expect([leased.status, leased.json.errors[0]]).toEqual([400, expect.stringMatching(/account of a lease/)])
    await write('a', {})
    const second = await write('bad', {})
    expect([second.status, second.json.errors[0]]).toEqual([
      400,
      expect.stringMatching(/account of the static role "a" already/),
    ])
  })

  test('of the name of a role, nor a role of its name', async () => {
    expect(await errorOf(write('app', {}))).toEqual([400, 'Role and Static Role names must be unique'])
    await write('a', {})
    expect(await errorOf(at.api('POST', 'database/roles/a', { db_name: 'db' }))).toEqual([
      400,
      'Role and Static Role names must be unique',
    ])
  })
})

describe('a target that fails', () => {
  test('takes nothing away: the next try has a password of its own, and is published once it is proved', async () => {
    await write('a', {})
    const first = await read('a')
    await at.target.sql(`revoke app_a from ${at.target.admin}`)
    await at.target.sql(`alter role ${at.target.admin} nocreaterole`)
    try {
      const { status } = await at.api('POST', 'database/rotate-role/a')
      // The account may change its own, and so this is no failure.
      expect(status).toBe(204)
      const second = await read('a')
      expect(second.password).not.toBe(first.password)
      expect(await logsIn(second)).toBe(true)

      await at.target.sql(`alter role app_a password 'by hand'`)
      const refused = await at.api('POST', 'database/rotate-role/a')
      expect(refused.status).toBe(400)
      const role = (await at.api('GET', 'database/static-roles/a')).json.data
      expect(role.rotation_error).toMatch(/permission denied|must have/)
    } finally {
      await at.target.sql(`alter role ${at.target.admin} createrole`)
      await at.target.sql(`grant app_a to ${at.target.admin} with admin option`)
    }

    await at.ledger.advance(3_600)
    await rotateDue()

    expect(await logsIn(await read('a'))).toBe(true)
    expect((await at.api('GET', 'database/static-roles/a')).json.data.rotation_error).toBeUndefined()
  })
})
