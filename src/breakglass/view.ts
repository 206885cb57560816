import type { GrantLease } from '../ledger/grant-leases.ts'
import type { GrantVote } from '../ledger/grant-votes.ts'
import type { Grant, GrantEventRow } from '../ledger/grants.ts'
import type { listNotifications } from '../ledger/notifications.ts'
import { type GrantAction, judged } from './actions.ts'
import { type Actor, shownActor } from './actor.ts'
import { isSubject } from './eligibility.ts'
import { planIn } from './plan.ts'
import { childrenOf, progressOf, type Quorum, quorumWords } from './quorum.ts'
import type { Situation } from './situation.ts'
import { actorOfVote, isApproved, standingVotes, votersOf } from './standing.ts'
import { escalationOf } from './waiting.ts'

/** A grant as the wire tells of it; there it is a request. */

const when = (date: Date | null): string | null => date?.toISOString() ?? null

/** As in a list. */
export function shortRequest({ grant, policy }: Pick<Situation, 'grant' | 'policy'>) {
  const { id, kind, ...who } = shownRequester(grant.requester as Actor)
  return {
    id: grant.id,
    state: grant.state,
    version: grant.version,
    lane: grant.lane,
    policy: { name: policy.name, version: policy.version },
    requester: { id, kind, ...who },
    plan: planIn(grant),
    plan_hash: grant.planHash,
    reason: grant.reason,
    ticket: grant.ticket,
    ticket_state: grant.ticketState,
    duration_seconds: grant.durationSeconds,
    ...timesOf(grant),
    end_reason: grant.endReason,
    ratification: grant.ratification,
    force_rotation: grant.forceRotation,
  }
}

const timesOf = (grant: Grant) => ({
  requested_at: when(grant.requestedAt),
  pending_expires_at: when(grant.pendingExpiresAt),
  approved_at: when(grant.approvedAt),
  activate_by: when(grant.activateBy),
  started_at: when(grant.startedAt),
  expires_at: when(grant.expiresAt),
  ended_at: when(grant.endedAt),
  stuck_since: when(grant.stuckSince),
  review_due_at: when(grant.reviewDueAt),
  review_overdue_at: when(grant.reviewOverdueAt),
  ratify_by: when(grant.ratifyBy),
})

const shownRequester = (actor: Actor) => ({ id: actor.id, kind: actor.kind, ...shownActor(actor) })

type Delivery = Awaited<ReturnType<typeof listNotifications>>[number]

export type Beside = {
  events: readonly GrantEventRow[]
  leases: readonly GrantLease[]
  deliveries: readonly Delivery[]
}

/** Whole, with what the actor may do to it. */
export function wholeRequest(situation: Situation, beside: Beside, actions: readonly GrantAction[]) {
  const { grant, votes, extensions, reviews } = situation
  return {
    ...shortRequest(situation),
    now: when(grant.now),
    votes: votes.map((vote) => shownVote(vote, grant)),
    quorum: quorumOf(situation),
    escalation: shownEscalation(situation),
    extensions: extensions.map(({ round, state, seconds, reason, planHash, askedAt, decidedAt }) => ({
      round,
      state,
      seconds,
      reason,
      plan_hash: planHash,
      asked_at: when(askedAt),
      decided_at: when(decidedAt),
      votes: votes.filter((vote) => vote.round === round).map((vote) => shownVote(vote, grant)),
    })),
    leases: beside.leases.map((lease) => shownLease(lease, beside.events)),
    reviews: reviews.map(({ number, at, outcome, reviewer, checklist, finding, caseId, jws }) => ({
      number,
      at: when(at),
      outcome,
      reviewer: shownActor(reviewer as Actor),
      checklist,
      finding,
      case_id: caseId,
      jws,
    })),
    events: beside.events.map(({ at, ...event }) => ({ ...event, at: when(at) })),
    deliveries: beside.deliveries.map(shownDelivery),
    ...(grant.lane === 'drill' && { drill: drillReport(grant, beside.events) }),
    ...judged(actions, situation),
  }
}

function shownVote({ voter, ...vote }: GrantVote, { planHash }: Grant) {
  const actor = actorOfVote(voter)
  return {
    round: vote.round,
    number: vote.number,
    voter: shownActor(actor),
    decision: vote.decision,
    comment: vote.comment,
    cast_at: when(vote.castAt),
    sets: vote.sets,
    plan_hash: vote.planHash,
    current: vote.endedAt === null && (vote.round > 0 || vote.planHash === planHash),
    ended_because: vote.endedBecause,
    auth_time: actor.auth_time,
    amr: actor.amr,
    /** Of the incident system's: what it goes by. */
    evidence: vote.evidence,
  }
}

function shownEscalation({ grant, policy }: Pick<Situation, 'grant' | 'policy'>) {
  const { asked, next } = escalationOf(grant, policy.spec) ?? {}
  return asked ? { asked, next: next ? { sets: next.sets, at: when(next.at) } : null } : null
}

/** Who has said yes, of which set, and who may still; in the shape of what it takes, so that it shows which part is short. */
export function quorumOf({ grant, policy, votes }: Pick<Situation, 'grant' | 'policy' | 'votes'>) {
  const { approvals, min_approvers } = policy.spec
  const standing = standingVotes({ grant, votes })
  return {
    words: grant.lane === 'sealed' ? 'one witness' : quorumWords(approvals, min_approvers),
    met: isApproved({ grant, policy, votes: standing }),
    tree: approvals && partOf(approvals, policy, standing),
    min_approvers: grant.lane === 'sealed' ? 1 : min_approvers,
    approvers: new Set(votersOf(standing).map(({ person }) => person)).size,
  }
}

/** A set, or several of which all or one are needed. `needed` and `have` are people; of a part with several ways, of the nearest. */
type QuorumPart = { needed: number; have: number; met: boolean } & (
  | { set: string; voters: string[]; may_still_vote: string[] }
  | { all_of: QuorumPart[] }
  | { any_of: QuorumPart[] }
)

function partOf(quorum: Quorum, policy: Situation['policy'], standing: readonly GrantVote[]): QuorumPart {
  const progress = progressOf(quorum, votersOf(standing))
  if (!('set' in quorum)) {
    const parts = childrenOf(quorum).map((part) => partOf(part, policy, standing))
    return { ...progress, ...('any_of' in quorum ? { any_of: parts } : { all_of: parts }) }
  }
  const { set } = quorum
  const yes = standing.filter((vote) => vote.sets.includes(set)).map(({ voter }) => actorOfVote(voter))
  const { groups = [], subjects = [] } = policy.spec.sets[set] ?? {}
  return {
    set,
    ...progress,
    have: yes.length,
    voters: yes.map(({ display_name }) => display_name),
    may_still_vote: [...groups, ...subjects.filter((name) => !yes.some((actor) => isSubject(actor, name)))],
  }
}

const shownLease = (
  { leaseId, path, targetName, account, state, expiresAt, accessEndedAt }: GrantLease,
  events: readonly GrantEventRow[],
) => ({
  lease_id: leaseId,
  path,
  target: targetName,
  account,
  state,
  expires_at: when(expiresAt),
  access_ended_at: when(accessEndedAt),
  /** It ends before the access does, which was extended without it. */
  collect_anew:
    state === 'active' &&
    events.some(({ event, detail }) => event === 'extend' && namesAnew(detail, leaseId)),
})

const namesAnew = ({ collect_anew: ids }: GrantEventRow['detail'], leaseId: string): boolean =>
  Array.isArray(ids) && ids.includes(leaseId)

const shownDelivery = ({ destination, event, state, attempts, lastError }: Delivery) => ({
  destination,
  event,
  state,
  attempts,
  last_error: lastError,
})

/** How long each step of a drill took, from the ask on. */
const drillReport = ({ requestedAt }: Grant, events: readonly GrantEventRow[]) => ({
  steps: events.map(({ event, actor, to, at }) => ({
    event,
    state: to,
    by: typeof actor?.display_name === 'string' ? actor.display_name : null,
    after_seconds: Math.round((at.getTime() - requestedAt.getTime()) / 1_000),
  })),
})
