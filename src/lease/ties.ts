import type { Engine, Following } from '../engine/engine.ts'
import type { Db } from '../ledger/db.ts'
import { findTiedLeases, type TiedLease } from '../ledger/lease-ties.ts'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import type { Ender } from './ender.ts'
import type { Targets } from './targets.ts'

/** Ends leases when what they are tied to is gone. */
export type Ties = {
  /** Follows what the live leases of now are tied to, and nothing else; for every round of the sweep. */
  refresh(): Promise<void>
  stop(): Promise<void>
}

/** However many events are missed, nothing is overlooked for longer. */
const RESYNC_MS = 5 * 60_000

/** Every worker follows by itself: ending a lease twice over is ending it once. */
export function createTies(parts: { ledger: Db; targets: Targets; ender: Ender; log: Logger }): Ties {
  const { ledger, targets, ender, log } = parts
  const followed = new Map<string, { engine: Engine; following: Following }>()
  let stopped = false

  const end = (leaseId: string): void => {
    log.info({ leaseId }, 'what a lease was tied to is gone')
    ender
      .doom({ ids: [leaseId] }, 'tie_gone')
      .catch((error) => log.warn({ leaseId, error: messageOf(error) }, 'it will be looked at again'))
  }
  const onTrouble = (targetId: string) => (error: unknown) =>
    log.warn({ targetId, error: messageOf(error) }, 'what leases are tied to is not seen at present')

  const stopping = new Set<Promise<void>>()
  /** Not waited for: one that waits for its target must not keep the others from being followed. */
  const drop = (targetId: string): void => {
    const dropped = followed.get(targetId)
    followed.delete(targetId)
    if (!dropped) return
    const done = dropped.following.stop().finally(() => stopping.delete(done))
    stopping.add(done)
  }

  const followTarget = async (targetId: string, leases: TiedLease[]): Promise<void> => {
    const { engine } = await targets.open(targetId, leases[0]?.targetVersion ?? 0)
    // A target that was changed has another engine, and the old one is about to be closed.
    if (followed.get(targetId)?.engine !== engine) drop(targetId)
    const following =
      followed.get(targetId)?.following ??
      engine.follow?.({ onGone: end, onTrouble: onTrouble(targetId), resyncMs: RESYNC_MS })
    if (!following) return
    if (stopped) return following.stop()
    followed.set(targetId, { engine, following })
    following.follow(
      leases.map(({ id, account, targetRef, asked }) => ({
        account: { leaseId: id, name: account, targetRef },
        asked,
      })),
    )
  }

  return {
    async refresh() {
      const byTarget = new Map<string, TiedLease[]>()
      for (const lease of await findTiedLeases(ledger)) {
        const leases = byTarget.get(lease.targetId)
        if (leases) leases.push(lease)
        else byTarget.set(lease.targetId, [lease])
      }
      for (const id of [...followed.keys()]) if (!byTarget.has(id)) drop(id)
      await Promise.all([...byTarget].map(([id, leases]) => followTarget(id, leases).catch(onTrouble(id))))
    },
    async stop() {
      stopped = true
      for (const id of [...followed.keys()]) drop(id)
      await Promise.all(stopping)
    },
  }
}
