import type { Detail } from '../audit/event.ts'
import type { Db, Ledger } from '../ledger/db.ts'
import { endVotes, type GrantVote, insertVote } from '../ledger/grant-votes.ts'
import type { Grant, GrantPatch } from '../ledger/grants.ts'
import { BrokerError } from '../lib/errors.ts'
import { type Act, act, type GrantAction, mustHaveSeen } from './actions.ts'
import { type Actor, isSamePerson } from './actor.ts'
import { won } from './deciding.ts'
import { loginFault, setsOf } from './eligibility.ts'
import type { Moves } from './moves.ts'
import { partiesOf } from './parties.ts'
import { narrowed, type Plan, planHash, planIn } from './plan.ts'
import { notParty, refusedBecause, type Situation } from './situation.ts'
import {
  actorOfVote,
  applyLapse,
  isApproved,
  lapseRefusal,
  mayCount,
  recheck,
  standingVotes,
  undoneApproval,
} from './standing.ts'
import type { GrantState } from './states.ts'
import { castVote, withVoteOf } from './votes-cast.ts'
import { after, nextActionAt } from './waiting.ts'

/** Yes, no, less, and taking it back: what people say to a grant that waits for them. */

type Narrow = { durationSeconds?: number | undefined; paths?: readonly string[] | undefined }

export type Votes = {
  /** Rows 4, 5 and 7. `plan_hash` is that of the plan the person saw. */
  approve(ask: Act & { planHash: string; comment: string; narrow?: Narrow | undefined }): Promise<void>
  /** Row 8. */
  deny(ask: Act & { planHash: string; comment: string }): Promise<void>
  /** Row 12. */
  withdraw(ask: Act): Promise<void>
}

/** The votes of one person that stand, on the grant itself. */
const ownVotes = ({ votes, actor }: Pick<Situation, 'votes' | 'actor'>): GrantVote[] =>
  votes.filter(
    ({ round, endedAt, voter }) => round === 0 && endedAt === null && isSamePerson(actorOfVote(voter), actor),
  )

/** Of anybody who would vote: they are another person, logged in just now, and nobody has blocked them. */
export function voterFault(situation: Situation, { hardware = false } = {}): BrokerError | undefined {
  const { actor, grant, policy, blocked, now } = situation
  if (isSamePerson(actor, grant.requester as Actor)) {
    return refusedBecause('nobody has a vote on their own request')
  }
  if (blocked) return refusedBecause('you are blocked until your own use of access has been settled')
  const fault = loginFault(actor, policy.spec, now, { hardware })
  return fault === undefined ? undefined : refusedBecause(fault)
}

export const APPROVE: GrantAction = {
  name: 'approve',
  states: ['pending'],
  verdict(situation) {
    const { actor, grant, policy } = situation
    const isRequester = isSamePerson(actor, grant.requester as Actor)
    if (grant.lane === 'sealed') return notParty()
    if (!isRequester && !mayCount(actor, grant, policy, 'approve')) return notParty()
    const fault = voterFault(situation)
    if (fault) return fault
    return ownVotes(situation).length > 0 ? alreadyVoted() : undefined
  },
}

const alreadyVoted = (): BrokerError => new BrokerError('conflict', 'you have voted already')

export const DENY: GrantAction = {
  name: 'deny',
  states: ['pending'],
  verdict(situation) {
    const { actor, grant, policy } = situation
    const parties = partiesOf(actor, grant, policy)
    if (!parties.has('approver') && !parties.has('officer')) return notParty()
    const fault = voterFault(situation)
    if (fault) return fault
    return ownVotes(situation).some(({ decision }) => decision === 'deny') ? alreadyVoted() : undefined
  },
}

export const WITHDRAW: GrantAction = {
  name: 'withdraw',
  states: ['pending', 'approved'],
  verdict: (situation) =>
    ownVotes(situation).length > 0 && situation.actor.kind === 'human' ? undefined : notParty(),
}

export function createVotes({ ledger, moves }: { ledger: Ledger; moves: Moves }): Votes {
  return {
    approve: ({ planHash, comment, narrow, ...ask }) =>
      act(ledger, ask, APPROVE, async (db, situation) => {
        mustHaveSeen(situation, planHash)
        const lapse = await recheck(db, situation)
        const current = lapse
          ? { ...situation, votes: situation.votes.filter(({ number }) => !lapse.lost.includes(number)) }
          : situation
        if (lapse && lapse.event !== 'lose_vote') {
          const moved = won(await applyLapse(db, moves, situation, lapse))
          return { refusal: lapseRefusal(lapse, moved) }
        }
        await castYes(db, moves, current, { comment, narrow, lost: lapse?.lost ?? [] })
        return undefined
      }),
    deny: ({ planHash, comment, ...ask }) =>
      act(ledger, ask, DENY, async (db, situation) => {
        mustHaveSeen(situation, planHash)
        await castNo(db, moves, situation, comment)
        return undefined
      }),
    withdraw: (ask) =>
      act(ledger, ask, WITHDRAW, async (db, situation) => {
        await takeBack(db, moves, situation)
        return undefined
      }),
  }
}

type Yes = { comment: string; narrow: Narrow | undefined; lost: readonly number[] }

async function castYes(
  db: Db,
  moves: Moves,
  situation: Situation,
  { comment, narrow, lost }: Yes,
): Promise<void> {
  const { grant, policy, actor } = situation
  const plan = narrow ? narrowedPlan(situation, narrow) : undefined
  const hash = plan ? planHash(plan) : grant.planHash
  const kept = plan && !policy.spec.narrowing_keeps_votes ? [] : standingVotes(situation)
  const isEnough = isApproved({ grant, policy, votes: withVoteOf(actor, policy, kept) })
  const to: GrantState = isEnough ? 'approved' : 'pending'
  const set: GrantPatch = {
    ...(plan && { plan, planHash: hash, durationSeconds: plan.duration_seconds }),
    ...(isEnough && approvedPatch(situation)),
  }
  const detail: Record<string, Detail> = {
    ...(comment !== '' && { comment }),
    sets: setsOf(actor, policy.spec),
    ...(plan && { narrowed_from: grant.planHash, ...takenAway(planIn(grant), plan) }),
    ...(lost.length > 0 && { lost_votes: [...lost] }),
  }
  const nextAt = nextActionAt({ ...grant, ...set, state: to }, policy.spec)
  const event = plan ? 'narrow' : 'approve'
  const patch = { ...set, nextActionAt: nextAt }
  won(await moves.record(db, { grant, event, to, who: 'approver', actor, set: patch, detail }))
  if (lost.length > 0) {
    await endVotes(db, { grantId: grant.id, round: 0, because: 'the voter no longer counts' }, lost)
  }
  if (plan) await carryOver(db, grant, { kept, noes: noesOf(situation) }, hash)
  await castVote(db, situation, { round: 0, decision: 'approve', planHash: hash, comment })
}

export const approvedPatch = ({ grant, policy }: Pick<Situation, 'grant' | 'policy'>): GrantPatch => ({
  approvedAt: grant.now,
  activateBy: after(grant.now, policy.spec.activate_within),
})

/** What those who have seen the plan before do not find in it any more. */
const takenAway = (before: Plan, after: Plan): Record<string, Detail> => ({
  ...(after.duration_seconds < before.duration_seconds && { seconds_before: before.duration_seconds }),
  ...(after.roles.length < before.roles.length && {
    roles_removed: before.roles
      .map(({ path }) => path)
      .filter((path) => !after.roles.some((role) => role.path === path)),
  }),
})

function narrowedPlan({ grant, policy }: Situation, narrow: Narrow): Plan {
  if (!policy.spec.narrowing)
    throw new BrokerError('invalid_request', 'the policy does not let plans be narrowed')
  const plan = narrowed(planIn(grant), narrow)
  if (typeof plan !== 'string') return plan
  throw new BrokerError('invalid_request', `Field validation failed: field "narrow" ${plan}`)
}

/**
 * Votes for the wider plan end; where the policy lets them stand, each is cast again for the narrower one. Who said no
 * has said it to the request: nobody takes that back for them by asking for less.
 */
async function carryOver(
  db: Db,
  grant: Grant,
  { kept, noes }: { kept: readonly GrantVote[]; noes: readonly GrantVote[] },
  planHash: string,
): Promise<void> {
  await endVotes(db, { grantId: grant.id, round: 0, because: 'the plan was narrowed' })
  for (const { number: _, ...vote } of [...kept, ...noes]) await insertVote(db, { ...vote, planHash })
}

const noesOf = ({ votes }: Pick<Situation, 'votes'>): GrantVote[] =>
  votes.filter(({ round, endedAt, decision }) => round === 0 && endedAt === null && decision === 'deny')

async function castNo(db: Db, moves: Moves, situation: Situation, comment: string): Promise<void> {
  const { grant, policy, actor } = situation
  const isDenied = noesOf(situation).length + 1 >= policy.spec.deny_threshold
  const to = isDenied ? 'denied' : 'pending'
  const who = partiesOf(actor, grant, policy).has('approver') ? 'approver' : 'officer'
  const set = { nextActionAt: nextActionAt(grant, policy.spec) }
  const detail = { comment, sets: setsOf(actor, policy.spec) }
  won(await moves.record(db, { grant, event: 'deny', to, who, actor, set, detail }))
  const own = ownVotes(situation).map(({ number }) => number)
  if (own.length > 0) {
    await endVotes(db, { grantId: grant.id, round: 0, because: 'denied by the same person' }, own)
  }
  await castVote(db, situation, { round: 0, decision: 'deny', planHash: grant.planHash, comment })
}

async function takeBack(db: Db, moves: Moves, situation: Situation): Promise<void> {
  const { grant, policy, actor } = situation
  const own = ownVotes(situation).map(({ number }) => number)
  const left = standingVotes(situation).filter(({ number }) => !own.includes(number))
  const isStill = grant.state === 'approved' && isApproved({ grant, policy, votes: left })
  const to: GrantState = isStill ? 'approved' : 'pending'
  const set = {
    ...undoneApproval(grant, to),
    nextActionAt: nextActionAt({ ...grant, state: to }, policy.spec),
  }
  won(await moves.record(db, { grant, event: 'withdraw', to, who: 'approver', actor, set }))
  await endVotes(db, { grantId: grant.id, round: 0, because: 'withdrawn' }, own)
}
