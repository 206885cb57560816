import type { Detail } from '../audit/event.ts'
import type { Db } from '../ledger/db.ts'
import { findPendingExtension } from '../ledger/grant-extensions.ts'
import type { SomePerson } from '../ledger/grant-reviews.ts'
import { endVotes, type GrantVote, grantVotes } from '../ledger/grant-votes.ts'
import { findGrant, type Grant } from '../ledger/grants.ts'
import { grantsVotedOn } from '../ledger/identity-events.ts'
import { isSamePerson } from './actor.ts'
import { won } from './deciding.ts'
import type { Moves } from './moves.ts'
import { pinnedPolicy } from './pinned.ts'
import { actorOfVote, applyLapse, isApproved, standingVotes } from './standing.ts'
import { HAS_ACCESS } from './states.ts'

type Lost = { whom: SomePerson; because: string; told: Readonly<Record<string, Detail>> }

const WAITING = ['pending', 'approved']

/**
 * Takes the yeses of somebody out of everything that they still count for: of a request that waits (row 12), and of what
 * people are about to agree to while there is access. Who has said no has said it. Answers the grants.
 */
export async function loseVotes(db: Db, moves: Moves, lost: Lost): Promise<string[]> {
  const changed: string[] = []
  for (const id of await grantsVotedOn(db, lost.whom, [...WAITING, ...HAS_ACCESS])) {
    const grant = await findGrant(db, id)
    if (!grant) continue
    const votes = await grantVotes(db, id)
    const own = votes.filter(
      ({ endedAt, decision, voter }) =>
        endedAt === null && YESES.has(decision) && isSamePerson(actorOfVote(voter), lost.whom),
    )
    const isWaiting = WAITING.includes(grant.state)
    const pending = await findPendingExtension(db, id)
    const losing = own.filter((vote) =>
      isWaiting ? vote.round === 0 : isUndecided(vote, grant, pending?.round),
    )
    if (losing.length === 0) continue
    await moves.asPart(() =>
      isWaiting
        ? loseYeses(db, moves, { grant, votes, losing, lost })
        : loseOthers(db, moves, { grant, losing, lost }),
    )
    changed.push(id)
  }
  return changed
}

const YESES: ReadonlySet<string> = new Set(['approve', 'witness', 'ratify', 'resume', 'abandon'])

/** Whether there is access, and the vote is on something that waits for more of them. */
function isUndecided(
  { round, decision }: GrantVote,
  grant: Grant,
  pendingRound: number | undefined,
): boolean {
  if (round > 0) return round === pendingRound
  if (decision === 'ratify') return grant.ratification === 'due'
  return decision === 'resume' || decision === 'abandon'
}

type Losing = { grant: Grant; losing: readonly GrantVote[]; lost: Lost }

async function loseYeses(
  db: Db,
  moves: Moves,
  { grant, votes, losing, lost: { because, told } }: Losing & { votes: readonly GrantVote[] },
): Promise<void> {
  const policy = await pinnedPolicy(db, grant)
  const left = standingVotes({ grant, votes }).filter((vote) => !losing.includes(vote))
  const still = grant.state === 'approved' && isApproved({ grant, policy, votes: left })
  const lapse = { event: 'lose_vote', to: still ? 'approved' : 'pending', because } as const
  const lost = losing.map(({ number }) => number)
  won(
    await applyLapse(
      db,
      moves,
      { grant, policy },
      { ...lapse, lost },
      {
        who: 'identity',
        detail: told,
      },
    ),
  )
}

/** The access stays as it is: a note on its record, told like any other. */
async function loseOthers(
  db: Db,
  moves: Moves,
  { grant, losing, lost: { because, told } }: Losing,
): Promise<void> {
  const detail = { ...told, because, votes: losing.map(({ round, number }) => `${round}.${number}`) }
  await moves.note(db, { grant, event: 'lose_vote', who: 'identity', actor: null, detail })
  for (const { round, number } of losing) {
    await endVotes(db, { grantId: grant.id, round, because }, [number])
  }
}
