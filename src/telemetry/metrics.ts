import { Registry } from 'prom-client'
import type { Measure } from '../lib/measure.ts'
import type { GaugeName, HistogramName } from './catalogue.ts'
import { failureOf } from './outcome.ts'
import { createInstruments, type Instruments, processRegistry, type ReadSamples } from './registry.ts'
import { summarize } from './summary.ts'

/** A request as its numbers see it. */
export type RequestSeen = {
  /** `none` for one that was refused before it was understood. */
  operation: string
  mountType: string
  status: number
  tookMs: number
  /** How a login went; absent for what is none. */
  login?: 'ok' | 'refused' | 'limited' | 'failed' | undefined
}

/**
 * What happens, as numbers. The parts of the broker get these as plain functions, so that none of them knows how they
 * are kept; recording neither waits nor throws. Milliseconds come in, seconds go out.
 */
export type Metrics = {
  issue: Measure
  renew: Measure
  ending: {
    accessEnded(engine: string, lateMs: number): void
    heldFor(engine: string, outcome: string, ms: number): void
    ended(engine: string, reason: string): void
  }
  /** The same decision, timed. */
  decision<Question, Decision extends { allowed: boolean }>(
    decide: (question: Question) => Promise<Decision>,
  ): (question: Question) => Promise<Decision>
  rotation(kind: 'static' | 'admin', outcome: 'ok' | 'failed' | 'missed', ms: number): void
  request(seen: RequestSeen): void
  queueLag(lateMs: number): void
  sweep: { round(outcome: 'ok' | 'failed', dueTargets: number): void; tokensEnded(count: number): void }
  /** Says where a gauge is read from when somebody looks. */
  gauge(name: GaugeName, read: ReadSamples): void
  /** In Prometheus' text format, and the content type that names it. */
  text(): Promise<{ type: string; body: string }>
  json(): Promise<Record<string, unknown>>
}

export function createMetrics({ version }: { version: string }): Metrics {
  const instruments = createInstruments()
  const { registry, gauge } = instruments
  const both = (): Registry => Registry.merge([registry, processRegistry()])
  gauge('leasehold_build_info', () => [{ labels: { version }, value: 1 }])

  return {
    issue: measuring(instruments, 'leasehold_lease_issue_duration_seconds'),
    renew: measuring(instruments, 'leasehold_lease_renew_duration_seconds'),
    ending: endingRecorder(instruments),
    decision: (decide) => timedDecision(instruments, decide),
    rotation: rotationRecorder(instruments),
    request: requestRecorder(instruments),
    queueLag: lagRecorder(instruments),
    sweep: sweepRecorder(instruments),
    gauge,
    text: async () => ({ type: registry.contentType, body: await both().metrics() }),
    json: async () => ({ ...summarize(await both().getMetricsAsJSON(), new Date()) }),
  }
}

const SECOND_MS = 1_000
const secondsSince = (startedMs: number): number => (performance.now() - startedMs) / SECOND_MS

function measuring({ observe }: Instruments, name: HistogramName): Measure {
  const record = observe(name)
  return async (work) => {
    const startedMs = performance.now()
    let engine = 'unknown'
    const on = (named: string): void => {
      engine = named
    }
    try {
      const answer = await work(on)
      record(secondsSince(startedMs), engine, 'ok')
      return answer
    } catch (error) {
      record(secondsSince(startedMs), engine, failureOf(error))
      throw error
    }
  }
}

function endingRecorder({ observe, count }: Instruments): Metrics['ending'] {
  const lag = observe('leasehold_lease_end_lag_seconds')
  const held = observe('leasehold_lease_end_duration_seconds')
  const ended = count('leasehold_leases_ended_total')
  return {
    accessEnded: (engine, lateMs) => lag(Math.max(0, lateMs) / SECOND_MS, engine),
    heldFor: (engine, outcome, ms) => held(ms / SECOND_MS, engine, outcome),
    ended: (engine, reason) => ended(1, engine, reason),
  }
}

function rotationRecorder({ observe }: Instruments): Metrics['rotation'] {
  const took = observe('leasehold_rotation_duration_seconds')
  return (kind, outcome, ms) => took(ms / SECOND_MS, kind, outcome)
}

function timedDecision<Question, Decision extends { allowed: boolean }>(
  { observe }: Instruments,
  decide: (question: Question) => Promise<Decision>,
): (question: Question) => Promise<Decision> {
  const record = observe('leasehold_policy_decision_duration_seconds')
  return async (question) => {
    const startedMs = performance.now()
    let outcome = 'error'
    try {
      const decision = await decide(question)
      outcome = decision.allowed ? 'allowed' : 'denied'
      return decision
    } finally {
      record(secondsSince(startedMs), outcome)
    }
  }
}

const STATUS_CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const

function requestRecorder({ observe, count }: Instruments): Metrics['request'] {
  const requests = observe('leasehold_request_duration_seconds')
  const logins = count('leasehold_logins_total')
  return ({ operation, mountType, status, tookMs, login }) => {
    const statusClass = STATUS_CLASSES[Math.trunc(status / 100) - 1] ?? '5xx'
    requests(tookMs / SECOND_MS, operation, mountType, statusClass)
    if (login) logins(1, mountType, login)
  }
}

function lagRecorder({ observe }: Instruments): Metrics['queueLag'] {
  const lag = observe('leasehold_queue_lag_seconds')
  return (lateMs) => lag(Math.max(0, lateMs) / SECOND_MS)
}

function sweepRecorder({ count }: Instruments): Metrics['sweep'] {
  const rounds = count('leasehold_sweep_rounds_total')
  const targets = count('leasehold_sweep_due_targets_total')
  const tokens = count('leasehold_sweep_expired_tokens_total')
  return {
    round(outcome, dueTargets) {
      rounds(1, outcome)
      targets(dueTargets)
    },
    tokensEnded: (ended) => tokens(ended),
  }
}
