import { type Db, lockNamed } from '../ledger/db.ts'
import { findRotation, groupOf } from '../ledger/rotation.ts'
import { type ClaimedRotation, enterPhase, postponeRotation } from '../ledger/rotation-work.ts'
import { waitsUntil } from './pairs.ts'
import type { Rotated, RotateParts } from './rotate.ts'
import { hasMissed, nextDue } from './schedule.ts'
import { ClaimLost, commitStep, stepEvent } from './step.ts'

/** Whether it is a claimed rotation's turn to begin. What is half done is put right whatever the time. */
export type Turn = {
  /** The ledger's time. */
  now(): Date
  /** Undefined when it is due; else it is given back in the ledger, and this says why. */
  notNow(): Promise<Rotated | undefined>
  /** Writes that it begins, unless another of its group is too close: found out and written under one lock. */
  take(): Promise<Rotated | undefined>
  /** When to rotate next, by the terms as they are now: they may have been written anew. */
  next(db: Db): Promise<Date | null>
}

export function turnOf({ ledger, trail }: RotateParts, claim: ClaimedRotation): Turn {
  const startedMs = performance.now()
  const now = (): Date => new Date(claim.now.getTime() + performance.now() - startedMs)
  const { dueAt, lastError, requestedAt } = claim

  return {
    now,
    async notNow() {
      if (requestedAt !== null) return undefined
      if (dueAt !== null && hasMissed(claim, dueAt, now())) {
        const next = claim.automated ? nextDue(claim, now()) : null
        const why = lastError === null ? '' : `: ${lastError}`
        const note = `it could not be rotated in its window of ${dueAt.toISOString()}${why}`
        await commitStep(trail, claim, 'missed', (db) =>
          postponeRotation(db, claim, { dueAt: next, lookAt: next, note }),
        )
        return { done: 'missed', note }
      }
      if (dueAt !== null && dueAt <= now()) return undefined
      // Looked at for what was half done, and that is put right.
      await postponeRotation(ledger, claim, { dueAt, lookAt: dueAt, note: lastError })
      return { done: 'waits' }
    },
    take: () =>
      trail.commit(async (db) => {
        const wait = await waitInGroup(db, claim, now())
        if (!wait) {
          if ((await enterPhase(db, claim, 'propose')) === 0) throw new ClaimLost()
          return { result: undefined, events: [stepEvent(claim, 'propose')] }
        }
        const note = `"${wait.for}" of the same rotation_group comes first`
        const kept = await postponeRotation(db, claim, { dueAt, lookAt: wait.at, note })
        if (kept === 0) throw new ClaimLost()
        return { result: { done: 'waits', note }, events: [] }
      }),
    async next(db) {
      const terms = await findRotation(db, claim.id)
      return terms?.automated ? nextDue(terms, now()) : null
    },
  }
}

/** Its first rotation need not wait: nobody has read the password here yet. */
async function waitInGroup(
  db: Db,
  claim: ClaimedRotation,
  now: Date,
): Promise<ReturnType<typeof waitsUntil>> {
  if (claim.pairGroup === null || claim.forced || claim.rotations === 0) return undefined
  await lockNamed(db, `rotation group ${claim.mountId} ${claim.pairGroup}`)
  return waitsUntil(claim, await groupOf(db, claim.mountId, claim.pairGroup), now)
}
