import { type Db, many, one } from './db.ts'
import type { GrantExtension } from './grant-extensions.ts'
import type { GrantReview } from './grant-reviews.ts'
import { GRANT, type Grant } from './grants.ts'

/** Extensions of several grants, each grant's in their order. */
export const extensionsOf = (db: Db, grantIds: readonly string[]): Promise<GrantExtension[]> =>
  many<GrantExtension>(
    db,
    `select grant_id as "grantId", round, state, seconds, reason, plan_hash as "planHash", asked_at as "askedAt",
       decided_at as "decidedAt"
     from leasehold.grant_extension where grant_id = any($1) order by grant_id, round`,
    [grantIds],
  )

/** Reviews of several grants, each grant's in their order. */
export const reviewsOf = (db: Db, grantIds: readonly string[]): Promise<GrantReview[]> =>
  many<GrantReview>(
    db,
    `select grant_id as "grantId", number, reviewer_id as "reviewerId", reviewer, outcome, checklist, finding,
       case_id as "caseId", jws, at
     from leasehold.grant_review where grant_id = any($1) order by grant_id, number`,
    [grantIds],
  )

/** Whose grants are listed: one's own, and those under policies that give one a part in them. */
export type Sight =
  | { all: true }
  | {
      all: false
      requesterId: string
      /** The issuer and whom it calls `sub`; '' for nobody. */
      person: string
      policyIds: readonly string[]
      /** Of these, what is in the sealed lane. */
      sealedPolicyIds: readonly string[]
    }

export type GrantFilter = {
  /** Only one's own. */
  mine: boolean
  states: readonly string[] | null
  policy: string | null
  role: string | null
  requester: string | null
  /** The last one of the page before. */
  after: { requestedAt: Date; id: string } | null
  limit: number
}

const SEEN = `($1 or g.requester_id = $2 or ($3 <> '' and g.requester ->> 'person' = $3)
  or g.policy_id = any($4) or (g.lane = 'sealed' and g.policy_id = any($5)))`

const seenValues = (sight: Sight): unknown[] =>
  sight.all
    ? [true, '', '', [], []]
    : [false, sight.requesterId, sight.person, sight.policyIds, sight.sealedPolicyIds]

const FILTERED = `(not $6 or g.requester_id = $7 or ($8 <> '' and g.requester ->> 'person' = $8))
  and ($10::text is null or g.plan -> 'policy' ->> 'name' = $10)
  and ($11::text is null or exists (select from jsonb_array_elements(g.plan -> 'roles') r where r ->> 'path' = $11))
  and ($12::text is null or $12 in (g.requester_id, g.requester ->> 'subject', g.requester ->> 'display_name'))
  and ($13::timestamptz is null or (g.requested_at, g.id) < ($13, $14))`

const pageSql = (leading: string): string => `select ${GRANT} from leasehold.access_grant g
  where ${leading} and ${SEEN} and ${FILTERED} order by g.requested_at desc, g.id desc limit $15`

/** Each state's own order, by the index that has it: what waits is not looked for among all that is over. */
const OF_STATES = `select found.* from (select distinct state from unnest($9::text[]) as asked (state)) asked
  cross join lateral (${pageSql('g.state = asked.state')}) found
  order by found."requestedAt" desc, found.id desc limit $15`

const OF_ANY = pageSql('$9::text[] is null')

/** The newest first. */
export const listGrants = (
  db: Db,
  sight: Sight,
  own: { requesterId: string; person: string },
  filter: GrantFilter,
): Promise<Grant[]> =>
  many<Grant>(db, filter.states ? OF_STATES : OF_ANY, [
    ...seenValues(sight),
    filter.mine,
    own.requesterId,
    own.person,
    filter.states,
    filter.policy,
    filter.role,
    filter.requester,
    filter.after?.requestedAt ?? null,
    filter.after?.id ?? null,
    filter.limit,
  ])

/** How many of what one sees there are in a state, and how many of those are one's own. */
export const countGrants = (
  db: Db,
  sight: Sight,
  own: { requesterId: string; person: string },
  states: readonly string[],
): Promise<{ state: string; all: number; mine: number }[]> =>
  many(
    db,
    `select g.state, count(*) as all,
       count(*) filter (where g.requester_id = $6 or ($7 <> '' and g.requester ->> 'person' = $7)) as mine
     from leasehold.access_grant g where ${SEEN} and g.state = any($8) group by g.state`,
    [...seenValues(sight), own.requesterId, own.person, states],
  )

/** Grants under a policy that wait for people are looked at again at once. */
export async function hastenWaiting(db: Db, policyName: string): Promise<void> {
  await one(
    db,
    `update leasehold.access_grant g set next_action_at = leasehold.ledger_now()
     from leasehold.break_glass_policy p
     where p.id = g.policy_id and p.name = $1 and g.state in ('pending', 'approved') and g.next_action_at is not null
     returning g.id`,
    [policyName],
  )
}
