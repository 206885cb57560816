import type { Db } from '../ledger/db.ts'
import { blockedAmong } from '../ledger/grant-reviews.ts'
import { endVotes, grantVotes } from '../ledger/grant-votes.ts'
import { type DoomedLease, doom } from '../ledger/lease-ending.ts'
import { within } from '../lib/pause.ts'
import { ACTION, partiesIn } from './access-actions.ts'
import type { AccessParts } from './access-parts.ts'
import { type Act, act } from './actions.ts'
import { type Actor, isSamePerson } from './actor.ts'
import { nextLook } from './clock.ts'
import { won } from './deciding.ts'
import { setsOf } from './eligibility.ts'
import type { Moves } from './moves.ts'
import { asOneOf, partiesOf } from './parties.ts'
import { conflict, type Situation } from './situation.ts'
import { actorOfVote } from './standing.ts'
import { castVote, standingOf } from './votes-cast.ts'

export type Suspensions = {
  /** Row 22: all leases end, and none is given; the clock goes on. */
  suspend(ask: Act & { reason: string }): Promise<void>
  /** Row 23: two people, an officer among them. What the requester had stays gone: new leases are collected. */
  resume(ask: Act & { comment: string }): Promise<void>
}

/** How long somebody who suspends waits to hear that nobody is in any more. */
const PATIENCE_MS = 10_000

export function createSuspensions({ ledger, moves, ender, wake }: AccessParts): Suspensions {
  return {
    async suspend({ reason, ...ask }) {
      let doomed: DoomedLease[] = []
      await act(ledger, ask, ACTION.suspend, async (db, situation) => {
        const { grant, actor } = situation
        const who = asOneOf(partiesIn(situation), ['officer', 'owner'])
        doomed = await suspendIn(db, moves, { grant, who, actor, detail: { reason } })
        return undefined
      })
      for (const targetId of new Set(doomed.map(({ targetId }) => targetId))) wake(targetId)
      await within(ender.endNow({ ids: doomed.map(({ id }) => id) }, 'grant_ended'), PATIENCE_MS)
    },
    resume: ({ comment, ...ask }) =>
      act(ledger, ask, ACTION.resume, async (db, situation) => {
        const { grant, actor } = situation
        if ((await blockedAmong(db, [grant.requester as Actor])).length > 0)
          throw conflict('its requester is blocked')
        const who = asOneOf(partiesIn(situation), ['officer', 'owner'])
        const isLast = isSecond(situation, 'resume')
        won(
          await moves.record(db, {
            grant,
            event: isLast ? 'resume' : 'ask_resume',
            to: isLast ? 'active' : 'suspended',
            who,
            actor,
            ...(isLast && { set: { nextActionAt: nextLook({ ...grant, state: 'active' }) } }),
            detail: { comment, sets: setsOf(actor, situation.policy.spec) },
          }),
        )
        await castVote(db, situation, { round: 0, decision: 'resume', planHash: grant.planHash, comment })
        if (isLast) await closeRound(db, grant.id)
        return undefined
      }),
  }
}

/** Row 22, in its caller's transaction: answers the leases that are on their way out from its commit on. */
export async function suspendIn(
  db: Db,
  moves: Moves,
  by: Pick<Parameters<Moves['record']>[1], 'grant' | 'who' | 'actor' | 'detail'>,
): Promise<DoomedLease[]> {
  const set = { nextActionAt: nextLook({ ...by.grant, state: 'suspended' }) }
  won(await moves.record(db, { ...by, event: 'suspend', to: 'suspended', set }))
  return doom(db, { grantId: by.grant.id }, 'grant_ended')
}

/** Whether this is the other of two people of whom one is an officer. */
export function isSecond(
  { grant, policy, votes, actor }: Situation,
  decision: 'resume' | 'abandon',
): boolean {
  const others = standingOf(votes, 0, decision)
    .map(({ voter }) => actorOfVote(voter))
    .filter((other) => !isSamePerson(other, actor))
  const parties = [actor, ...others].map((one) => partiesOf(one, grant, policy))
  if (!parties.some((is) => is.has('officer'))) return false
  // A target is given up by one of each: of those in charge of it, and of those who watch.
  if (decision === 'abandon' && !parties.some((is) => is.has('owner'))) return false
  return others.length > 0
}

/** The next suspension takes two people anew. */
async function closeRound(db: Db, grantId: string): Promise<void> {
  const numbers = standingOf(await grantVotes(db, grantId), 0, 'resume').map(({ number }) => number)
  await endVotes(db, { grantId, round: 0, because: 'the access was resumed' }, numbers)
}
