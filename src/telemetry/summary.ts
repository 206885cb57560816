import type { MetricObjectWithValues, MetricValue } from 'prom-client'

type Labels = Readonly<Record<string, string>>
type Entry = { Name: string; Labels: Labels } & Readonly<Record<string, unknown>>

/** The dialect's JSON form: go-metrics' summary of an interval. Ours counts from the start of the process. */
export type Summary = {
  Timestamp: string
  Gauges: Entry[]
  Points: Entry[]
  Counters: Entry[]
  Samples: Entry[]
}

/** What we do not keep (least, most, spread, rate) is left out rather than made up. */
export function summarize(
  metrics: readonly MetricObjectWithValues<MetricValue<string>>[],
  now: Date,
): Summary {
  const summary: Summary = { Timestamp: goTime(now), Gauges: [], Points: [], Counters: [], Samples: [] }
  for (const metric of metrics) {
    // prom-client's declaration has an enum where the values are these words.
    const type = String(metric.type)
    if (type === 'gauge') summary.Gauges.push(...metric.values.map((value) => gaugeEntry(metric.name, value)))
    if (type === 'counter') {
      summary.Counters.push(...metric.values.map((value) => counterEntry(metric.name, value)))
    }
    if (type === 'histogram') summary.Samples.push(...sampleEntries(metric.name, metric.values))
  }
  return summary
}

const labelsOf = ({ labels }: MetricValue<string>): Labels =>
  Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]))

const gaugeEntry = (Name: string, value: MetricValue<string>): Entry => ({
  Name,
  Value: value.value,
  Labels: labelsOf(value),
})

const counterEntry = (Name: string, value: MetricValue<string>): Entry => ({
  Name,
  Count: value.value,
  Sum: value.value,
  Labels: labelsOf(value),
})

/** prom-client gives the sum and the count of a histogram as two more values beside its buckets. */
function sampleEntries(Name: string, values: readonly MetricValue<string>[]): Entry[] {
  const sums = new Map<string, number>()
  for (const value of values) {
    if (nameOf(value) === `${Name}_sum`) sums.set(JSON.stringify(value.labels), value.value)
  }
  return values
    .filter((value) => nameOf(value) === `${Name}_count`)
    .map((value) => {
      const Sum = sums.get(JSON.stringify(value.labels)) ?? 0
      const Count = value.value
      return { Name, Count, Sum, Mean: Count === 0 ? 0 : Sum / Count, Labels: labelsOf(value) }
    })
}

const nameOf = (value: MetricValue<string> & { metricName?: string }): string => value.metricName ?? ''

/** As Go prints a time in UTC. */
const goTime = (now: Date): string => `${now.toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`
