import type { Db } from '../ledger/db.ts'
import { type GrantVote, insertVote, type VoteDecision } from '../ledger/grant-votes.ts'
import type { Actor } from './actor.ts'
import { setsOf } from './eligibility.ts'
import type { Policy } from './policies.ts'
import { conflict, type Situation } from './situation.ts'

/** One vote of the one who acts, after their move; throws when theirs stands already. */
export async function castVote(
  db: Db,
  { grant, policy, actor }: Pick<Situation, 'grant' | 'policy' | 'actor'>,
  cast: { round: number; decision: VoteDecision; planHash: string; comment: string },
): Promise<void> {
  const row = await insertVote(db, {
    ...cast,
    grantId: grant.id,
    voterId: actor.id,
    voter: { ...actor },
    sets: setsOf(actor, policy.spec),
  })
  if (!row) throw conflict('you have voted on this already')
}

/** Votes of this kind that stand. */
export const standingOf = (votes: readonly GrantVote[], round: number, decision: VoteDecision): GrantVote[] =>
  votes.filter((vote) => vote.round === round && vote.decision === decision && vote.endedAt === null)

/** Those votes, and that of somebody who is about to cast theirs. */
export const withVoteOf = (actor: Actor, { spec }: Policy, votes: readonly GrantVote[]) => [
  ...votes,
  { voter: { ...actor }, sets: setsOf(actor, spec) },
]
