import { type Claimed, claimDue } from '../ledger/lease-ending.ts'
import { messageOf } from '../lib/errors.ts'
import { type Mark, untraced } from '../lib/trace.ts'
import { asGoing, cutAccess, type EndParts, giveBack, removeAccounts } from './end.ts'
import { tracedEnding } from './traced-ending.ts'

const BATCH = 500
const STAGE = { stands: 'access', ended: 'account' } as const

/** Ending what is due on a target, whoever noticed it: a queue job, the sweep, a start after a while. */
export type Lanes = {
  /** Ends the access of everything due on a target; the accounts are removed in the background. */
  drain(targetId: string): Promise<void>
  /** Resolves when nothing is being removed any more. */
  idle(): Promise<void>
  stop(): void
}

/** `marks`: who asked for the next look. */
type Run = { done: Promise<void>; again: boolean; marks: (Mark | undefined)[] }

export function createLanes(parts: EndParts & { worker: string }): Lanes {
  const { ledger, worker, trace = untraced } = parts
  const runs = new Map<string, Run>()
  let stopping = false

  /** Cutting access never waits for a removal, however long that takes: each has a lane of its own. */
  const LANES = {
    stands: async (claimed: Claimed[]) => giveBack(parts, (await cutAccess(parts, claimed)).going),
    ended: (claimed: Claimed[]) => removeAccounts(parts, claimed.map(asGoing)),
  }

  const runUntilEmpty = async (targetId: string, access: 'stands' | 'ended', run: Run) => {
    do {
      run.again = false
      const marks = run.marks.splice(0)
      while (!stopping) {
        const claimed = await claimDue(ledger, { targetId, access, worker, limit: BATCH })
        if (claimed.length === 0) break
        await tracedEnding<unknown>(parts, STAGE[access], claimed, marks, () => LANES[access](claimed))
      }
    } while (run.again && !stopping)
  }

  /** Calls share one run for each target and lane; one that comes meanwhile makes it look once more. */
  const runLane = (targetId: string, access: 'stands' | 'ended', mark: Mark | undefined): Promise<void> => {
    const key = `${access} ${targetId}`
    const running = runs.get(key)
    if (running) {
      running.again = true
      if (mark) running.marks.push(mark)
      return running.done
    }
    const run: Run = { again: false, done: Promise.resolve(), marks: [mark] }
    run.done = runUntilEmpty(targetId, access, run).finally(() => runs.delete(key))
    runs.set(key, run)
    return run.done
  }

  return {
    async drain(targetId) {
      const mark = trace.here()
      await runLane(targetId, 'stands', mark)
      runLane(targetId, 'ended', mark).catch((error) =>
        parts.log.error({ error: messageOf(error) }, 'removing accounts failed; the next sweep tries again'),
      )
    },
    async idle() {
      await Promise.allSettled([...runs.values()].map(({ done }) => done))
    },
    stop() {
      stopping = true
    },
  }
}
