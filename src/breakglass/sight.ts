import { policiesOfGrants } from '../ledger/break-glass-policies.ts'
import type { Db } from '../ledger/db.ts'
import type { Sight } from '../ledger/grant-listing.ts'
import type { Grant } from '../ledger/grants.ts'
import type { Actor } from './actor.ts'
import { setsOf } from './eligibility.ts'
import { partiesOf } from './parties.ts'
import { type Policy, policyOf } from './policies.ts'

/** Whether a grant is somebody's to see: they asked for it, or the policy it was asked under gives them a part in it. */
export function maySee(actor: Actor, grant: Pick<Grant, 'requester' | 'lane'>, policy: Policy): boolean {
  if (partiesOf(actor, grant, policy).size > 0) return true
  return grant.lane === 'sealed' && setsOf(actor, policy.spec).length > 0
}

/** The same as a filter for the ledger. */
export async function sightOf(db: Db, actor: Actor, seesAll: boolean): Promise<Sight> {
  if (seesAll) return { all: true }
  const policies = (await policiesOfGrants(db)).map(policyOf)
  const under = (lane: string) =>
    policies.filter((policy) => maySee(actor, { requester: {}, lane }, policy)).map(({ id }) => id)
  return {
    all: false,
    requesterId: actor.id,
    person: actor.person,
    policyIds: under('break_glass'),
    sealedPolicyIds: under('sealed'),
  }
}
