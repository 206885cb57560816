import { hostname } from 'node:os'
import type { EngineType } from './engine/engine.ts'
import { postgres } from './engine/postgres/postgres.ts'
import { type Api, createApi } from './http/app.ts'
import { authTokenRoutes } from './http/auth-token.ts'
import { databaseRoutes } from './http/database.ts'
import type { Ask } from './http/ports.ts'
import type { Route } from './http/route.ts'
import { type Listening, listen, type Tls } from './http/server.ts'
import { sysCapabilitiesRoutes } from './http/sys-capabilities.ts'
import { sysLeaseholdRoutes } from './http/sys-leasehold.ts'
import { sysLeaseRoutes } from './http/sys-leases.ts'
import { sysMountRoutes } from './http/sys-mounts.ts'
import { systemStateRoutes } from './http/sys-state.ts'
import { createTokenStore, type TokenStore } from './identity/tokens.ts'
import { createLeaseBook } from './lease/book.ts'
import { createEnder, type Ender } from './lease/ender.ts'
import { adminCredentials, createEnrolment, type Enrolment } from './lease/enrolment.ts'
import { createIssue, type Issue } from './lease/issue.ts'
import { createMounts, type Mounts } from './lease/mounts.ts'
import { openReceiptSigner, type ReceiptSigner } from './lease/receipts.ts'
import { createRenew, type Renew } from './lease/renew.ts'
import { createRoles, type Roles } from './lease/roles.ts'
import { createRecovery, createSweep, type Sweep } from './lease/sweep.ts'
import { createTargets } from './lease/targets.ts'
import { splitLeaseId } from './lease/wire-id.ts'
import { type Ledger, openLedger } from './ledger/db.ts'
import { installationId } from './ledger/installation.ts'
import { isMigrated, migrate } from './ledger/migrate.ts'
import { sealedSecrets } from './ledger/sealed-secrets.ts'
import { BrokerError } from './lib/errors.ts'
import { newId } from './lib/ids.ts'
import type { Logger } from './lib/log.ts'
import type { Sensitive } from './lib/sensitive.ts'
import { VERSION } from './lib/version.ts'
import { capabilities, decide, isRoot } from './policy/decide.ts'
import type { Principal } from './policy/principal.ts'
import { openWakeups } from './queue/wakeups.ts'
import { builtinSecretStore } from './secrets/builtin/builtin-store.ts'

/** The only file that builds parts and joins them; read it to see the whole. */

export type BrokerSettings = {
  ledgerUrl: Sensitive
  queueUrl: Sensitive
  masterKey: Sensitive
  sweepIntervalMs: number
  log: Logger
}

/** Everything one process needs; a server uses the API, a worker the fleet's side, the embedded mode both. */
export type Broker = {
  api: Api
  tokens: TokenStore
  mounts: Mounts
  enrolment: Enrolment
  roles: Roles
  issue: Issue
  renew: Renew
  ender: Ender
  sweep: Sweep
  /** Serves the API. Fails with a sentence that names LEASEHOLD_LISTEN when it cannot have the address. */
  listen(at: { host: string; port: number; tls?: Tls }): Promise<Listening>
  /** Takes wake-ups and sweeps, until `close`. */
  startWorker(): void
  /** Answers the requests in hand, finishes the endings in hand, then closes what is behind them. */
  close(): Promise<void>
}

const ENGINE_TYPES: readonly EngineType[] = [postgres]

/** Makes a new ledger, or brings an old one to this version. Any number of processes may call it at once. */
export async function migrateLedger({
  ledgerUrl,
  log,
}: Pick<BrokerSettings, 'ledgerUrl' | 'log'>): Promise<void> {
  const ledger = connect(ledgerUrl, log)
  try {
    await migrate(ledger)
  } finally {
    await ledger.close()
  }
}

/** Throws a sentence for the operator when the ledger is not there, not migrated, or sealed under another key. */
export async function compose(settings: BrokerSettings): Promise<Broker> {
  const ledger = connect(settings.ledgerUrl, settings.log)
  try {
    if (!(await isMigrated(ledger))) {
      throw new Error('the ledger has not been set up for this version; run `leasehold init`')
    }
    return await composeOn(ledger, settings)
  } catch (error) {
    await ledger.close()
    throw error
  }
}

const connect = (url: Sensitive, log: Logger): Ledger =>
  openLedger(url.reveal(), (error) =>
    log.warn({ error: error.message }, 'a connection to the ledger was lost'),
  )

async function composeOn(
  ledger: Ledger,
  { queueUrl, masterKey, sweepIntervalMs, log }: BrokerSettings,
): Promise<Broker> {
  const secrets = builtinSecretStore(sealedSecrets(ledger), masterKey)
  const installation = await installationId(ledger, newId())
  const receipts = await openReceiptSigner(secrets, installation)
  const wakeups = openWakeups({ url: queueUrl.reveal(), installation, log })
  const { wake } = wakeups
  const wakeAt = (targetId: string, dueAt: Date, inMs: number) => {
    const second = Math.ceil(dueAt.getTime() / 1_000)
    wakeups.ensure(targetId, second, second * 1_000 - dueAt.getTime() + inMs)
  }

  const targets = createTargets({
    ledger,
    engineTypes: ENGINE_TYPES,
    admin: (target) => adminCredentials(secrets, target),
    onRecovery: createRecovery({ ledger, wake, log }),
  })
  const worker = `${hostname()}/${process.pid}/${newId().slice(0, 6)}`
  const ender = createEnder({ ledger, targets, receipts, log, worker, wake })
  const tokens = createTokenStore(ledger, (targetIds) => targetIds.forEach(wake))
  const mounts = createMounts({ ledger, types: { secret: ['database'], auth: [] }, wake })
  const enrolment = createEnrolment({ ledger, secrets, engineTypes: ENGINE_TYPES, wake })
  const roles = createRoles({ ledger, engineTypes: ENGINE_TYPES })
  const issue = createIssue({ ledger, targets, engineTypes: ENGINE_TYPES, ender, wakeAt })
  const renew = createRenew({ ledger, targets, wakeAt })
  const { endExpiredTokens } = tokens
  const sweep = createSweep({ ledger, targets, ender, endExpiredTokens, intervalMs: sweepIntervalMs, log })

  const tables = routeTables({
    ledger,
    installation,
    tokens,
    mounts,
    enrolment,
    roles,
    issue,
    renew,
    ender,
    receipts,
  })
  const api = createApi({
    log,
    identify: tokens.identify,
    authorize: async (ask) => authorize(ask),
    findMount: mounts.resolve,
    routesOf: (type) => tables[type] ?? [],
  })

  let server: Listening | undefined
  let closing: Promise<void> | undefined
  const closeAll = async () => {
    await server?.close()
    await api.settled()
    ender.stop()
    await wakeups.close()
    await sweep.stop()
    await targets.close()
    await ledger.close()
  }

  return {
    api,
    tokens,
    mounts,
    enrolment,
    roles,
    issue,
    renew,
    ender,
    sweep,
    async listen({ tls, ...address }) {
      server = await listen({ ...address, ...(tls && { tls }) }, api.app, log)
      return server
    },
    startWorker() {
      wakeups.run((targetId) => ender.drain(targetId))
      sweep.start()
    },
    close: () => (closing ??= closeAll()),
  }
}

/** The routes of each mount type; `system` is `sys/`. The published contract is held against this table. */
export function routeTables(parts: {
  ledger: Ledger
  installation: string
  tokens: TokenStore
  mounts: Mounts
  enrolment: Enrolment
  roles: Roles
  issue: Issue
  renew: Renew
  ender: Ender
  receipts: ReceiptSigner
}): Record<string, readonly Route[]> {
  const { ledger, installation, tokens, mounts, enrolment, roles, issue, renew, ender, receipts } = parts
  const book = createLeaseBook(ledger)
  const mayTouch = (principal: Principal, tokenId: string) =>
    isRoot(principal) || principal.tokenId === tokenId
  const mayAccess = (principal: Principal, path: string) => capabilities(principal, path)[0] !== 'deny'
  return {
    system: [
      ...systemStateRoutes({
        version: VERSION,
        clusterName: 'leasehold',
        clusterId: installation,
        initialized: () => isMigrated(ledger),
      }),
      ...sysCapabilitiesRoutes(tokens),
      ...sysLeaseRoutes({ book, renew, ender, mayTouch }),
      ...sysLeaseholdRoutes({ book, jwks: receipts.jwks, mayTouch }),
      ...sysMountRoutes({ mounts, mayAccess }),
    ],
    token: authTokenRoutes(tokens),
    database: databaseRoutes({
      enrolment,
      roles,
      issue,
      undelivered: (leaseId) => ender.abandon(splitLeaseId(leaseId).id, 'undelivered'),
    }),
  }
}

function authorize({ principal, operation, path, sudo }: Ask): void {
  const allowed = decide(principal, operation, path) === 'allow'
  const sudoAllowed = !sudo || decide(principal, 'sudo', path) === 'allow'
  if (!allowed || !sudoAllowed) throw new BrokerError('permission_denied', 'permission denied')
}
