import {
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace as spans,
} from '@opentelemetry/api'
import type { Telemetry } from 'bullmq'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { Serving, Tracer, TraceServing } from '../lib/trace.ts'
import type { TracingSettings } from '../lib/tracing-settings.ts'
import { queueTelemetry } from './tracing-queue.ts'
import { openSdk, type Sdk } from './tracing-sdk.ts'
import { failed, spanTracer } from './tracing-spans.ts'

/**
 * Traces for OpenTelemetry. This file and what it imports are loaded only where the settings ask for traces; other
 * parts know the ports of `lib/trace.ts` and nothing else.
 */
export type Tracing = {
  trace: Tracer
  serving: TraceServing
  telemetry: Telemetry
  /** Sends what has not been sent, as far as two seconds allow. */
  close(): Promise<void>
}

export function openTracing(parts: { settings: TracingSettings; version: string; log: Logger }): Tracing {
  const { version } = parts
  const sdk = openSdk({ ...parts, ...losses(parts.log) })
  return {
    trace: spanTracer({
      asked: sdk.asked.getTracer('leasehold', version),
      forced: sdk.forced.getTracer('leasehold', version),
    }),
    serving: servingTracer(sdk, version),
    telemetry: queueTelemetry(version),
    close: sdk.close,
  }
}

/**
 * Of what the caller sends only `traceparent` is taken, which is numbers: `tracestate` and `baggage` are free text, and
 * would be sent on to the collector and stored with jobs.
 */
function servingTracer({ asked }: Sdk, version: string): TraceServing {
  const tracer = asked.getTracer('leasehold', version)
  return async (traceparent, serve) => {
    const parent =
      traceparent === undefined ? ROOT_CONTEXT : propagation.extract(ROOT_CONTEXT, { traceparent })
    const span = tracer.startSpan('request', { kind: SpanKind.SERVER }, parent)
    try {
      const traceId = span.spanContext().traceId
      await context.with(spans.setSpan(parent, span), () => serve({ traceId, answered: answering(span) }))
    } catch (error) {
      failed(span, error)
      throw error
    } finally {
      span.end()
    }
  }
}

const answering =
  (span: Span): Serving['answered'] =>
  (name, facts, fault) => {
    span.updateName(name)
    span.setAttributes(facts)
    if (fault === undefined) return
    span.setAttribute('error.type', fault)
    span.setStatus({ code: SpanStatusCode.ERROR })
  }

const QUIET_MS = 60_000

/** Says once a minute at most that spans are lost, and how many batches, and once that they are sent again. */
function losses(log: Logger): { onLost(error: unknown): void; onSent(): void } {
  let saidAt = Number.NEGATIVE_INFINITY
  let unsaid = 0
  return {
    onLost(error) {
      unsaid += 1
      if (performance.now() - saidAt < QUIET_MS) return
      log.warn(
        { error: messageOf(error).slice(0, 200), batches: unsaid },
        'traces cannot be sent to the collector; nothing else suffers',
      )
      saidAt = performance.now()
      unsaid = 0
    },
    onSent() {
      if (saidAt === Number.NEGATIVE_INFINITY) return
      saidAt = Number.NEGATIVE_INFINITY
      unsaid = 0
      log.info('traces are sent to the collector again')
    },
  }
}
