import { failed, ok, type Result } from '../lib/result.ts'
import { type Ending, type EndStep, EngineError, type Evidence } from './engine.ts'

/** What steps of ending have in common, whatever kind of database takes them. */

/** What became of each; an ending that is not in it got no answer. */
export type EndAnswers = Map<Ending, Evidence | EngineError>

/** Takes a step for many accounts, so many at a time, and gives each its own answer whatever happens. */
export async function endInBatches(
  step: EndStep,
  endings: readonly Ending[],
  size: number,
  take: (batch: readonly Ending[]) => Promise<EndAnswers>,
  toEngineError: (error: unknown) => EngineError,
): Promise<Result<Evidence>[]> {
  const results: Result<Evidence>[] = []
  for (let at = 0; at < endings.length; at += size) {
    const batch = endings.slice(at, at + size)
    const answers = await take(batch).catch(
      (error): EndAnswers => new Map(batch.map((ending) => [ending, toEngineError(error)])),
    )
    for (const ending of batch) {
      const answer = answers.get(ending) ?? new EngineError('failed', `the step ${step} gave no answer`)
      results.push(answer instanceof Error ? failed(answer) : ok(answer))
    }
  }
  return results
}

/** Those whose absence can be proved by now. The others are answered: no proof holds while a create may still land. */
export const provable = (endings: readonly Ending[], answers: EndAnswers): Ending[] =>
  endings.filter((ending) => {
    if (ending.createWithinMs <= 0) return true
    answers.set(ending, new EngineError('pending', 'a create of this account may still arrive'))
    return false
  })
