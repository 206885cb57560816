import { setTimeout as sleep } from 'node:timers/promises'
import { percentile } from './load.ts'
import type { Installation } from './world.ts'

/** How the leases of a role ended, by the ledger's clock alone. */
export type Ended = {
  count: number
  lagP50Ms: number
  lagP99Ms: number
  /** From when the first was due until the last had lost access, and until the last was proved gone. */
  accessMs: number
  goneMs: number
}

const LOOK_EVERY_MS = 200

/** Waits until no lease asked at this path is left, for as long as the ending of any makes progress. */
export async function untilEnded({ ledger }: Installation, path: string, patienceMs: number): Promise<Ended> {
  const givesUpAt = performance.now() + patienceMs
  for (;;) {
    const { rows } = await ledger.query(
      `select count(*) as left from leasehold.lease where path = $1 and state <> 'revoked'`,
      [path],
    )
    if (Number(rows[0].left) === 0) break
    if (performance.now() > givesUpAt) throw new Error(`${rows[0].left} leases of ${path} did not end`)
    await sleep(LOOK_EVERY_MS)
  }
  const { rows } = await ledger.query(
    `select extract(epoch from access_ended_at - expires_at)::float8 * 1000 as lag,
       extract(epoch from access_ended_at - min(expires_at) over ())::float8 * 1000 as access,
       extract(epoch from ended_at - min(expires_at) over ())::float8 * 1000 as gone
     from leasehold.lease where path = $1 and end_reason = 'expired'`,
    [path],
  )
  const lags = rows.map(({ lag }) => lag as number)
  return {
    count: rows.length,
    lagP50Ms: percentile(lags, 0.5),
    lagP99Ms: percentile(lags, 0.99),
    accessMs: rows.reduce((latest, { access }) => Math.max(latest, access), 0),
    goneMs: rows.reduce((latest, { gone }) => Math.max(latest, gone), 0),
  }
}
