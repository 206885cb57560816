import { type Capabilities, EngineError } from '../../engine/engine.ts'
import { dropSightings } from '../../ledger/reconcile-leases.ts'
import type { ClaimedTask } from '../../ledger/reconcile-tasks.ts'
import type { Scan, ScanParts } from './parts.ts'
import { newReport, type Report } from './report.ts'
import { reviewLeases } from './review.ts'
import { type EndUnknown, endStrays } from './strays.ts'

/** The target's clock may be so far from the ledger's before somebody should know. */
const SKEW_WARNING_MS = 2_000

/**
 * Holds a target against the ledger, both ways. What is found to be over is doomed here, and ended by the workers as
 * any lease is. Throws when the target does not answer, or is not the server it was.
 */
export async function scanTarget(
  parts: ScanParts,
  claim: ClaimedTask,
  endUnknown: EndUnknown,
): Promise<Report> {
  const startedMs = performance.now()
  const target = await parts.targets.open(claim.targetId, claim.targetVersion)
  const capabilities = await target.engine.probe()
  const isProven = isSameServer(claim, capabilities)
  const scan: Scan = { target, claim, report: newReport() }
  await endStrays(parts, scan, endUnknown)
  await reviewLeases(parts, scan, isProven)
  await dropSightings(parts.ledger, claim.targetId)
  const { report } = scan
  report.limits = (await target.engine.survey?.limits?.()) ?? []
  report.clock_skew_ms = capabilities.clockSkewMs
  if (capabilities.serverId !== undefined) report.server_id = capabilities.serverId
  report.warnings.push(...warningsOf(report, capabilities))
  report.seconds = Math.round(performance.now() - startedMs) / 1_000
  return report
}

/**
 * On another server, or an empty one that took this one's place, every account would seem to be gone. False where
 * nothing says which server it is.
 */
function isSameServer(
  { capabilities, outcome, targetName }: ClaimedTask,
  { serverId }: Capabilities,
): boolean {
  const known = capabilities?.serverId ?? outcome?.server_id
  if (known === undefined || serverId === undefined) return false
  if (known === serverId) return true
  throw new EngineError(
    'failed',
    `another server answers than the one that "${targetName}" was enrolled with (${serverId}, and was ${known}); write the connection again if that is meant`,
  )
}

function warningsOf(report: Report, { missing, clockSkewMs }: Capabilities): string[] {
  const { count } = report.found.unknown
  return [
    ...missing.map((what) => `the admin account lacks: ${what}`),
    ...(Math.abs(clockSkewMs) > SKEW_WARNING_MS
      ? [`the target's clock is ${Math.round(clockSkewMs / 100) / 10} s from ours`]
      : []),
    ...(count > 0
      ? [
          `${count} accounts with our mark are of no lease in this ledger: another installation's, or made after the backup that this ledger is from. They are left alone; end_unknown ends them`,
        ]
      : []),
    ...report.limits.flatMap(({ warning }) => warning ?? []),
  ]
}
