import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Account,
  END_STEPS,
  type Engine,
  type Planned,
  type Sighting,
  type Spec,
  type Survey,
} from '../../src/engine/engine.ts'
import { mysql } from '../../src/engine/mysql/mysql.ts'
import { checkRole } from '../../src/engine/mysql/role.ts'
import { rightsIn } from '../../src/engine/mysql/survey-sql.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { startTestMariadb } from '../support/mariadb.ts'
import {
  leaseMysql,
  type MysqlTarget,
  mysqlEnding,
  newMysqlAccount,
  openMysqlTarget,
} from '../support/mysql-target.ts'

/** What a look at leased accounts shows, by an admin account of few rights. */

const GIVEN = process.env.TEST_MYSQL_URL
const SERVERS = [
  { name: 'MariaDB', start: startTestMariadb },
  ...(GIVEN ? [{ name: 'MySQL', start: async () => ({ url: GIVEN, remove: async () => {} }) }] : []),
]
const LIFETIME_MS = 60_000

describe.each(SERVERS)('$name', ({ start }) => {
  let server: { url: string; remove(): Promise<void> }
  let target: MysqlTarget
  let engine: Engine
  beforeAll(async () => {
    server = await start()
    target = await openMysqlTarget(server.url, 'few rights')
    engine = target.open()
  })
  afterAll(async () => {
    await target?.close()
    await server?.remove()
  })

  const survey = (): Survey => engine.survey as Survey
  const see = async (account: Account, role = target.role): Promise<Sighting | null> =>
    (await survey().look([{ account, role }]))[0] ?? null
  const judge = async (account: Account, changes: Partial<Planned> = {}) =>
    survey().judge((await see(account, changes.role)) as Sighting, {
      account,
      role: target.role,
      lifetimeMs: LIFETIME_MS,
      hardLifetimeMs: LIFETIME_MS,
      first: null,
      ...changes,
    })
  const asFirst = (keep: Spec | undefined, renewedSince = false) => ({
    first: { traits: keep ?? {}, renewedSince },
  })
  const textOf = ({ name }: Account): string => `\`${name.replace('@', '`@`')}\``
  const exec = async (texts: readonly string[]) => {
    for (const text of texts) await target.sql(text)
  }

  test('an account as it was made has nothing to say, at once and later', async () => {
    const role = checkRole({ member_of: [target.readers], host: '127.%', connection_limit: 3 }).spec
    const { account } = await leaseMysql(engine, target, role)
    const { changes, keep } = await judge(account, { role })

    expect(changes).toEqual([])
    expect(keep).toMatchObject({
      groups: [target.readers],
      grants: {},
      settings: { max_user_connections: '3' },
    })
    expect(await judge(account, { role, ...asFirst(keep) })).toEqual({ changes: [] })
    expect(await see(account, role)).toMatchObject({ account, enabled: true })
  })

  test('answers come in the order asked, null for what is not there', async () => {
    const [a, b] = [await leaseMysql(engine, target), await leaseMysql(engine, target)]
    const elsewhere = { ...a.account, name: a.account.name.replace('@%', '@10.%') }
    const seen = await survey().look(
      [b.account, newMysqlAccount(target), elsewhere, a.account].map((account) => ({
        account,
        role: target.role,
      })),
    )

    expect(seen.map((each) => each?.account.name ?? null)).toEqual([
      b.account.name,
      null,
      null,
      a.account.name,
    ])
  })

  const CHANGES: [string, (user: string, target: MysqlTarget) => string[], string][] = [
    ['rights on everything', (user) => [`GRANT CREATE USER ON *.* TO ${user}`], 'CREATE_USER on *.*'],
    [
      'a right with a name of its own',
      (user, { isMariadb }) => [`GRANT ${isMariadb ? 'BINLOG ADMIN' : 'BINLOG_ADMIN'} ON *.* TO ${user}`],
      'BINLOG_ADMIN on *.*',
    ],
    [
      'rights on a database',
      (user) => [`GRANT INSERT ON shop_x.* TO ${user}`],
      'it was given INSERT on shop_x.*',
    ],
    [
      'rights on a table',
      (user, { database }) => [`GRANT INSERT, UPDATE ON ${database}.orders TO ${user}`],
      'INSERT, UPDATE on table',
    ],
    [
      'rights on a column',
      (user, { database }) => [`GRANT UPDATE (note) ON ${database}.orders TO ${user}`],
      'orders.note',
    ],
    [
      'a procedure',
      (user, { database }) => [
        `CREATE PROCEDURE ${database}.act() SELECT 1`,
        `GRANT EXECUTE ON PROCEDURE ${database}.act TO ${user}`,
      ],
      'EXECUTE on procedure',
    ],
    [
      'somebody else to be',
      (user) => {
        const [name, host] = user.replaceAll('`', "'").split('@')
        return [
          `INSERT INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant, Grantor)
           VALUES (${host}, ${name}, '%', 'root', 1, 'root@%')`,
        ]
      },
      'PROXY, GRANT on the account root@%',
    ],
    [
      'a role',
      (user, { readers }) => [`CREATE ROLE IF NOT EXISTS x_${readers}`, `GRANT x_${readers} TO ${user}`],
      'it was put into x_',
    ],
    [
      'a role to hand on',
      (user, { readers }) => [`GRANT ${readers} TO ${user} WITH ADMIN OPTION`],
      '(and may give it)',
    ],
    ['a lock', (user) => [`ALTER USER ${user} ACCOUNT LOCK`], 'it was locked'],
    [
      'another password',
      (user) => [`ALTER USER ${user} IDENTIFIED BY 'another'`],
      'its password or way to log in',
    ],
    [
      'more connections',
      (user) => [`ALTER USER ${user} WITH MAX_USER_CONNECTIONS 500`],
      'its MAX_USER_CONNECTIONS was',
    ],
    [
      'fewer queries',
      (user) => [`ALTER USER ${user} WITH MAX_QUERIES_PER_HOUR 5`],
      'its MAX_QUESTIONS was not set and is 5',
    ],
    ['TLS', (user) => [`ALTER USER ${user} REQUIRE SSL`], 'its SSL_TYPE was not set and is ANY'],
  ]
  test.each(CHANGES)('an account that somebody gave %s is another', async (_, change, words) => {
    const { account } = await leaseMysql(engine, target)
    const { keep } = await judge(account)
    await exec(change(textOf(account), target))

    expect((await judge(account, asFirst(keep))).changes).toEqual([expect.stringContaining(words)])
    for (const name of END_STEPS) await engine.end(name, [mysqlEnding(account, target.role)])
    expect(await see(account)).toBeNull()
  })

  test('another way to log in is seen before there was a first look', async () => {
    const { account } = await leaseMysql(engine, target)
    await exec(
      target.isMariadb
        ? [
            `ALTER USER ${textOf(account)} IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('mine')`,
          ]
        : [`ALTER USER ${textOf(account)} IDENTIFIED BY 'mine' RETAIN CURRENT PASSWORD`],
    )

    expect((await judge(account)).changes).toEqual([expect.stringContaining('it was let in by ')])
  })

  test('what is kept of a password is no password', async () => {
    const { account, secret } = await leaseMysql(engine, target)
    const { keep } = await judge(account)

    expect(keep?.password).toMatch(/^[0-9a-f]{16}$/)
    expect(JSON.stringify(keep)).not.toContain(String(secret.password))
  })

  test('statements of the role’s own are known by the first look', async () => {
    const role = checkRole({
      creation_statements: [
        `CREATE USER '{{name}}'@'{{host}}' IDENTIFIED BY '{{password}}' WITH MAX_QUERIES_PER_HOUR 9`,
        `GRANT SELECT, INSERT ON ${target.database}.orders TO '{{name}}'@'{{host}}'`,
      ],
      renew_statements: ["GRANT USAGE ON *.* TO '{{name}}'@'{{host}}'"],
    }).spec
    const place = new URL(server.url)
    const root = { username: place.username, password: sensitive(place.password) }
    const asRoot = mysql.open({ ...target.spec, username: root.username }, async () => root)
    const { account } = await leaseMysql(asRoot, target, role)
    const { changes, keep } = await judge(account, { role })
    expect(changes).toEqual([])
    await target.sql(`GRANT DELETE ON ${target.database}.orders TO ${textOf(account)}`)
    expect((await judge(account, { role, ...asFirst(keep) })).changes).toEqual([
      `it was given DELETE on table ${target.database}.orders`,
    ])
    // They may have given it by now.
    expect((await judge(account, { role, ...asFirst(keep, true) })).changes).toEqual([])
    await target.sql(`REVOKE DELETE, INSERT ON ${target.database}.orders FROM ${textOf(account)}`)

    expect((await judge(account, { role, ...asFirst(keep) })).changes).toEqual([])
    await asRoot.close()
  })

  test('rights on more objects than are compared are counted, and being somebody else counts by itself', async () => {
    const { account } = await leaseMysql(engine, target)
    for (let n = 0; n <= 100; n += 1) {
      await exec([
        `CREATE TABLE IF NOT EXISTS ${target.database}.many_${n} (id int)`,
        `GRANT SELECT ON ${target.database}.many_${n} TO ${textOf(account)}`,
      ])
    }
    const user = account.name.split('@')[0]
    await target.sql(`INSERT INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant, Grantor)
      VALUES ('%', '${user}', '%', 'root', 0, 'root@%')`)

    expect((await judge(account)).changes).toEqual([
      'it was given PROXY on the account root@%',
      'it was given rights on 102 objects',
    ])
  })

  test('accounts and connections are counted against what there may be', async () => {
    const [accounts, slots] = (await survey().limits?.()) ?? []
    const [row] = await target.sql('SELECT COUNT(*) AS n, @@GLOBAL.max_connections AS most FROM mysql.user')

    expect(accounts).toEqual({ name: 'accounts', used: row?.n })
    expect(slots).toMatchObject({ name: 'connection_slots', used: expect.any(Number), max: row?.most })
    expect(slots?.warning).toBeUndefined()
    await target.sql('SET GLOBAL max_connections = 10')
    const clients = await Promise.all(Array.from({ length: 6 }, () => leaseMysql(engine, target)))
    const open = await Promise.all(clients.map(({ secret }) => target.logIn(secret)))
    expect((await survey().limits?.())?.[1]).toMatchObject({
      max: 10,
      warning: expect.stringContaining('of 10'),
    })
    for (const client of open) client.destroy()
    await target.sql(`SET GLOBAL max_connections = ${row?.most}`)
  })
})

test('rights in bits have their words, those that are not known their numbers', () => {
  expect(rightsIn(0)).toEqual([])
  expect(rightsIn(1 + 2 ** 25)).toEqual(['SELECT', 'CREATE_USER'])
  expect(rightsIn(2 ** 39 + 2 ** 45)).toEqual(['SHOW_CREATE_ROUTINE', 'RIGHT_45'])
})
