import { type Claimed, claimDue } from '../ledger/lease-ending.ts'
import { messageOf } from '../lib/errors.ts'
import { asGoing, cutAccess, type EndParts, giveBack, removeAccounts } from './end.ts'

const BATCH = 500

/** Ending what is due on a target, whoever noticed it: a queue job, the sweep, a start after a while. */
export type Lanes = {
  /** Ends the access of everything due on a target; the accounts are removed in the background. */
  drain(targetId: string): Promise<void>
  /** Resolves when nothing is being removed any more. */
  idle(): Promise<void>
  stop(): void
}

export function createLanes(parts: EndParts & { worker: string }): Lanes {
  const { ledger, worker } = parts
  const runs = new Map<string, { done: Promise<void>; again: boolean }>()
  let stopping = false

  /** Cutting access never waits for a removal, however long that takes: each has a lane of its own. */
  const LANES = {
    stands: async (claimed: Claimed[]) => giveBack(parts, (await cutAccess(parts, claimed)).going),
    ended: (claimed: Claimed[]) => removeAccounts(parts, claimed.map(asGoing)),
  }

  const runUntilEmpty = async (targetId: string, access: 'stands' | 'ended', run: { again: boolean }) => {
    do {
      run.again = false
      while (!stopping) {
        const claimed = await claimDue(ledger, { targetId, access, worker, limit: BATCH })
        if (claimed.length === 0) break
        await LANES[access](claimed)
      }
    } while (run.again && !stopping)
  }

  /** Calls share one run for each target and lane; one that comes meanwhile makes it look once more. */
  const runLane = (targetId: string, access: 'stands' | 'ended'): Promise<void> => {
    const key = `${access} ${targetId}`
    const running = runs.get(key)
    if (running) {
      running.again = true
      return running.done
    }
    const run = { again: false, done: Promise.resolve() }
    run.done = runUntilEmpty(targetId, access, run).finally(() => runs.delete(key))
    runs.set(key, run)
    return run.done
  }

  return {
    async drain(targetId) {
      await runLane(targetId, 'stands')
      runLane(targetId, 'ended').catch((error) =>
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
