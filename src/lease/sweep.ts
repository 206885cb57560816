import type { Ledger } from '../ledger/db.ts'
import { dueTargets, retryNow } from '../ledger/lease-ending.ts'
import { targetsInUse } from '../ledger/targets.ts'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { createRounds, type Rounds } from '../lib/rounds.ts'
import type { Ender } from './ender.ts'
import type { Targets } from './targets.ts'

export type Sweep = Rounds & {
  /** One round; resolves when everything due then has been tried. */
  once(): Promise<void>
}

/**
 * The guarantee that leases end, with the queue slow, wiped or gone: finds what is due in the ledger alone. Targets
 * are worked on side by side, so a dead one holds up nobody else, and a round does not wait for the last one's.
 */
export function createSweep(parts: {
  ledger: Ledger
  targets: Targets
  ender: Ender
  endExpiredTokens: () => Promise<unknown>
  /** What else is due on targets by now, claimed for this worker. */
  upkeep?: () => Promise<{ name: string; run: () => Promise<void> }[]>
  intervalMs: number
  log: Logger
  /** Hears of each round on how many targets it found something due, or that it could not read the ledger. */
  record?: (outcome: 'ok' | 'failed', dueTargets: number) => void
}): Sweep {
  const { ledger, log } = parts
  const working = new Map<string, Promise<void>>()

  /** At most one piece of work per target and kind at a time; a failure is the log's, the next round tries again. */
  const work = (name: string, task: () => Promise<unknown>): void => {
    if (working.has(name)) return
    const running = task()
      .catch((error) => log.error({ error: messageOf(error) }, `${name} failed; the next sweep tries again`))
      .then(() => void working.delete(name))
    working.set(name, running)
  }

  const begin = async (): Promise<void> => {
    work('ending expired tokens', parts.endExpiredTokens)
    const due = await dueTargets(ledger).catch((error) => {
      parts.record?.('failed', 0)
      throw error
    })
    parts.record?.('ok', due.length)
    for (const targetId of due) {
      work(`ending leases on target ${targetId}`, () => parts.ender.drain(targetId))
    }
    await greetTargets(parts, work)
    for (const { name, run } of (await parts.upkeep?.()) ?? []) work(name, run)
  }

  const rounds = createRounds(
    () =>
      begin().catch((error) => log.error({ error: messageOf(error) }, 'the sweep could not read the ledger')),
    parts.intervalMs,
  )

  return {
    async once() {
      await begin()
      await Promise.all(working.values())
      await parts.ender.idle()
    },
    start: rounds.start,
    async stop() {
      await rounds.stop()
      await Promise.all(working.values())
      await parts.ender.idle()
    },
  }
}

/**
 * Keeps this worker's connection for ending warm on every target, so that it need not get a new one when clients have
 * used all of them up; and learns from it whether the target answers, which the breaker acts on.
 */
async function greetTargets(
  parts: { ledger: Ledger; targets: Targets },
  work: (name: string, task: () => Promise<unknown>) => void,
): Promise<void> {
  for (const { id, version } of await targetsInUse(parts.ledger)) {
    work(`greeting target ${id}`, async () => {
      const { engine, breaker } = await parts.targets.open(id, version)
      await engine.ping().then(breaker.succeeded, breaker.unreachable)
    })
  }
}

/** What to do at a target's first success after doubt: everything that waits for its next try there is due now. */
export function createRecovery(parts: {
  ledger: Ledger
  wake: (targetId: string) => void
  log: Logger
}): (targetId: string) => void {
  const recover = async (targetId: string): Promise<void> => {
    const waiting = await retryNow(parts.ledger, targetId)
    if (waiting === 0) return
    parts.log.info({ targetId, leases: waiting }, 'the target answers; trying again what waited for it')
    parts.wake(targetId)
  }
  return (targetId) => {
    recover(targetId).catch((error) =>
      parts.log.error({ targetId, error: messageOf(error) }, 'could not bring waiting leases forward'),
    )
  }
}
