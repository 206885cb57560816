import { onBehalfOf } from './audit/request.ts'
import { type AccessSide, composeAccess } from './compose/access.ts'
import { composeAuditLog } from './compose/audit-log.ts'
import { composeAuditSinks } from './compose/audit-sinks.ts'
import { openBase } from './compose/base.ts'
import { endingTokens } from './compose/jobs.ts'
import { composeLeases, type LeaseSide } from './compose/leases.ts'
import { routeTables } from './compose/routes.ts'
import { type Api, createApi } from './http/app.ts'
import { type Listening, listen, type Tls } from './http/server.ts'
import type { TokenStore } from './identity/tokens.ts'
import type { Ender } from './lease/ender.ts'
import type { Enrolment } from './lease/enrolment.ts'
import type { Issue } from './lease/issue.ts'
import type { Mounts } from './lease/mounts.ts'
import type { Renew } from './lease/renew.ts'
import type { Roles } from './lease/roles.ts'
import { createSweep, type Sweep } from './lease/sweep.ts'
import { type OpenLedger, openLedger } from './ledger/db.ts'
import { readTargetGauges } from './ledger/gauges.ts'
import { isMigrated, migrate } from './ledger/migrate.ts'
import type { TokensEnded } from './ledger/token-ending.ts'
import { messageOf } from './lib/errors.ts'
import type { Logger } from './lib/log.ts'
import type { Sensitive } from './lib/sensitive.ts'
import type { TracingSettings } from './lib/tracing-settings.ts'
import { VERSION } from './lib/version.ts'
import { showGauges } from './telemetry/gauges.ts'
import type { Metrics } from './telemetry/metrics.ts'
import type { Tracing } from './telemetry/tracing.ts'

/** With `compose/`, all that builds parts and joins them; read it to see the whole. */

export type BrokerSettings = {
  ledgerUrl: Sensitive
  queueUrl: Sensitive
  masterKey: Sensitive
  sweepIntervalMs: number
  /** Undefined: nothing is traced, and nothing of OpenTelemetry is loaded. */
  tracing?: TracingSettings | undefined
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
  /** Opens files that are written to anew: for after they have been moved away. */
  reopenLogs(): void
  /** Answers the requests in hand, finishes the endings in hand, then closes what is behind them. */
  close(): Promise<void>
}

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
  let tracing: Tracing | undefined
  try {
    if (!(await isMigrated(ledger))) {
      throw new Error('the ledger has not been set up for this version; run `leasehold init`')
    }
    tracing = await openTraces(settings)
    return await composeOn(ledger, settings, tracing)
  } catch (error) {
    await tracing?.close()
    await ledger.close()
    throw error
  }
}

const connect = (url: Sensitive, log: Logger): OpenLedger =>
  openLedger(url.reveal(), (error) =>
    log.warn({ error: error.message }, 'a connection to the ledger was lost'),
  )

async function openTraces({ tracing, log }: BrokerSettings): Promise<Tracing | undefined> {
  if (!tracing) return undefined
  const { openTracing } = await import('./telemetry/tracing.ts')
  return openTracing({ settings: tracing, version: VERSION, log })
}

async function composeOn(
  ledger: OpenLedger,
  settings: BrokerSettings,
  tracing: Tracing | undefined,
): Promise<Broker> {
  const { log } = settings
  const base = await openBase(ledger, settings, tracing)
  const { metrics, trail, shipping } = base
  const leases = composeLeases(base)
  const access = composeAccess(base, leases)
  const sweep = createSweep({
    ...base,
    ...leases,
    endExpiredTokens: endingExpired(access, leases, metrics),
    intervalMs: settings.sweepIntervalMs,
    record: metrics.sweep.round,
  })
  showGauges(metrics, {
    leases: () => readTargetGauges(ledger),
    openTargets: leases.targets.all,
    ledgerUse: ledger.connections,
  })
  const { checkpoints, auditLog } = composeAuditLog({ ledger, log }, base.signer)
  const tables = routeTables({ ...base, ...leases, ...access, auditLog, auditSinks: composeAuditSinks(base) })
  const api = createApi({
    ...access,
    log,
    audit: { record: trail.record, hash: base.auditHash },
    identify: access.tokens.identify,
    findMount: leases.mounts.resolve,
    routesOf: (type) => tables[type] ?? [],
    record: metrics.request,
    ...(tracing && { serving: tracing.serving }),
  })

  checkpoints.start()

  let server: Listening | undefined
  let closing: Promise<void> | undefined
  const closeAll = () =>
    closeInOrder(log, [
      () => server?.close(),
      api.settled,
      async () => leases.ender.stop(),
      base.wakeups.close,
      sweep.stop,
      leases.targets.close,
      shipping.stop,
      trail.close,
      checkpoints.stop,
      ledger.close,
      () => tracing?.close(),
    ])

  return {
    ...leases,
    tokens: access.tokens,
    api,
    sweep,
    reopenLogs: shipping.reopen,
    async listen({ tls, ...address }) {
      await shipping.start()
      server = await listen({ ...address, ...(tls && { tls }) }, api.app, log)
      return server
    },
    startWorker() {
      void shipping.start()
      base.wakeups.run((targetId) => leases.ender.drain(targetId))
      sweep.start()
    },
    close: () => (closing ??= closeAll()),
  }
}

/** What cannot be closed as it should be, such as the chains of a ledger that is away, must not keep the rest open. */
async function closeInOrder(log: Logger, steps: (() => Promise<unknown> | undefined)[]): Promise<void> {
  for (const step of steps) {
    await step()?.catch((error) =>
      log.warn({ error: messageOf(error) }, 'not everything was closed in order'),
    )
  }
}

const EXPIRING = endingTokens('end_expired_tokens', (result) => result as TokensEnded)

const endingExpired =
  (
    { tokens, wrapping, oidcStates, approle, dropStrandedSecrets }: AccessSide,
    { quotas }: LeaseSide,
    { sweep }: Metrics,
  ) =>
  async (): Promise<void> => {
    const [ended] = await Promise.all([
      onBehalfOf(EXPIRING, tokens.endExpiredTokens),
      wrapping.dropExpired(),
      quotas.dropExpired(),
      oidcStates.dropExpired(),
      approle.secretIds.dropExpired(),
      dropStrandedSecrets(),
    ])
    sweep.tokensEnded(ended)
  }
