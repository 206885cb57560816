import type { Db } from '../ledger/db.ts'
import { grantVotes } from '../ledger/grant-votes.ts'
import { findGrant, type Grant } from '../ledger/grants.ts'
import { deciding, won } from './deciding.ts'
import type { Moves } from './moves.ts'
import { pinnedPolicy } from './pinned.ts'
import type { Policy } from './policies.ts'
import { applyLapse, recheck } from './standing.ts'
import { escalationsDue, nextActionAt } from './waiting.ts'

/**
 * Looks at a grant that waits for people, as a timer: its deadline may have passed, what it rests on may have changed,
 * or it may be time to ask the next set. Answers when to look again; null when nothing waits any more.
 */
export type LookAtWaiting = (grantId: string) => Promise<Date | null>

export const createLookAtWaiting =
  ({ moves }: { moves: Moves }): LookAtWaiting =>
  (grantId) =>
    deciding({ transaction: moves.byItself }, async (db) => {
      const grant = await findGrant(db, grantId)
      if (grant?.state !== 'pending' && grant?.state !== 'approved') return grant?.nextActionAt ?? null
      const policy = await pinnedPolicy(db, grant)
      const lapse = await recheck(db, { grant, policy, votes: await grantVotes(db, grantId) })
      if (lapse) return won(await applyLapse(db, moves, { grant, policy }, lapse)).nextActionAt
      const escalated = await escalate(db, moves, grant, policy)
      return escalated ? escalated.nextActionAt : nextActionAt(grant, policy.spec)
    })

async function escalate(db: Db, moves: Moves, grant: Grant, policy: Policy): Promise<Grant | undefined> {
  const due = escalationsDue(grant, policy.spec)
  if (grant.state !== 'pending' || due <= grant.escalations) return undefined
  const set = { escalations: due, nextActionAt: nextActionAt({ ...grant, escalations: due }, policy.spec) }
  const detail = { sets: policy.spec.approver_sets_escalation[due] ?? [] }
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
