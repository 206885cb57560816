import type { OpenLedger } from '../ledger/db.ts'
import { readTargetGauges } from '../ledger/gauges.ts'
import { showGauges } from '../telemetry/gauges.ts'
import type { Base } from './base.ts'
import type { LeaseSide } from './leases.ts'

/** What is read when somebody asks for the metrics. */
export function composeGauges(
  { metrics }: Pick<Base, 'metrics'>,
  { targets }: Pick<LeaseSide, 'targets'>,
  ledger: OpenLedger,
): void {
  showGauges(metrics, {
    leases: () => readTargetGauges(ledger),
    openTargets: targets.all,
    ledgerUse: ledger.connections,
  })
}
