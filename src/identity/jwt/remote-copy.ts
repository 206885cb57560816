import { messageOf } from '../../lib/errors.ts'

/** Copies older than this are fetched again, in the background. */
export const FRESH_MS = 10 * 60 * 1_000
/** Copies older than this are not used: an issuer that took a key back while unreachable is believed for this long at most. */
export const HARD_AGE_MS = 60 * 60 * 1_000
/** The least time between two fetches for what the copy does not hold, and after a failed fetch before the next. */
export const COOLDOWN_MS = 10 * 1_000

/** What an issuer publishes at one place, kept. Whoever needs a fetch while one is under way shares it. */
export type RemoteCopy<T> = {
  /** Makes sure that a usable copy is held, if one can be had. True when this waited for a fetch. Never rejects. */
  ready(): Promise<boolean>
  /** Fetches once more for something that is not held, unless that was done within the cooldown. Never rejects. */
  seek(): Promise<void>
  /** What is held and not too old; undefined when nothing is. */
  held(): T | undefined
  /** What went wrong with the newest fetch; undefined when it worked. */
  trouble(): string | undefined
}

/** `now` in milliseconds from any fixed point; it must not jump back, or old copies would look young. */
export function remoteCopy<T>(fetch: () => Promise<T>, now: () => number): RemoteCopy<T> {
  let copy: { value: T; at: number } | undefined
  let failure: { text: string; at: number } | undefined
  let underWay: Promise<void> | undefined
  let soughtAt = Number.NEGATIVE_INFINITY

  const age = () => (copy ? now() - copy.at : Number.POSITIVE_INFINITY)
  const justFailed = () => failure !== undefined && now() - failure.at < COOLDOWN_MS

  async function fetchOnce(): Promise<void> {
    // Aged from the asking: what the issuer published while the answer travelled may already be different.
    const at = now()
    try {
      copy = { value: await fetch(), at }
      failure = undefined
    } catch (error) {
      failure = { text: messageOf(error), at: now() }
    }
  }

  function refresh(): Promise<void> {
    underWay ??= fetchOnce().finally(() => {
      underWay = undefined
    })
    return underWay
  }

  return {
    async ready() {
      if (age() < FRESH_MS) return false
      const usable = age() < HARD_AGE_MS
      if (!justFailed()) void refresh()
      if (usable || !underWay) return false
      await underWay
      return true
    },
    async seek() {
      if (!underWay && (now() - soughtAt < COOLDOWN_MS || justFailed())) return
      if (!underWay) soughtAt = now()
      await refresh()
    },
    held: () => (age() < HARD_AGE_MS ? copy?.value : undefined),
    trouble: () => failure?.text,
  }
}
