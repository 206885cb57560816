/** How leases have been going: `sys/leasehold/summary`. Times RFC 3339; lags from a lease's end to the end of its access. */
export type Summary = {
  window: Window
  from: string
  to: string
  bucket_seconds: number
  truncated: boolean
  buckets: Bucket[]
  counts: { issuing: number; active: number; revoking: number; stuck: number; capped: boolean }
  issue_rate_per_minute: number
  now: string
}

export type Bucket = {
  at: string
  issued: number
  ended: number
  live: number
  ending: number
  lag_p50_ms: number | null
  lag_p99_ms: number | null
}

export const WINDOWS = { hour: 'Last hour', day: 'Last day', week: 'Last week' } as const
export type Window = keyof typeof WINDOWS

export const windowOf = (asked: string | null): Window =>
  asked !== null && Object.hasOwn(WINDOWS, asked) ? (asked as Window) : 'hour'

/** A point of a chart: numbers under the names of its lines; null where there is nothing to draw. */
export type Point = { at: string; time: string } & Record<string, number | string | null>

/** A chart: its lines by the names in its points, and what it says in a sentence for whoever cannot see it. */
export type Chart = {
  title: string
  unit: string
  lines: { name: string; label: string }[]
  points: Point[]
  /** Has gaps: what stands alone between two of them is drawn as a dot, being no line. */
  gaps?: boolean
  says: string
}

const PER_MINUTE = 60

export function chartsOf(summary: Summary): [leases: Chart, lag: Chart, rate: Chart] {
  const time = clockOf(summary.window)
  const points = (of: (bucket: Bucket) => Record<string, number | null>): Point[] =>
    summary.buckets.map((bucket) => ({ at: bucket.at, time: time(bucket.at), ...of(bucket) }))
  return [
    {
      title: 'Leases over time',
      unit: 'leases',
      lines: [
        { name: 'live', label: 'live' },
        { name: 'ending', label: 'ending' },
      ],
      points: points(({ live, ending }) => ({ live, ending })),
      says: leasesSay(summary.buckets),
    },
    {
      title: 'How late access ended',
      gaps: true,
      unit: 'seconds',
      lines: [
        { name: 'p50', label: 'half of them (p50)' },
        { name: 'p99', label: 'all but 1 in 100 (p99)' },
      ],
      points: points(({ lag_p50_ms, lag_p99_ms }) => ({
        p50: secondsOf(lag_p50_ms),
        p99: secondsOf(lag_p99_ms),
      })),
      says: lagSays(summary.buckets),
    },
    {
      title: 'Leases issued per minute',
      unit: 'per minute',
      lines: [{ name: 'rate', label: 'issued per minute' }],
      points: points(({ at, issued }) => ({
        // Of a bucket that is not over yet, the number still grows.
        rate: isOver(at, summary)
          ? rounded((issued * PER_MINUTE) / Math.max(1, summary.bucket_seconds))
          : null,
      })),
      says: rateSays(summary),
    },
  ]
}

const isOver = (at: string, { bucket_seconds, now }: Summary): boolean =>
  Date.parse(at) + bucket_seconds * 1_000 <= Date.parse(now)

/** Whether there is nothing that could be drawn: an empty frame says less than none. */
export const isEmpty = ({ lines, points }: Chart): boolean =>
  points.every((point) => lines.every(({ name }) => point[name] === null))

function leasesSay(buckets: readonly Bucket[]): string {
  const last = buckets.at(-1)
  if (!last) return 'There is nothing to show yet.'
  const most = Math.max(...buckets.map(({ live }) => live))
  return `${last.live} live and ${last.ending} ending at the end; at the marks of the chart at most ${most} were live.`
}

function lagSays(buckets: readonly Bucket[]): string {
  const worst = Math.max(...buckets.map(({ lag_p99_ms }) => lag_p99_ms ?? -1), -1)
  if (worst < 0) return 'No lease ran out in this time, so there is nothing to be late.'
  return `In the worst stretch, 99 of 100 ended within ${secondsOf(worst)} s of their time.`
}

function rateSays({ buckets, issue_rate_per_minute }: Summary): string {
  const issued = buckets.reduce((sum, bucket) => sum + bucket.issued, 0)
  return `${issued} issued in all; ${issue_rate_per_minute} per minute now.`
}

const secondsOf = (ms: number | null): number | null => (ms === null ? null : rounded(ms / 1_000))

const rounded = (value: number): number => Math.round(value * 100) / 100

/** What stands below a point: the time of day, and the day too where the window has several. */
function clockOf(window: Window): (at: string) => string {
  const day: Intl.DateTimeFormatOptions = window === 'week' ? { weekday: 'short' } : {}
  const format = new Intl.DateTimeFormat('en-GB', {
    ...day,
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  return (at) => format.format(new Date(at))
}
