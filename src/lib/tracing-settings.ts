import { z } from 'zod'
import { url } from './forms.ts'
import { type Sensitive, sensitive } from './sensitive.ts'

/**
 * The settings of traces: OpenTelemetry's own names, as every program that sends traces has them. Here are those that
 * decide whether and where to send; the rest (service name, resource attributes, sampler, headers, certificates, limits)
 * is read by OpenTelemetry itself, from the environment.
 */

export type TracingSettings = {
  /** Where spans are posted to. May hold a password. */
  endpoint: Sensitive
  /** How long one batch of spans is tried for. */
  timeoutMs: number
}

/** OpenTelemetry's own default is 10 s; a process that stops would wait that long for a collector that is gone. */
const DEFAULT_TIMEOUT_MS = '3000'

const SAMPLERS = /^(parentbased_)?(always_on|always_off|traceidratio)$/

const endpoint = url('http', 'https').refine((value) => URL.canParse(value.reveal()), {
  error: 'must be a URL, such as http://127.0.0.1:4318',
})

const milliseconds = z
  .string()
  .regex(/^[1-9]\d{0,5}$/, { error: 'must be a number of milliseconds, 1 to 999999' })
  .transform(Number)

const form = z.object({
  OTEL_EXPORTER_OTLP_ENDPOINT: endpoint.optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint.optional(),
  OTEL_EXPORTER_OTLP_TIMEOUT: milliseconds.prefault(DEFAULT_TIMEOUT_MS),
  OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: milliseconds.optional(),
})

type Report = { problem(text: string): void; warn(text: string): void }

/** Undefined when nothing is to be traced: no endpoint is set, or one of the switches says so. */
export function readTracing(
  env: Readonly<Record<string, string | undefined>>,
  report: Report,
): TracingSettings | undefined {
  const set = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ''),
  )
  if (set.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true') return undefined
  if (!('OTEL_EXPORTER_OTLP_ENDPOINT' in set || 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT' in set)) return undefined
  const exporters = (set.OTEL_TRACES_EXPORTER ?? 'otlp').split(',').map((name) => name.trim())
  if (!exporters.includes('otlp')) {
    if (!exporters.includes('none'))
      report.warn('OTEL_TRACES_EXPORTER does not name otlp, so nothing is traced')
    return undefined
  }
  const checked = form.safeParse(set)
  if (!checked.success) {
    for (const issue of checked.error.issues) report.problem(`${issue.path.join('.')} ${issue.message}`)
    return undefined
  }
  warnOfIgnored(set, report)
  const {
    OTEL_EXPORTER_OTLP_ENDPOINT: base,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: own,
    OTEL_EXPORTER_OTLP_TIMEOUT: timeoutMs,
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: ownTimeoutMs,
  } = checked.data
  const found = own ?? (base && belowBase(base))
  return found && { endpoint: found, timeoutMs: ownTimeoutMs ?? timeoutMs }
}

/** The endpoint for all signals is the root of a path for each. */
const belowBase = (base: Sensitive): Sensitive => sensitive(`${base.reveal().replace(/\/?$/, '/')}v1/traces`)

/** What OpenTelemetry would pass over in silence. */
function warnOfIgnored(set: Readonly<Record<string, string | undefined>>, report: Report): void {
  const protocol = set.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL ?? set.OTEL_EXPORTER_OTLP_PROTOCOL
  if (protocol !== undefined && protocol !== 'http/json') {
    report.warn('traces are sent as http/json, whatever OTEL_EXPORTER_OTLP_PROTOCOL says')
  }
  const sampler = set.OTEL_TRACES_SAMPLER
  if (sampler !== undefined && !SAMPLERS.test(sampler)) {
    report.warn('OTEL_TRACES_SAMPLER names no sampler there is here, so every trace is kept')
  }
}
