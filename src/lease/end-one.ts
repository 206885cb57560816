import { claimThese } from '../ledger/lease-ending.ts'
import { ok } from '../lib/result.ts'
import { markedBatcher, untraced } from '../lib/trace.ts'
import { cutAccess, type EndParts, type Going, type Outcome, removeAccounts } from './end.ts'
import { tracedEnding } from './traced-ending.ts'

const BATCH = 128
const REMOVALS_IN_FLIGHT = 2

const lost = (id: string): Outcome => ({ id, state: 'lost' })

/** Ends single leases while their callers wait. Those that arrive together for one target share its round trips. */
export function createEndOne(
  parts: EndParts & { worker: string },
): (targetId: string, id: string) => Promise<Outcome> {
  const targets = new Map<string, (id: string) => Promise<Outcome>>()
  return (targetId, id) => {
    const endOne = targets.get(targetId) ?? onOneTarget(parts)
    targets.set(targetId, endOne)
    return endOne(id)
  }
}

/** In two stages, so that cutting the access of one never waits for the removal of another. */
function onOneTarget(parts: EndParts & { worker: string }): (id: string) => Promise<Outcome> {
  const { trace = untraced } = parts
  const cutOne = markedBatcher<string, Going | Outcome>(
    trace,
    async (ids, marks) => {
      const claimed = await claimThese(parts.ledger, [...new Set(ids)], parts.worker)
      const { going, stopped } = await tracedEnding(parts, 'access', claimed, marks, () =>
        cutAccess(parts, claimed),
      )
      const byId = new Map<string, Going | Outcome>(stopped.map((outcome) => [outcome.id, outcome]))
      for (const item of going) byId.set(item.claim.id, item)
      return ids.map((id) => ok(byId.get(id) ?? lost(id)))
    },
    { max: BATCH },
  )
  const removeOne = markedBatcher<Going, Outcome>(
    trace,
    async (going, marks) => {
      const claims = going.map(({ claim }) => claim)
      const removed = await tracedEnding(parts, 'account', claims, marks, () => removeAccounts(parts, going))
      const outcomes = new Map(removed.map((outcome) => [outcome.id, outcome]))
      return claims.map(({ id }) => ok(outcomes.get(id) ?? lost(id)))
    },
    { max: BATCH, inFlight: REMOVALS_IN_FLIGHT },
  )
  return async (id) => {
    const reached = await cutOne(id)
    return 'claim' in reached ? removeOne(reached) : reached
  }
}
