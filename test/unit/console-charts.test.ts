import { describe, expect, test } from 'vitest'
import { chartsOf, isEmpty, type Summary, windowOf } from '../../src/console/pages/overview/series.ts'

const bucket = (at: string, part: Partial<Summary['buckets'][number]> = {}) => ({
  at,
  issued: 0,
  ended: 0,
  live: 0,
  ending: 0,
  lag_p50_ms: null,
  lag_p99_ms: null,
  ...part,
})

const SUMMARY: Summary = {
  window: 'hour',
  from: '2026-01-01T00:00:00Z',
  to: '2026-01-01T00:03:00Z',
  bucket_seconds: 60,
  truncated: false,
  buckets: [
    bucket('2026-01-01T00:00:00Z', { issued: 30, live: 30 }),
    bucket('2026-01-01T00:01:00Z', { issued: 6, live: 20, ending: 4, lag_p50_ms: 120, lag_p99_ms: 2_345 }),
    bucket('2026-01-01T00:02:00Z', { issued: 1, live: 21, ending: 0 }),
  ],
  counts: { issuing: 0, active: 21, revoking: 0, stuck: 0, capped: false },
  issue_rate_per_minute: 12.3,
  now: '2026-01-01T00:02:10Z',
}

describe('the charts', () => {
  const [leases, lag, rate] = chartsOf(SUMMARY)

  test('draw each bucket, in numbers that a person reads', () => {
    expect(leases.points.map(({ live, ending }) => [live, ending])).toEqual([
      [30, 0],
      [20, 4],
      [21, 0],
    ])
    expect(lag.points.map(({ p50, p99 }) => [p50, p99])).toEqual([
      [null, null],
      [0.12, 2.35],
      [null, null],
    ])
  })

  test('do not draw a rate for a bucket that is not over', () => {
    expect(rate.points.map((point) => point.rate)).toEqual([30, 6, null])
    const [, , slow] = chartsOf({ ...SUMMARY, bucket_seconds: 900, now: '2026-01-02T00:00:00Z' })
    expect(slow.points.map((point) => point.rate)).toEqual([2, 0.4, 0.07])
  })

  test('say in a sentence what they show', () => {
    expect(leases.says).toBe(
      '21 live and 0 ending at the end; at the marks of the chart at most 30 were live.',
    )
    expect(lag.says).toBe('In the worst stretch, 99 of 100 ended within 2.35 s of their time.')
    expect(rate.says).toBe('37 issued in all; 12.3 per minute now.')
  })

  test('are left out where there is nothing to draw', () => {
    const [none, noLag] = chartsOf({ ...SUMMARY, buckets: [] })
    expect([none, noLag].map(isEmpty)).toEqual([true, true])
    expect(none.says).toBe('There is nothing to show yet.')
    expect(noLag.says).toMatch(/^No lease ran out/)
    expect([leases, lag, rate].map(isEmpty)).toEqual([false, false, false])
  })

  test('the window is the last hour unless the address says another', () => {
    expect([windowOf(null), windowOf('day'), windowOf('toString')]).toEqual(['hour', 'day', 'hour'])
  })
})
