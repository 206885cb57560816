import {
  type Admin,
  type Created,
  type Engine,
  EngineError,
  type EngineType,
  type Term,
  type Ticket,
} from '../engine/engine.ts'
import type { Db } from '../ledger/db.ts'
import { findTargetById, type Target } from '../ledger/targets.ts'
import { BrokerError, messageOf } from '../lib/errors.ts'
import type { Result } from '../lib/result.ts'
import { markedBatcher, type Tracer, untraced } from '../lib/trace.ts'
import { type Breaker, createBreaker } from './breaker.ts'
import { type TracedEngine, tracedEngine } from './traced-engine.ts'

/** Instants are on this process's monotonic clock (`performance.now()`), so that waiting in a batch is counted. */
export type TimedTicket = Omit<Ticket, 'lifetimeMs' | 'createWithinMs'> & {
  expiresAtMs: number
  deadlineMs: number
}
export type TimedTerm = Omit<Term, 'lifetimeMs'> & { expiresAtMs: number }

/** A target with its engine open. Calls that arrive together share a round trip; each answers for itself. */
export type OpenTarget = {
  id: string
  version: number
  engine: Engine
  breaker: Breaker
  create(ticket: TimedTicket): Promise<Created>
  extend(term: TimedTerm): Promise<void>
}

export type Targets = {
  /** The open target, opened anew when `version` is newer than what is open. */
  open(id: string, version: number): Promise<OpenTarget>
  /** Those that are open now. */
  all(): OpenTarget[]
  close(): Promise<void>
}

/** Two at a time keep a multi-core target busy; the batches grow with the load. */
const CREATES_IN_FLIGHT = 2
const CREATE_BATCH = 64
const EXTEND_BATCH = 128
/** Work begun on a replaced engine gets this long before its connections are closed. */
const RETIRE_AFTER_MS = 60_000

export function createTargets(parts: {
  ledger: Db
  engineTypes: readonly EngineType[]
  admin: (target: Target) => Admin
  onRecovery: (targetId: string) => void
  trace?: Tracer
}): Targets {
  const { trace = untraced } = parts
  const opened = new Map<string, Promise<OpenTarget>>()
  const retiring = new Map<Engine, NodeJS.Timeout>()

  const openNow = async (id: string): Promise<OpenTarget> => {
    const target = await findTargetById(parts.ledger, id)
    if (!target) throw new BrokerError('invalid_request', `target ${id} is not in the ledger`)
    const type = parts.engineTypes.find(({ name }) => name === target.engine)
    if (!type)
      throw new BrokerError('invalid_request', `no engine of type "${target.engine}" in this version`)
    const facts = { 'leasehold.engine': target.engine, 'leasehold.target': target.name }
    const engine = tracedEngine(trace, facts, type.open(target.spec, parts.admin(target)))
    return withBatches({ id, version: target.version, engine, trace }, () => parts.onRecovery(id))
  }

  const retire = (engine: Engine): void => {
    const timer = setTimeout(() => {
      retiring.delete(engine)
      engine.close().catch(() => {}) // nothing is left to lose on a replaced engine
    }, RETIRE_AFTER_MS)
    retiring.set(engine, timer.unref())
  }

  const resolved = new Map<string, OpenTarget>()

  return {
    async open(id, version) {
      const current = resolved.get(id)
      if (current && current.version >= version) return current
      const opening = opened.get(id)
      if (opening) return opening
      const fresh = openNow(id)
      opened.set(id, fresh)
      try {
        const target = await fresh
        resolved.set(id, target)
        if (current) retire(current.engine)
        return target
      } finally {
        opened.delete(id)
      }
    },
    all: () => [...resolved.values()],
    async close() {
      for (const timer of retiring.values()) clearTimeout(timer)
      const engines = [...retiring.keys(), ...[...resolved.values()].map(({ engine }) => engine)]
      await Promise.allSettled(engines.map((engine) => engine.close()))
    },
  }
}

function withBatches(
  { id, version, engine, trace }: { id: string; version: number; engine: TracedEngine; trace: Tracer },
  onRecovery: () => void,
): OpenTarget {
  const breaker = createBreaker(onRecovery)
  const create = markedBatcher<TimedTicket, Created>(
    trace,
    (tickets, marks) =>
      observed(breaker, () => {
        const nowMs = performance.now()
        return engine.create(
          tickets.map(({ expiresAtMs, deadlineMs, ...ticket }) => ({
            ...ticket,
            lifetimeMs: expiresAtMs - nowMs,
            createWithinMs: deadlineMs - nowMs,
          })),
          marks,
        )
      }),
    { max: CREATE_BATCH, inFlight: CREATES_IN_FLIGHT },
  )
  const extend = markedBatcher<TimedTerm, void>(
    trace,
    (terms, marks) =>
      observed(breaker, () => {
        const nowMs = performance.now()
        return engine.extend(
          terms.map(({ expiresAtMs, ...term }) => ({ ...term, lifetimeMs: expiresAtMs - nowMs })),
          marks,
        )
      }),
    { max: EXTEND_BATCH },
  )
  return { id, version, engine, breaker, create, extend }
}

/** Runs a batch on an engine and tells the breaker: reached if any item was answered by the target itself. */
export async function observed<T>(breaker: Breaker, run: () => Promise<Result<T>[]>): Promise<Result<T>[]> {
  try {
    const results = await run()
    const silent = results.length > 0 && results.every((result) => !result.ok && isSilent(result.error))
    if (!silent) breaker.succeeded()
    else if (results.some((result) => !result.ok && isUnreachable(result.error))) breaker.unreachable()
    return results
  } catch (error) {
    if (isUnreachable(error)) breaker.unreachable()
    throw error
  }
}

const isUnreachable = (error: unknown): boolean =>
  error instanceof EngineError && error.kind === 'unreachable'

/** The target did not answer, or was not asked, for want of a login. */
const isSilent = (error: unknown): boolean =>
  isUnreachable(error) || (error instanceof EngineError && error.kind === 'no_admin')

/** What a caller is told when a target failed: 500 so that clients may try again, 400 where trying again cannot help. */
export function targetFailure(error: unknown): BrokerError {
  if (error instanceof BrokerError) return error
  if (error instanceof EngineError && error.kind === 'no_admin') {
    return new BrokerError('unavailable', error.message, { cause: error })
  }
  const permanent = error instanceof EngineError && (error.kind === 'failed' || error.kind === 'denied')
  const code = permanent ? 'invalid_request' : 'target_failed'
  return new BrokerError(code, messageOf(error), { cause: error })
}
