import type { AuditHash } from '../audit/parameters.ts'
import { auditedLedger } from '../audit/request.ts'
import type { Shipping } from '../audit/sinks/shipping.ts'
import { openTrail, type Trail } from '../audit/trail.ts'
import { openSigner, type Signer } from '../lease/signer.ts'
import type { Ledger } from '../ledger/db.ts'
import { installationId } from '../ledger/installation.ts'
import type { MayGrant } from '../lib/granting.ts'
import { newId } from '../lib/ids.ts'
import type { Logger } from '../lib/log.ts'
import type { Sensitive } from '../lib/sensitive.ts'
import { type Tracer, untraced } from '../lib/trace.ts'
import { VERSION } from '../lib/version.ts'
import { openWakeups, type Wakeups } from '../queue/wakeups.ts'
import { type Credentials, createCredentials } from '../secrets/credentials.ts'
import type { SecretStore } from '../secrets/secret-store.ts'
import { createMetrics, type Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { openAuditHasher } from './audit-log.ts'
import { composeShipping } from './audit-sinks.ts'
import { composeSecretStores, type SecretStoreParts } from './secret-stores.ts'

/** What every part of one process rests on. */
export type Base = {
  /** What requests and jobs change through it is on the audit log. */
  ledger: Ledger
  trail: Trail
  auditHash: AuditHash
  signer: Signer
  /** What the installation itself needs: always in our own ledger. */
  secrets: SecretStore
  /** Those of admins and static accounts, wherever they are kept. */
  credentials: Credentials
  installation: string
  wakeups: Wakeups
  metrics: Metrics
  mayGrant: MayGrant
  trace: Tracer
  log: Logger
}

/** Opened so that whatever a wrong master key stops comes before anything that would have to be closed again. */
export async function openBase(
  ledger: Ledger,
  { queueUrl, log, ...keys }: SecretStoreParts & { queueUrl: Sensitive },
  tracing: Tracing | undefined,
): Promise<Base & { shipping: Shipping; closeStores: () => Promise<void> }> {
  const metrics = createMetrics({ version: VERSION })
  const installation = await installationId(ledger, newId())
  const stores = await composeSecretStores(ledger, { ...keys, log })
  const { builtin: secrets } = stores
  const auditHash = await openAuditHasher(secrets)
  const signer = await openSigner(secrets, installation)
  const trail = openTrail(ledger)
  const shipping = composeShipping({ ledger, secrets, metrics, log })
  return {
    ledger: auditedLedger(ledger, trail),
    trail,
    auditHash,
    signer,
    secrets,
    credentials: createCredentials(stores),
    closeStores: stores.close,
    installation,
    wakeups: openWakeups({ url: queueUrl.reveal(), installation, log, onTaken: metrics.queueLag, tracing }),
    metrics,
    shipping,
    mayGrant: shipping.mayGrant,
    trace: tracing?.trace ?? untraced,
    log,
  }
}
