import { setTimeout as sleep } from 'node:timers/promises'
import { type Account, END_STEPS, type Spec } from '../engine/engine.ts'
import { ledgerFlight } from '../ledger/flight.ts'
import { type Doomed, type DoomedLease, doom } from '../ledger/lease-ending.ts'
import { noteTargetRef } from '../ledger/lease-issue.ts'
import { findLeaseStates, type LeaseProgress } from '../ledger/lease-queries.ts'
import type { EndReason } from '../ledger/lease-words.ts'
import { backoffMs } from '../lib/backoff.ts'
import { batcher } from '../lib/batcher.ts'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { ok } from '../lib/result.ts'
import type { EndParts, Outcome } from './end.ts'
import { createEndOne } from './end-one.ts'
import { createLanes } from './lanes.ts'
import type { OpenTarget } from './targets.ts'

/**
 * Every way a lease ends goes through here: expiry, revocation, its token's end, a failed issue. Making leases due is
 * one statement; acting on what is due is the same code whoever noticed it.
 */
export type Ender = {
  /** Makes leases due now and wakes the workers. Answers how many are on their way out. */
  doom(which: Doomed, reason: EndReason): Promise<number>
  /**
   * Dooms a lease that nobody got, waiting out a ledger that is away; at last its expiry must do. Never throws.
   * `targetRef` is for an account that is made and may not be active: its end need not wait for a late create.
   */
  abandon(id: string, reason: EndReason, targetRef?: string): Promise<void>
  /** Ends an account that no lease will end any more, trying for a while. Never throws. */
  destroy(target: OpenTarget, account: Account, role: Spec): Promise<void>
  /** Ends these leases before it returns, as far as the target lets it; what fails goes on in the background. */
  endNow(which: Doomed, reason: EndReason): Promise<(Outcome & { leaseId: string })[]>
  /** Ends the access of everything due on a target; the accounts are removed in the background. Calls share one run. */
  drain(targetId: string): Promise<void>
  /** Resolves when nothing is being removed in the background any more. */
  idle(): Promise<void>
  /** Lets the batches in hand finish and begins no more; what is left is the other workers', or the next start's. */
  stop(): void
}

/** How long `endNow` watches a lease that another worker holds. */
const WATCH_MS = 30_000
const WATCH_EVERY_MS = 100
/** About as long as a ledger takes to fail over. */
const ABANDON_PATIENCE_MS = 60_000
const ABANDON_EVERY_MS = 500
/** With the backoff between them, about an hour. */
const DESTROY_ATTEMPTS = 14

export function createEnder(parts: EndParts & { worker: string; wake: (targetId: string) => void }): Ender {
  const { ledger } = parts
  const lanes = createLanes(parts)
  const endOne = createEndOne(parts)

  /** Revocations of single leases that arrive together are one statement. */
  const doomTogether = ledgerFlight<{ ids: string[]; reason: EndReason }, DoomedLease[]>(
    ledger,
    async (db, asks) => {
      const doomed = new Map<string, DoomedLease>()
      for (const reason of new Set(asks.map((ask) => ask.reason))) {
        const ids = asks.filter((ask) => ask.reason === reason).flatMap((ask) => ask.ids)
        for (const lease of await doom(db, { ids }, reason)) doomed.set(lease.id, lease)
      }
      return asks.map(({ ids }) => ok(ids.flatMap((id) => doomed.get(id) ?? [])))
    },
  )

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
    async abandon(id, reason, targetRef) {
      for (const untilMs = performance.now() + ABANDON_PATIENCE_MS; ; ) {
        try {
          if (targetRef !== undefined) await noteTargetRef(ledger, id, targetRef)
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
    destroy: (target, account, role) => destroyAccount(parts.log, target, account, role),
    async endNow(which, reason) {
      const doomed = await ('ids' in which
        ? doomTogether({ ids: which.ids, reason })
        : doom(ledger, which, reason))
      return Promise.all(
        doomed.map(async ({ id, leaseId, targetId }) => {
          const outcome = await endOne(targetId, id)
          return { ...(outcome.state === 'lost' ? await watch(progressOf, id) : outcome), leaseId }
        }),
      )
    },
    drain: lanes.drain,
    idle: lanes.idle,
    stop: lanes.stop,
  }
}

async function destroyAccount(log: Logger, target: OpenTarget, account: Account, role: Spec): Promise<void> {
  const ending = { account, role, createWithinMs: 0 }
  for (let attempt = 1; attempt <= DESTROY_ATTEMPTS; attempt += 1) {
    try {
      for (const step of END_STEPS) {
        const [result] = await target.engine.end(step, [ending])
        if (!result?.ok) throw result?.error ?? new Error(`no answer for step ${step}`)
      }
      return
    } catch (error) {
      log.warn(
        { account: account.name, attempt, error: messageOf(error) },
        'an account made too late is not gone yet',
      )
      await sleep(backoffMs(attempt))
    }
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
