import { findBreakGlassPoliciesById } from '../ledger/break-glass-policies.ts'
import type { Db } from '../ledger/db.ts'
import type { GrantExtension } from '../ledger/grant-extensions.ts'
import { extensionsOf, reviewsOf } from '../ledger/grant-listing.ts'
import { blockedAmong, type GrantReview } from '../ledger/grant-reviews.ts'
import { type GrantVote, votesOf } from '../ledger/grant-votes.ts'
import { findGrant, type Grant } from '../ledger/grants.ts'
import { BrokerError } from '../lib/errors.ts'
import type { Actor } from './actor.ts'
import { asOfNow } from './newest.ts'
import { type Policy, policyOf } from './policies.ts'

/** Everything that what somebody may do to a grant depends on, read together. */
export type Situation = {
  grant: Grant
  policy: Policy
  votes: GrantVote[]
  extensions: GrantExtension[]
  reviews: GrantReview[]
  actor: Actor
  /** New grants are not for the actor until somebody settles it, and their word does not count. */
  blocked: boolean
  now: Date
}

/** Undefined when there is no such grant. The grant is read first: a move that is not lost has seen all the rest. */
export async function loadSituation(db: Db, grantId: string, actor: Actor): Promise<Situation | undefined> {
  const grant = await findGrant(db, grantId)
  return grant && (await situationsOf(db, [grant], actor))[0]
}

export async function situationsOf(db: Db, grants: readonly Grant[], caller: Actor): Promise<Situation[]> {
  if (grants.length === 0) return []
  const [actor = caller] = await asOfNow(db, [caller])
  const ids = grants.map(({ id }) => id)
  const policyRows = await findBreakGlassPoliciesById(db, [
    ...new Set(grants.map(({ policyId }) => policyId)),
  ])
  const policies = new Map(policyRows.map((row) => [row.id, policyOf(row)]))
  const votes = await votesOf(db, ids)
  const extensions = await extensionsOf(db, ids)
  const reviews = await reviewsOf(db, ids)
  const blocked = (await blockedAmong(db, [actor])).length > 0
  return grants.map((grant) => {
    const own = <Row extends { grantId: string }>(rows: readonly Row[]): Row[] =>
      rows.filter(({ grantId }) => grantId === grant.id)
    const policy = policies.get(grant.policyId)
    if (!policy) throw new Error(`the policy of grant ${grant.id} is not in the ledger`)
    return {
      grant,
      policy,
      votes: own(votes),
      extensions: own(extensions),
      reviews: own(reviews),
      actor,
      blocked,
      now: grant.now,
    }
  })
}

/** Nothing about why: that somebody is nobody to a grant. */
export const notParty = (): BrokerError => new BrokerError('permission_denied', 'permission denied')

/** Why somebody who is a party to it may not: they may hear it. */
export const refusedBecause = (why: string): BrokerError => new BrokerError('permission_denied', why)

/** Who may, but not as things are. */
export const conflict = (text: string): BrokerError => new BrokerError('conflict', text)
