import type { Db, Ledger } from '../ledger/db.ts'
import { type Intent, insertIntents } from '../ledger/lease-issue.ts'
import { countLeases, type LeaseCount } from '../ledger/quotas.ts'
import { batcher } from '../lib/batcher.ts'
import { ok } from '../lib/result.ts'

/** left_out: something that the intent rests on has gone, or another lease has its key. */
export type Intended = 'written' | 'left_out' | 'over_quota'

type Counted = { intent: Intent; counts: readonly LeaseCount[] }

/**
 * Names accounts in the ledger, one coalesced flight at a time per kind. What no quota counts needs one statement; the
 * rest takes turns, on all servers, with whatever is counted with it.
 */
export function createIntend(ledger: Ledger, max: number): (counted: Counted) => Promise<Intended> {
  const free = batcher<Intent, Intended>(
    async (intents) => {
      const written = await insertIntents(ledger, intents)
      return intents.map(({ id }) => ok(written.has(id) ? 'written' : 'left_out'))
    },
    { max, inFlight: 2 },
  )
  const counted = batcher<Counted, Intended>(
    async (flight) => {
      const outcome = await ledger.transaction((db) => intendWithin(db, flight))
      return flight.map(({ intent }) => ok(outcome.get(intent.id) ?? 'over_quota'))
    },
    { max },
  )
  return (ask) => (ask.counts.length === 0 ? free(ask.intent) : counted(ask))
}

/** Those for which there is room, in order of arrival. One that is not there holds up nobody. */
async function intendWithin(db: Db, flight: Counted[]): Promise<Map<string, Intended>> {
  const counts = new Map(flight.flatMap(({ counts }) => counts.map((count) => [count.key, count] as const)))
  const held = await countLeases(db, [...counts.values()])
  const add = (ask: Counted, by: 1 | -1): void => {
    for (const { key } of ask.counts) held.set(key, (held.get(key) ?? 0) + by)
  }
  const hasRoom = ({ counts }: Counted): boolean =>
    counts.every(({ key, max }) => (held.get(key) ?? max) < max)

  const outcome = new Map<string, Intended>()
  for (let waiting = flight; waiting.length > 0; ) {
    const chosen = waiting.filter((ask) => {
      if (!hasRoom(ask)) return false
      add(ask, 1)
      return true
    })
    if (chosen.length === 0) break
    const written = await insertIntents(
      db,
      chosen.map(({ intent }) => intent),
    )
    for (const ask of chosen) {
      const isWritten = written.has(ask.intent.id)
      outcome.set(ask.intent.id, isWritten ? 'written' : 'left_out')
      if (!isWritten) add(ask, -1)
    }
    waiting = waiting.filter(({ intent }) => !outcome.has(intent.id))
  }
  return outcome
}
