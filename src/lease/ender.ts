import { setTimeout as sleep } from 'node:timers/promises'
import { claimDue, claimThese, type Doomed, type DoomedLease, doom } from '../ledger/lease-ending.ts'
import { findLeaseStates, type LeaseProgress } from '../ledger/lease-queries.ts'
import type { EndReason } from '../ledger/lease-words.ts'
import { batcher } from '../lib/batcher.ts'
import { messageOf } from '../lib/errors.ts'
import { ok } from '../lib/result.ts'
import { type EndParts, endClaimed, type Outcome } from './end.ts'

/**
 * Every way a lease ends goes through here: expiry, revocation, its token's end, a failed issue. Making leases due is
 * one statement; acting on what is due is the same code whoever noticed it.
 */
export type Ender = {
  /** Makes leases due now and wakes the workers. Answers how many are on their way out. */
  doom(which: Doomed, reason: EndReason): Promise<number>
  /** Dooms a lease that nobody got, waiting out a ledger that is away; at last its expiry must do. Never throws. */
  abandon(id: string, reason: EndReason): Promise<void>
  /** Ends these leases before it returns, as far as the target lets it; what fails goes on in the background. */
  endNow(which: Doomed, reason: EndReason): Promise<(Outcome & { leaseId: string })[]>
  /** Ends everything due on a target; returns when a claim comes back empty. Calls share one run. */
  drain(targetId: string): Promise<void>
}

const DRAIN_BATCH = 500
const END_NOW_BATCH = 128
/** How long `endNow` watches a lease that another worker holds. */
const WATCH_MS = 30_000
const WATCH_EVERY_MS = 100
/** About as long as a ledger takes to fail over. */
const ABANDON_PATIENCE_MS = 60_000
const ABANDON_EVERY_MS = 500

export function createEnder(parts: EndParts & { worker: string; wake: (targetId: string) => void }): Ender {
  const { ledger, worker } = parts
  const drains = new Map<string, { done: Promise<void>; again: boolean }>()
  const endersNow = new Map<string, (id: string) => Promise<Outcome>>()

  const drainUntilEmpty = async (targetId: string, run: { again: boolean }): Promise<void> => {
    do {
      run.again = false
      for (;;) {
        const claimed = await claimDue(ledger, targetId, worker, DRAIN_BATCH)
        if (claimed.length === 0) break
        // A full batch that still has access means more are waiting: cut them all off before cleaning up.
        const cutOnly = claimed.length === DRAIN_BATCH && claimed.every(({ accessEnded }) => !accessEnded)
        await endClaimed(parts, claimed, cutOnly)
      }
    } while (run.again)
  }

  const drain = (targetId: string): Promise<void> => {
    const running = drains.get(targetId)
    if (running) {
      running.again = true
      return running.done
    }
    const run = { again: false, done: Promise.resolve() }
    run.done = drainUntilEmpty(targetId, run).finally(() => drains.delete(targetId))
    drains.set(targetId, run)
    return run.done
  }

  /** Ends that arrive together for one target share its round trips. */
  const enderFor = (targetId: string): ((id: string) => Promise<Outcome>) => {
    const existing = endersNow.get(targetId)
    if (existing) return existing
    const endOne = batcher<string, Outcome>(
      async (ids) => {
        const claimed = await claimThese(ledger, [...new Set(ids)], worker)
        const outcomes = new Map(
          (await endClaimed(parts, claimed, false)).map((outcome) => [outcome.id, outcome]),
        )
        return ids.map((id) => ok(outcomes.get(id) ?? { id, state: 'lost' }))
      },
      { max: END_NOW_BATCH },
    )
    endersNow.set(targetId, endOne)
    return endOne
  }

  /** Revocations of single leases that arrive together are one statement. */
  const doomTogether = batcher<{ ids: string[]; reason: EndReason }, DoomedLease[]>(async (asks) => {
    const doomed = new Map<string, DoomedLease>()
    for (const reason of new Set(asks.map((ask) => ask.reason))) {
      const ids = asks.filter((ask) => ask.reason === reason).flatMap((ask) => ask.ids)
      for (const lease of await doom(ledger, { ids }, reason)) doomed.set(lease.id, lease)
    }
    return asks.map(({ ids }) => ok(ids.flatMap((id) => doomed.get(id) ?? [])))
  })

  const progressOf = batcher<string, LeaseProgress | undefined>(async (ids) => {
    const known = new Map((await findLeaseStates(ledger, ids)).map((lease) => [lease.id, lease]))
    return ids.map((id) => ok(known.get(id)))
  })

  const doomAndWake = async (which: Doomed, reason: EndReason) => {
    const doomed = await doom(ledger, which, reason)
    for (const targetId of new Set(doomed.map(({ targetId }) => targetId))) parts.wake(targetId)
    return doomed
  }

  return {
    doom: async (which, reason) => (await doomAndWake(which, reason)).length,
    async abandon(id, reason) {
      for (const untilMs = performance.now() + ABANDON_PATIENCE_MS; ; ) {
        try {
          await doomAndWake({ ids: [id] }, reason)
          return
        } catch (error) {
          if (performance.now() > untilMs) {
            parts.log.error({ leaseId: id, error: messageOf(error) }, 'a lease nobody got will only expire')
            return
          }
          await sleep(ABANDON_EVERY_MS)
        }
      }
    },
    async endNow(which, reason) {
      const doomed = await ('ids' in which
        ? doomTogether({ ids: which.ids, reason })
        : doom(ledger, which, reason))
      return Promise.all(
        doomed.map(async ({ id, leaseId, targetId }) => {
          const outcome = await enderFor(targetId)(id)
          return { ...(outcome.state === 'lost' ? await watch(progressOf, id) : outcome), leaseId }
        }),
      )
    },
    drain,
  }
}

/** Waits for whoever holds the lease to end it, or to fail at it. */
async function watch(
  progressOf: (id: string) => Promise<LeaseProgress | undefined>,
  id: string,
): Promise<Outcome> {
  const untilMs = performance.now() + WATCH_MS
  const attemptsBefore = (await progressOf(id))?.attempts ?? 0
  while (performance.now() < untilMs) {
    const lease = await progressOf(id)
    if (!lease || lease.state === 'revoked') return { id, state: 'revoked' }
    if (lease.attempts > attemptsBefore) return { id, state: 'waiting', error: lease.lastError ?? '' }
    await sleep(WATCH_EVERY_MS)
  }
  return { id, state: 'waiting', error: 'another worker is still ending it' }
}
