import { randomBytes } from 'node:crypto'
import nodeVault from 'node-vault'
import pg from 'pg'
import { inject } from 'vitest'
import { type Broker, type BrokerSettings, compose } from '../../src/compose.ts'
import { createLogger } from '../../src/lib/log.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import type { TracingSettings } from '../../src/lib/tracing-settings.ts'
import { createDatabase } from './database.ts'
import { openTestLedger, type TestLedger } from './ledger.ts'

/** A target database on the run's shared server, or on one whose superuser URL is given, with a plain CREATEROLE admin and one group that may read. */
export type SharedTarget = {
  /** With the dialect's slots. */
  urlTemplate: string
  admin: string
  password: string
  readers: string
  /** As the server's superuser, in the target's database. */
  sql<Row = Record<string, unknown>>(text: string): Promise<Row[]>
  logIn(user: { username: string; password: string }): Promise<pg.Client>
  /** Whether the account is still there, and whether it may log in. */
  account(username: string): Promise<'absent' | 'disabled' | 'enabled'>
  /** Whether the admin account, and every creator role of its own, may make and change accounts. */
  setCreateRole(may: boolean): Promise<void>
  close(): Promise<void>
}

export async function openSharedTarget(serverUrl?: string): Promise<SharedTarget> {
  const suffix = randomBytes(4).toString('hex')
  const database = await createDatabase(serverUrl)
  const superuser = new pg.Client({ connectionString: database.url })
  superuser.on('error', () => {})
  await superuser.connect()
  const admin = `broker_${suffix}`
  const readers = `readers_${suffix}`
  await superuser.query(`create role ${readers} nologin; create role ${admin} login createrole password 'secret';
    grant ${readers} to ${admin} with admin option; grant pg_signal_backend to ${admin};
    create table orders (id int, note text); insert into orders values (1, 'first');
    grant select on orders to ${readers}; grant create on schema public to ${readers}`)
  const as = (user: string, password: string) => {
    const [scheme, rest] = database.url.split('://')
    return `${scheme}://${user}:${password}@${rest?.slice(rest.indexOf('@') + 1)}`
  }
  const sql = async <Row>(text: string) => (await superuser.query(text)).rows as Row[]
  return {
    urlTemplate: as('{{username}}', '{{password}}'),
    admin,
    password: 'secret',
    readers,
    sql,
    async logIn({ username, password }) {
      const client = new pg.Client({ connectionString: as(username, password) })
      client.on('error', () => {})
      await client.connect()
      return client
    },
    async account(username) {
      const [role] = await sql<{ rolcanlogin: boolean }>(
        `select rolcanlogin from pg_roles where rolname = ${pg.escapeLiteral(username)}`,
      )
      if (!role) return 'absent'
      return role.rolcanlogin ? 'enabled' : 'disabled'
    },
    async setCreateRole(may) {
      const makers = await sql<{ statement: string }>(
        `select format('alter role %I ${may ? 'createrole' : 'nocreaterole'}', rolname) as statement
         from pg_roles where rolname ~ '^(leasehold_creator_\\d+_)?${admin}$'`,
      )
      for (const { statement } of makers) await sql(statement)
    },
    async close() {
      await superuser.end()
      await database.drop()
    },
  }
}

/** A whole broker in this process: its own ledger with a movable clock, served on a free port, one target enrolled. */
export type TestBroker = {
  url: string
  root: string
  broker: Broker
  /** Another process's broker on the same ledger, queue and target. */
  another(): Promise<Broker>
  ledger: TestLedger
  target: SharedTarget
  vault: nodeVault.client
  /** A request as root unless told otherwise; the answer's JSON beside the rest. */
  api(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<ApiAnswer>
  close(): Promise<void>
}

export type ApiAnswer = {
  status: number
  headers: Headers
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is the test's to say
  json: any
}

const ROOT = 'root-of-the-test'
/** What the secrets of a test broker's ledger are sealed under. */
export const MASTER_KEY = Buffer.alloc(32, 5).toString('base64')

/** With `worker` it takes wake-ups and sweeps; without, nothing ends until the test says so. */
export async function openTestBroker({
  worker = false,
  sweepIntervalMs = 1_000,
  reconcileIntervalMs = 0,
  queueUrl = inject('redisUrl'),
  tracing = undefined as TracingSettings | undefined,
  secretStores = undefined as BrokerSettings['secretStores'],
  /** For tests that look at all accounts of the server: a superuser's URL on one of their own. */
  targetServer = undefined as string | undefined,
  /** What `api` sends requests by. */
  send = fetch as (url: string, init: RequestInit) => Promise<Response>,
} = {}): Promise<TestBroker> {
  const ledger = await openTestLedger()
  const target = await openSharedTarget(targetServer)
  const opened: Broker[] = []
  const another = async () => {
    const broker = await compose({
      ledgerUrl: sensitive(ledger.url),
      queueUrl: sensitive(queueUrl),
      masterKey: sensitive(MASTER_KEY),
      sweepIntervalMs,
      reconcileIntervalMs,
      tracing,
      secretStores,
      log: createLogger('silent', 'json'),
    })
    opened.push(broker)
    return broker
  }
  const broker = await another()
  await broker.tokens.createRootToken(ROOT)
  const { url } = await broker.listen({ host: '127.0.0.1', port: 0 })
  if (worker) broker.startWorker()

  const api: TestBroker['api'] = async (method, path, body, headers = {}) => {
    const response = await send(`${url}/v1/${path}`, {
      method,
      headers: { 'X-Vault-Token': ROOT, ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: text === '' ? undefined : JSON.parse(text),
    }
  }
  await api('POST', 'sys/mounts/database', { type: 'database' })
  await api('POST', 'database/config/db', {
    plugin_name: 'postgresql-database-plugin',
    connection_url: target.urlTemplate,
    username: target.admin,
    password: target.password,
    allowed_roles: '*',
  })
  await api('POST', 'database/roles/app', {
    db_name: 'db',
    member_of: target.readers,
    default_ttl: '1m',
    max_ttl: '10m',
  })
  return {
    url,
    root: ROOT,
    broker,
    another,
    ledger,
    target,
    vault: nodeVault({ endpoint: url, token: ROOT }),
    api,
    async close() {
      await Promise.all(opened.map((each) => each.close()))
      await target.close()
      await ledger.close()
    },
  }
}
