import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'

export type ReviewOutcome = 'ok' | 'flagged' | 'reopened'

/** What somebody found who looked at a grant after its end; never changed, only followed by another. */
export type GrantReview = {
  grantId: string
  number: number
  reviewerId: string
  reviewer: Document
  outcome: ReviewOutcome
  checklist: Document
  finding: string
  caseId: string
  /** Signed as receipts are, for all to check; null of a reopening. */
  jws: string | null
  at: Date
}

export const insertReview = (
  db: Db,
  review: Omit<GrantReview, 'number'>,
): Promise<{ number: number } | undefined> =>
  one(
    db,
    `insert into leasehold.grant_review
       (grant_id, number, reviewer_id, reviewer, outcome, checklist, finding, case_id, jws, at)
     select $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9
     from leasehold.grant_review where grant_id = $1
     returning number`,
    [
      review.grantId,
      review.reviewerId,
      review.reviewer,
      review.outcome,
      review.checklist,
      review.finding,
      review.caseId,
      review.jws,
      review.at,
    ],
  )

/** Somebody who may not ask for a new grant until the matter is settled. */
export type GrantBlock = {
  requesterId: string
  grantId: string
  reason: string
  since: Date
  requester: Document
}

/** Somebody, by whichever mount they come: the same id, or the same issuer's word for them ('' for nobody). */
export type SomePerson = { id: string; person: string }

/** A requester's row, and whether it is this person's: `id` and `person` are parameters or columns. */
const isOfPerson = (g: string, id: string, person: string): string =>
  `(${g}.requester_id = ${id} or (${person} <> '' and ${g}.requester ->> 'person' = ${person}))`

/** From the blocks, which are few, to their grants: never by way of all the grants there ever were. */
const BLOCKS = `leasehold.grant_block b cross join lateral (
  select a.requester_id, a.requester from leasehold.access_grant a where a.id = b.grant_id offset 0) g`

/** The ids of those of them who are blocked, or whom their issuer has disabled. */
export async function blockedAmong(db: Db, people: readonly SomePerson[]): Promise<string[]> {
  const rows = await many<{ id: string }>(
    db,
    `select distinct p.id from unnest($1::text[], $2::text[]) as p (id, person)
     where exists (select from ${BLOCKS}
       where b.requester_id = p.id or (g.requester_id = b.requester_id and ${isOfPerson('g', 'p.id', 'p.person')}))
     or exists (select from leasehold.disabled_person d where d.person in (p.id, p.person) and d.disabled)`,
    [people.map(({ id }) => id), people.map(({ person }) => person)],
  )
  return rows.map(({ id }) => id)
}

/** One for each request that something was found in: its requester is blocked while any is left. */
export const putBlock = (
  db: Db,
  { requesterId, grantId, reason }: Pick<GrantBlock, 'requesterId' | 'grantId' | 'reason'>,
): Promise<number> =>
  change(
    db,
    `insert into leasehold.grant_block (requester_id, grant_id, reason) values ($1, $2, $3) on conflict do nothing`,
    [requesterId, grantId, reason],
  )

const BLOCK = `select b.requester_id as "requesterId", b.grant_id as "grantId", b.reason, b.since, g.requester
  from ${BLOCKS}`

export const grantBlocks = (db: Db): Promise<GrantBlock[]> =>
  many<GrantBlock>(db, `${BLOCK} order by b.since, b.requester_id, b.grant_id`)

export const blocksOf = (db: Db, requesterId: string): Promise<GrantBlock[]> =>
  many<GrantBlock>(db, `${BLOCK} where b.requester_id = $1 order by b.since, b.grant_id`, [requesterId])

/** The first that somebody meets, by whichever of their logins they got it. */
export const findBlockOf = (db: Db, { id, person }: SomePerson): Promise<GrantBlock | undefined> =>
  one<GrantBlock>(
    db,
    `${BLOCK} where b.requester_id = $1 or (g.requester_id = b.requester_id and ${isOfPerson('g', '$1', '$2')})
     order by b.since, b.grant_id limit 1`,
    [id, person],
  )

export const removeBlocks = (db: Db, requesterId: string, grantIds: readonly string[]): Promise<number> =>
  change(db, 'delete from leasehold.grant_block where requester_id = $1 and grant_id = any($2)', [
    requesterId,
    grantIds,
  ])

/** A grant whose review is overdue, of this requester or with one of these roles. */
export const overdueReview = (
  db: Db,
  { id, person }: SomePerson,
  rolePaths: readonly string[],
): Promise<{ id: string; isOwn: boolean; path: string } | undefined> =>
  one(
    db,
    `select g.id, ${isOfPerson('g', '$1', '$3')} as "isOwn", coalesce(min(r.role ->> 'path'), '') as path
     from leasehold.access_grant g
     left join lateral jsonb_array_elements(g.plan -> 'roles') as r (role) on r.role ->> 'path' = any($2)
     where g.state = 'review_overdue' and (${isOfPerson('g', '$1', '$3')} or r.role is not null)
     group by g.id order by g.requested_at limit 1`,
    [id, rolePaths, person],
  )
