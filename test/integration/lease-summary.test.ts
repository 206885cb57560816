import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createLeaseSummary, type LeaseSummary, type Window } from '../../src/lease/summary.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'
import { seedRole } from '../support/ledger-rows.ts'

// What charts show, held against counting each lease by itself.

const LEASES = 600

type Row = {
  state: string
  attempts: number
  issued: number
  expires: number
  due: number | null
  cut: number | null
  ended: number | null
  expired: boolean
}

let at: TestLedger
let summaries: Record<Window, LeaseSummary>
let rows: Row[]

beforeAll(async () => {
  at = await openTestLedger({ stopped: true })
  const { mountId, roleId, targetId } = await seedRole(at.ledger)
  // Everything from minutes to ten days ago; live and ended, by expiry and early, on whole seconds and between them.
  await at.ledger.query(
    `insert into leasehold.lease (id, path, mount_id, role_id, target_id, token_id, account, target_ref, state, issued_at,
       expires_at, hard_expires_at, hard_limited_by, create_deadline, next_action_at, attempts, access_ended_at, ended_at,
       end_reason)
     select 'l' || i, 'database/creds/app', $1, $2, $3, '\\xab', 'v_' || i, i::text, state, issued, expires, expires,
       'role_max', issued, case when state <> 'revoked' then expires end, i % 9,
       case when state = 'revoked' or (state = 'revoking' and i % 3 = 0) then least(cut, now) end,
       case when state = 'revoked' then least(cut + interval '3 seconds', now) end,
       case when state in ('revoked', 'revoking') then case when cut > expires then 'expired' else 'revoked' end end
     from generate_series(1, ${LEASES}) i
     cross join lateral (select leasehold.ledger_now() as now) n
     cross join lateral (select
       now - case i % 3 when 0 then i * i * 2.5 when 1 then i * 6 else i % 300 end * interval '1 second' as issued) a
     cross join lateral (select issued + i % 7 * interval '10 minutes' + interval '30 seconds' as expires) b
     cross join lateral (select case when i % 4 = 0 then issued + i % 7 * interval '2 minutes' + interval '1 second'
       else expires + i % 11 * interval '123 milliseconds' + interval '1 microsecond' end as cut) c
     cross join lateral (select case when i % 13 = 0 then 'issuing' when cut > now then 'active'
       when i % 5 = 0 then 'revoking' else 'revoked' end as state) d`,
    [mountId, roleId, targetId],
  )
  const found = await at.ledger.query<Row>(
    `select state, attempts, end_reason = 'expired' as expired, ${[
      'issued_at',
      'expires_at',
      'access_ended_at',
      'ended_at',
    ]
      .map((time, i) => `date_part('epoch', ${time}) * 1000 as ${['issued', 'expires', 'cut', 'ended'][i]}`)
      .join()},
       case state when 'revoked' then date_part('epoch', least(expires_at, access_ended_at)) * 1000
         when 'revoking' then date_part('epoch', least(expires_at, access_ended_at)) * 1000 end as due
     from leasehold.lease`,
  )
  rows = found.rows
  const summary = createLeaseSummary(at.ledger)
  summaries = { hour: await summary('hour'), day: await summary('day'), week: await summary('week') }
})
afterAll(() => at.close())

const count = (which: (row: Row) => boolean): number => rows.filter(which).length
const within = (time: number | null, from: number, to: number): boolean =>
  time !== null && time >= from && time < to

/** As PostgreSQL's `percentile_cont` has it. */
function percentile(values: readonly number[], share: number): number | null {
  if (values.length === 0) return null
  const sorted = [...values].sort((a, b) => a - b)
  const place = share * (sorted.length - 1)
  const [low, high] = [sorted[Math.floor(place)] as number, sorted[Math.ceil(place)] as number]
  return low + (high - low) * (place - Math.floor(place))
}

describe.each(['hour', 'day', 'week'] as const)('the chart of the last %s', (window) => {
  test('has what was made, ended, alive and on its way out in each part of it', () => {
    const { buckets, bucketSeconds, to, truncated } = summaries[window]
    expect(truncated).toBe(false)
    expect(buckets.reduce((sum, { issued, ended }) => sum + issued + ended, 0)).toBeGreaterThan(100)
    for (const bucket of buckets) {
      const from = bucket.at.getTime()
      // What is asked for now is counted up to now.
      const end = Math.min(from + bucketSeconds * 1_000, to.getTime() + 1)
      const gone = count(({ ended }) => ended !== null && ended < end)
      const due = count(
        ({ state, due, ended }) =>
          (state === 'revoking' && Math.min(due ?? Number.POSITIVE_INFINITY, to.getTime() - 1) < end) ||
          (state === 'revoked' && (due ?? 0) < end && (ended ?? 0) >= end),
      )
      expect(bucket).toMatchObject({
        issued: count(({ issued }) => within(issued, from, end)),
        ended: count(({ ended }) => within(ended, from, end)),
        live: count(({ issued }) => issued < end) - gone,
        ending: due,
      })
      const late = rows
        .filter(({ expired, cut }) => expired && within(cut, from, end))
        .map(({ cut, expires }) => Math.max(0, (cut ?? 0) - expires))
      for (const [name, share] of [
        ['p50', 0.5],
        ['p95', 0.95],
        ['p99', 0.99],
        ['max', 1],
      ] as const) {
        const [told, counted] = [bucket[name], percentile(late, share)]
        if (counted === null) expect(told).toBeNull()
        else expect(told).toBeCloseTo(counted, 2)
      }
    }
  })

  test('has the leases of now by state, and how many were made of late', () => {
    const { counts, issuedPerMinute, to } = summaries[window]
    const of = (name: string) => count(({ state }) => state === name)
    expect(counts).toEqual({
      issuing: of('issuing'),
      active: of('active'),
      revoking: of('revoking'),
      stuck: count(({ state, attempts }) => state === 'revoking' && attempts >= 6),
      capped: false,
    })
    expect(Object.values(counts).filter((each) => each === 0)).toEqual([])
    expect(issuedPerMinute).toBeCloseTo(count(({ issued }) => issued >= to.getTime() - 300_000) / 5, 6)
  })
})
