import { failed, ok, type Result } from '../../lib/result.ts'
import { type Ending, type EndStep, EngineError, type Evidence } from '../engine.ts'
import type { Connections } from './connections.ts'
import { disable } from './disable.ts'
import { disconnect } from './disconnect.ts'
import { toEngineError } from './errors.ts'
import { remove } from './remove.ts'
import type { Target } from './target.ts'
import { verify } from './verify.ts'

export type Answers = Map<Ending, Evidence | EngineError>

const BATCH = 128

/** One step for many accounts, each with its own answer. */
export async function endAccounts(
  connections: Connections,
  target: Target,
  step: EndStep,
  endings: readonly Ending[],
): Promise<Result<Evidence>[]> {
  const results: Result<Evidence>[] = []
  for (let at = 0; at < endings.length; at += BATCH) {
    const batch = endings.slice(at, at + BATCH)
    const answers = await runStep(connections, target, step, batch).catch(
      (error): Answers => new Map(batch.map((ending) => [ending, toEngineError(error)])),
    )
    for (const ending of batch) {
      const answer = answers.get(ending) ?? new EngineError('failed', `the step ${step} gave no answer`)
      results.push(answer instanceof Error ? failed(answer) : ok(answer))
    }
  }
  return results
}

function runStep(
  connections: Connections,
  target: Target,
  step: EndStep,
  endings: readonly Ending[],
): Promise<Answers> {
  switch (step) {
    case 'disable':
      return disable(connections, endings)
    case 'disconnect':
      return disconnect(connections, endings)
    case 'remove':
      return remove(connections, target, endings)
    case 'verify':
      return verify(connections, endings)
  }
}
