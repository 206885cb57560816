import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Engine, EngineError, Spec } from '../../src/engine/engine.ts'
import { mysql } from '../../src/engine/mysql/mysql.ts'
import { checkRole } from '../../src/engine/mysql/role.ts'
import { lockName, userAtHost } from '../../src/engine/mysql/sql.ts'
import type { Result } from '../../src/lib/result.ts'
import { type Sensitive, sensitive } from '../../src/lib/sensitive.ts'
import { startTestMariadb, type TestMariadb } from '../support/mariadb.ts'
import {
  leaseMysql,
  type MysqlTarget,
  mysqlTicket,
  newMysqlAccount,
  openMysqlTarget,
} from '../support/mysql-target.ts'

let server: TestMariadb
let target: MysqlTarget
let engine: Engine
beforeAll(async () => {
  server = await startTestMariadb({ log: true })
  target = await openMysqlTarget(server.url, 'few rights')
  engine = target.open()
})
afterAll(async () => {
  await target?.close()
  await server?.remove()
})

const ownRole = (creation: readonly string[], more: Spec = {}): Spec =>
  checkRole({ creation_statements: creation, ...more }).spec
const problemIn = (result: Result<unknown> | undefined): EngineError => {
  if (!result || result.ok) throw new Error('this was meant to fail')
  return result.error as EngineError
}
const usersLike = async (user: string): Promise<string[]> =>
  (await target.sql(`SELECT Host FROM mysql.user WHERE User = '${user}'`)).map(({ Host }) => Host)
const create = async (role: Spec) => {
  const account = newMysqlAccount(target, role)
  const [result] = await engine.create([mysqlTicket(account, role)])
  return { account, user: userAtHost(account.name).user, result }
}

/** The superuser's, since our admin of few rights may not give rights on tables. */
const asRoot = (): Engine => {
  const { username, password } = new URL(server.url)
  return mysql.open({ ...target.spec, username }, async () => ({ username, password: sensitive(password) }))
}

describe('an account made by its role alone', () => {
  test('is made for the host of the role, and named with it', async () => {
    const { account, secret } = await leaseMysql(engine, target, { ...target.role, host: '127.0.0.%' })
    expect(account.name).toBe(`${secret.username}@127.0.0.%`)
    expect(await usersLike(String(secret.username))).toEqual(['127.0.0.%'])
    const guest = await target.logIn(secret)
    await guest.query('SELECT * FROM orders')
    await guest.end()
  })

  test('has the connection limit, no end of its password, and its group in force', async () => {
    const { secret } = await leaseMysql(engine, target, { ...target.role, connection_limit: 1 })
    const guest = await target.logIn(secret)
    const [[row]] = (await guest.query('SELECT CURRENT_ROLE() AS role')) as unknown as [{ role: string }[]]
    expect(row?.role).toBe(target.readers)
    await expect(target.logIn(secret)).rejects.toThrow('max_user_connections')
    await guest.end()
    const [made] = await target.sql(`SHOW CREATE USER ${secret.username}@'%'`)
    expect(JSON.stringify(made)).toContain('PASSWORD EXPIRE NEVER')
  })

  test('its password never reaches the server', async () => {
    const { secret } = await leaseMysql(engine, target)
    const own = ownRole([`CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`], {
      member_of: [target.readers],
    })
    const byOwn = await leaseMysql(engine, target, own)
    const log = server.queries()
    for (const made of [secret, byOwn.secret]) {
      expect(log).toContain(String(made.username))
      expect(log).not.toContain((made.password as Sensitive).reveal())
      await (await target.logIn(made)).end()
    }
  })

  test('a batch with one that cannot be given its group makes all others, and leaves nothing of that one', async () => {
    await target.sql('CREATE ROLE not_ours')
    const roles = [target.role, checkRole({ member_of: ['not_ours'] }).spec, target.role]
    const accounts = roles.map((role) => newMysqlAccount(target, role))
    const results = await engine.create(accounts.map((account, i) => mysqlTicket(account, roles[i] ?? {})))
    expect(results.map(({ ok }) => ok)).toEqual([true, false, true])
    const { kind, message } = problemIn(results[1])
    expect(kind).toBe('denied')
    expect(message).toContain(`GRANT \`not_ours\` TO ${target.admin.username}@% WITH ADMIN OPTION`)
    expect(await usersLike(userAtHost(accounts[1]?.name ?? '').user)).toEqual([])
    await target.sql('DROP ROLE not_ours')
  })

  test('more groups than can be in force are refused before anything is made', async () => {
    await target.sql('CREATE ROLE second')
    const role = checkRole({ member_of: [target.readers, 'second'] }).spec
    const { result, user } = await create(role)
    expect(problemIn(result).message).toContain('one role in force at a time')
    expect(await usersLike(user)).toEqual([])
    await target.sql('DROP ROLE second')
  })

  test('a name whose lock somebody holds is not touched', async () => {
    const account = newMysqlAccount(target)
    const lock = lockName(userAtHost(account.name).user)
    await target.sql(`DO GET_LOCK('${lock}', 0)`)
    const [held] = await engine.create([mysqlTicket(account, target.role)])
    expect(problemIn(held).kind).toBe('blocked')
    await target.sql(`DO RELEASE_LOCK('${lock}')`)
    expect((await engine.create([mysqlTicket(account, target.role)]))[0]?.ok).toBe(true)
  })
})

describe("an account made by its role's own statements", () => {
  test('gets what they give it, and the limit they leave out', async () => {
    const role = ownRole([
      `CREATE USER '{{name}}'@'{{host}}' IDENTIFIED BY '{{password}}'; GRANT SELECT ON ${target.database}.* TO {{name}}@{{host}}`,
    ])
    const root = asRoot()
    const { secret } = await leaseMysql(root, target, role)
    await root.close()
    const guest = await target.logIn(secret)
    await guest.query('SELECT * FROM orders')
    await guest.end()
    const [row] = await target.sql(`SHOW CREATE USER ${secret.username}@'%'`)
    expect(JSON.stringify(row)).toContain('MAX_USER_CONNECTIONS 10')
  })

  test('is dropped again when a later statement fails', async () => {
    const { result, user } = await create(
      ownRole([
        `CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'`,
        `GRANT SELECT ON nowhere.nothing TO '{{name}}'@'%'`,
      ]),
    )
    expect(problemIn(result).message).toContain('creation_statements')
    expect(await usersLike(user)).toEqual([])
  })

  test('that they make for another host is refused, dropped, and the answer says which', async () => {
    const { result, user } = await create(
      ownRole([`CREATE USER '{{name}}'@'localhost' IDENTIFIED BY '{{password}}'`]),
    )
    expect(problemIn(result).message).toContain(`${user}@localhost`)
    expect(await usersLike(user)).toEqual([])
  })

  test('runs in a mode in which backslashes escape, whatever the server has', async () => {
    await target.sql(`SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'`)
    const role = ownRole([
      `CREATE USER "{{name}}"@"%" IDENTIFIED BY "{{password}}" /* it\\'s */`,
      `ALTER USER '{{name}}'@'%' WITH MAX_QUERIES_PER_HOUR 7 -- '`,
    ])
    const { result } = await create(role)
    expect(result?.ok).toBe(true)
    await target.sql(`SET GLOBAL sql_mode = DEFAULT`)
  })
})

describe('passwords of admins and static roles', () => {
  const passwords = () => {
    if (!engine.passwords) throw new Error('this engine keeps none')
    return engine.passwords
  }

  test('are set as hashes, and tried by logging in', async () => {
    await target.sql(`CREATE USER app_static IDENTIFIED BY 'old'`)
    expect(await passwords().accepts('app_static', sensitive('old'))).toBe(true)
    await passwords().set('app_static', sensitive('it\'s "new" \\'))
    expect(await passwords().accepts('app_static', sensitive('old'))).toBe(false)
    expect(await passwords().accepts('app_static@%', sensitive('it\'s "new" \\'))).toBe(true)
    await passwords().set('app_static', sensitive('by-hand'), [
      `ALTER USER '{{username}}'@'{{host}}' IDENTIFIED BY '{{password}}'`,
    ])
    expect(await passwords().accepts('app_static', sensitive('by-hand'))).toBe(true)
    expect(server.queries()).not.toContain('by-hand')
    await target.sql('DROP USER app_static')
  })

  test('our own can be set, and the connections that are open go on', async () => {
    await engine.ping()
    await passwords().set(target.admin.username, sensitive('changed'))
    expect(await passwords().accepts(target.admin.username, sensitive('changed'))).toBe(true)
    await engine.ping()
    const { username, password } = target.admin
    await target.sql(`ALTER USER '${username}'@'%' IDENTIFIED BY '${password.replaceAll("'", "''")}'`)
  })

  test('of an account that is not there, or is several, are refused', async () => {
    await expect(passwords().set('nobody', sensitive('x'))).rejects.toMatchObject({ kind: 'failed' })
    expect(await passwords().accepts('nobody', sensitive('x'))).toBe(false)
    await target.sql(`CREATE USER twice@'10.1.%', twice@'10.2.%'`)
    await expect(passwords().set('twice', sensitive('x'))).rejects.toThrow('twice@10.1.%, twice@10.2.%')
    await passwords().set('twice@10.2.%', sensitive('x'))
    await target.sql(`DROP USER twice@'10.1.%', twice@'10.2.%'`)
    await expect(passwords().set('x', sensitive('y'), ['COMMIT'])).rejects.toMatchObject({ kind: 'failed' })
  })
})
