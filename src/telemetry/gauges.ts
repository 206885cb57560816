import { kept } from './kept.ts'
import type { Metrics } from './metrics.ts'
import type { Sample } from './registry.ts'

type Use = { open: number; idle: number; waiting: number }
type TargetLeases = {
  mount: string
  target: string
  ids: readonly string[]
  overdueSeconds: number
  stuck: number
}
type OpenTarget = {
  id: string
  breaker: { isOpen(): boolean }
  engine: { connections?(): readonly (Use & { lane: string })[] }
}

export type GaugeSources = {
  /** What waits on each target, by the ledger. */
  leases(): Promise<readonly TargetLeases[]>
  /** Targets that this process has open. */
  openTargets(): readonly OpenTarget[]
  ledgerUse(): Use
}

/** However many look, and however often, the ledger is asked this often at most. */
const LEDGER_EVERY_MS = 2_000

/** Says where the gauges about the ledger and the targets are read from. */
export function showGauges({ gauge }: Pick<Metrics, 'gauge'>, sources: GaugeSources): void {
  const leases = kept(LEDGER_EVERY_MS, sources.leases)

  gauge('leasehold_ledger_connections', () => useSamples(sources.ledgerUse(), {}))
  gauge('leasehold_ledger_reachable', () =>
    leases().then(
      () => [{ value: 1 }],
      () => [{ value: 0 }],
    ),
  )
  gauge('leasehold_lease_overdue_seconds', async () =>
    (await leases()).map((row) => ({ labels: labelsOf(row), value: row.overdueSeconds })),
  )
  gauge('leasehold_leases_stuck', async () =>
    (await leases()).map((row) => ({ labels: labelsOf(row), value: row.stuck })),
  )
  gauge('leasehold_target_breaker_open', async () =>
    named(await leases(), sources.openTargets()).map(({ labels, open }) => ({
      labels,
      value: open.some(({ breaker }) => breaker.isOpen()) ? 1 : 0,
    })),
  )
  gauge('leasehold_target_connections', async () =>
    named(await leases(), sources.openTargets()).flatMap(({ labels, open }) =>
      open.flatMap(({ engine }) =>
        (engine.connections?.() ?? []).flatMap(({ lane, ...use }) => useSamples(use, { ...labels, lane })),
      ),
    ),
  )
}

type Shipping = {
  sinks(): readonly { path: string; backlog: number; lagSeconds: number | null }[]
  mayGrant(): string | undefined
}

/** How the audit sinks stood when they were last looked at, which is every second. */
export function showAuditGauges({ gauge }: Pick<Metrics, 'gauge'>, { sinks, mayGrant }: Shipping): void {
  gauge('leasehold_audit_backlog_events', () =>
    sinks().map(({ path: sink, backlog }) => ({ labels: { sink }, value: backlog })),
  )
  gauge('leasehold_audit_lag_seconds', () =>
    sinks().map(({ path: sink, lagSeconds }) => ({
      labels: { sink },
      value: Math.max(0, lagSeconds ?? 0),
    })),
  )
  gauge('leasehold_granting_closed', () => [{ value: mayGrant() === undefined ? 0 : 1 }])
}

type Labels = Readonly<Record<string, string>>

const labelsOf = ({ mount, target }: TargetLeases): Labels => ({ mount, target })

/** What is open of the targets that the ledger knows, under their names. */
function named(
  rows: readonly TargetLeases[],
  open: readonly OpenTarget[],
): { labels: Labels; open: OpenTarget[] }[] {
  return rows
    .map((row) => ({ labels: labelsOf(row), open: open.filter(({ id }) => row.ids.includes(id)) }))
    .filter((row) => row.open.length > 0)
}

const useSamples = (use: Use, labels: Labels): Sample[] =>
  (['open', 'idle', 'waiting'] as const).map((state) => ({ labels: { ...labels, state }, value: use[state] }))
