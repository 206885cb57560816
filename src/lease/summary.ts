import type { Db } from '../ledger/db.ts'
import {
  firstCounted,
  LIVE_AT_MOST,
  type LiveCounts,
  type SummaryRow,
  summarizeLeases,
} from '../ledger/lease-summary.ts'

/** Windows of charts: how long, in seconds, and in what parts. */
export const WINDOWS = {
  hour: { seconds: 3_600, bucketSeconds: 60 },
  day: { seconds: 86_400, bucketSeconds: 900 },
  week: { seconds: 604_800, bucketSeconds: 10_800 },
} as const

export type Window = keyof typeof WINDOWS

export type LeaseSummary = {
  from: Date
  to: Date
  bucketSeconds: number
  /** There is more than is counted at once: `from` is later than was asked. */
  truncated: boolean
  buckets: SummaryRow[]
  counts: LiveCounts & { capped: boolean }
  issuedPerMinute: number
}

/** Any number of pages that ask at once, and soon after, cost one look. */
const KEPT_MS = 5_000
const RATE_SECONDS = 300

/** How many leases there were, over time; bounded in what it reads, whatever the ledger holds. */
export function createLeaseSummary(ledger: Db): (window: Window) => Promise<LeaseSummary> {
  const kept = new Map<Window, { atMs: number; answer: Promise<LeaseSummary> }>()
  return (window) => {
    const known = kept.get(window)
    if (known && performance.now() - known.atMs < KEPT_MS) return known.answer
    const answer = summarize(ledger, window)
    kept.set(window, { atMs: performance.now(), answer })
    answer.catch(() => kept.delete(window))
    return answer
  }
}

async function summarize(ledger: Db, window: Window): Promise<LeaseSummary> {
  const { seconds, bucketSeconds } = WINDOWS[window]
  const { now: to, at } = await firstCounted(ledger, seconds + bucketSeconds)
  const asked = startOf(to.getTime() - seconds * 1_000, bucketSeconds)
  const counted = at ? startOf(at.getTime() + bucketSeconds * 1_000, bucketSeconds) : asked
  const cut = counted > asked
  // However much has just ended, the part of now is shown.
  const from = cut
    ? new Date(Math.min(counted.getTime(), startOf(to.getTime(), bucketSeconds).getTime()))
    : asked
  const rows = await summarizeLeases(ledger, {
    from,
    to,
    seconds: bucketSeconds,
    recentSeconds: RATE_SECONDS,
  })
  const { issuing = 0, active = 0, revoking = 0, stuck = 0, recent = 0 } = rows[0] ?? {}
  const capped = issuing + active + revoking >= LIVE_AT_MOST
  return {
    from,
    to,
    bucketSeconds,
    truncated: cut || capped,
    buckets: rows.map(({ issuing, active, revoking, stuck, recent, ...bucket }) => bucket),
    counts: { issuing, active, revoking, stuck, capped },
    issuedPerMinute: (recent * 60) / RATE_SECONDS,
  }
}

const startOf = (ms: number, bucketSeconds: number): Date =>
  new Date(Math.floor(ms / (bucketSeconds * 1_000)) * bucketSeconds * 1_000)
