/** What the server tells of changes in. A query belongs to the topic its key starts with. */
export type Topic = 'leases' | 'grants' | 'targets'

/** Whether a query shows what changed. `[topic, 'one', id]` is about one thing only; every other key of the topic about many. */
export function concerns(change: { topic: Topic; ids: string[] | null }, key: readonly unknown[]): boolean {
  if (key[0] !== change.topic) return false
  if (key[1] !== 'one' || change.ids === null) return true
  return change.ids.includes(String(key[2]))
}
