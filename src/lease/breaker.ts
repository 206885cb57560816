/** Whether a target answers, as this process has seen it. It stops issuing, never ending. */
export type Breaker = {
  /** False while the target is taken to be down; every so often one caller is let through to try. */
  allowsIssuing(): boolean
  /** Whether the target is taken to be down. */
  isOpen(): boolean
  succeeded(): void
  unreachable(): void
}

const FAILURES_TO_OPEN = 3
const RETRY_AFTER_MS = 5_000

/**
 * `onRecovery` runs at the first success after doubt, so also at the first of this process's life: what waits for
 * its next try since before a restart need not sit out its backoff.
 */
export function createBreaker(
  onRecovery: () => void,
  nowMs: () => number = () => performance.now(),
): Breaker {
  let failures = 0
  let doubt = true
  let closedUntilMs = 0

  return {
    allowsIssuing() {
      if (failures < FAILURES_TO_OPEN) return true
      if (nowMs() < closedUntilMs) return false
      closedUntilMs = nowMs() + RETRY_AFTER_MS
      return true
    },
    isOpen: () => failures >= FAILURES_TO_OPEN,
    succeeded() {
      failures = 0
      if (!doubt) return
      doubt = false
      onRecovery()
    },
    unreachable() {
      failures += 1
      doubt = true
      if (failures >= FAILURES_TO_OPEN) closedUntilMs = nowMs() + RETRY_AFTER_MS
    },
  }
}
