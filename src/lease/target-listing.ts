import type { Limit } from '../engine/engine.ts'
import type { Db } from '../ledger/db.ts'
import {
  type ListedRotation,
  type ListedTarget,
  listRotations,
  listTargetStates,
} from '../ledger/target-listing.ts'
import { DEFAULT_STUCK_FREEZE } from './issue-plan.ts'
import type { Reconciler, TargetStatus } from './reconcile/reconciler.ts'
import type { Targets } from './targets.ts'

/** A target's health, under the names of the wire. */
export type TargetHealth = {
  id: string
  mount: string
  name: string
  engine: string
  environment: string | null
  /** As this process has seen it; null where it has not asked. */
  reachable: boolean | null
  breaker: 'closed' | 'open' | 'unknown'
  leases: { live: number; stuck: number; overdue_seconds: number }
  stuck: ListedTarget['stuckLeases']
  freeze: { at: number; frozen: boolean }
  /** How close its catalog is to what it can bear, as the last reconcile measured it; null where it has not. */
  guard: readonly Limit[] | null
  rotation: { admin: ShownRotation | null; static: ShownRotation[] }
} & TargetStatus

type ShownRotation = {
  name: string | null
  username: string
  last_rotated_at: string | null
  next_at: string | null
  phase: string | null
  attempts: number
  error: string
  automated: boolean
}

type Parts = { ledger: Db; targets: Pick<Targets, 'all'>; reconciler: Pick<Reconciler, 'status'> }

/** How every target that is enrolled is, on all mounts. */
export const createTargetListing = ({ ledger, targets, reconciler }: Parts) =>
  async function listTargets(): Promise<TargetHealth[]> {
    const [rows, rotations] = await Promise.all([listTargetStates(ledger), listRotations(ledger)])
    const open = new Map(targets.all().map((target) => [target.id, target]))
    return Promise.all(
      rows.map(async (row) => {
        const status = (await reconciler.status(row.mountId, row.name)) ?? NONE
        return {
          ...stateOf(row, open.get(row.id)?.breaker.isOpen()),
          ...status,
          guard: status.reconcile?.limits ?? null,
          rotation: rotationOf(row, rotations),
        }
      }),
    )
  }

const NONE: TargetStatus = { revocable: null, canary: null, reconcile: null, warnings: [] }

function stateOf(
  row: ListedTarget,
  isDown: boolean | undefined,
): Omit<TargetHealth, 'rotation' | 'guard' | keyof TargetStatus> {
  const { id, name, engine, spec, live, stuck, freezing, overdueSeconds, stuckLeases } = row
  const at = Number(spec.stuck_freeze ?? DEFAULT_STUCK_FREEZE)
  return {
    id,
    mount: row.mountPath,
    name,
    engine,
    environment: typeof spec.environment === 'string' && spec.environment !== '' ? spec.environment : null,
    reachable: isDown === undefined ? null : !isDown,
    breaker: isDown === undefined ? 'unknown' : isDown ? 'open' : 'closed',
    leases: { live, stuck, overdue_seconds: Math.round(overdueSeconds) },
    stuck: stuckLeases.map((lease) => ({ ...lease, since: new Date(lease.since).toISOString() })),
    freeze: { at, frozen: at > 0 && freezing >= at },
  }
}

function rotationOf(row: ListedTarget, all: readonly ListedRotation[]): TargetHealth['rotation'] {
  const admin = all.find(({ kind, targetId }) => kind === 'admin' && targetId === row.id)
  const kept = all.filter(
    ({ kind, mountId, targetName }) =>
      kind === 'static' && mountId === row.mountId && targetName === row.name,
  )
  return { admin: admin ? shown(admin) : null, static: kept.map(shown) }
}

const shown = (rotation: ListedRotation): ShownRotation => ({
  name: rotation.name,
  username: rotation.username,
  last_rotated_at: rotation.lastRotatedAt?.toISOString() ?? null,
  next_at: rotation.nextAt?.toISOString() ?? null,
  phase: rotation.phase,
  attempts: rotation.attempts,
  error: rotation.lastError ?? '',
  automated: rotation.automated,
})
