import { useSyncExternalStore } from 'react'
import { serverClock } from './clock.ts'

const listeners = new Set<() => void>()
let ticking: ReturnType<typeof setInterval> | undefined
let now = serverClock.now()

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  ticking ??= setInterval(tick, 1_000)
  return () => {
    listeners.delete(listener)
    if (listeners.size > 0) return
    clearInterval(ticking)
    ticking = undefined
  }
}

function tick(): void {
  now = serverClock.now()
  for (const listener of listeners) listener()
}

/** The server's time in milliseconds, once a second; all countdowns of a page step together. */
export const useNow = (): number =>
  useSyncExternalStore(subscribe, () => {
    // Without a ticking clock the reading is from whenever the last page left.
    if (!ticking) now = serverClock.now()
    return now
  })
