import { kept } from './kept.ts'
import type { Metrics } from './metrics.ts'
import type { Sample } from './registry.ts'

/** What came of a target's last reconcile or canary, as the ledger has it. */
type TaskOutcome = {
  mount: string
  target: string
  task: 'reconcile' | 'canary'
  ageSeconds: number | null
  outcome: Readonly<Record<string, unknown>>
}

type Limit = { name: string; used: number; max?: number }

/** However many look, the ledger is asked this often at most: what it tells changes by the hour. */
const LEDGER_EVERY_MS = 10_000

/** Any worker may have done it, so every server reads it from the ledger. */
export function showReconcileGauges(
  { gauge }: Pick<Metrics, 'gauge'>,
  read: () => Promise<readonly TaskOutcome[]>,
): void {
  const tasks = kept(LEDGER_EVERY_MS, read)
  const of = async (task: TaskOutcome['task'], samples: (row: TaskOutcome) => Sample[]): Promise<Sample[]> =>
    (await tasks()).filter((row) => row.task === task).flatMap(samples)

  gauge('leasehold_target_revocable', () =>
    of('canary', (row) =>
      row.outcome.state === 'unsupported'
        ? []
        : [{ labels: labelsOf(row), value: row.outcome.state === 'ended' ? 1 : 0 }],
    ),
  )
  gauge('leasehold_target_reconcile_age_seconds', () =>
    of('reconcile', (row) =>
      row.ageSeconds === null ? [] : [{ labels: labelsOf(row), value: row.ageSeconds }],
    ),
  )
  gauge('leasehold_target_reconcile_found', () =>
    of('reconcile', (row) =>
      Object.entries((row.outcome.found ?? {}) as Record<string, { count: number }>).map(
        ([found, { count }]) => ({
          labels: { ...labelsOf(row), found },
          value: count,
        }),
      ),
    ),
  )
  gauge('leasehold_target_clock_skew_seconds', () =>
    of('reconcile', (row) =>
      typeof row.outcome.clock_skew_ms === 'number'
        ? [{ labels: labelsOf(row), value: row.outcome.clock_skew_ms / 1_000 }]
        : [],
    ),
  )
  gauge('leasehold_target_limit_used', () =>
    of('reconcile', (row) =>
      limitsOf(row).map(({ name: limit, used }) => ({ labels: { ...labelsOf(row), limit }, value: used })),
    ),
  )
  gauge('leasehold_target_limit_max', () =>
    of('reconcile', (row) =>
      limitsOf(row).flatMap(({ name: limit, max }) =>
        max === undefined ? [] : [{ labels: { ...labelsOf(row), limit }, value: max }],
      ),
    ),
  )
}

const labelsOf = ({ mount, target }: TaskOutcome) => ({ mount, target })

const limitsOf = ({ outcome }: TaskOutcome): Limit[] => (outcome.limits ?? []) as Limit[]
