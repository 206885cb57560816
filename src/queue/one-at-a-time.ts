/** Work by key, at most once at a time for each. */
export type OneAtATime = {
  /** Runs the work, or, when it already runs for this key, has it run once more and answers at once. */
  run(key: string): Promise<void>
  /** From now on nothing is run once more. Resolves when nothing is in hand. */
  drain(): Promise<void>
}

/** `work` must not reject. */
export function oneAtATime(work: (key: string) => Promise<void>): OneAtATime {
  const running = new Map<string, { again: boolean; done: Promise<void> }>()
  let draining = false

  const runUntilQuiet = async (key: string, state: { again: boolean }): Promise<void> => {
    do {
      state.again = false
      await work(key)
    } while (state.again && !draining)
    running.delete(key)
  }

  return {
    async run(key) {
      const before = running.get(key)
      if (before) {
        before.again = true
        return
      }
      const state = { again: false, done: Promise.resolve() }
      running.set(key, state)
      state.done = runUntilQuiet(key, state)
      await state.done
    },
    async drain() {
      draining = true
      while (running.size > 0) await Promise.all([...running.values()].map(({ done }) => done))
    },
  }
}
