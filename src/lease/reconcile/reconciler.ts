import {
  type ClaimedTask,
  claimDueTasks,
  claimTask,
  findTasks,
  finishTask,
  type Task,
  type TaskRow,
} from '../../ledger/reconcile-tasks.ts'
import { findTarget } from '../../ledger/targets.ts'
import { BrokerError, messageOf } from '../../lib/errors.ts'
import { jitter } from '../../lib/ids.ts'
import { type CanaryOutcome, type CanaryParts, runCanary } from './canary.ts'
import type { ScanParts } from './parts.ts'
import type { Report } from './report.ts'
import { scanTarget } from './scan.ts'
import type { EndUnknown } from './strays.ts'

/** What is known of a target's health, under the names of the wire. */
export type TargetStatus = {
  /** Whether the last canary could be ended; null when there was none. */
  revocable: boolean | null
  canary: (Partial<CanaryOutcome> & Times) | null
  reconcile: (Partial<Report> & Times & { error?: string }) | null
  warnings: string[]
}

type Times = { running: boolean; last_at: string | null; last_success_at: string | null; next_at: string }

export type Reconciler = {
  /** What is due on any target, claimed for this worker: each is to be run at once. */
  due(): Promise<{ name: string; run: () => Promise<void> }[]>
  /** Both tasks now, whether due or not. Throws `conflict` while either is under way. Undefined: no such connection. */
  now(mountId: string, name: string, endUnknown: EndUnknown): Promise<TargetStatus | undefined>
  status(mountId: string, name: string): Promise<TargetStatus | undefined>
  /** What is under way stops at its next page, and fails. */
  stop(): void
}

/** As many targets as one worker takes on in one round. */
const AT_A_TIME = 8
/** What failed is tried again this much sooner. */
const SOONER = 10
const HOUR_MS = 3_600_000

const NONE: EndUnknown = new Set()

export function createReconciler(
  parts: Omit<ScanParts, 'goOn'> & CanaryParts & { worker: string; intervalMs: number },
): Reconciler {
  const { ledger, worker, log } = parts
  let stopping = false
  const goOn = (): void => {
    if (stopping) throw new Error('the process is stopping')
  }

  const finish = (claim: ClaimedTask, ok: boolean, outcome: object): Promise<void> => {
    const everyMs = parts.intervalMs || HOUR_MS
    const nextMs = (ok ? everyMs : everyMs / SOONER) * jitter(0.9, 1.1)
    return finishTask(ledger, claim, { ok, outcome: { ...outcome }, nextMs })
  }

  const reconcile = async (claim: ClaimedTask, endUnknown: EndUnknown): Promise<void> => {
    const scan = { ...parts, goOn }
    try {
      await finish(claim, true, await scanTarget(scan, claim, endUnknown))
    } catch (error) {
      log.warn({ target: claim.targetName, error: messageOf(error) }, 'a target could not be reconciled')
      // What the last good one found is still the best there is to know.
      await finish(claim, false, { ...claim.outcome, error: messageOf(error) })
    }
  }

  const canary = async (claim: ClaimedTask): Promise<void> => {
    const outcome = await runCanary(parts, claim)
    if (outcome.state === 'failed') {
      log.error({ target: claim.targetName, ...outcome }, 'a throwaway lease could not be ended')
    }
    await finish(claim, outcome.state !== 'failed', outcome)
  }

  const run = (claim: ClaimedTask, endUnknown: EndUnknown): Promise<void> =>
    claim.task === 'canary' ? canary(claim) : reconcile(claim, endUnknown)

  const statusOf = async (targetId: string): Promise<TargetStatus> =>
    asStatus(await findTasks(ledger, targetId))

  return {
    async due() {
      if (parts.intervalMs === 0 || stopping) return []
      const claims = await claimDueTasks(ledger, { worker, firstMs: parts.intervalMs, limit: AT_A_TIME })
      return claims.map((claim) => ({
        name: `${claim.task} of target ${claim.targetId}`,
        run: () => run(claim, NONE),
      }))
    },
    async now(mountId, name, endUnknown) {
      const target = await findTarget(ledger, mountId, name)
      if (!target) return undefined
      const claims = await claimBoth(name, (task) => claimTask(ledger, { worker, targetId: target.id, task }))
      // One after the other, so that what is found is not counted with the canary among it.
      for (const claim of claims) await run(claim, endUnknown)
      return statusOf(target.id)
    },
    async status(mountId, name) {
      const target = await findTarget(ledger, mountId, name)
      return target && statusOf(target.id)
    },
    stop() {
      stopping = true
    },
  }
}

/** The canary is left to whoever has it in hand; the reconcile is what was asked for. */
async function claimBoth(
  name: string,
  claim: (task: Task) => Promise<ClaimedTask | undefined>,
): Promise<ClaimedTask[]> {
  const reconcile = await claim('reconcile')
  if (!reconcile) {
    throw new BrokerError(
      'conflict',
      `"${name}" is being reconciled; config/${name}/status will say what came of it`,
    )
  }
  const canary = await claim('canary')
  return canary ? [reconcile, canary] : [reconcile]
}

function asStatus(rows: readonly TaskRow[]): TargetStatus {
  const of = (task: Task): TaskRow | undefined => rows.find((row) => row.task === task)
  const [canary, reconcile] = [of('canary'), of('reconcile')]
  const tried = canary?.outcome as CanaryOutcome | null | undefined
  const { warnings = [], ...report } = (reconcile?.outcome ?? {}) as Partial<Report>
  return {
    revocable: tried && tried.state !== 'unsupported' ? tried.state === 'ended' : null,
    canary: canary ? { ...tried, ...timesOf(canary) } : null,
    reconcile: reconcile ? { ...report, ...timesOf(reconcile) } : null,
    warnings,
  }
}

const timesOf = ({ running, finishedAt, succeededAt, nextAt }: TaskRow): Times => ({
  running,
  last_at: finishedAt?.toISOString() ?? null,
  last_success_at: succeededAt?.toISOString() ?? null,
  next_at: nextAt.toISOString(),
})
