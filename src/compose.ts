import { hostname } from 'node:os'
import type { EngineType } from './engine/engine.ts'
import { postgres } from './engine/postgres/postgres.ts'
import { type Api, createApi } from './http/app.ts'
import { authJwtRoutes } from './http/auth-jwt.ts'
import { authTokenRoutes } from './http/auth-token.ts'
import { databaseRoutes } from './http/database.ts'
import type { Route } from './http/route.ts'
import { type Listening, listen, type Tls } from './http/server.ts'
import { sysCapabilitiesRoutes } from './http/sys-capabilities.ts'
import { sysLeaseholdRoutes } from './http/sys-leasehold.ts'
import { sysLeaseRoutes } from './http/sys-leases.ts'
import { sysMountRoutes } from './http/sys-mounts.ts'
import { sysPolicyRoutes } from './http/sys-policies.ts'
import { systemStateRoutes } from './http/sys-state.ts'
import { sysWrappingRoutes } from './http/sys-wrapping.ts'
import { type AuthMounts, createAuthMounts } from './identity/auth-mounts.ts'
import { createJwtMethod, type JwtMethod } from './identity/jwt/method.ts'
import { createTokenStore, type TokenStore } from './identity/tokens.ts'
import { createWrapping, type Wrapping } from './identity/wrapping.ts'
import { createLeaseBook } from './lease/book.ts'
import { createEnder, type Ender } from './lease/ender.ts'
import { adminCredentials, createEnrolment, type Enrolment } from './lease/enrolment.ts'
import { createIssuables, type Issuables } from './lease/issuables.ts'
import { createIssue, type Issue } from './lease/issue.ts'
import { createMounts, type Mounts } from './lease/mounts.ts'
import { openReceiptSigner, type ReceiptSigner } from './lease/receipts.ts'
import { createRenew, type Renew } from './lease/renew.ts'
import { roleFacts } from './lease/role-facts.ts'
import { createRoles, type Roles } from './lease/roles.ts'
import { createRecovery, createSweep, type Sweep } from './lease/sweep.ts'
import { createTargets } from './lease/targets.ts'
import { splitLeaseId } from './lease/wire-id.ts'
import { type Ledger, openLedger } from './ledger/db.ts'
import { installationId } from './ledger/installation.ts'
import { countHeld } from './ledger/lease-issue.ts'
import { isMigrated, migrate } from './ledger/migrate.ts'
import { policyShelf } from './ledger/policies.ts'
import { sealedSecrets } from './ledger/sealed-secrets.ts'
import { newId } from './lib/ids.ts'
import type { Logger } from './lib/log.ts'
import type { Sensitive } from './lib/sensitive.ts'
import { VERSION } from './lib/version.ts'
import { createAuthorizer } from './policy/authorize.ts'
import { createPolicies, type Policies } from './policy/policies.ts'
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
  const [wake, wakeAt] = [wakeups.wake, wakingAt(wakeups)]
  const targets = createTargets({
    ledger,
    engineTypes: ENGINE_TYPES,
    admin: (target) => adminCredentials(secrets, target),
    onRecovery: createRecovery({ ledger, wake, log }),
  })
  const ender = createEnder({ ledger, targets, receipts, log, worker: workerName(), wake })
  const tokens = createTokenStore(ledger, (targetIds) => targetIds.forEach(wake))
  const mounts = createMounts({ ledger, types: { secret: ['database'], auth: ['jwt'] }, wake })
  const enrolment = createEnrolment({ ledger, secrets, engineTypes: ENGINE_TYPES, wake })
  const roles = createRoles({ ledger, engineTypes: ENGINE_TYPES })
  const issuables = createIssuables(ledger)
  const issue = createIssue({ ledger, issuables, targets, engineTypes: ENGINE_TYPES, ender, wakeAt })
  const renew = createRenew({ ledger, targets, wakeAt })
  const { policies, authorizer, authMounts, jwt, wrapping } = composeAccess({ ledger, issuables, mounts })
  const endExpiredTokens = () => Promise.all([tokens.endExpiredTokens(), wrapping.dropExpired()])
  const sweep = createSweep({ ledger, targets, ender, endExpiredTokens, intervalMs: sweepIntervalMs, log })

  const tables = routeTables({
    ledger,
    installation,
    tokens,
    wrapping,
    mounts,
    policies,
    authMounts,
    jwt,
    enrolment,
    roles,
    issue,
    renew,
    ender,
    receipts,
  })
  const api = createApi({
    log,
    wrapping,
    identify: tokens.identify,
    authorizer,
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

const workerName = (): string => `${hostname()}/${process.pid}/${newId().slice(0, 6)}`

/** Wake-ups are for whole seconds, so that all that is due in one shares a job. */
const wakingAt =
  ({ ensure }: Pick<ReturnType<typeof openWakeups>, 'ensure'>) =>
  (targetId: string, dueAt: Date, inMs: number): void => {
    const second = Math.ceil(dueAt.getTime() / 1_000)
    ensure(targetId, second, second * 1_000 - dueAt.getTime() + inMs)
  }

/** Who may log in, and who may have what. */
function composeAccess({
  ledger,
  issuables,
  mounts,
}: {
  ledger: Ledger
  issuables: Issuables
  mounts: Mounts
}) {
  const policies = createPolicies(policyShelf(ledger))
  const authMounts = createAuthMounts(ledger)
  return {
    policies,
    authorizer: createAuthorizer({
      policies,
      roleOf: roleFacts({ issuables, mounts }),
      leasesHeld: (principalId) => countHeld(ledger, principalId),
    }),
    authMounts,
    jwt: createJwtMethod(ledger, authMounts),
    wrapping: createWrapping(ledger),
  }
}

/** The routes of each mount type; `system` is `sys/`. The published contract is held against this table. */
export function routeTables(parts: {
  ledger: Ledger
  installation: string
  tokens: TokenStore
  wrapping: Wrapping
  mounts: Mounts
  policies: Policies
  authMounts: AuthMounts
  jwt: JwtMethod
  enrolment: Enrolment
  roles: Roles
  issue: Issue
  renew: Renew
  ender: Ender
  receipts: ReceiptSigner
}): Record<string, readonly Route[]> {
  const { ledger, installation, tokens, mounts, policies, enrolment, roles, issue, renew, ender, receipts } =
    parts
  const book = createLeaseBook(ledger)
  return {
    system: [
      ...systemStateRoutes({
        version: VERSION,
        clusterName: 'leasehold',
        clusterId: installation,
        initialized: () => isMigrated(ledger),
      }),
      ...sysCapabilitiesRoutes(tokens),
      ...sysLeaseRoutes({ book, renew, ender, holder: tokens.holderById }),
      ...sysLeaseholdRoutes({ book, jwks: receipts.jwks }),
      ...sysMountRoutes(mounts),
      ...sysPolicyRoutes(policies, tokens),
      ...sysWrappingRoutes(parts.wrapping),
    ],
    token: authTokenRoutes(tokens),
    jwt: authJwtRoutes({ tokens, mounts: parts.authMounts, jwt: parts.jwt }),
    database: databaseRoutes({
      enrolment,
      roles,
      issue,
      undelivered: (leaseId) => ender.abandon(splitLeaseId(leaseId).id, 'undelivered'),
    }),
  }
}
