import type { Grant } from '../ledger/grants.ts'
import { ACTION } from './access-actions.ts'
import type { AccessParts } from './access-parts.ts'
import { type Act, act, mustHaveSeen } from './actions.ts'
import { nextLook } from './clock.ts'
import { won } from './deciding.ts'
import { setsOf } from './eligibility.ts'
import { type Endings, rotateAfter } from './ending.ts'
import { isMet } from './quorum.ts'
import { votersOf } from './standing.ts'
import type { GrantState } from './states.ts'
import { castVote, standingOf, withVoteOf } from './votes-cast.ts'

type Cast = Act & { planHash: string; comment: string }

/** What becomes of access that was given on the word of two, because nobody else could be reached. */
export type Ratifications = {
  /** Row 28a: ratified once as many say so as it would have taken. */
  ratify(ask: Cast): Promise<void>
  /** Rows 28 and 28a: one is enough. What was seen has to be rotated. */
  refuse(ask: Cast): Promise<void>
  /** Nobody has ratified it in time. */
  overdue(grant: Grant): Promise<void>
}

export function createRatifications(parts: AccessParts & { endings: Endings }): Ratifications {
  const { ledger, moves, endings } = parts
  return {
    ratify: ({ planHash, comment, ...ask }) =>
      act(ledger, ask, ACTION.ratify, async (db, situation) => {
        const { grant, policy, votes, actor } = situation
        mustHaveSeen(situation, planHash)
        const cast = withVoteOf(actor, policy, standingOf(votes, 0, 'ratify'))
        const { approvals, min_approvers } = policy.spec
        const isEnough = isMet(approvals, min_approvers, votersOf(cast))
        const after = { ...grant, ratification: isEnough ? ('ratified' as const) : grant.ratification }
        const set = { ratification: after.ratification, nextActionAt: nextLook(after) }
        const detail = { ratified: isEnough, votes: cast.length, comment, sets: setsOf(actor, policy.spec) }
        const to = grant.state as GrantState
        won(await moves.record(db, { grant, event: 'ratify', to, who: 'approver', actor, set, detail }))
        await castVote(db, situation, { round: 0, decision: 'ratify', planHash, comment })
        return undefined
      }),
    async refuse({ planHash, comment, ...ask }) {
      let isEnding = false
      await act(ledger, ask, ACTION.refuseRatification, async (db, situation) => {
        const { grant, policy, actor } = situation
        mustHaveSeen(situation, planHash)
        const how = { event: 'refuse_ratification', who: 'approver', actor } as const
        const set = { ratification: 'refused', forceRotation: true } as const
        const detail = { comment, sets: setsOf(actor, policy.spec) }
        isEnding = grant.state === 'active'
        if (isEnding) {
          const reason = 'ratification_refused' as const
          won(await endings.begin(db, { ...how, grant, reason, set, detail }))
        } else {
          const to = grant.state as GrantState
          const nextActionAt = nextLook({ ...grant, ...set })
          won(await moves.record(db, { ...how, grant, to, set: { ...set, nextActionAt }, detail }))
          if (grant.endedAt) await rotateAfter(db, grant)
        }
        await castVote(db, situation, { round: 0, decision: 'refuse', planHash, comment })
        return undefined
      })
      if (isEnding) await endings.carryOut(ask.grantId)
    },
    async overdue(grant) {
      const how = { event: 'ratification_overdue', who: 'system', actor: null } as const
      const set = { ratification: 'overdue', forceRotation: true } as const
      const begun = await moves.byItself(async (db) => {
        if (grant.state === 'active') {
          return endings.begin(db, { ...how, grant, reason: 'ratification_overdue', set })
        }
        const to = grant.state as GrantState
        const nextActionAt = nextLook({ ...grant, ...set })
        const moved = await moves.record(db, { ...how, grant, to, set: { ...set, nextActionAt } })
        if (moved?.endedAt) await rotateAfter(db, moved)
        return undefined
      })
      begun?.wakeTargets()
    },
  }
}
