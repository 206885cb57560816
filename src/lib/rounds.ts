import { jitter } from './ids.ts'

export type Rounds = {
  /** Goes round until `stop`, which resolves when the round in hand is done. */
  start(): void
  stop(): Promise<void>
}

/** One round after another, about `intervalMs` apart so that processes spread. `round` must not throw. */
export function createRounds(round: () => Promise<void>, intervalMs: number): Rounds {
  let timer: NodeJS.Timeout | undefined
  let inHand: Promise<void> = Promise.resolve()
  let stopped = true

  const loop = async (): Promise<void> => {
    await round()
    if (stopped) return
    timer = setTimeout(() => {
      inHand = loop()
    }, intervalMs * jitter(0.8, 1.2))
  }

  return {
    start() {
      if (!stopped) return
      stopped = false
      inHand = loop()
    },
    async stop() {
      stopped = true
      clearTimeout(timer)
      await inHand
    },
  }
}
