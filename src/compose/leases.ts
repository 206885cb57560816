import { hostname } from 'node:os'
import type { EngineType } from '../engine/engine.ts'
import { postgres } from '../engine/postgres/postgres.ts'
import { createEnder } from '../lease/ender.ts'
import { adminCredentials, createEnrolment } from '../lease/enrolment.ts'
import { createIssuables } from '../lease/issuables.ts'
import { createIssue } from '../lease/issue.ts'
import { createMounts } from '../lease/mounts.ts'
import { createQuotas } from '../lease/quotas.ts'
import { createReceiptSigner } from '../lease/receipts.ts'
import { createRenew } from '../lease/renew.ts'
import { createRoles } from '../lease/roles.ts'
import { createRecovery } from '../lease/sweep.ts'
import { createTargets } from '../lease/targets.ts'
import { newId } from '../lib/ids.ts'
import { asStep } from '../lib/trace.ts'
import type { Base } from './base.ts'

const ENGINE_TYPES: readonly EngineType[] = [postgres]

/** What makes leases, keeps them alive and ends them. */
export function composeLeases({
  signer,
  ledger,
  trail,
  secrets,
  wakeups,
  metrics,
  mayGrant,
  trace,
  log,
}: Base) {
  const receipts = createReceiptSigner(signer)
  const [wake, wakeAt] = [wakeups.wake, wakingAt(wakeups)]
  const targets = createTargets({
    ledger,
    engineTypes: ENGINE_TYPES,
    admin: (target) => adminCredentials(secrets, target),
    onRecovery: createRecovery({ ledger, wake, log }),
    trace,
  })
  const ender = createEnder({
    ledger,
    trail,
    targets,
    receipts,
    log,
    worker: processName(),
    wake,
    record: metrics.ending,
    trace,
  })
  const mounts = createMounts({
    ledger,
    types: { secret: ['database'], auth: ['jwt', 'oidc', 'kubernetes', 'approle'] },
    wake,
  })
  const issuables = createIssuables(ledger)
  const quotas = createQuotas({ ledger, mounts })
  return {
    receipts,
    targets,
    ender,
    mounts,
    issuables,
    quotas,
    enrolment: createEnrolment({ ledger, secrets, engineTypes: ENGINE_TYPES, wake }),
    roles: createRoles({ ledger, engineTypes: ENGINE_TYPES }),
    issue: createIssue({
      ledger,
      targets,
      ender,
      wakeAt,
      issuables,
      engineTypes: ENGINE_TYPES,
      leaseCounts: quotas.leaseCounts,
      mayGrant,
      measure: asStep(trace, 'lease.issue', metrics.issue),
    }),
    renew: createRenew({
      ledger,
      targets,
      wakeAt,
      mayGrant,
      measure: asStep(trace, 'lease.renew', metrics.renew),
    }),
  }
}

export type LeaseSide = ReturnType<typeof composeLeases>

export const processName = (): string => `${hostname()}/${process.pid}/${newId().slice(0, 6)}`

/** Wake-ups are for whole seconds, so that all that is due in one shares a job. */
const wakingAt =
  ({ ensure }: Pick<Base['wakeups'], 'ensure'>) =>
  (targetId: string, dueAt: Date, inMs: number): void => {
    const second = Math.ceil(dueAt.getTime() / 1_000)
    ensure(targetId, second, second * 1_000 - dueAt.getTime() + inMs)
  }
