import { createReconciler, type Reconciler } from '../lease/reconcile/reconciler.ts'
import { readTaskGauges } from '../ledger/reconcile-tasks.ts'
import { showReconcileGauges } from '../telemetry/reconcile.ts'
import type { Base } from './base.ts'
import { type LeaseSide, processName } from './leases.ts'

/** What holds targets against the ledger, and shows what came of it. `intervalMs` 0: only when it is asked for. */
export function composeReconcile(
  { ledger, trail, wakeups, metrics, log }: Base,
  { targets, engineTypes, ender }: LeaseSide,
  intervalMs: number,
): Reconciler {
  showReconcileGauges(metrics, () => readTaskGauges(ledger))
  return createReconciler({
    ledger,
    trail,
    targets,
    engineTypes,
    ender,
    wake: wakeups.wake,
    log,
    worker: processName(),
    intervalMs,
  })
}
