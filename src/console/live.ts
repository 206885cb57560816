import { useEffect, useSyncExternalStore } from 'react'
import { serverClock } from './clock.ts'
import { queryClient } from './query-client.ts'
import { concerns, type Topic } from './topics.ts'

/** No sign of life for so long is a lost connection: the server sends one every ten seconds. */
const SILENCE_MS = 25_000
const WAITS_MS = [500, 1_000, 2_000, 5_000, 10_000]

export type Connection = {
  state: 'connecting' | 'open' | 'lost'
  /** When the server was last heard, by its own clock in milliseconds; undefined before the first time. */
  heardAt: number | undefined
}

/** `ids` of what changed; null when nobody says which. */
type Change = { topic: Topic; ids: string[] | null }

let connection: Connection = { state: 'connecting', heardAt: undefined }
const listeners = new Set<() => void>()
let source: EventSource | undefined
let silence: ReturnType<typeof setTimeout> | undefined
let again: ReturnType<typeof setTimeout> | undefined
let failures = 0

function become(next: Connection): void {
  connection = next
  for (const listener of listeners) listener()
}

function heard({ data }: MessageEvent<string>): void {
  const { now } = JSON.parse(data) as { now?: string }
  if (now) serverClock.learn(now)
  clearTimeout(silence)
  silence = setTimeout(lose, SILENCE_MS)
  become({ state: 'open', heardAt: serverClock.now() })
}

/** What is being read again, and whether it has changed once more since. */
const rereading = new Map<Topic, boolean>()

/** Behind each reading so long a pause, and longer where reading takes long: open pages must not hold up who asks for access. */
const PAUSE_MS = { least: 500, most: 2_000, readings: 4 }

const pauseAfter = (startedAt: number): Promise<void> => {
  const { least, most, readings } = PAUSE_MS
  const wait = Math.min(most, Math.max(least, readings * (performance.now() - startedAt)))
  return new Promise((resolve) => setTimeout(resolve, wait))
}

/** Reads again what a change concerns. One reading is let finish before the next, or a busy page would never show any. */
async function reread(change: Change): Promise<void> {
  const { topic } = change
  if (rereading.has(topic)) {
    rereading.set(topic, true)
    return
  }
  rereading.set(topic, false)
  const startedAt = performance.now()
  await queryClient.invalidateQueries({ predicate: ({ queryKey }) => concerns(change, queryKey) })
  await pauseAfter(startedAt)
  const hasChanged = rereading.get(topic)
  rereading.delete(topic)
  if (hasChanged) void reread({ topic, ids: null })
}

function open(): void {
  close()
  source = new EventSource('/ui/events')
  source.addEventListener('hello', (event) => {
    const missed = connection.state === 'lost'
    failures = 0
    heard(event)
    if (!missed) return
    // What happened while nobody listened was not told, and what was being read then may never have come.
    rereading.clear()
    void queryClient.invalidateQueries()
  })
  source.addEventListener('heartbeat', heard)
  source.addEventListener('change', (event) => {
    heard(event)
    void reread(JSON.parse(event.data) as Change)
  })
  source.addEventListener('end', lose)
  source.addEventListener('error', lose)
}

/** Says so at once, asks whether the session is over, and tries again until it is back. */
function lose(): void {
  close()
  become({ ...connection, state: 'lost' })
  void queryClient.invalidateQueries({ queryKey: ['session'] })
  again = setTimeout(open, WAITS_MS[Math.min(failures++, WAITS_MS.length - 1)])
}

function close(): void {
  clearTimeout(silence)
  clearTimeout(again)
  source?.close()
  source = undefined
}

/** Holds the connection for as long as the component that calls it is there. */
export function useLiveUpdates(): void {
  useEffect(() => {
    open()
    window.addEventListener('offline', lose)
    window.addEventListener('online', open)
    return () => {
      window.removeEventListener('offline', lose)
      window.removeEventListener('online', open)
      close()
      connection = { state: 'connecting', heardAt: undefined }
    }
  }, [])
}

export const useConnection = (): Connection =>
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => connection,
  )
