import type { Shipping } from './audit/sinks/shipping.ts'
import { GRANTS_WAKEUP } from './breakglass/due.ts'
import { DELIVERIES_WAKEUP, type Deliverer } from './breakglass/notify/deliverer.ts'
import type { PolicyBook } from './breakglass/policy-book.ts'
import { composeAccess } from './compose/access.ts'
import { composeApi } from './compose/api.ts'
import { composeAuditLog } from './compose/audit-log.ts'
import { composeAuditSinks } from './compose/audit-sinks.ts'
import { type Base, openBase } from './compose/base.ts'
import { type BreakGlassSide, composeBreakGlass } from './compose/break-glass.ts'
import { composeConsole } from './compose/console.ts'
import { composeControlGroups } from './compose/control-groups.ts'
import { composeGauges } from './compose/gauges.ts'
import { composeLeases, type LeaseSide } from './compose/leases.ts'
import { composeReconcile } from './compose/reconcile.ts'
import { composeRotation, type RotationSide } from './compose/rotation.ts'
import type { SecretStoreSettings } from './compose/secret-stores.ts'
import { composeSweep } from './compose/sweep.ts'
import type { Api } from './http/app.ts'
import { type Listening, listen, type Tls } from './http/server.ts'
import type { OidcMethod } from './identity/oidc/method.ts'
import type { TokenStore } from './identity/tokens.ts'
import type { WebauthnMethod } from './identity/webauthn/method.ts'
import type { Ender } from './lease/ender.ts'
import type { Enrolment } from './lease/enrolment.ts'
import type { Issue } from './lease/issue.ts'
import type { Mounts } from './lease/mounts.ts'
import type { Reconciler } from './lease/reconcile/reconciler.ts'
import type { Renew } from './lease/renew.ts'
import type { Roles } from './lease/roles.ts'
import type { Sweep } from './lease/sweep.ts'
import { type OpenLedger, openLedger } from './ledger/db.ts'
import { isMigrated, migrate } from './ledger/migrate.ts'
import { messageOf } from './lib/errors.ts'
import type { Logger } from './lib/log.ts'
import type { Sensitive } from './lib/sensitive.ts'
import type { TracingSettings } from './lib/tracing-settings.ts'
import { VERSION } from './lib/version.ts'
import type { Policies } from './policy/policies.ts'
import type { Rotator } from './rotation/rotator.ts'
import type { Tracing } from './telemetry/tracing.ts'

/** With `compose/`, all that builds parts and joins them; read it to see the whole. */

export type BrokerSettings = {
  ledgerUrl: Sensitive
  queueUrl: Sensitive
  masterKey: Sensitive
  /** What secrets may still be sealed under: they are brought under the one above. */
  previousMasterKey?: Sensitive | undefined
  /** Undefined: the built-in one alone. */
  secretStores?: SecretStoreSettings | undefined
  sweepIntervalMs: number
  /** How often each target is held against the ledger, and tried with a throwaway lease; absent or 0: on demand only. */
  reconcileIntervalMs?: number
  /** Undefined: nothing is traced, and nothing of OpenTelemetry is loaded. */
  tracing?: TracingSettings | undefined
  log: Logger
}

/** Everything one process needs; a server uses the API, a worker the fleet's side, the embedded mode both. */
export type Broker = {
  api: Api
  tokens: TokenStore
  policies: Policies
  /** Of break-glass. */
  policyBook: PolicyBook
  oidc: OidcMethod
  webauthn: WebauthnMethod
  mounts: Mounts
  enrolment: Enrolment
  roles: Roles
  issue: Issue
  renew: Renew
  ender: Ender
  sweep: Sweep
  /** What keeps and changes passwords. */
  rotator: Rotator
  /** What holds targets against the ledger. */
  reconciler: Reconciler
  /** Serves the API. Fails with a sentence that names LEASEHOLD_LISTEN when it cannot have the address. */
  listen(at: { host: string; port: number; tls?: Tls }): Promise<Listening>
  /** Takes wake-ups and sweeps, until `close`. */
  startWorker(): void
  /** Rotates passwords and does nothing else of a worker's, until `close`. */
  startRotation(): void
  /** Minds the deadlines of break-glass grants and does nothing else of a worker's, until `close`. */
  startGrants(): void
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
  // An index of millions of rows takes minutes, and so does waiting for another process to have made it.
  const ledger = connect(ledgerUrl, log, { isPatient: true })
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

const connect = (url: Sensitive, log: Logger, options: { isPatient?: boolean } = {}): OpenLedger =>
  openLedger(
    url.reveal(),
    (error) => log.warn({ error: error.message }, 'a connection to the ledger was lost'),
    options,
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
  const { trail, shipping } = base
  const leases = composeLeases(base)
  const access = composeAccess(base, leases)
  const rotation = composeRotation(base, leases, settings.sweepIntervalMs)
  const reconciler = composeReconcile(base, leases, settings.reconcileIntervalMs ?? 0)
  const breakGlass = composeBreakGlass(base, leases, settings.sweepIntervalMs)
  const { sweep, deliverer } = composeSweep(
    base,
    { leases, access, rotation, reconciler, breakGlass },
    settings.sweepIntervalMs,
  )
  composeGauges(base, leases, ledger)
  const { checkpoints, auditLog } = composeAuditLog({ ledger, log }, base.signer)
  const parts = {
    ...leases,
    ...access,
    ...rotation,
    ...breakGlass,
    auditLog,
    auditSinks: composeAuditSinks(base),
    reconciler,
    controlGroups: composeControlGroups(base, access, {
      ...breakGlass,
      activate: breakGlass.grantAccess.activate,
    }),
  }
  const { console, closePages } = composeConsole(base, leases, access)
  const api = composeApi(base, parts, { tracing, console })

  checkpoints.start()

  let server: Listening | undefined
  let closing: Promise<void> | undefined
  const closeAll = () =>
    closeInOrder(log, [
      () => server?.close(),
      api.settled,
      async () => leases.ender.stop(),
      async () => reconciler.stop(),
      base.wakeups.close,
      sweep.stop,
      rotation.stop,
      breakGlass.stopGrants,
      leases.ties.stop,
      leases.targets.close,
      shipping.stop,
      trail.close,
      checkpoints.stop,
      () => base.closeStores().then(ledger.close),
      () => tracing?.close(),
    ])

  return {
    ...leases,
    ...whoMayWhat(access),
    policyBook: breakGlass.policyBook,
    api,
    sweep,
    rotator: rotation.rotator,
    reconciler,
    reopenLogs: shipping.reopen,
    async listen({ tls, ...address }) {
      await shipping.start()
      const listening = await listen({ ...address, ...(tls && { tls }) }, api.app, log)
      server = {
        ...listening,
        close: (graceMs) => {
          // Their answers never end by themselves, and would be waited for.
          closePages()
          return listening.close(graceMs)
        },
      }
      return server
    },
    ...starts(base, { leases, rotation, breakGlass, deliverer, sweep }),
    close: () => (closing ??= closeAll()),
  }
}

const whoMayWhat = ({ tokens, policies, oidc, webauthn }: ReturnType<typeof composeAccess>) => ({
  tokens,
  policies,
  oidc,
  webauthn,
})

/** What a process of the fleet does, until `close`. */
function starts(
  { shipping, wakeups }: Pick<Base, 'wakeups'> & { shipping: Shipping },
  parts: {
    leases: LeaseSide
    rotation: RotationSide
    breakGlass: BreakGlassSide
    deliverer: Deliverer
    sweep: Sweep
  },
): Pick<Broker, 'startWorker' | 'startRotation' | 'startGrants'> {
  const { leases, rotation, breakGlass, deliverer, sweep } = parts
  /** What there is to do when the queue says a name: a target's, or that of all grants, or of all messages. */
  const onWakeup = (name: string): Promise<void> => {
    if (name === GRANTS_WAKEUP) return breakGlass.grantAccess.due.drain()
    if (name === DELIVERIES_WAKEUP) return deliverer.begin()
    // Beside the endings: those never wait for a rotation, and the sweep finds what fails here.
    rotation.rotator.drain(name).catch(() => {})
    return leases.ender.drain(name)
  }
  const starting = (start: () => void) => () => {
    void shipping.start()
    start()
  }
  return {
    startWorker: starting(() => {
      wakeups.run(onWakeup)
      sweep.start()
    }),
    startRotation: starting(rotation.start),
    startGrants: starting(breakGlass.startGrants),
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
