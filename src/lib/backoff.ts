import { jitter } from './ids.ts'

const FIRST_MS = 1_000
const CAP_MS = 15 * 60 * 1_000

/** How long to wait after the `attempt`-th failure (from 1): 1 s doubling to 15 min, each ±25 % so that a crowd spreads. */
export function backoffMs(attempt: number): number {
  const plain = Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(attempt - 1, 20))
  return Math.min(CAP_MS, Math.round(plain * jitter(0.75, 1.25)))
}
