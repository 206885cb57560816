import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'

export type VoteDecision =
  | 'approve'
  | 'deny'
  | 'witness'
  | 'ratify'
  | 'refuse'
  | 'resume'
  | 'abandon'
  | 'on_call'

export type GrantVote = {
  grantId: string
  /** 0 for the grant itself, else the extension's number. */
  round: number
  number: number
  voterId: string
  /** Who that was, with how and when they had logged in. */
  voter: Document
  decision: VoteDecision
  planHash: string
  sets: string[]
  comment: string
  /** What a vote that no person cast rests on; null of all others. */
  evidence: Document | null
  castAt: Date
  endedAt: Date | null
  endedBecause: string | null
}

const VOTE = `grant_id as "grantId", round, number, voter_id as "voterId", voter, decision, plan_hash as "planHash",
  sets, comment, evidence, cast_at as "castAt", ended_at as "endedAt", ended_because as "endedBecause"`

/** All there ever were, in the order they were cast. */
export const grantVotes = (db: Db, grantId: string): Promise<GrantVote[]> =>
  many<GrantVote>(db, `select ${VOTE} from leasehold.grant_vote where grant_id = $1 order by round, number`, [
    grantId,
  ])

/** The same of several grants. */
export const votesOf = (db: Db, grantIds: readonly string[]): Promise<GrantVote[]> =>
  many<GrantVote>(
    db,
    `select ${VOTE} from leasehold.grant_vote where grant_id = any($1) order by grant_id, round, number`,
    [grantIds],
  )

/** Undefined when this person's vote of this kind stands already. */
export const insertVote = (
  db: Db,
  vote: Omit<GrantVote, 'number' | 'evidence' | 'castAt' | 'endedAt' | 'endedBecause'> & {
    evidence?: Document | null
  },
): Promise<GrantVote | undefined> =>
  one<GrantVote>(
    db,
    `insert into leasehold.grant_vote
       (grant_id, round, number, voter_id, voter, decision, plan_hash, sets, comment, evidence, cast_at)
     select $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6, $7, $8, $9, leasehold.ledger_now()
     from leasehold.grant_vote where grant_id = $1 and round = $2
     on conflict (grant_id, round, voter_id, decision) where ended_at is null do nothing
     returning ${VOTE}`,
    [
      vote.grantId,
      vote.round,
      vote.voterId,
      vote.voter,
      vote.decision,
      vote.planHash,
      vote.sets,
      vote.comment,
      vote.evidence ?? null,
    ],
  )

/** Ends votes that stand; they stay on record. Without `numbers`, all of the round. */
export const endVotes = (
  db: Db,
  { grantId, round, because }: { grantId: string; round: number; because: string },
  numbers?: readonly number[],
): Promise<number> =>
  change(
    db,
    `update leasehold.grant_vote set ended_at = leasehold.ledger_now(), ended_because = $3
     where grant_id = $1 and round = $2 and ended_at is null and ($4::integer[] is null or number = any($4))`,
    [grantId, round, because, numbers ?? null],
  )

/** Puts newer evidence in the place of what a vote rests on; 0 when the vote has ended. */
export const renewEvidence = (
  db: Db,
  { grantId, round, number }: Pick<GrantVote, 'grantId' | 'round' | 'number'>,
  evidence: Document,
): Promise<number> =>
  change(
    db,
    `update leasehold.grant_vote set evidence = $4
     where grant_id = $1 and round = $2 and number = $3 and ended_at is null`,
    [grantId, round, number, evidence],
  )
