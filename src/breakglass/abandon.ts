import type { Grant } from '../ledger/grants.ts'
import { ACTION, partiesIn } from './access-actions.ts'
import type { AccessParts } from './access-parts.ts'
import { type Act, act } from './actions.ts'
import { nextLook, reviewDeadlines } from './clock.ts'
import { won } from './deciding.ts'
import { setsOf } from './eligibility.ts'
import { rotateAfter } from './ending.ts'
import { asOneOf } from './parties.ts'
import { isSecond } from './suspension.ts'
import { castVote } from './votes-cast.ts'

/**
 * Row 33: an officer and an owner, two people, say that a target is gone for good. Nobody waits for the proof any more;
 * its leases go on being ended all the same, should the target come back.
 */
export const createAbandon =
  ({ ledger, moves, wakeLook }: AccessParts) =>
  async ({ reason, evidence, ...ask }: Act & { reason: string; evidence: string }): Promise<void> =>
    act(ledger, ask, ACTION.abandon, async (db, situation) => {
      const { grant, policy, actor } = situation
      const who = asOneOf(partiesIn(situation), ['officer', 'owner'])
      const detail = { reason, evidence, sets: setsOf(actor, policy.spec) }
      const cast = { round: 0, decision: 'abandon', planHash: grant.planHash, comment: reason } as const
      if (!isSecond(situation, 'abandon')) {
        const asked = { event: 'ask_abandon', to: 'ending_stuck' } as const
        won(await moves.record(db, { grant, ...asked, who, actor, detail }))
        await castVote(db, situation, cast)
        return undefined
      }
      const set: Partial<Grant> = {
        endedAt: grant.now,
        ...reviewDeadlines(grant, policy.spec),
        detail: { ...grant.detail, residual_risk: { reason, evidence } },
      }
      const nextActionAt = nextLook({ ...grant, ...set, state: 'review_due' })
      const abandoned = { event: 'abandon', to: 'review_due' } as const
      won(await moves.record(db, { grant, ...abandoned, who, actor, set: { ...set, nextActionAt }, detail }))
      await castVote(db, situation, cast)
      if (grant.forceRotation) await rotateAfter(db, grant)
      wakeLook(nextActionAt, grant.now)
      return undefined
    })
