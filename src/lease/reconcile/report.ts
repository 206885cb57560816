import type { Limit } from '../../engine/engine.ts'

/** What a reconcile may find, by the word for it in reports, events and metrics. */
export const FINDINGS = ['orphan', 'unknown', 'account_gone', 'foreign_change', 'let_in_again'] as const
export type Finding = (typeof FINDINGS)[number]

/** One thing that was found. `lease_id` is the lease that ends it; of an unknown account nothing is ended. */
export type Found = { account: string; lease_id?: string; seen?: readonly string[] }

/** What came of reconciling a target, under the names of the wire. The ledger keeps it until the next. */
export type Report = {
  /** Accounts with our mark, and live leases that were held against the target. */
  accounts: number
  leases: number
  /** Accounts of leases that another connection's row has: it is the same server, enrolled twice, or a copy. */
  elsewhere: number
  found: Record<Finding, { count: number; some: Found[] }>
  limits: Limit[]
  warnings: string[]
  clock_skew_ms: number
  server_id?: string
  seconds: number
}

/** So many of each are named; the rest is counted. */
const NAMED_AT_MOST = 100

export const newReport = (): Report => ({
  accounts: 0,
  leases: 0,
  elsewhere: 0,
  found: Object.fromEntries(
    FINDINGS.map((name) => [name, { count: 0, some: [] }]),
  ) as unknown as Report['found'],
  limits: [],
  warnings: [],
  clock_skew_ms: 0,
  seconds: 0,
})

export function note(report: Report, finding: Finding, found: readonly Found[]): void {
  const { some } = report.found[finding]
  report.found[finding].count += found.length
  some.push(...found.slice(0, NAMED_AT_MOST - some.length))
}
