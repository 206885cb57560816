import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Account, END_STEPS, type Engine, type EngineError, type Spec } from '../../src/engine/engine.ts'
import { checkRole } from '../../src/engine/mysql/role.ts'
import { lockName, userAtHost } from '../../src/engine/mysql/sql.ts'
import { startTestMariadb, type TestMariadb } from '../support/mariadb.ts'
import {
  leaseMysql,
  type MysqlTarget,
  mysqlEnding,
  mysqlTicket,
  newMysqlAccount,
  openMysqlTarget,
} from '../support/mysql-target.ts'

let server: TestMariadb
let target: MysqlTarget
let engine: Engine
beforeAll(async () => {
  server = await startTestMariadb()
  target = await openMysqlTarget(server.url, 'few rights')
  engine = target.open()
})
afterAll(async () => {
  await target?.close()
  await server?.remove()
})

const step = async (name: (typeof END_STEPS)[number], account: Account, role: Spec = target.role) => {
  const [result] = await engine.end(name, [mysqlEnding(account, role)])
  if (!result?.ok) throw result?.error ?? new Error('no answer')
  return result.value
}
const endAll = async (account: Account, role: Spec = target.role) => {
  const evidence = []
  for (const name of END_STEPS) evidence.push(await step(name, account, role))
  return evidence
}
const userOf = ({ name }: Account) => userAtHost(name).user

test('fifty sessions of one account are ended, and one of another goes on', async () => {
  const { account, secret } = await leaseMysql(engine, target, { ...target.role, connection_limit: 60 })
  const other = await leaseMysql(engine, target)
  const guests = await Promise.all(Array.from({ length: 50 }, () => target.logIn(secret)))
  const stays = await target.logIn(other.secret)
  const [disabled, disconnected] = await endAll(account)

  expect(disabled).toMatchObject({ account: 'locked', was_disabled_before: false, hosts: ['%'] })
  expect(disconnected).toMatchObject({ sessions_ended: 50, sessions_left: 0 })
  for (const guest of guests) await expect(guest.query('SELECT 1')).rejects.toThrow()
  await stays.query('SELECT * FROM orders')
  await stays.end()
  await endAll(other.account)
})

test('a session in the middle of a statement is ended too', async () => {
  const { account, secret } = await leaseMysql(engine, target)
  const guest = await target.logIn(secret)
  const asleep = guest.query('SELECT SLEEP(600)')
  const refused = expect(asleep).rejects.toThrow()
  await expect
    .poll(async () => (await target.sql(`SHOW PROCESSLIST`)).some(({ Info }) => Info === 'SELECT SLEEP(600)'))
    .toBe(true)
  await endAll(account)
  await refused
})

test('the session of an account that somebody dropped by hand is found by its user name and ended', async () => {
  const { account, secret } = await leaseMysql(engine, target)
  const guest = await target.logIn(secret)
  await target.sql(`DROP USER ${userOf(account)}`)
  await guest.query('SELECT 1')
  expect(await step('disable', account)).toEqual({ account: 'absent' })
  const [blocked] = await engine.end('verify', [mysqlEnding(account, target.role)])
  expect(blocked).toMatchObject({
    ok: false,
    error: { kind: 'blocked', message: expect.stringContaining('still has a session') },
  })
  expect(await step('disconnect', account)).toMatchObject({ sessions_ended: 1 })
  await expect(guest.query('SELECT 1')).rejects.toThrow()
  await step('verify', account)
})

test('an account at another host under the same name is ended as well', async () => {
  const { account } = await leaseMysql(engine, target)
  await target.sql(`CREATE USER ${userOf(account)}@'10.9.%' IDENTIFIED BY 'x'`)
  expect(await step('disable', account)).toMatchObject({ hosts: expect.arrayContaining(['%', '10.9.%']) })
  await endAll(account)
  expect(await target.sql(`SELECT 1 FROM mysql.user WHERE User = '${userOf(account)}'`)).toEqual([])
})

test('an event that a leased user made does nothing once its access has ended, and is reported', async () => {
  const { account, secret } = await leaseMysql(engine, target)
  await target.sql(`GRANT EVENT, INSERT ON ${target.database}.* TO ${userOf(account)}`)
  const guest = await target.logIn(secret)
  await guest.query(
    `CREATE EVENT ticking ON SCHEDULE EVERY 1 SECOND DO INSERT INTO orders VALUES (2, 'tick')`,
  )
  const ticks = async () =>
    Number((await target.sql(`SELECT COUNT(*) AS n FROM orders WHERE note = 'tick'`))[0]?.n)
  await expect.poll(ticks, { timeout: 20_000 }).toBeGreaterThan(0)
  await step('disable', account)
  expect(await step('disconnect', account)).toMatchObject({ rights_revoked: true })
  const after = await ticks()
  // The scheduler notes each failed run; it tried, and may no longer.
  const removed = await step('remove', account)
  await step('verify', account)

  expect(removed.residual).toEqual([
    `event ${target.database}.ticking, which it made, remains and can no longer run`,
  ])
  const runs = async () =>
    (await target.sql(`SELECT last_executed AS at FROM mysql.event WHERE name = 'ticking'`))[0]?.at
  const last = String(await runs())
  await expect.poll(async () => String(await runs()) !== last, { timeout: 20_000 }).toBe(true)
  expect(await ticks()).toBe(after)
  await target.sql('DROP EVENT ticking')
})

describe("a role's own revocation statements", () => {
  test('run first and replace nothing', async () => {
    const role = checkRole({
      member_of: [target.readers],
      revocation_statements: `DROP USER '{{name}}'@'{{host}}'`,
    }).spec
    const { account } = await leaseMysql(engine, target, role)
    const [, , removed] = await endAll(account, role)
    expect(removed).toEqual({ account: 'dropped', revocation_statements: 'run' })
  })

  test('that fail are in the receipt, and the account goes all the same', async () => {
    const role = checkRole({
      member_of: [target.readers],
      revocation_statements: 'DROP TABLE never_there',
    }).spec
    const { account } = await leaseMysql(engine, target, role)
    const [, , removed] = await endAll(account, role)
    expect(removed?.revocation_statements).toContain('failed: ')
    expect(removed?.residual).toEqual([expect.stringContaining('what revocation_statements were to undo')])
  })
})

describe('a create that may still be under way', () => {
  const lock = (account: Account) => lockName(userOf(account))
  const verified = async (account: Account) => {
    const [result] = await engine.end('verify', [mysqlEnding(account, target.role)])
    if (!result) throw new Error('no answer')
    return result.ok ? 'proved' : (result.error as EngineError).kind
  }

  test('holds up the proof for as long as its session lives', async () => {
    const account = newMysqlAccount(target)
    await target.sql(`DO GET_LOCK('${lock(account)}', 0)`)
    expect(await verified(account)).toBe('pending')
    await target.sql(`DO RELEASE_LOCK('${lock(account)}')`)
    expect(await verified(account)).toBe('proved')
  })

  test('is not what a leased user can pretend by taking the lock', async () => {
    const { account, secret } = await leaseMysql(engine, target)
    const accomplice = await target.logIn(secret)
    const other = newMysqlAccount(target)
    await accomplice.query(`DO GET_LOCK('${lock(other)}', 0)`)
    expect(await verified(other)).toBe('proved')
    await endAll(account)
  })

  test('that comes after the proof finds itself late', async () => {
    const account = newMysqlAccount(target)
    const create = engine.create([mysqlTicket(account, target.role, { createWithinMs: 0 })])
    expect((await create)[0]).toMatchObject({ ok: false, error: { kind: 'late' } })
    expect(await verified(account)).toBe('proved')
  })
})

test('without the right to see sessions nothing is taken for ended', async () => {
  const { account, secret } = await leaseMysql(engine, target)
  const guest = await target.logIn(secret)
  await target.sql(`REVOKE PROCESS ON *.* FROM ${target.admin.username}`)
  const blind = target.open()
  for (const name of ['disconnect', 'verify'] as const) {
    const [result] = await blind.end(name, [mysqlEnding(account, target.role)])
    expect(result).toMatchObject({
      ok: false,
      error: {
        kind: 'denied',
        message: expect.stringContaining(`GRANT PROCESS ON *.* TO ${target.admin.username}`),
      },
    })
  }
  await guest.query('SELECT 1')
  await target.sql(`GRANT PROCESS ON *.* TO ${target.admin.username}`)
  await endAll(account)
})

test('the scan finds accounts of our naming alone, page by page', async () => {
  const strangers = ['v_app', 'v_app_0123', `v_application_${'0'.repeat(18)}`, 'vault_x']
  for (const name of strangers) await target.sql(`CREATE USER '${name}'`)
  const { account } = await leaseMysql(engine, target)
  const seen: Account[] = []
  for await (const each of engine.accounts()) seen.push(each)
  expect(seen).toEqual([account])
  for (const name of strangers) await target.sql(`DROP USER '${name}'`)
  await endAll(account)
})
