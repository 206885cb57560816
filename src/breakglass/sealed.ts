import type { Ledger } from '../ledger/db.ts'
import { type Act, act, type GrantAction, mustHaveSeen } from './actions.ts'
import { type Actor, isSamePerson } from './actor.ts'
import { won } from './deciding.ts'
import { setsOf } from './eligibility.ts'
import type { Moves } from './moves.ts'
import { notParty } from './situation.ts'
import { applyLapse, lapseRefusal, mayCount, recheck } from './standing.ts'
import { approvedPatch, voterFault } from './votes.ts'
import { castVote } from './votes-cast.ts'
import { nextActionAt } from './waiting.ts'

/**
 * The lane for when no approver can be reached: one other person of any of the policy's sets sees what is asked, and
 * both have proved themselves by something that cannot be copied.
 */
export const WITNESS: GrantAction = {
  name: 'witness',
  states: ['pending'],
  verdict(situation) {
    const { actor, grant, policy } = situation
    if (grant.lane !== 'sealed') return notParty()
    const isRequester = isSamePerson(actor, grant.requester as Actor)
    if (!isRequester && !mayCount(actor, grant, policy, 'witness')) return notParty()
    return voterFault(situation, { hardware: true })
  },
}

export type Sealed = {
  /** Row 6: the grant is approved, and to be ratified after. */
  witness(ask: Act & { planHash: string; comment: string }): Promise<void>
}

export const createSealed = ({ ledger, moves }: { ledger: Ledger; moves: Moves }): Sealed => ({
  witness: ({ planHash, comment, ...ask }) =>
    act(ledger, ask, WITNESS, async (db, situation) => {
      mustHaveSeen(situation, planHash)
      const { grant, policy, actor } = situation
      const lapse = await recheck(db, situation)
      if (lapse) return { refusal: lapseRefusal(lapse, won(await applyLapse(db, moves, situation, lapse))) }
      const approved = { ...approvedPatch(situation), ratification: 'due' as const }
      const set = {
        ...approved,
        nextActionAt: nextActionAt({ ...grant, ...approved, state: 'approved' }, policy.spec),
      }
      const detail = { sets: setsOf(actor, policy.spec), ...(comment !== '' && { comment }) }
      won(
        await moves.record(db, {
          grant,
          event: 'witness',
          to: 'approved',
          who: 'witness',
          actor,
          set,
          detail,
        }),
      )
      await castVote(db, situation, { round: 0, decision: 'witness', planHash, comment })
      return undefined
    }),
})
