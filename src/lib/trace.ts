import { batcher } from './batcher.ts'
import type { Measure } from './measure.ts'
import type { Result } from './result.ts'

/** What a trace tells of a piece of work: kinds, names, counts, outcomes. Never a secret, a statement or a caller's own text. */
export type Facts = Readonly<Record<string, string | number | boolean>>

/** Adds to what is told of the work. */
export type Note = (facts: Facts) => void

/** A piece of work under way, to be named by others that serve it. */
export type Mark = object

/** The ports through which parts of the broker tell what they do. None of them waits, and none throws. */
export type Tracer = {
  /** Runs work as a step of what is under way. Answers and throws what the work does. */
  step<T>(name: string, facts: Facts, work: (note: Note) => Promise<T>): Promise<T>
  /** What is under way; undefined when nothing is, or nobody follows it. */
  here(): Mark | undefined
  /** Runs work that serves several at once: a trace of its own, linked with each of theirs. */
  batch<T>(
    name: string,
    facts: Facts,
    marks: readonly (Mark | undefined)[],
    work: (note: Note) => Promise<T>,
  ): Promise<T>
}

/** For where nobody follows. */
export const untraced: Tracer = {
  step: (_name, _facts, work) => work(() => {}),
  here: () => undefined,
  batch: (_name, _facts, _marks, work) => work(() => {}),
}

/** A `batcher` that tells each batch who waits for its items. */
export function markedBatcher<In, Out>(
  trace: Tracer,
  run: (items: In[], marks: (Mark | undefined)[]) => Promise<Result<Out>[]>,
  options: { max?: number; inFlight?: number } = {},
): (item: In) => Promise<Out> {
  const batched = batcher<{ item: In; mark: Mark | undefined }, Out>(
    (asks) =>
      run(
        asks.map(({ item }) => item),
        asks.map(({ mark }) => mark),
      ),
    options,
  )
  return (item) => batched({ item, mark: trace.here() })
}

/** The same measure, and a step as well, which tells the engine and the target. */
export const asStep = (trace: Tracer, name: string, measure: Measure): Measure =>
  trace === untraced
    ? measure
    : (work) =>
        trace.step(name, {}, (note) =>
          measure((on) =>
            work((engine, target) => {
              note({
                'leasehold.engine': engine,
                ...(target !== undefined && { 'leasehold.target': target }),
              })
              on(engine, target)
            }),
          ),
        )

/** A request being answered. */
export type Serving = {
  /** For the log, so that one leads to the other. */
  traceId: string
  /** Says what it was, once that is known. `fault` is what went wrong on our side, in one word. */
  answered(name: string, facts: Facts, fault?: string): void
}

/** Serves a request as one span, below the caller's own where its `traceparent` header names one. */
export type TraceServing = (
  traceparent: string | undefined,
  serve: (serving: Serving) => Promise<void>,
) => Promise<void>
