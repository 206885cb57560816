import {
  type Context,
  context,
  type Link,
  type Tracer as OtelTracer,
  ROOT_CONTEXT,
  type Span,
  SpanStatusCode,
  trace as spans,
  TraceFlags,
} from '@opentelemetry/api'
import { BrokerError } from '../lib/errors.ts'
import type { Mark, Note, Tracer } from '../lib/trace.ts'
import { failureOf } from './outcome.ts'

/**
 * `asked` follows the sampler; `forced` keeps every trace: a batch is kept when one of those it serves is kept, which
 * no sampler can know.
 */
export function spanTracer({ asked, forced }: { asked: OtelTracer; forced: OtelTracer }): Tracer {
  return {
    step: (name, attributes, work) => within(asked.startSpan(name, { attributes }), context.active(), work),
    here: () => spans.getActiveSpan(),
    batch(name, attributes, marks, work) {
      const served = [...new Set(marks)].filter(isSpan)
      const kept = served.filter(isKept)
      const [unkept] = kept.length === 0 ? served : []
      if (unkept) return context.with(spans.setSpan(ROOT_CONTEXT, unrecorded(unkept)), () => work(() => {}))
      const tracer = kept.length > 0 ? forced : asked
      const span = tracer.startSpan(name, { attributes, links: kept.map(linkTo), root: true }, ROOT_CONTEXT)
      // Who looks at a request finds the batch it went with.
      for (const one of kept) if (one.isRecording()) one.addLink(linkTo(span))
      return within(span, ROOT_CONTEXT, work)
    },
  }
}

async function within<T>(span: Span, parent: Context, work: (note: Note) => Promise<T>): Promise<T> {
  try {
    return await context.with(spans.setSpan(parent, span), () =>
      work((facts) => void span.setAttributes(facts)),
    )
  } catch (error) {
    failed(span, error)
    throw error
  } finally {
    span.end()
  }
}

const isSpan = (mark: Mark | undefined): mark is Span => mark !== undefined && 'spanContext' in mark
const isKept = (span: Span): boolean => (span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0
const linkTo = (span: Span): Link => ({ context: span.spanContext() })
const unrecorded = (span: Span): Span => spans.wrapSpanContext(span.spanContext())

/** Says that the work of a span failed: in one word, since the text of an error may quote a statement or a value. */
export function failed(span: Span, error: unknown): void {
  span.setAttribute('error.type', errorType(error))
  if (!isRefusal(error)) span.setStatus({ code: SpanStatusCode.ERROR })
}

/** The caller's own fault is not one of ours. */
const isRefusal = (error: unknown): boolean =>
  error instanceof BrokerError && ['refused', 'limited'].includes(failureOf(error))

/** The code or kind of an error, or its class. */
function errorType(error: unknown): string {
  const { code, kind, name } = (error ?? {}) as { code?: unknown; kind?: unknown; name?: unknown }
  const word = [code, kind, name].find((text) => typeof text === 'string' && /^[\w.-]{1,60}$/.test(text))
  return typeof word === 'string' ? word : 'unknown'
}
