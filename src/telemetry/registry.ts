import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import {
  CATALOGUE,
  type CounterName,
  type GaugeName,
  type HistogramName,
  type MetricName,
  type MetricSpec,
} from './catalogue.ts'
import { remembered } from './remembered.ts'

/** What a gauge shows, when somebody looks. */
export type Sample = { labels?: Readonly<Record<string, string>>; value: number }
export type ReadSamples = () => Iterable<Sample> | Promise<Iterable<Sample>>

export type Instruments = {
  registry: Registry
  /** Looks the label values up and counts; cheap enough for every request. */
  count(name: CounterName): (by: number, ...labels: string[]) => void
  observe(name: HistogramName): (seconds: number, ...labels: string[]) => void
  /** What the gauge shows from now on is asked for at each look. A read that fails shows nothing, and hides no other. */
  gauge(name: GaugeName, read: ReadSamples): void
}

const specOf = (name: MetricName): MetricSpec => CATALOGUE[name]

/** Every metric of the catalogue, there from the start. One of its own for each broker, so tests do not share counts. */
export function createInstruments(): Instruments {
  const registry = new Registry()
  const reads = new Map<string, ReadSamples>()
  const metrics = new Map<string, Counter | Gauge | Histogram>()

  for (const name of Object.keys(CATALOGUE) as MetricName[]) {
    const { type, help, labels = [], buckets = [] } = specOf(name)
    const config = { name, help, labelNames: [...labels], registers: [registry] }
    if (type === 'counter') metrics.set(name, new Counter(config))
    else if (type === 'histogram') metrics.set(name, new Histogram({ ...config, buckets: [...buckets] }))
    else
      metrics.set(
        name,
        lookingGauge(config, () => reads.get(name)),
      )
  }

  return {
    registry,
    count(name) {
      const metric = metrics.get(name) as Counter
      const child = remembered((values) => metric.labels(...values))
      return (by, ...labels) => child(...labels).inc(by)
    },
    observe(name) {
      const metric = metrics.get(name) as Histogram
      const child = remembered((values) => metric.labels(...values))
      return (seconds, ...labels) => child(...labels).observe(seconds)
    },
    gauge: (name, read) => void reads.set(name, read),
  }
}

type GaugeConfig = { name: string; help: string; labelNames: string[]; registers: Registry[] }

function lookingGauge(config: GaugeConfig, readOf: () => ReadSamples | undefined): Gauge {
  const gauge: Gauge = new Gauge({
    ...config,
    async collect() {
      const samples = await readSafely(readOf())
      // Without a pause in between, so that two looks at once do not see each other's half.
      gauge.reset()
      // A reset gauge without labels shows 0, which would be a claim.
      if (samples.length === 0 && config.labelNames.length === 0) gauge.remove()
      for (const { labels = {}, value } of samples) gauge.set(labels, value)
    },
  })
  return gauge
}

async function readSafely(read: ReadSamples | undefined): Promise<Sample[]> {
  try {
    return read ? [...(await read())] : []
  } catch {
    return []
  }
}

let ofProcess: Registry | undefined

/** Node's own: memory, event loop, garbage collection. The process has one of each, however many brokers are in it. */
export function processRegistry(): Registry {
  if (!ofProcess) {
    ofProcess = new Registry()
    collectDefaultMetrics({ register: ofProcess })
  }
  return ofProcess
}
