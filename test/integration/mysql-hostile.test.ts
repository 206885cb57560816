import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Account, END_STEPS, type EndStep, type Engine, type Spec } from '../../src/engine/engine.ts'
import { checkRole } from '../../src/engine/mysql/role.ts'
import { lockName, userAtHost } from '../../src/engine/mysql/sql.ts'
import type { Sensitive } from '../../src/lib/sensitive.ts'
import { startTestMariadb, type TestMariadb } from '../support/mariadb.ts'
import { startSlowLogin } from '../support/mysql-slow-login.ts'
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
  // What the broker sets for its sessions must hold against all of this.
  server = await startTestMariadb({
    settings: ['--character-set-server=gbk', '--skip-character-set-client-handshake'],
  })
  target = await openMysqlTarget(server.url, 'few rights')
  engine = target.open()
})
afterAll(async () => {
  await target?.close()
  await server?.remove()
})

const step = async (name: EndStep, account: Account, role: Spec = target.role) => {
  const [result] = await engine.end(name, [mysqlEnding(account, role)])
  if (!result?.ok) throw result?.error ?? new Error('no answer')
  return result.value
}
const endAll = async (account: Account, role: Spec = target.role) => {
  for (const name of END_STEPS) await step(name, account, role)
}
const userOf = ({ name }: Account) => userAtHost(name).user

describe('a leased user', () => {
  test('cannot keep itself from being locked by holding a lock on everything', async () => {
    const { account, secret } = await leaseMysql(engine, target)
    await target.sql(`GRANT RELOAD ON *.* TO ${userOf(account)}`)
    const guest = await target.logIn(secret)
    await guest.query('FLUSH TABLES WITH READ LOCK')
    expect(await step('disable', account)).toMatchObject({ account: 'locked', sessions_ended: 1 })
    await expect(guest.query('SELECT 1')).rejects.toThrow()
    await expect(target.logIn(secret)).rejects.toMatchObject({ errno: 4151 })
    await endAll(account)
  })

  test.each(END_STEPS)(
    'that began to log in before its end and goes on after %s gets nothing',
    async (when) => {
      const { account, secret } = await leaseMysql(engine, target)
      const password = (secret.password as Sensitive).reveal()
      const slow = await startSlowLogin(server.port, String(secret.username), password)
      for (const name of END_STEPS) {
        await step(name, account)
        // The server took the account as it was when the login began: after the first step it still lets it in.
        if (name === when) expect(await slow.finish()).toBe(when === 'disable')
      }
      expect(await slow.query('SELECT 1')).toBe(false)
      slow.leave()
    },
  )

  test('cannot unlock itself, lift its limit, or keep its way in by a password of its own', async () => {
    const { account, secret } = await leaseMysql(engine, target)
    const guest = await target.logIn(secret)
    for (const change of ['ACCOUNT LOCK', 'ACCOUNT UNLOCK', 'WITH MAX_USER_CONNECTIONS 0']) {
      await expect(guest.query(`ALTER USER CURRENT_USER() ${change}`)).rejects.toMatchObject({ errno: 1227 })
    }
    await guest.query(`SET PASSWORD = PASSWORD('mine')`)
    await endAll(account)
    await expect(guest.query('SELECT 1')).rejects.toThrow()
  })

  test('that makes an event in the name of its role leaves it behind, and the receipt says so', async () => {
    await target.sql(`GRANT EVENT ON ${target.database}.* TO ${target.readers}`)
    const { account, secret } = await leaseMysql(engine, target)
    const guest = await target.logIn(secret)
    await guest.query('CREATE DEFINER = CURRENT_ROLE EVENT lasting ON SCHEDULE EVERY 1 DAY DO DO 1')
    await step('disable', account)
    expect(await step('disconnect', account)).toMatchObject({
      residual: [
        `event ${target.database}.lasting goes on in the name of the role ${target.readers}, which it had and may have made it with`,
      ],
    })
    await endAll(account)
    await target.sql('DROP EVENT lasting')
    const other = await leaseMysql(engine, target)
    expect(await step('disconnect', other.account)).toEqual({ sessions_ended: 0, sessions_left: 0 })
    await endAll(other.account)
  })
})

describe('names that try to leave their quotes', () => {
  // In the server's own character set the last byte of each first letter and the mark behind it are one letter.
  test.each(["'", '\\', '`', "你\\' OR 1=1 -- x", '你` TO root@`%` -- x'])('as a group: %j', async (name) => {
    const quoted = `\`${name.replaceAll('`', '``')}\``
    await target.sql('SET NAMES utf8mb4')
    await target.sql(`CREATE ROLE ${quoted}`)
    await target.sql(`GRANT SELECT ON ${target.database}.* TO ${quoted}`)
    await target.sql(`GRANT ${quoted} TO ${target.admin.username} WITH ADMIN OPTION`)
    const role = checkRole({ member_of: [name] }).spec
    const { account, secret } = await leaseMysql(engine, target, role)
    const guest = await target.logIn(secret)
    await guest.query('SET NAMES utf8mb4')
    const [[row]] = (await guest.query('SELECT CURRENT_ROLE() AS role')) as unknown as [{ role: string }[]]
    expect(row?.role).toBe(name)
    await endAll(account, role)
    await target.sql(`DROP ROLE ${quoted}`)
  })
})

describe("a role's own statements", () => {
  test('that hang or end their own connection hold up neither the removal nor its neighbours', async () => {
    const { account, secret } = await leaseMysql(engine, target)
    await target.sql('CREATE PROCEDURE its_own_end() KILL CONNECTION_ID()')
    await target.sql(`GRANT EXECUTE ON ${target.database}.* TO ${target.admin.username}`)
    const role = checkRole({
      member_of: [target.readers],
      revocation_statements: `CALL ${target.database}.its_own_end()`,
    }).spec
    const other = await leaseMysql(engine, target)
    const removed = await engine.end('remove', [
      mysqlEnding(account, role),
      mysqlEnding(other.account, target.role),
    ])
    expect(removed).toMatchObject([
      { ok: true, value: { account: 'dropped', revocation_statements: expect.stringContaining('failed: ') } },
      { ok: true, value: { account: 'dropped' } },
    ])
    await expect(target.logIn(secret)).rejects.toThrow('Access denied')
    await target.sql('DROP PROCEDURE its_own_end')
    await endAll(account)
    await endAll(other.account)
  })

  test('that the server does not understand are quoted without the password', async () => {
    const role = checkRole({
      creation_statements: [
        `CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`,
        `SET PASSWORD FOR '{{name}}'@'%' nonsense '{{password}}'`,
      ],
    }).spec
    const [result] = await engine.create([mysqlTicket(newMysqlAccount(target, role), role)])
    const message = result && !result.ok ? result.error.message : ''
    expect(message).toContain('nonsense')
    expect(message).toMatch(/nonsense '\[password\]'/)
  })
})

test('no lock and no setting is left on a connection after a batch that failed', async () => {
  const broken = checkRole({ member_of: ['nowhere'] }).spec
  const accounts = [newMysqlAccount(target), newMysqlAccount(target)]
  const results = await engine.create(
    accounts.map((account, i) => mysqlTicket(account, i === 0 ? broken : target.role)),
  )
  expect(results.map(({ ok }) => ok)).toEqual([false, true])
  for (const account of accounts) {
    const [row] = await target.sql(`SELECT IS_FREE_LOCK('${lockName(userOf(account))}') AS free`)
    expect(row?.free).toBe(1)
    await endAll(account)
  }
})

test('a primary that becomes a standby takes no more accounts, also by a connection opened before', async () => {
  await engine.ping()
  await target.sql('SET GLOBAL read_only = 1')
  const [result] = await engine.create([mysqlTicket(newMysqlAccount(target), target.role)])
  await target.sql('SET GLOBAL read_only = 0')
  expect(result).toMatchObject({ ok: false, error: { kind: 'unreachable' } })
})

test('enrolment warns of accounts that let anybody in under any name', async () => {
  await target.sql(`CREATE USER ''@'10.9.9.9'`)
  expect((await engine.probe()).warnings.join()).toContain(`anybody may log in by ''@'10.9.9.9'`)
  await target.sql(`DROP USER ''@'10.9.9.9'`)
  expect((await engine.probe()).warnings.join()).not.toContain('anybody may log in')
})

test('a server that takes the connection and says nothing is one that does not answer', async () => {
  const silent = createServer((socket) => socket.on('error', () => {}))
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const place = target.url(`127.0.0.1:${port}`)
  const lost = target.open({ fields: { connection_url: `${place}?timeout=1s` } })
  const account = newMysqlAccount(target)
  await expect(lost.ping()).rejects.toMatchObject({ kind: 'unreachable' })
  const [ended] = await lost.end('disable', [mysqlEnding(account, target.role)])
  expect(ended).toMatchObject({ ok: false, error: { kind: 'unreachable' } })
  silent.close()
})
