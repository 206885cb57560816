import type { BrokerError } from '../lib/errors.ts'
import type { GrantAction } from './actions.ts'
import { isSamePerson } from './actor.ts'
import { dated, timesOf } from './clock.ts'
import { isFromWithin, loginFault, mayAsk } from './eligibility.ts'
import { stateRefusal } from './moves.ts'
import { hadVoice, type Party, partiesOf } from './parties.ts'
import { mostSeconds } from './policies.ts'
import { conflict, notParty, refusedBecause, type Situation } from './situation.ts'
import { actorOfVote } from './standing.ts'
import type { GrantState } from './states.ts'

/** What may be done to access that was approved, and by whom: from its activation to its review. */

type Check = (situation: Situation) => BrokerError | undefined

const ENDINGS = ['ending', 'ending_stuck'] as const
const REVIEWS = ['review_due', 'review_overdue'] as const
const ACCESS = ['active', 'suspended'] as const

const action = (name: string, states: readonly GrantState[], ...checks: Check[]): GrantAction => ({
  name,
  states,
  verdict(situation) {
    for (const check of checks) {
      const refusal = check(situation)
      if (refusal) return refusal
    }
    return undefined
  },
})

export const partiesIn = ({ actor, grant, policy }: Situation): Set<Party> => partiesOf(actor, grant, policy)

const is =
  (...allowed: Party[]): Check =>
  (situation) => {
    const parties = partiesIn(situation)
    return allowed.some((party) => parties.has(party)) ? undefined : notParty()
  }

/** What opens access, or lets it go on, takes two people. */
const notRequester: Check = (situation) =>
  partiesIn(situation).has('requester') ? refusedBecause('it is your own request') : undefined

const notBlocked: Check = ({ blocked }) => (blocked ? refusedBecause('you are blocked') : undefined)

const fresh: Check = ({ actor, policy, grant, now }) => {
  const fault = loginFault(actor, policy.spec, now, { hardware: grant.lane === 'sealed' })
  return fault === undefined ? undefined : refusedBecause(fault)
}

/** For those who decide: what has to be bound to hardware is the login of whoever gets in. */
const freshToDecide: Check = ({ actor, policy, now }) => {
  const fault = loginFault(actor, policy.spec, now)
  return fault === undefined ? undefined : refusedBecause(fault)
}

/** Also of a policy that lets machines ask: those have no login to be fresh. */
const freshToReceive: Check = (situation) =>
  situation.actor.kind === 'workload' && situation.policy.spec.requesters.kinds.includes('workload')
    ? undefined
    : fresh(situation)

const fromHere: Check = ({ actor, policy: { spec } }) =>
  isFromWithin(actor.source_address, spec)
    ? undefined
    : refusedBecause('the policy does not allow it from this address')

/** What was approved was approved for one whom the policy lets ask; somebody who has left since is none. */
const mayStillAsk: Check = ({ actor, policy }) =>
  mayAsk(actor, policy.spec) ? undefined : refusedBecause('the policy no longer lets you ask for this')

const inTime: Check = ({ grant, now }) =>
  grant.expiresAt && grant.expiresAt > now ? undefined : stateRefusal(grant)

const hasPendingExtension: Check = (situation) =>
  pendingExtension(situation) ? undefined : conflict('nobody has asked for more time')

const decidedInTime: Check = ({ grant, now }) => {
  const until = dated(timesOf(grant).extension_expires_at)
  return until && until <= now
    ? conflict('it was asked for too long ago: more time has to be asked for anew')
    : undefined
}

const isNotCondemned: Check = ({ grant: { ratification } }) =>
  ratification === 'refused' || ratification === 'overdue'
    ? conflict('it was not ratified, and can only be ended')
    : undefined

export const pendingExtension = ({ extensions }: Situation) =>
  extensions.find(({ state }) => state === 'pending')

const hasNotVoted =
  (decision: string, roundOf: (situation: Situation) => number | undefined): Check =>
  (situation) =>
    situation.votes.some(
      (vote) =>
        vote.decision === decision &&
        vote.endedAt === null &&
        vote.round === roundOf(situation) &&
        isSamePerson(actorOfVote(vote.voter), situation.actor),
    )
      ? conflict('you have voted on this already')
      : undefined

/** More time can be asked for in the last part of what there is: by then it is known what is left to do. */
const OPEN_PART = 3

const mayBeExtended: Check = ({ grant, policy, extensions, now }) => {
  const { startedAt, expiresAt, lane } = grant
  if (!startedAt || !expiresAt) return stateRefusal(grant)
  if (lane === 'sealed') return conflict('sealed access is not extended')
  if (timesOf(grant).incident_closes_at !== undefined) return conflict('the incident is closed')
  if (extensions.some(({ state }) => state === 'pending')) {
    return conflict('more time has been asked for already')
  }
  if (secondsLeft({ grant, policy }) < 1) return conflict('it has been extended as far as it may be')
  const opensAt = new Date(expiresAt.getTime() - (expiresAt.getTime() - startedAt.getTime()) / OPEN_PART)
  return now < opensAt ? conflict(`more time can be asked for from ${opensAt.toISOString()} on`) : undefined
}

/** By how much it may still be extended. */
export const secondsLeft = ({ grant, policy }: Pick<Situation, 'grant' | 'policy'>): number =>
  mostSeconds(policy, grant) - grant.durationSeconds - grant.extendedSeconds

const toBeRatified: Check = ({ grant, now }) => {
  if (grant.lane !== 'sealed' || grant.ratification !== 'due') return conflict('there is nothing to ratify')
  return grant.ratifyBy && grant.ratifyBy <= now ? conflict('it can no longer be ratified') : undefined
}

const tookNoPart: Check = ({ actor, votes }) =>
  hadVoice(actor, votes) ? refusedBecause('you have voted on it') : undefined

const hasNotWitnessed: Check = ({ actor, votes }) =>
  votes.some(({ decision, voter }) => decision === 'witness' && isSamePerson(actorOfVote(voter), actor))
    ? refusedBecause('you have witnessed it')
    : undefined

const isPerson: Check = ({ actor }) => (actor.kind === 'human' ? undefined : notParty())

const pendingRound = (situation: Situation) => pendingExtension(situation)?.round
const first = () => 0

export const ACTION = {
  activate: action(
    'activate',
    ['approved'],
    is('requester'),
    notBlocked,
    mayStillAsk,
    freshToReceive,
    fromHere,
  ),
  collect: action(
    'collect',
    ['active'],
    is('requester'),
    notBlocked,
    mayStillAsk,
    inTime,
    freshToReceive,
    fromHere,
  ),
  extend: action(
    'extend',
    ['active'],
    is('requester'),
    notBlocked,
    mayStillAsk,
    inTime,
    mayBeExtended,
    freshToReceive,
  ),
  approveExtension: action(
    'approve-extension',
    ['active'],
    is('approver'),
    notRequester,
    notBlocked,
    inTime,
    hasPendingExtension,
    decidedInTime,
    hasNotVoted('approve', pendingRound),
    freshToDecide,
  ),
  denyExtension: action('deny-extension', ['active'], is('approver'), notRequester, hasPendingExtension),
  // What takes access away needs no fresh login: nobody shall have to look for a key meanwhile.
  suspend: action('suspend', ['active'], is('officer', 'owner')),
  resume: action(
    'resume',
    ['suspended'],
    is('officer', 'owner'),
    notRequester,
    notBlocked,
    inTime,
    isNotCondemned,
    hasNotVoted('resume', first),
    freshToDecide,
  ),
  end: action('end', ['activating', ...ACCESS], is('requester', 'approver', 'officer', 'owner')),
  cancel: action('cancel', ['activating'], is('requester')),
  ratify: action(
    'ratify',
    [...ACCESS, ...ENDINGS, ...REVIEWS],
    is('approver'),
    toBeRatified,
    notRequester,
    hasNotWitnessed,
    notBlocked,
    hasNotVoted('ratify', first),
    freshToDecide,
  ),
  refuseRatification: action(
    'refuse-ratification',
    [...ACCESS, ...ENDINGS, ...REVIEWS],
    is('approver'),
    toBeRatified,
    notRequester,
    hasNotWitnessed,
  ),
  abandon: action(
    'abandon',
    ['ending_stuck'],
    is('officer', 'owner'),
    notRequester,
    notBlocked,
    hasNotVoted('abandon', first),
    freshToDecide,
  ),
  review: action('review', REVIEWS, is('reviewer'), isPerson, notRequester, tookNoPart, notBlocked),
  reopen: action('reopen', ['closed_ok'], is('officer'), notRequester),
  incidentClosed: action('incident-closed', ['pending', 'approved', ...ACCESS], is('officer')),
} as const

/** For the system that knows of incidents, which is a machine and no party to anything. */
export const INCIDENT_SYSTEM: GrantAction = action(
  'incident-closed',
  ACTION.incidentClosed.states,
  ({ actor }) => (actor.kind === 'workload' ? undefined : notParty()),
)

export const ACCESS_ACTIONS: readonly GrantAction[] = Object.values(ACTION)
