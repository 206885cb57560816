import type { AuditEvent } from '../../audit/event.ts'
import type { Trail } from '../../audit/trail.ts'
import { EngineError, type EngineType } from '../../engine/engine.ts'
import type { Ledger } from '../../ledger/db.ts'
import { activate } from '../../ledger/lease-issue.ts'
import { findLeaseStates } from '../../ledger/lease-queries.ts'
import { insertCanary, type OwnLease, ownRole } from '../../ledger/reconcile-leases.ts'
import type { ClaimedTask } from '../../ledger/reconcile-tasks.ts'
import { findTargetById } from '../../ledger/targets.ts'
import { messageOf } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import type { Ender } from '../ender.ts'
import { CREATE_DEADLINE_MS } from '../issue-plan.ts'
import type { OpenTarget, Targets } from '../targets.ts'
import { wireLeaseId } from '../wire-id.ts'

/** Whether a lease can still be ended on a target, tried for real; under the names of the wire. */
export type CanaryOutcome = {
  /** unsupported: the target's engine has no role that gives nothing. */
  state: 'ended' | 'failed' | 'unsupported'
  lease_id?: string
  /** From the intent to the proof. */
  seconds?: number
  failed_at?: 'open' | 'issue' | 'end'
  error?: string
}

export type CanaryParts = {
  ledger: Ledger
  trail: Pick<Trail, 'commit'>
  targets: Targets
  engineTypes: readonly EngineType[]
  ender: Ender
}

/** Whatever goes wrong, it is over after a minute. */
const TTL_MS = 60_000

/**
 * Makes an account that may do nothing, and ends it as any lease is ended. One that could not be ended is tried again
 * before another is made, so that a target in trouble has one of them at most. Never throws.
 */
export async function runCanary(parts: CanaryParts, claim: ClaimedTask): Promise<CanaryOutcome> {
  const type = parts.engineTypes.find(({ name }) => name === claim.engine)
  if (!type?.canaryRole) return { state: 'unsupported' }
  const startedMs = performance.now()
  const left = await leftBehind(parts, claim)
  if (left) return { state: 'failed', failed_at: 'end', lease_id: left.leaseId, error: left.error }
  let failedAt: NonNullable<CanaryOutcome['failed_at']> = 'open'
  let lease: OwnLease | undefined
  try {
    const target = await parts.targets.open(claim.targetId, claim.targetVersion)
    await target.engine.ping()
    failedAt = 'issue'
    lease = await intend(parts, claim, type)
    await make(parts, target, lease, type)
    failedAt = 'end'
    await end(parts, lease.id)
    const seconds = Math.round(performance.now() - startedMs) / 1_000
    return { state: 'ended', lease_id: wireLeaseId(lease), seconds }
  } catch (error) {
    if (lease && failedAt === 'issue') await parts.ender.abandon(lease.id, 'canary')
    return {
      state: 'failed',
      failed_at: failedAt,
      error: messageOf(error),
      ...(lease && { lease_id: wireLeaseId(lease) }),
    }
  }
}

/** The last one, where it has not ended yet: with why not, after one more try. */
async function leftBehind(
  { ledger, ender }: CanaryParts,
  { outcome }: ClaimedTask,
): Promise<{ leaseId: string; error: string } | undefined> {
  const leaseId = outcome?.lease_id
  if (typeof leaseId !== 'string') return undefined
  const id = leaseId.slice(leaseId.lastIndexOf('/') + 1)
  const [before] = await findLeaseStates(ledger, [id])
  if (!before || before.state === 'revoked') return undefined
  const [ended] = await ender.endNow({ ids: [id] }, 'canary')
  if (!ended || ended.state === 'revoked') return undefined
  return { leaseId, error: ended.error ?? before.lastError ?? 'it has not ended yet' }
}

async function intend(parts: CanaryParts, claim: ClaimedTask, type: EngineType): Promise<OwnLease> {
  const row = await findTargetById(parts.ledger, claim.targetId)
  const role = type.canaryRole ?? {}
  const id = newId()
  const lease: OwnLease = {
    id,
    path: `${claim.mountPath}canary/${claim.targetName}`,
    mountId: claim.mountId,
    roleId: await ownRole(parts.ledger, {
      id: newId(),
      mountId: claim.mountId,
      name: `.canary-${claim.engine}`,
      spec: role,
    }),
    targetId: claim.targetId,
    account: type.accountName({
      target: row?.spec ?? {},
      role,
      asked: {},
      roleName: 'canary',
      leaseId: id,
      displayName: 'canary',
    }),
  }
  const written = await parts.trail.commit(async (db) => {
    const isThere = await insertCanary(db, lease, { ttlMs: TTL_MS, createWithinMs: CREATE_DEADLINE_MS })
    return { result: isThere, events: isThere ? [canaryEvent(claim, lease)] : [] }
  })
  if (!written) throw new EngineError('failed', 'the connection was just removed')
  return lease
}

const canaryEvent = ({ targetName }: ClaimedTask, lease: OwnLease): AuditEvent => ({
  type: 'system',
  what: { operation: 'canary', path: lease.path },
  outcome: {},
  lease_id: wireLeaseId(lease),
  target: targetName,
  details: { account: lease.account },
})

async function make(
  { ledger }: CanaryParts,
  target: OpenTarget,
  { id, account }: OwnLease,
  { canaryRole = {} }: EngineType,
): Promise<void> {
  const nowMs = performance.now()
  const { targetRef } = await target.create({
    account: { leaseId: id, name: account, targetRef: null },
    role: canaryRole,
    asked: {},
    expiresAtMs: nowMs + TTL_MS,
    deadlineMs: nowMs + CREATE_DEADLINE_MS,
  })
  const active = await activate(ledger, [{ id, targetRef, expiresAt: null }])
  if (!active.has(id)) throw new EngineError('failed', 'it was ended while it was being made')
}

async function end({ ender }: CanaryParts, id: string): Promise<void> {
  const [ended] = await ender.endNow({ ids: [id] }, 'canary')
  if (ended && ended.state !== 'revoked')
    throw new EngineError('failed', ended.error ?? 'it has not ended yet')
}
