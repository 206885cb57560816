import { EngineError } from '../engine/engine.ts'
import type { Ledger } from '../ledger/db.ts'
import { findRotation, requestRotation } from '../ledger/rotation.ts'
import {
  type ClaimedRotation,
  claimDueRotations,
  claimRotation,
  keepRotationClaim,
  leftCredentials,
  noteDropped,
  releaseRotation,
  removeStranded,
  targetsToRotate,
} from '../ledger/rotation-work.ts'
import { findTarget, findTargetById } from '../ledger/targets.ts'
import { backoffMs } from '../lib/backoff.ts'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { pause } from '../lib/pause.ts'
import { type Rotated, type RotateParts, rotate } from './rotate.ts'
import { ClaimLost } from './step.ts'

export type Rotator = {
  /**
   * Rotates now, and answers when it is done; whoever else is at it is waited for. Throws what stopped it: the
   * rotation stays asked for, and goes on being tried, until somebody withdraws the request.
   */
  now(id: string, options?: { forced?: boolean }): Promise<void>
  /** Rotates everything due on a target, by its id; calls share one run. */
  drain(targetId: string): Promise<void>
  /** Finds everything due in the ledger alone, and rotates it: targets side by side. */
  sweep(): Promise<void>
  /** Resolves when nothing is in hand. */
  idle(): Promise<void>
  stop(): void
}

/** Keeps count of rotations; must neither wait nor throw. */
export type RotationRecorder = (
  kind: 'static' | 'admin',
  outcome: 'ok' | 'failed' | 'missed',
  ms: number,
) => void

export type RotatorParts = Omit<RotateParts, 'ledger'> & {
  ledger: Ledger
  worker: string
  /** Tells the queue that something is due on a target, so long from now. */
  wakeAt: (targetId: string, dueAt: Date, inMs: number) => void
  log: Logger
  record?: RotationRecorder
}

/** Each logs in on the target a few times. */
const AT_ONCE = 4
const SIGN_OF_LIFE_MS = 5_000
const ERROR_TEXT_LIMIT = 500
/** How long `now` watches a rotation that somebody else has. */
const WATCH_MS = 30_000
const WATCH_EVERY_MS = 100
const SETTLE_GRACE_MS = 250

export function createRotator(parts: RotatorParts): Rotator {
  const { ledger, log, worker } = parts
  const runs = new Map<string, Promise<void>>()
  let stopping = false

  const drainTarget = async (mountId: string, targetName: string): Promise<void> => {
    while (!stopping) {
      const claimed = await claimDueRotations(ledger, { mountId, targetName, worker, limit: AT_ONCE })
      if (claimed.length === 0) return
      await Promise.all(claimed.map((claim) => rotateClaim(parts, claim).catch(() => {})))
    }
  }

  const drainOnce = (mountId: string, targetName: string): Promise<void> => {
    const key = `${mountId} ${targetName}`
    const running = runs.get(key)
    if (running) return running
    const run = drainTarget(mountId, targetName).finally(() => runs.delete(key))
    runs.set(key, run)
    return run
  }

  return {
    async now(id, { forced = false } = {}) {
      const before = await requestRotation(ledger, id, forced)
      if (!before) return
      const claim = await claimRotation(ledger, id, worker)
      if (!claim) return watch(ledger, id, before)
      const rotated = await rotateClaim(parts, claim)
      if (rotated.done !== 'rotated') throw new EngineError('pending', rotated.note ?? 'it has to wait')
    },
    async drain(targetId) {
      const target = await findTargetById(ledger, targetId)
      if (target) await drainOnce(target.mountId, target.name)
    },
    async sweep() {
      await tidy(parts)
      const due = await targetsToRotate(ledger)
      for (const { mountId, targetName } of due) {
        drainOnce(mountId, targetName).catch((error) =>
          log.error(
            { target: targetName, error: messageOf(error) },
            'rotating failed; the next sweep tries again',
          ),
        )
      }
    },
    idle: async () => void (await Promise.allSettled(runs.values())),
    stop() {
      stopping = true
    },
  }
}

/** Takes a claim as far as it goes, with signs of life; gives it back when it fails, and throws why. */
async function rotateClaim(parts: RotatorParts, claim: ClaimedRotation): Promise<Rotated> {
  const startedMs = performance.now()
  const signs = setInterval(() => {
    // One that does not arrive is made up for by the next.
    keepRotationClaim(parts.ledger, claim).catch(() => {})
  }, SIGN_OF_LIFE_MS)
  const tell = (outcome: 'ok' | 'failed' | 'missed') =>
    parts.record?.(claim.kind, outcome, performance.now() - startedMs)
  try {
    const rotated = await rotate(parts, claim)
    if (rotated.done === 'rotated') tell('ok')
    if (rotated.done === 'missed') tell('missed')
    await wakeForNext(parts, claim)
    return rotated
  } catch (error) {
    if (error instanceof ClaimLost) throw error
    tell('failed')
    const text = messageOf(error).slice(0, ERROR_TEXT_LIMIT)
    const account = { kind: claim.kind, target: claim.targetName, account: claim.username, role: claim.name }
    parts.log.warn(
      { ...account, attempt: claim.attempts + 1, error: text },
      'a rotation failed; it will be tried again',
    )
    await releaseRotation(parts.ledger, claim, { error: text, retryMs: retryMs(claim, error) })
    throw error
  } finally {
    clearInterval(signs)
  }
}

/** What waits for a statement that may still arrive need not wait longer than that. */
function retryMs({ attempts, unsettledMs }: ClaimedRotation, error: unknown): number {
  const backoff = backoffMs(attempts + 1)
  const isPending = error instanceof EngineError && error.kind === 'pending'
  return isPending ? Math.min(backoff, unsettledMs + SETTLE_GRACE_MS) : backoff
}

/** Speed only: the sweep finds it as well. */
async function wakeForNext({ ledger, wakeAt }: RotatorParts, claim: ClaimedRotation): Promise<void> {
  const next = await findRotation(ledger, claim.id)
  const target = await findTarget(ledger, claim.mountId, claim.targetName)
  if (next?.dueAt && target) wakeAt(target.id, next.dueAt, next.dueAt.getTime() - claim.now.getTime())
}

/** Waits for whoever holds the rotation to do it, or to fail at it. */
async function watch(
  ledger: Ledger,
  id: string,
  before: { rotations: number; attempts: number },
): Promise<void> {
  for (const untilMs = performance.now() + WATCH_MS; performance.now() < untilMs; ) {
    const row = await findRotation(ledger, id)
    if (!row || row.rotations > before.rotations) return
    if (row.attempts > before.attempts)
      throw new EngineError('failed', row.lastError ?? 'the rotation failed')
    await pause(WATCH_EVERY_MS)
  }
  throw new EngineError('pending', 'another worker is still rotating it')
}

/** Drops what rotations that are gone have left in the secret store. */
async function tidy({ ledger, credentials, log }: RotatorParts): Promise<void> {
  await removeStranded(ledger)
  for (const { id, ...place } of await leftCredentials(ledger)) {
    try {
      await credentials.forget(place)
      await noteDropped(ledger, id)
    } catch (error) {
      log.warn({ error: messageOf(error) }, 'a password that nobody needs is still in the secret store')
    }
  }
}
