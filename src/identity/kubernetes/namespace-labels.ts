import type { Labels } from '../../lib/kubernetes/selector.ts'

/** How long a namespace that lost a label still counts as having it. */
export const LABELS_FRESH_MS = 30 * 1_000
export const MAX_HELD = 1_000

type Held = { labels: Promise<Labels>; at: number }

/**
 * Namespace labels, each fetched once per 30 s however many log in. A fetch that fails is not remembered. `now` in
 * milliseconds from any fixed point; it must not jump back.
 */
export function cachedLabels(now: () => number) {
  const held = new Map<string, Held>()

  return (namespace: string, fetch: () => Promise<Labels>): Promise<Labels> => {
    const known = held.get(namespace)
    if (known && now() - known.at < LABELS_FRESH_MS) return known.labels
    // Aged from the asking: what the answer says may have changed while it travelled.
    const entry: Held = { labels: fetch(), at: now() }
    // Deleted first, so that the map's order is that of age and the first to go is the oldest.
    held.delete(namespace)
    held.set(namespace, entry)
    const [oldest] = held.keys()
    if (held.size > MAX_HELD && oldest !== undefined) held.delete(oldest)
    entry.labels.catch(() => {
      if (held.get(namespace) === entry) held.delete(namespace)
    })
    return entry.labels
  }
}
