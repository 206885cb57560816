import type { AuditEvent } from '../../audit/event.ts'
import type { Trail } from '../../audit/trail.ts'
import type { EngineType } from '../../engine/engine.ts'
import type { Ledger } from '../../ledger/db.ts'
import type { ClaimedTask } from '../../ledger/reconcile-tasks.ts'
import type { Logger } from '../../lib/log.ts'
import type { OpenTarget, Targets } from '../targets.ts'
import { wireLeaseId } from '../wire-id.ts'
import type { Finding, Report } from './report.ts'

export type ScanParts = {
  ledger: Ledger
  trail: Pick<Trail, 'commit'>
  targets: Targets
  engineTypes: readonly EngineType[]
  wake: (targetId: string) => void
  log: Logger
  /** Throws when the process is about to end: what is left is for the next scan. */
  goOn: () => void
}

/** A target in hand, and what is known of it so far. */
export type Scan = { target: OpenTarget; claim: ClaimedTask; report: Report }

/** So many accounts or leases are looked at together; no more are ever held in memory. */
export const PAGE = 100

/** What was found, for the record. `id`: of the lease that ends it. */
export const foundEvent = (
  { claim }: Scan,
  finding: Finding,
  { id, path, account, seen }: { id: string; path: string; account: string; seen?: readonly string[] },
): AuditEvent => ({
  type: 'system',
  what: { operation: 'reconcile', path },
  outcome: {},
  lease_id: wireLeaseId({ path, id }),
  target: claim.targetName,
  details: { found: finding, account, ...(seen && { seen: [...seen] }) },
})
