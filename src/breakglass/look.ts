import type { Db } from '../ledger/db.ts'
import { type GrantVote, grantVotes } from '../ledger/grant-votes.ts'
import { findGrant, type Grant } from '../ledger/grants.ts'
import { deciding, won } from './deciding.ts'
import type { Moves } from './moves.ts'
import { type OnCall, wantsWord } from './on-call.ts'
import { pinnedPolicy } from './pinned.ts'
import type { Policy } from './policies.ts'
import { actorOfVote, applyLapse, recheck, standingVotes } from './standing.ts'
import { escalationsDue, nextActionAt } from './waiting.ts'

/**
 * Looks at a grant that waits for people, as a timer: its deadline may have passed, what it rests on may have changed,
 * or it may be time to ask the next set, or the incident system who is on call. Answers when to look again; null when
 * nothing waits any more.
 */
export type LookAtWaiting = (grantId: string) => Promise<Date | null>

export const createLookAtWaiting =
  ({ moves, onCall }: { moves: Moves; onCall: Pick<OnCall, 'ask'> }): LookAtWaiting =>
  async (grantId) => {
    const { at, asks } = await deciding({ transaction: moves.byItself }, async (db) => {
      const grant = await findGrant(db, grantId)
      if (grant?.state !== 'pending' && grant?.state !== 'approved')
        return { at: grant?.nextActionAt ?? null }
      const policy = await pinnedPolicy(db, grant)
      const votes = await grantVotes(db, grantId)
      const lapse = await recheck(db, { grant, policy, votes })
      if (lapse) return { at: won(await applyLapse(db, moves, { grant, policy }, lapse)).nextActionAt }
      const escalated = await escalate(db, moves, { grant, policy, votes })
      return {
        at: escalated ? escalated.nextActionAt : nextActionAt(grant, policy.spec),
        asks: wantsWord({ grant, policy, votes }),
      }
    })
    // Nobody waits for the answer: what else is due by now must not hang on a system that does.
    if (asks) onCall.ask(grantId)
    return at
  }

async function escalate(
  db: Db,
  moves: Moves,
  { grant, policy, votes }: { grant: Grant; policy: Policy; votes: readonly GrantVote[] },
): Promise<Grant | undefined> {
  const due = escalationsDue(grant, policy.spec)
  if (grant.state !== 'pending' || due <= grant.escalations) return undefined
  const set = { escalations: due, nextActionAt: nextActionAt({ ...grant, escalations: due }, policy.spec) }
  const detail = {
    // Of each step on the way, where nobody looked in time.
    sets: policy.spec.approver_sets_escalation.slice(grant.escalations + 1, due + 1).flat(),
    // Those who are asked now were not told of it when it happened.
    approved_by: standingVotes({ grant, votes }).map(({ voter }) => actorOfVote(voter).display_name),
  }
  return won(
    await moves.record(db, {
      grant,
      event: 'escalate',
      to: 'pending',
      who: 'system',
      actor: null,
      set,
      detail,
    }),
  )
}
