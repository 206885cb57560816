import type { AuditHash } from '../audit/parameters.ts'
import type { Trail } from '../audit/trail.ts'
import type { Signer } from '../lease/signer.ts'
import type { Ledger } from '../ledger/db.ts'
import type { MayGrant } from '../lib/granting.ts'
import type { Logger } from '../lib/log.ts'
import type { Tracer } from '../lib/trace.ts'
import type { Wakeups } from '../queue/wakeups.ts'
import type { SecretStore } from '../secrets/secret-store.ts'
import type { Metrics } from '../telemetry/metrics.ts'

/** What every part of one process rests on. */
export type Base = {
  /** What requests and jobs change through it is on the audit log. */
  ledger: Ledger
  trail: Trail
  auditHash: AuditHash
  signer: Signer
  secrets: SecretStore
  installation: string
  wakeups: Wakeups
  metrics: Metrics
  mayGrant: MayGrant
  trace: Tracer
  log: Logger
}
