import { batcher } from './batcher.ts'
import { ok } from './result.ts'

/** So many keys are kept unless said otherwise; callers choose them, so there has to be an end. */
const KEPT = 10_000

/**
 * Keeps what `load` answered (undefined too) for as long as callers come with the same revision of its source. Keys
 * asked for together are loaded together; what could not be loaded is asked for again.
 */
export function revised<Value>(
  load: (keys: string[]) => Promise<ReadonlyMap<string, Value>>,
  most = KEPT,
): (revision: number, key: string) => Promise<Value | undefined> {
  const loaded = batcher<string, Value | undefined>(async (keys) => {
    const values = await load([...new Set(keys)])
    return keys.map((key) => ok(values.get(key)))
  })
  let kept = { revision: Number.NaN, values: new Map<string, Promise<Value | undefined>>() }

  return (revision, key) => {
    if (kept.revision !== revision || kept.values.size >= most) kept = { revision, values: new Map() }
    const { values } = kept
    const known = values.get(key)
    if (known) return known
    const loading = loaded(key)
    values.set(key, loading)
    loading.catch(() => values.delete(key))
    return loading
  }
}
