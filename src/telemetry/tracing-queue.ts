import { ROOT_CONTEXT } from '@opentelemetry/api'
import type { Span, Telemetry } from 'bullmq'
import { type BullMQOTelSpan, BullMQOtel } from 'bullmq-otel'
import { failed } from './tracing-spans.ts'

/** The spans of BullMQ that somebody waits for: jobs as they are added and worked on. */
const TOLD = /^(addBulk|process) /

/**
 * BullMQ's own telemetry, without what its workers do when there is nothing to do, which would be a trace every few
 * seconds for ever, and without the texts of errors.
 */
export function queueTelemetry(version: string): Telemetry {
  const { tracer, contextManager } = new BullMQOtel({ tracerName: 'bullmq', version })
  return {
    tracer: {
      startSpan: (name, options, context) =>
        TOLD.test(name) ? withoutTexts(tracer.startSpan(name, options, context) as BullMQOTelSpan) : untold,
    },
    contextManager: {
      with: (context, work) => contextManager.with(context, work),
      active: () => contextManager.active(),
      root: () => ROOT_CONTEXT,
      getMetadata: (context) => contextManager.getMetadata(context),
      fromMetadata: (active, metadata) => contextManager.fromMetadata(active, metadata),
    },
  }
}

const withoutTexts = (told: BullMQOTelSpan): Span => ({
  setSpanOnContext: (context) => told.setSpanOnContext(context),
  setAttribute: (key, value) => told.setAttribute(key, value as never),
  setAttributes: (attributes) => told.setAttributes(attributes as never),
  addEvent: (name) => told.addEvent(name),
  recordException: (error) => failed(told.span, error),
  end: () => told.end(),
})

const untold: Span = {
  setSpanOnContext: (context) => context,
  setAttribute: () => {},
  setAttributes: () => {},
  addEvent: () => {},
  recordException: () => {},
  end: () => {},
}
