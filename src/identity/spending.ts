import type { Db } from '../ledger/db.ts'

/**
 * Something that may be used so many times, such as a secret handed out for one login. It is taken in the transaction
 * that makes the login's token, so that neither is there without the other, and of two who come at once for the last
 * use one has it.
 */
export type Spend = {
  id: string
  /** Takes so many uses of each id, or as many as there are, and answers how many. The same function for all of a kind. */
  take(db: Db, asked: ReadonlyMap<string, number>): Promise<ReadonlyMap<string, number>>
  /** What is told to whoever comes too late. */
  refusal(): Error
}

/** For each, whether it had what it asked for; who asks for nothing has it. Who is named first is served first. */
export async function spendAll(db: Db, spends: readonly (Spend | undefined)[]): Promise<boolean[]> {
  const asked = new Map<Spend['take'], Map<string, number>>()
  for (const spend of spends) {
    if (!spend) continue
    const counts = asked.get(spend.take) ?? new Map<string, number>()
    counts.set(spend.id, (counts.get(spend.id) ?? 0) + 1)
    asked.set(spend.take, counts)
  }
  const given = new Map<Spend['take'], Map<string, number>>()
  for (const [take, counts] of asked) given.set(take, new Map(await take(db, counts)))
  return spends.map((spend) => {
    if (!spend) return true
    const counts = given.get(spend.take)
    const left = counts?.get(spend.id) ?? 0
    counts?.set(spend.id, left - 1)
    return left > 0
  })
}
