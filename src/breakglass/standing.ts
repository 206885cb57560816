import type { Detail } from '../audit/event.ts'
import type { Db } from '../ledger/db.ts'
import { blockedAmong } from '../ledger/grant-reviews.ts'
import { deadMounts } from '../ledger/grant-roles.ts'
import { endVotes, type GrantVote } from '../ledger/grant-votes.ts'
import type { Grant, GrantPatch } from '../ledger/grants.ts'
import { revokedAmong } from '../ledger/token-ending.ts'
import { BrokerError } from '../lib/errors.ts'
import { type Actor, isSamePerson, mountsOf } from './actor.ts'
import { setsOf } from './eligibility.ts'
import type { Moves } from './moves.ts'
import { asOfNow } from './newest.ts'
import { evidenceOf, isOnCallVote, isRecent } from './on-call-evidence.ts'
import { planIn } from './plan.ts'
import { planStands } from './plan-stands.ts'
import type { Policy } from './policies.ts'
import { isMet, leavesOf, type Voter } from './quorum.ts'
import type { GrantEvent, GrantState } from './states.ts'
import { nextActionAt } from './waiting.ts'

/** Whether what a grant rests on still stands: asked at every vote, at activation, and now and then in between. */

type Standing = { grant: Grant; policy: Policy; votes: readonly GrantVote[] }

/** What has come between. */
type Lapse = {
  event: Extract<GrantEvent, 'expire' | 'void' | 'lose_vote'>
  to: GrantState
  because: string
  /** Votes that count no more. */
  lost: readonly number[]
}

/** Undefined when everything stands. */
export async function recheck(db: Db, { grant, policy, votes }: Standing): Promise<Lapse | undefined> {
  const lapse = (event: Lapse['event'], to: GrantState, because: string, lost: readonly number[] = []) => ({
    event,
    to,
    because,
    lost,
  })
  const deadline = grant.state === 'approved' ? grant.activateBy : grant.pendingExpiresAt
  if (deadline && deadline <= grant.now) {
    return lapse(
      'expire',
      'expired',
      grant.state === 'approved' ? 'not activated in time' : 'no answer in time',
    )
  }
  if (!policy.isLive) return lapse('void', 'voided', 'the policy has changed')
  const { roles } = planIn(grant)
  if (!(await planStands(db, roles))) return lapse('void', 'voided', 'a role or its target has changed')
  if ((await blockedAmong(db, [grant.requester as Actor])).length > 0) {
    return lapse('void', 'voided', 'the requester has been blocked')
  }
  const requester = grant.requester as Actor
  if (await isLoginGone(db, requester)) return lapse('void', 'voided', 'the requester can no longer log in')
  const lost = await lostVotes(db, { grant, policy, votes })
  if (lost.length === 0) return undefined
  const isPerson = standingVotes({ grant, votes }).some(
    (vote) => lost.includes(vote.number) && !isOnCallVote(vote),
  )
  const because = isPerson ? 'an approver no longer counts' : 'what is known of who is on call is too old'
  return losing({ grant, policy, votes }, lost, because)
}

/** Where the loss of these votes leads. */
export function losing({ grant, policy, votes }: Standing, lost: readonly number[], because: string): Lapse {
  const left = standingVotes({ grant, votes }).filter(({ number }) => !lost.includes(number))
  const still = grant.state === 'approved' && isApproved({ grant, policy, votes: left })
  return { event: 'lose_vote', to: still ? 'approved' : 'pending', because, lost }
}

/** A login by a mount that is no more proves nothing; a token that no login made has none. */
const isLoginGone = async (db: Db, actor: Pick<Actor, 'mount' | 'home'>): Promise<boolean> =>
  actor.mount !== 'auth/token/' && (await deadMounts(db, mountsOf(actor))).length > 0

/** Yeses to the grant as its plan is now. */
export const standingVotes = ({ grant, votes }: Pick<Standing, 'grant' | 'votes'>): GrantVote[] =>
  votes.filter(
    ({ round, decision, planHash, endedAt }) =>
      round === 0 && endedAt === null && planHash === grant.planHash && YESES.has(decision),
  )

const YESES: ReadonlySet<string> = new Set(['approve', 'witness', 'on_call'])

/** Numbers of yeses by people who may not vote any more, and of the incident system's where its word has grown old. */
async function lostVotes(db: Db, { grant, policy, votes }: Standing): Promise<number[]> {
  const standing = standingVotes({ grant, votes })
  const counting = await votesThatCount(
    db,
    policy,
    standing.filter((vote) => !isOnCallVote(vote)),
  )
  const counts = (vote: GrantVote): boolean =>
    isOnCallVote(vote)
      ? isRecent(evidenceOf(vote), grant.now)
      : counting.includes(vote) && mayCount(actorOfVote(vote.voter), grant, policy, vote.decision)
  return standing.filter((vote) => !counts(vote)).map(({ number }) => number)
}

/**
 * Of these votes, those by people of whom nobody has learnt anything since that takes them out: a block, a mount that
 * is gone, a token that somebody else has revoked, a newer login that has them out of a set for which their vote was
 * counted.
 */
export async function votesThatCount(
  db: Db,
  { spec }: Pick<Policy, 'spec'>,
  votes: readonly GrantVote[],
): Promise<GrantVote[]> {
  if (votes.length === 0) return []
  const voters = votes.map(({ voter }) => actorOfVote(voter))
  const blocked = await blockedAmong(db, voters)
  const revoked = await revokedAmong(
    db,
    voters.map(({ accessor }) => accessor),
  )
  const dead = await deadMounts(db, voters.flatMap(mountsOf))
  const now = await asOfNow(db, voters)
  return votes.filter(({ voterId, sets }, i) => {
    const voter = now[i]
    if (!voter || blocked.includes(voterId) || mountsOf(voter).some((mount) => dead.includes(mount)))
      return false
    if (revoked.includes(voter.accessor)) return false
    const isIn = setsOf(voter, spec)
    return sets.every((set) => isIn.includes(set))
  })
}

export const actorOfVote = (voter: GrantVote['voter']): Actor => voter as unknown as Actor

/** Whether somebody's yes can count at all, whoever else there is. */
export function mayCount(actor: Actor, grant: Grant, policy: Policy, decision: string): boolean {
  if (actor.kind !== 'human' || isSamePerson(actor, grant.requester as Actor)) return false
  const sets = setsOf(actor, policy.spec)
  return decision === 'witness' ? sets.length > 0 : sets.some((set) => approverSets(policy).includes(set))
}

export const approverSets = ({ spec }: Pick<Policy, 'spec'>): string[] => [
  ...new Set(spec.approvals ? leavesOf(spec.approvals).map(({ set }) => set) : []),
]

/** People as a quorum counts them: one who came in by two mounts is one. */
export function votersOf(votes: readonly Pick<GrantVote, 'voter' | 'sets'>[]): Voter[] {
  const people: Actor[] = []
  return votes.map(({ voter, sets }) => {
    const actor = actorOfVote(voter)
    const known = people.find((one) => isSamePerson(one, actor))
    if (!known) people.push(actor)
    return { person: (known ?? actor).id, sets }
  })
}

/** Whether these yeses are enough for what the grant asks. */
export const isApproved = ({
  grant,
  policy: { spec },
  votes,
}: {
  grant: Pick<Grant, 'lane'>
  policy: Policy
  votes: readonly Pick<GrantVote, 'voter' | 'sets'>[]
}): boolean => {
  if (grant.lane === 'sealed') return spec.sealed_solo || votes.length > 0
  // Whatever a policy asks for: nobody breaks the glass on the word of a machine alone.
  if (grant.lane === 'break_glass' && !votes.some(isOfPerson)) return false
  return isMet(spec.approvals, spec.min_approvers, votersOf(votes))
}

const isOfPerson = ({ voter }: Pick<GrantVote, 'voter'>): boolean => actorOfVote(voter).kind === 'human'

/** Makes the move that a lapse comes to; undefined when somebody else was first. `told`: by whom it was learnt, and how. */
export async function applyLapse(
  db: Db,
  moves: Moves,
  { grant, policy }: Pick<Standing, 'grant' | 'policy'>,
  { event, to, because, lost }: Lapse,
  told: { who: 'system' | 'identity'; detail?: Readonly<Record<string, Detail>> } = { who: 'system' },
): Promise<Grant | undefined> {
  const detail = { because, ...(lost.length > 0 && { votes: [...lost] }), ...told.detail }
  const set = {
    ...undoneApproval(grant, to),
    nextActionAt: nextActionAt({ ...grant, state: to }, policy.spec),
  }
  const moved = await moves.record(db, { grant, event, to, who: told.who, actor: null, set, detail })
  if (!moved) return undefined
  if (to !== 'pending' && to !== 'approved') await endVotes(db, { grantId: grant.id, round: 0, because })
  else if (lost.length > 0) await endVotes(db, { grantId: grant.id, round: 0, because }, lost)
  return moved
}

/** What a request loses that goes from approved back to pending: nobody has anything to ratify until it is sealed again. */
export function undoneApproval({ state, lane }: Grant, to: GrantState): GrantPatch {
  if (state !== 'approved' || to !== 'pending') return {}
  return { approvedAt: null, activateBy: null, ...(lane === 'sealed' && { ratification: 'none' }) }
}

/** What somebody is told who came after it. */
export const lapseRefusal = ({ because }: Lapse, { state, version }: Grant): BrokerError =>
  new BrokerError('conflict', `the request is ${state}: ${because}`, { data: { state, version } })
