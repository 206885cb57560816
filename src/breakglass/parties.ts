import type { GrantVote } from '../ledger/grant-votes.ts'
import type { Grant } from '../ledger/grants.ts'
import { type Actor, isSamePerson } from './actor.ts'
import { isInAny } from './eligibility.ts'
import type { Policy } from './policies.ts'
import { notParty } from './situation.ts'
import { actorOfVote, approverSets } from './standing.ts'

/** What somebody is to a grant. One person may be several of them; what they may do as each is up to the action. */
export type Party = 'requester' | 'approver' | 'officer' | 'owner' | 'reviewer'

export function partiesOf(actor: Actor, { requester }: Pick<Grant, 'requester'>, policy: Policy): Set<Party> {
  const { spec } = policy
  const is: Record<Party, boolean> = {
    requester: isSamePerson(actor, requester as Actor),
    approver: isInAny(actor, spec, approverSets(policy)),
    officer: isInAny(actor, spec, spec.security_officers),
    owner: isInAny(actor, spec, spec.target_owners),
    reviewer: isInAny(actor, spec, spec.reviewers),
  }
  return new Set((Object.keys(is) as Party[]).filter((party) => is[party]))
}

/** Of these, the first that somebody is; they are one of them, or would have been refused before. */
export function asOneOf<P extends Party>(parties: ReadonlySet<Party>, allowed: readonly P[]): P {
  const party = allowed.find((one) => parties.has(one))
  if (!party) throw notParty()
  return party
}

const DECIDED_ON_IT: ReadonlySet<string> = new Set(['approve', 'deny', 'witness', 'ratify', 'refuse'])

/** Whether somebody ever had a voice in the grant, or in more time of it, for it or against, whether or not it still counts. */
export const hadVoice = (actor: Actor, votes: readonly GrantVote[]): boolean =>
  votes.some(({ decision, voter }) => DECIDED_ON_IT.has(decision) && isSamePerson(actor, actorOfVote(voter)))
