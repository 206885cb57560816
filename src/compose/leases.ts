import { hostname } from 'node:os'
import type { EngineType } from '../engine/engine.ts'
import { kubernetes } from '../engine/kubernetes/kubernetes.ts'
import { mysql } from '../engine/mysql/mysql.ts'
import { postgres } from '../engine/postgres/postgres.ts'
import { adminOf } from '../lease/admin-credentials.ts'
import { createEnder } from '../lease/ender.ts'
import { createEnrolment } from '../lease/enrolment.ts'
import { createEnrolmentSql } from '../lease/enrolment-sql.ts'
import { createIssuables } from '../lease/issuables.ts'
import { createIssue } from '../lease/issue.ts'
import { createMounts } from '../lease/mounts.ts'
import { createQuotas } from '../lease/quotas.ts'
import { createReceiptSigner } from '../lease/receipts.ts'
import { createRenewals } from '../lease/renew.ts'
import { createRoles } from '../lease/roles.ts'
import { createRecovery } from '../lease/sweep.ts'
import { createTargets } from '../lease/targets.ts'
import { createTies } from '../lease/ties.ts'
import { newId } from '../lib/ids.ts'
import { asStep } from '../lib/trace.ts'
import { accountKeys } from './account-keys.ts'
import type { Base } from './base.ts'

const ENGINE_TYPES: readonly EngineType[] = [postgres, mysql, kubernetes]

/** What makes leases, keeps them alive and ends them. */
export function composeLeases({
  signer,
  ledger,
  trail,
  secrets,
  credentials,
  wakeups,
  metrics,
  mayGrant,
  trace,
  log,
}: Base) {
  const receipts = createReceiptSigner(signer)
  const [wake, wakeAt] = [wakeups.wake, wakingAt(wakeups)]
  const withAccountKey = accountKeys(secrets)
  const targets = createTargets({
    ledger,
    engineTypes: ENGINE_TYPES,
    admin: (target) => withAccountKey(adminOf(credentials, target)),
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
    types: { secret: ['database', 'kubernetes'], auth: ['jwt', 'oidc', 'kubernetes', 'approle', 'webauthn'] },
    wake,
  })
  const issuables = createIssuables(ledger)
  const quotas = createQuotas({ ledger, mounts, issuables })
  return {
    engineTypes: ENGINE_TYPES,
    receipts,
    targets,
    ender,
    mounts,
    issuables,
    quotas,
    enrolment: createEnrolment({ ledger, credentials, engineTypes: ENGINE_TYPES, wake }),
    enrolmentSql: createEnrolmentSql({ ledger, engineTypes: ENGINE_TYPES }),
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
    ties: createTies({ ledger, targets, ender, log }),
    ...createRenewals({
      ledger,
      targets,
      engineTypes: ENGINE_TYPES,
      wakeAt,
      mayGrant,
      measure: asStep(trace, 'lease.renew', metrics.renew),
    }),
  }
}

export type LeaseSide = ReturnType<typeof composeLeases>

export const processName = (): string => `${hostname()}/${process.pid}/${newId().slice(0, 6)}`

/** Wake-ups are for whole seconds, so that all that is due in one shares a job. */
export const wakingAt =
  ({ ensure }: Pick<Base['wakeups'], 'ensure'>) =>
  (targetId: string, dueAt: Date, inMs: number): void => {
    const second = Math.ceil(dueAt.getTime() / 1_000)
    ensure(targetId, second, second * 1_000 - dueAt.getTime() + inMs)
  }
