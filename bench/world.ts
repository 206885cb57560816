import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { type PostgresServer, startPostgres } from '../src/dev/embedded-postgres.ts'
import { type HttpClient, openHttp } from './http-client.ts'
import {
  type BrokerProcess,
  freePort,
  runCli,
  type Settings,
  startBroker,
  untilHealthy,
} from './processes.ts'
import { sessionTimeMs } from './processor-time.ts'

/** The servers of a run. One PostgreSQL, with its own durable defaults, is every ledger and the target. */
export type World = {
  postgres: PostgresServer
  folder: string
  /** Connects to the target as the broker's admin account there does. */
  targetClient(): Promise<pg.Client>
  /** Processor time that the target's sessions have used so far. */
  targetTimeMs(): Promise<number>
  /** A ledger with its server and worker running, and the target enrolled. */
  install(name: string, options?: { queueUrl?: string | undefined }): Promise<Installation>
  close(): Promise<void>
}

export type Installation = {
  settings: Settings
  url: string
  token: string
  /** The ledger, for looking and for preparing what would take too long over the API. */
  ledger: pg.Client
  server: BrokerProcess
  worker: BrokerProcess
  /** As many connections to the API, used by one caller each. */
  clients(count: number): Promise<HttpClient[]>
  stop(): Promise<void>
}

const TARGET = 'target'
/** A superuser, whose statements cost the same however many accounts live: since 16 a CREATEROLE admin's do not. */
const ADMIN = 'bench_admin'
const GROUP = 'bench_group'

/** What may be asked for. Both settings of the key derivation, and leases that soon end by themselves. */
const ROLES = {
  'issue-4096': { scram_iterations: 4_096, default_ttl: '10m', max_ttl: '1h' },
  'issue-1': { scram_iterations: 1, default_ttl: '10m', max_ttl: '1h' },
  brief: { scram_iterations: 1, default_ttl: '5s', max_ttl: '5s' },
} as const

export async function openWorld(): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-bench-'))
  // PostgreSQL may run as an account of its own, which has to pass through.
  await chmod(folder, 0o711)
  const postgres = await startPostgres({ dataDir: join(folder, 'pg') })
  const opened: Installation[] = []
  const admin = { name: ADMIN, password: randomBytes(18).toString('base64url') }
  await asSuperuser(postgres, async (client) => {
    await client.query(`create role ${ADMIN} login superuser password '${admin.password}'`)
    await client.query(`create role ${GROUP} nologin`)
    await client.query(`create database ${TARGET}`)
  })

  return {
    postgres,
    folder,
    targetClient: () => connected(postgres.url(TARGET, admin)),
    targetTimeMs: () => sessionTimeMs(postgres.pid, TARGET),
    async install(name, { queueUrl } = {}) {
      const database = `ledger_${name.toLowerCase()}`
      await asSuperuser(postgres, (client) => client.query(`create database ${database}`))
      const installation = await startInstallation(postgres.url(database), queueUrl, folder)
      opened.push(installation)
      await enrol(installation, postgres.url(TARGET, { name: 'USER', password: 'SECRET' }), admin)
      return installation
    },
    async close() {
      await Promise.allSettled(opened.map((installation) => installation.stop()))
      await postgres.stop('immediate')
      await rm(postgres.home, { recursive: true, force: true })
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  // Whoever waits for an answer hears of it; what goes wrong first must not be hidden by the servers' end.
  client.on('error', () => {})
  await client.connect()
  return client
}

async function asSuperuser(
  postgres: PostgresServer,
  work: (client: pg.Client) => Promise<unknown>,
): Promise<void> {
  const client = await connected(postgres.url())
  await work(client)
  await client.end()
}

async function startInstallation(
  ledgerUrl: string,
  queueUrl: string | undefined,
  folder: string,
): Promise<Installation> {
  const settings: Settings = {
    LEASEHOLD_LEDGER_URL: ledgerUrl,
    LEASEHOLD_MASTER_KEY: randomBytes(32).toString('base64'),
    LEASEHOLD_LISTEN: `127.0.0.1:${await freePort()}`,
    ...(queueUrl === undefined ? {} : { LEASEHOLD_QUEUE_URL: queueUrl }),
  }
  const url = `http://${settings.LEASEHOLD_LISTEN}`
  const token = /^ {2}(lh\.\w+)$/m.exec(await runCli('init', settings))?.[1]
  if (token === undefined) throw new Error('leasehold init printed no root token')
  const server = startBroker('server', settings, folder)
  const worker = startBroker('worker', settings, folder)
  await untilHealthy(url)
  const ledger = await connected(ledgerUrl)
  const http: HttpClient[] = []

  return {
    settings,
    url,
    token,
    ledger,
    server,
    worker,
    async clients(count) {
      const clients = await Promise.all(Array.from({ length: count }, () => openHttp(url, token)))
      http.push(...clients)
      return clients
    },
    async stop() {
      for (const client of http) client.close()
      await Promise.all([server.stop(), worker.stop()])
      await ledger.end()
    },
  }
}

async function enrol(
  installation: Installation,
  targetUrl: string,
  admin: { name: string; password: string },
): Promise<void> {
  const [api] = await installation.clients(1)
  await api?.call('POST', 'sys/mounts/database', { type: 'database' })
  await api?.call('POST', 'database/config/target', {
    plugin_name: 'postgresql-database-plugin',
    connection_url: targetUrl.replace('USER', '{{username}}').replace('SECRET', '{{password}}'),
    username: admin.name,
    password: admin.password,
    allowed_roles: '*',
  })
  for (const [name, role] of Object.entries(ROLES)) {
    await api?.call('POST', `database/roles/${name}`, { db_name: 'target', member_of: [GROUP], ...role })
  }
}
