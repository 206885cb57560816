import { randomBytes } from 'node:crypto'
import { type Connection, createConnection } from 'mysql2/promise'
import type { Account, Created, Ending, Engine, Spec, Ticket } from '../../src/engine/engine.ts'
import { mysql } from '../../src/engine/mysql/mysql.ts'
import { checkRole } from '../../src/engine/mysql/role.ts'
import { newId } from '../../src/lib/ids.ts'
import { type Sensitive, sensitive } from '../../src/lib/sensitive.ts'

/** Whose rights the broker works with: both must do everything. */
export const MYSQL_ADMIN_KINDS = ['all rights', 'few rights'] as const
export type MysqlAdminKind = (typeof MYSQL_ADMIN_KINDS)[number]

// biome-ignore lint/suspicious/noExplicitAny: a row has what its query asks for
type Row = Record<string, any>

/** A database to lease accounts on: a table `orders` that the role `readers` may read, and an admin account. */
export type MysqlTarget = {
  admin: { username: string; password: string }
  database: string
  readers: string
  isMariadb: boolean
  spec: Spec
  /** Names `readers` as its only group. */
  role: Spec
  /** As Go's driver writes it, with the dialect's slots; `place` replaces host and port. */
  url(place?: string): string
  /** An engine of its own, closed with the target. `place` replaces host and port, for a proxy in between. */
  open(change?: { fields?: Spec; place?: string }): Engine
  /** Runs as the server's superuser, in the target's database. */
  sql(text: string): Promise<Row[]>
  logIn(secret: Created['secret']): Promise<Connection>
  close(): Promise<void>
}

const ADMIN_PASSWORD = "a 'password', of the admin"

/** On the server of this `mysql://` URL, whose user may do everything. */
export async function openMysqlTarget(serverUrl: string, kind: MysqlAdminKind): Promise<MysqlTarget> {
  const place = new URL(serverUrl)
  const suffix = randomBytes(4).toString('hex')
  const database = `shop_${suffix}`
  const readers = `readers_${suffix}`
  const root = { username: decodeURIComponent(place.username), password: decodeURIComponent(place.password) }
  const admin = kind === 'all rights' ? root : { username: `broker_${suffix}`, password: ADMIN_PASSWORD }
  const at = { host: place.hostname, port: Number(place.port || 3_306) }
  const engines: Engine[] = []
  const superuser = await createConnection({ ...at, user: root.username, password: root.password })
  superuser.on('error', () => {})
  const sql = async (text: string) => {
    const [rows] = await superuser.query(text)
    return Array.isArray(rows) ? (rows as Row[]) : []
  }
  const isMariadb = /mariadb/i.test((await sql('SELECT VERSION() AS version'))[0]?.version)
  const own = kind === 'few rights' ? fewRights(admin.username, readers, isMariadb) : []
  for (const text of [
    `CREATE DATABASE ${database}`,
    `USE ${database}`,
    'CREATE TABLE orders (id int, note varchar(50))',
    `INSERT INTO orders VALUES (1, 'first')`,
    `CREATE ROLE ${readers}`,
    `GRANT SELECT ON ${database}.* TO ${readers}`,
    ...own,
  ]) {
    await sql(text)
  }
  const hostPort = `${at.host}:${at.port}`
  const url = (there = hostPort) => `{{username}}:{{password}}@tcp(${there})/${database}`
  const fieldsAt = (there: string): Spec => ({ connection_url: url(there), username: admin.username })
  return {
    admin,
    database,
    readers,
    isMariadb,
    spec: mysql.checkTarget(fieldsAt(hostPort)).spec,
    role: checkRole({ member_of: [readers] }).spec,
    url,
    open({ fields, place: there = hostPort } = {}) {
      const { spec } = mysql.checkTarget({ ...fieldsAt(there), ...fields })
      const engine = mysql.open(spec, async () => ({
        username: admin.username,
        password: sensitive(admin.password),
      }))
      engines.push(engine)
      return engine
    },
    sql,
    async logIn(secret) {
      const client = await createConnection({
        ...at,
        database,
        user: String(secret.username),
        password: (secret.password as Sensitive).reveal(),
      })
      client.on('error', () => {})
      return client
    },
    async close() {
      await Promise.all(engines.map((engine) => engine.close()))
      await sql(`DROP DATABASE ${database}`)
      await sql(`DROP ROLE ${readers}`)
      if (kind === 'few rights') await sql(`DROP USER ${admin.username}`)
      await superuser.end()
    },
  }
}

/** As docs/mysql.md has it. */
const fewRights = (name: string, group: string, isMariadb: boolean): string[] => [
  `CREATE USER ${name} IDENTIFIED BY '${ADMIN_PASSWORD.replaceAll("'", "''")}'`,
  ...(isMariadb
    ? [
        `GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO ${name}`,
        `GRANT SELECT, UPDATE ON mysql.* TO ${name}`,
      ]
    : [
        `GRANT CREATE USER, PROCESS ON *.* TO ${name}`,
        `GRANT CONNECTION_ADMIN ON *.* TO ${name}`,
        `GRANT SELECT ON mysql.* TO ${name}`,
      ]),
  `GRANT ${group} TO ${name} WITH ADMIN OPTION`,
]

export function newMysqlAccount(target: MysqlTarget, role: Spec = target.role): Account {
  const leaseId = newId()
  const ask = { target: target.spec, role, asked: {}, roleName: 'app', leaseId, displayName: 'token' }
  return { leaseId, name: mysql.accountName(ask), targetRef: null }
}

const LIFETIME_MS = 600_000
const CREATE_WITHIN_MS = 20_000

export const mysqlTicket = (account: Account, role: Spec, change: Partial<Ticket> = {}): Ticket => ({
  account,
  role,
  asked: {},
  lifetimeMs: LIFETIME_MS,
  createWithinMs: CREATE_WITHIN_MS,
  ...change,
})

/** Makes one account, which must succeed. */
export async function leaseMysql(
  engine: Engine,
  target: MysqlTarget,
  role: Spec = target.role,
): Promise<{ account: Account; secret: Created['secret'] }> {
  const account = newMysqlAccount(target, role)
  const [result] = await engine.create([mysqlTicket(account, role)])
  if (!result?.ok) throw result?.error ?? new Error('no answer')
  return { account: { ...account, targetRef: result.value.targetRef }, secret: result.value.secret }
}

export const mysqlEnding = (account: Account, role: Spec, createWithinMs = 0): Ending => ({
  account,
  role,
  createWithinMs,
})
