import { inject } from 'vitest'
import { type Broker, compose } from '../../src/compose.ts'
import type { Mount } from '../../src/lease/mounts.ts'
import { createLogger } from '../../src/lib/log.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { openTestLedger, type TestLedger } from './ledger.ts'
import type { TestPostgres } from './postgres.ts'
import { openPostgresTarget, type PostgresTarget } from './postgres-target.ts'
import { type GatePlan, launch, type Process, type Settings, start, until } from './processes.ts'

/** A whole installation as an operator runs it: a ledger, targets, and any number of real processes. */
export type Installation = {
  test: TestLedger
  /** The targets, by the names of their roles: asking for role `app` makes an account on `app`. */
  targets: Record<string, PostgresTarget>
  token: string
  settings: Settings
  server(options?: StartOptions): Promise<Process>
  worker(options?: StartOptions): Promise<Process>
  /** Any command, not waited for. */
  launch(command: readonly string[], settings?: Settings): Process
  /** A broker within the test, as a restart finds things; swept when the test says so. */
  broker(): Promise<Broker>
  leases(): Promise<LeaseRow[]>
  /** Accounts on the targets that no live lease names: always none. */
  nameless(): Promise<string[]>
  /** Every account of ours on the targets. */
  accounts(): Promise<string[]>
  /** Restarts the work within the test, with time gone by, until every lease has ended. */
  settle(): Promise<void>
  close(): Promise<void>
}

type StartOptions = { plan?: GatePlan | undefined; settings?: Settings }

export type LeaseRow = {
  id: string
  account: string
  state: string
  reason: string | null
  attempts: number
  fence: number
  renewals: number
  claimedBy: string | null
  steps: string[]
  accessEnded: boolean
  receipts: number
  secondsToAction: number | null
}

const MASTER_KEY = Buffer.alloc(32, 7).toString('base64')
const TTL_SECONDS = 60
const MAX_TTL_SECONDS = 600

type Options = {
  /** The server whose accounts each target is, by name. */
  targets: Record<string, TestPostgres>
  ledgerServer?: TestPostgres
  queueUrl?: string
  /** The ledger's clock moves by `advance` alone. */
  stopped?: boolean
  ttlSeconds?: number
}

export async function openInstallation(options: Options): Promise<Installation> {
  const { ledgerServer, stopped = false } = options
  const test = await openTestLedger({ stopped, ...(ledgerServer && { serverUrl: ledgerServer.url() }) })
  const targets: Record<string, PostgresTarget> = {}
  for (const [name, server] of Object.entries(options.targets)) {
    targets[name] = await openPostgresTarget(server, 'superuser')
  }
  const settings: Settings = {
    LEASEHOLD_LEDGER_URL: test.url,
    LEASEHOLD_QUEUE_URL: options.queueUrl ?? inject('redisUrl'),
    LEASEHOLD_MASTER_KEY: MASTER_KEY,
    LEASEHOLD_SWEEP_INTERVAL: '1s',
    // Tests move the clock by hours.
    LEASEHOLD_RECONCILE_INTERVAL: '0',
  }
  const broker = () =>
    compose({
      ledgerUrl: sensitive(test.url),
      queueUrl: sensitive(settings.LEASEHOLD_QUEUE_URL ?? ''),
      masterKey: sensitive(MASTER_KEY),
      sweepIntervalMs: 1_000_000,
      log: createLogger('silent', 'json'),
    })
  const token = await furnish(await broker(), targets, options.ttlSeconds ?? TTL_SECONDS)
  const processes: Process[] = []
  const started = async (command: 'server' | 'worker', { plan, settings: more }: StartOptions = {}) => {
    const listen = command === 'server' ? { LEASEHOLD_LISTEN: '127.0.0.1:0' } : {}
    const process = await start(command, { settings: { ...settings, ...listen, ...more }, plan })
    processes.push(process)
    return process
  }
  const accounts = async () => (await Promise.all(Object.values(targets).map(accountsOf))).flat()

  const installation: Installation = {
    test,
    targets,
    token,
    settings,
    server: (more) => started('server', more),
    worker: (more) => started('worker', more),
    launch(command, more) {
      const process = launch(command, { settings: { ...settings, ...more } })
      processes.push(process)
      return process
    },
    broker,
    leases: () => leasesOf(test),
    accounts,
    async nameless() {
      // The accounts first: a row comes before its account and goes after it.
      const found = await accounts()
      const live = (await leasesOf(test)).filter(({ state }) => state !== 'revoked')
      const named = new Set(live.map(({ account }) => account))
      return found.filter((account) => !named.has(account))
    },
    settle: () => settle(installation),
    async close() {
      await Promise.all(processes.filter((each) => each.isRunning()).map((each) => each.kill()))
      await Promise.all(Object.values(targets).map((target) => target.close()))
      await test.close()
    },
  }
  return installation
}

/** Mount, targets and roles, and a root token. */
async function furnish(
  broker: Broker,
  targets: Record<string, PostgresTarget>,
  ttlSeconds: number,
): Promise<string> {
  try {
    await broker.mounts.enable('database/', 'database', {})
    const mount = (await broker.mounts.find('database/')) as Mount
    for (const [name, target] of Object.entries(targets)) {
      await broker.enrolment.write(mount, name, {
        plugin: 'postgresql-database-plugin',
        verify: true,
        allowedRoles: ['*'],
        password: sensitive(target.admin.password),
        fields: {
          connection_url: target.spec.connection_url,
          username: target.admin.username,
          // Fast to make, and `pg` takes it.
          scram_iterations: 1,
        },
      })
      await broker.roles.write(mount, name, {
        dbName: name,
        defaultTtlSeconds: ttlSeconds,
        maxTtlSeconds: Math.max(MAX_TTL_SECONDS, ttlSeconds),
        fields: { member_of: [target.readers] },
      })
    }
    return (await broker.tokens.createRootToken()).token.reveal()
  } finally {
    await broker.close()
  }
}

async function accountsOf(target: PostgresTarget): Promise<string[]> {
  const rows = await target.sql(`SELECT rolname FROM pg_roles WHERE rolname LIKE 'v\\_%' ORDER BY rolname`)
  return rows.map(({ rolname }) => rolname)
}

async function leasesOf({ ledger }: TestLedger): Promise<LeaseRow[]> {
  const { rows } = await ledger.query<LeaseRow>(
    `select l.id, l.account, l.state, l.end_reason as reason, l.attempts, l.fence, l.renewals,
       l.claimed_by as "claimedBy", l.access_ended_at is not null as "accessEnded",
       array(select step ->> 'step' from jsonb_array_elements(l.steps) as step) as steps,
       (select count(*)::int from leasehold.receipt r where r.lease_id = l.id) as receipts,
       extract(epoch from l.next_action_at - leasehold.ledger_now())::float8 as "secondsToAction"
     from leasehold.lease l order by l.id`,
  )
  return rows
}

/** Longer than any lease, claim or create deadline here, and than the longest wait between two tries. */
const LONG_SECONDS = 1_000

async function settle(installation: Installation): Promise<void> {
  const broker = await installation.broker()
  try {
    await until(
      'every lease has ended',
      async () => {
        await installation.test.advance(LONG_SECONDS)
        await broker.sweep.once()
        return (await installation.leases()).every(({ state }) => state === 'revoked')
      },
      () => installation.leases(),
    )
  } finally {
    await broker.close()
  }
}

export type Answer = {
  status: number
  body: {
    lease_id?: string
    data?: Record<string, string>
    auth?: { client_token: string } | null
    errors?: string[]
  }
}

/** A request to a server; undefined when no answer came. */
export async function request(
  server: Process,
  token: string,
  method: string,
  path: string,
  body?: object,
): Promise<Answer | undefined> {
  try {
    const response = await fetch(`${server.url}/v1/${path}`, {
      method,
      headers: { 'X-Vault-Token': token, Connection: 'close' },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, body: text === '' ? {} : JSON.parse(text) }
  } catch {
    return undefined
  }
}
