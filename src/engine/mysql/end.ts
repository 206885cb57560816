import type { Result } from '../../lib/result.ts'
import { endInBatches } from '../ending.ts'
import type { Ending, EndStep, Evidence } from '../engine.ts'
import type { Connections } from './connections.ts'
import { disable } from './disable.ts'
import { disconnect } from './disconnect.ts'
import { toEngineError } from './errors.ts'
import { remove } from './remove.ts'
import type { Target } from './target.ts'
import { verify } from './verify.ts'

const BATCH = 128

/** One step for many accounts, each with its own answer. */
export function endAccounts(
  connections: Connections,
  target: Target,
  step: EndStep,
  endings: readonly Ending[],
): Promise<Result<Evidence>[]> {
  const steps = {
    disable: (batch: readonly Ending[]) => disable(connections, batch),
    disconnect: (batch: readonly Ending[]) => disconnect(connections, batch),
    remove: (batch: readonly Ending[]) => remove(connections, target, batch),
    verify: (batch: readonly Ending[]) => verify(connections, batch),
  } satisfies Record<EndStep, unknown>
  return endInBatches(step, endings, BATCH, steps[step], toEngineError)
}
