export type Memory = { knows(key: string): boolean; keep(key: string, until: number): void }

const TIDY_MS = 1_000

/** Keys that hold until a given instant of `now`. */
export function createMemory(now: () => number = () => performance.now()): Memory {
  const until = new Map<string, number>()
  let tidiedAt = now()

  const tidy = (): void => {
    tidiedAt = now()
    for (const [key, end] of until) if (end <= tidiedAt) until.delete(key)
  }

  return {
    knows: (key) => (until.get(key) ?? Number.NEGATIVE_INFINITY) > now(),
    keep(key, end) {
      if (end > now()) until.set(key, end)
      if (now() - tidiedAt > TIDY_MS) tidy()
    },
  }
}
