import { randomBytes } from 'node:crypto'
import pg from 'pg'
import type {
  Account,
  AdminCredentials,
  Created,
  Ending,
  Engine,
  Spec,
  Ticket,
} from '../../src/engine/engine.ts'
import { postgres } from '../../src/engine/postgres/postgres.ts'
import { newId } from '../../src/lib/ids.ts'
import { type Sensitive, sensitive } from '../../src/lib/sensitive.ts'
import { createDatabase } from './database.ts'
import type { TestPostgres } from './postgres.ts'

/** Whose rights the broker works with: all must do everything. The last has none, and functions that were installed. */
export const ADMIN_KINDS = ['superuser', 'CREATEROLE', 'definer functions'] as const
export type AdminKind = (typeof ADMIN_KINDS)[number]

/** A database to lease accounts on: a table `orders` that the group `readers` may read, and an admin account. */
export type PostgresTarget = {
  admin: { username: string; password: string }
  credentials: AdminCredentials
  database: string
  readers: string
  spec: Spec
  /** Names `readers` as its only group. */
  role: Spec
  /** An engine of its own, closed with the target. `place` replaces host and port, for a proxy in between. */
  open(change?: { fields?: Spec; place?: string }): Engine
  /** Installs the functions, as a superuser would again for other roles or databases; nothing for other kinds of admin. */
  installFunctions(ask?: { roles?: Spec[]; databases?: string[] }): Promise<void>
  /** Runs as the server's superuser, in the target's database or another. */
  sql(text: string, database?: string): Promise<pg.QueryResult['rows']>
  logIn(secret: Created['secret'], database?: string): Promise<pg.Client>
  close(): Promise<void>
}

const ADMIN_PASSWORD = 'a password, of the admin'
const ACCOUNT_KEY = 'of the installation, not of the target'
const MAX_LEASE_SECONDS = 768 * 3_600

export async function openPostgresTarget(
  server: TestPostgres,
  kind: AdminKind,
  more: Spec = {},
): Promise<PostgresTarget> {
  const suffix = randomBytes(4).toString('hex')
  const { name: database, drop } = await createDatabase(server.url())
  const readers = `readers_${suffix}`
  const admin =
    kind === 'superuser'
      ? { username: server.superuser, password: server.password }
      : { username: `broker_${suffix}`, password: ADMIN_PASSWORD }
  const engines: Engine[] = []
  const clients = new Map<string, pg.Client>()

  const connect = async (user: { name: string; password: string } | undefined, where: string) => {
    const client = new pg.Client({ connectionString: server.url(where, user) })
    client.on('error', () => {})
    await client.connect()
    return client
  }
  /** Until the server restarts: the statement after that has a connection of its own. */
  const remembered = async (where: string) => {
    const client = await connect(undefined, where)
    clients.set(where, client)
    client.once('end', () => clients.get(where) === client && clients.delete(where))
    return client
  }
  const sql = async (text: string, where = database) => {
    const client = clients.get(where) ?? (await remembered(where))
    return (await client.query(text)).rows
  }

  await sql(`CREATE ROLE ${readers} NOLOGIN; CREATE SCHEMA shop; CREATE TABLE shop.orders (id int, note text);
    INSERT INTO shop.orders VALUES (1, 'first'); GRANT USAGE, CREATE ON SCHEMA shop TO ${readers};
    GRANT SELECT ON shop.orders TO ${readers}`)
  if (kind === 'CREATEROLE') {
    await sql(`CREATE ROLE ${admin.username} LOGIN CREATEROLE PASSWORD '${admin.password}';
      GRANT ${readers} TO ${admin.username} WITH ADMIN OPTION; GRANT pg_signal_backend TO ${admin.username};
      ALTER SCHEMA shop OWNER TO ${admin.username}; GRANT SELECT ON shop.orders TO ${admin.username} WITH GRANT OPTION`)
  }
  if (kind === 'definer functions') {
    await sql(`CREATE ROLE ${admin.username} LOGIN PASSWORD '${admin.password}'`)
  }
  const fieldsAt = (place: string): Spec => ({
    connection_url: `postgresql://{{username}}:{{password}}@${place}/${database}`,
    username: admin.username,
    ...more,
  })
  const ownPlace = `${encodeURIComponent(server.socketDir)}:${server.port}`
  const spec = postgres.checkTarget(fieldsAt(ownPlace)).spec
  const role = postgres.checkRole({ member_of: [readers] }).spec
  const credentials: AdminCredentials = {
    username: admin.username,
    password: sensitive(admin.password),
    accountKey: sensitive(ACCOUNT_KEY),
  }
  const installFunctions: PostgresTarget['installFunctions'] = async ({ roles = [], databases } = {}) => {
    if (kind !== 'definer functions') return
    const ask = { target: spec, roles: [role, ...roles], databases, maxLeaseSeconds: MAX_LEASE_SECONDS }
    for (const { database: where, sql: text } of postgres.enrolmentSql?.(ask) ?? []) await sql(text, where)
  }
  await installFunctions()
  return {
    admin,
    credentials,
    database,
    readers,
    spec,
    role,
    installFunctions,
    open({ fields, place = ownPlace } = {}) {
      const { spec } = postgres.checkTarget({ ...fieldsAt(place), ...fields })
      const engine = postgres.open(spec, async () => credentials)
      engines.push(engine)
      return engine
    },
    sql,
    logIn: (secret, where = database) =>
      connect({ name: secret.username as string, password: (secret.password as Sensitive).reveal() }, where),
    async close() {
      await Promise.all(engines.map((engine) => engine.close()))
      await Promise.all([...clients.values()].map((client) => client.end()))
      await drop()
    },
  }
}

export function newAccount(target: PostgresTarget, roleName = 'app'): Account {
  const leaseId = newId()
  const name = postgres.accountName({
    target: target.spec,
    role: target.role,
    asked: {},
    roleName,
    leaseId,
    displayName: 'token',
  })
  return { leaseId, name, targetRef: null }
}

const LIFETIME_MS = 600_000
const CREATE_WITHIN_MS = 20_000

export const ticketFor = (account: Account, role: Spec, change: Partial<Ticket> = {}): Ticket => ({
  account,
  role,
  asked: {},
  lifetimeMs: LIFETIME_MS,
  createWithinMs: CREATE_WITHIN_MS,
  ...change,
})

/** Makes one account, which must succeed; answers it with its OID. */
export async function lease(
  engine: Engine,
  target: PostgresTarget,
  role: Spec = target.role,
): Promise<{ account: Account; secret: Created['secret'] }> {
  const account = newAccount(target)
  const [result] = await engine.create([ticketFor(account, role)])
  if (!result?.ok) throw result?.error ?? new Error('no answer')
  return { account: { ...account, targetRef: result.value.targetRef }, secret: result.value.secret }
}

export const endingOf = (account: Account, role: Spec, createWithinMs = 0): Ending => ({
  account,
  role,
  createWithinMs,
})
