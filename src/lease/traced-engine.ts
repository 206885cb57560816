import { type Created, type Engine, EngineError, type Term, type Ticket } from '../engine/engine.ts'
import type { Result } from '../lib/result.ts'
import { type Facts, type Mark, type Note, type Tracer, untraced } from '../lib/trace.ts'

type Marks = readonly (Mark | undefined)[]

export type TracedEngine = Omit<Engine, 'create' | 'extend'> & {
  create(tickets: readonly Ticket[], marks?: Marks): Promise<Result<Created>[]>
  extend(terms: readonly Term[], marks?: Marks): Promise<Result<void>[]>
}

/**
 * The engine of a target, with its calls for leases told of: those that make and extend accounts as batches, which
 * take the marks of who waits for them, and the steps of ending as steps of the ending they belong to.
 */
export function tracedEngine(trace: Tracer, facts: Facts, engine: Engine): TracedEngine {
  if (trace === untraced) return engine
  const of = (calls: readonly unknown[]): Facts => ({ ...facts, 'leasehold.leases': calls.length })
  return {
    ...engine,
    create: (tickets, marks = []) =>
      trace.batch('engine.create', of(tickets), marks, (note) => counted(note, engine.create(tickets))),
    extend: (terms, marks = []) =>
      trace.batch('engine.extend', of(terms), marks, (note) => counted(note, engine.extend(terms))),
    end: (step, endings) =>
      trace.step('engine.end', { ...of(endings), 'leasehold.step': step }, (note) =>
        counted(note, engine.end(step, endings)),
      ),
  }
}

/** An engine answers per item, so what failed would not show otherwise. By kind: its text may quote a statement. */
async function counted<T>(note: Note, answer: Promise<Result<T>[]>): Promise<Result<T>[]> {
  const results = await answer
  const errors = results.flatMap((result) => (result.ok ? [] : [result.error]))
  const [first] = errors
  if (errors.length > 0) {
    note({
      'leasehold.failed': errors.length,
      'error.type': first instanceof EngineError ? first.kind : 'internal',
    })
  }
  return results
}
