import { context, propagation, trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { AlwaysOnSampler, BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import { newId } from '../lib/ids.ts'
import { within } from '../lib/pause.ts'
import type { TracingSettings } from '../lib/tracing-settings.ts'

export type SdkParts = {
  settings: TracingSettings
  version: string
  /** Hears of each batch of spans that could not be sent. */
  onLost(error: unknown): void
  onSent(): void
}

export type Sdk = {
  /** Follows the sampler of the settings. */
  asked: NodeTracerProvider
  /** Keeps every trace. */
  forced: NodeTracerProvider
}

/** A dead collector holds up the end of a process no longer than this. */
const CLOSE_MS = 2_000

let users = 0
let ofProcess: Sdk | undefined

/**
 * What OpenTelemetry keeps for the whole process (the context of asynchronous calls, the way traces are named on the
 * wire, the provider that BullMQ's adapter asks) is set up by the first broker that opens it and taken down by the last.
 */
export function openSdk(parts: SdkParts): Sdk & { close(): Promise<void> } {
  ofProcess ??= setUp(parts)
  const sdk = ofProcess
  users += 1
  let closed: Promise<void> | undefined
  const close = async () => {
    users -= 1
    // By each broker, so that none leaves without having said what it did.
    const ended = users === 0 ? takeDown(sdk) : sdk.asked.forceFlush()
    await within(
      ended.catch(() => {}), // `onLost` has heard of it
      CLOSE_MS,
    )
  }
  return { ...sdk, close: () => (closed ??= close()) }
}

function setUp({ settings, version, onLost, onSent }: SdkParts): Sdk {
  const exporter = new OTLPTraceExporter({
    url: settings.endpoint.reveal(),
    timeoutMillis: settings.timeoutMs,
  })
  const processor = new BatchSpanProcessor({
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        if (result.code === 0) onSent()
        else onLost(result.error)
        done(result)
      }),
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown(),
  })
  // Nothing of the machine or the process: the arguments of a command line may be secrets.
  const resource = resourceFromAttributes({
    'service.name': 'leasehold',
    'service.version': version,
    'service.instance.id': newId(),
  }).merge(detectResources({ detectors: [envDetector] }))
  const options = { resource, spanProcessors: [processor] }
  const asked = new NodeTracerProvider(options)
  asked.register()
  return { asked, forced: new NodeTracerProvider({ ...options, sampler: new AlwaysOnSampler() }) }
}

async function takeDown(sdk: Sdk): Promise<void> {
  ofProcess = undefined
  trace.disable()
  context.disable()
  propagation.disable()
  await sdk.asked.shutdown()
}
