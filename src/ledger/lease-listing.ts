import { type Db, many, one } from './db.ts'
import type { LeaseState } from './lease-words.ts'

/** A lease as a list shows it. */
export type ListedLease = {
  id: string
  path: string
  mountPath: string
  targetName: string
  engine: string
  account: string
  principalId: string
  /** As the token that asked was called. */
  principalName: string
  tokenId: string
  state: LeaseState
  stuck: boolean
  issuedAt: Date
  expiresAt: Date
  hardExpiresAt: Date
  renewedAt: Date | null
  limitedBy: string | null
  grantId: string | null
  nextActionAt: Date | null
  attempts: number
  lastError: string | null
  endReason: string | null
  accessEndedAt: Date | null
  endedAt: Date | null
  /** What it is ordered by, to the microsecond. */
  place: string
}

export type LeaseFilter = {
  principalId?: string | undefined
  /** Asked for with this token. */
  tokenId?: string | undefined
  /** Wire lease ids begin with it. */
  prefix?: string | undefined
  targetName?: string | undefined
  mountPath?: string | undefined
  grantId?: string | undefined
}

/** Where a page ends: the next begins behind it. */
export type LeasePlace = { at: string; id: string }

export type LiveQuestion = LeaseFilter & {
  states: readonly ('issuing' | 'active' | 'revoking' | 'stuck')[]
  after: LeasePlace | undefined
  limit: number
}

const COLUMNS = `
  l.id, l.path, m.path as "mountPath", t.name as "targetName", t.engine, l.account, l.principal_id as "principalId",
  coalesce(k.display_name, '') as "principalName", encode(l.token_id, 'hex') as "tokenId", l.state,
  l.state = 'revoking' and l.attempts >= 6 as stuck, l.issued_at as "issuedAt", l.expires_at as "expiresAt",
  l.hard_expires_at as "hardExpiresAt", l.renewed_at as "renewedAt", l.limited_by as "limitedBy", l.grant_id as "grantId",
  l.next_action_at as "nextActionAt", l.attempts, l.last_error as "lastError", l.end_reason as "endReason",
  l.access_ended_at as "accessEndedAt", l.ended_at as "endedAt"`

const JOINED = `
  join leasehold.mount m on m.id = l.mount_id
  join leasehold.target t on t.id = l.target_id
  left join leasehold.token k on k.id = l.token_id`

const PLACE = (time: string): string => `to_char(${time} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

const STUCK = `l.state = 'revoking' and l.attempts >= 6`
const OF_STATE = `(l.state = any($3) or ($4 and ${STUCK}))`

/**
 * Leases that are not over, what happens soonest first. Whatever there are of them, a page costs what is on it: without
 * a filter, and by a grant, token, principal or role, however few or many leases it has.
 */
export function listLiveLeases(db: Db, question: LiveQuestion): Promise<ListedLease[]> {
  const { states, after, limit, principalId, tokenId, prefix, targetName, mountPath, grantId } = question
  const values = [
    after?.at ?? '-infinity',
    after?.id ?? '',
    states.filter((state) => state !== 'stuck'),
    states.includes('stuck'),
    limit,
    principalId ?? null,
    prefix ?? null,
    grantId ?? null,
    targetName ?? null,
    mountPath ?? null,
    tokenId ?? null,
  ]
  return many<ListedLease>(
    db,
    `select ${COLUMNS}, ${PLACE('l.next_action_at')} as place from (${liveIdsSql(question)}) page
     join leasehold.lease l on l.id = page.id ${JOINED}
     order by page.at, page.id`,
    values,
  )
}

const BEHIND = `l.next_action_at >= $1::timestamptz and (l.next_action_at, l.id) > ($1::timestamptz, $2::text)`
const ALL_OF_IT = `($6::text is null or l.principal_id = $6) and ($7::text is null or starts_with(l.path || '/' || l.id, $7))
  and ($8::text is null or l.grant_id = $8) and ($11::text is null or l.token_id = decode($11, 'hex'))`
const ON_TARGET = `($9::text is null or t.name = $9)
  and ($10::text is null or t.mount_id in (select m.id from leasehold.mount m where m.path = $10))`

/** By index, as `like` is not in a plan for any value. Nothing comes behind the last character there can be. */
const BEGINNING = `(l.path || '/' || l.id) ~>=~ $7 and (l.path || '/' || l.id) ~<~ ($7 || chr(1114111))`

/** Of no more than so many leases all are looked at and put in order; of more, enough are among the next that are due. */
const FEW = 5_000

/** Every target's own order, by the index that workers go by, merged and read until the page is full. */
const inOrderSql = (
  condition: string,
): string => `select own.id, own.at from leasehold.target t cross join lateral (
    select l.id, l.next_action_at as at from leasehold.lease l
    where l.target_id = t.id and l.next_action_at is not null and ${ALL_OF_IT} and ${OF_STATE} and ${BEHIND}
    order by l.next_action_at, l.id limit $5::integer) own
  where ${condition} and ${ON_TARGET} order by own.at, own.id limit $5::integer`

/** Plans are made for any value, so the narrowest condition that has an index of its own is said apart. */
function liveIdsSql({ states, principalId, tokenId, prefix, grantId }: LiveQuestion): string {
  const leading =
    (grantId !== undefined && 'l.grant_id = $8') ||
    (tokenId !== undefined && `l.token_id = decode($11, 'hex')`) ||
    (principalId !== undefined && 'l.principal_id = $6') ||
    (prefix !== undefined && BEGINNING) ||
    (states.every((state) => state === 'stuck') && STUCK)
  if (!leading) return inOrderSql('true')
  const areFew = `(select count(*) from few) <= ${FEW}`
  return `with few as materialized (
      select l.id, l.path, l.target_id, l.principal_id, l.token_id, l.grant_id, l.state, l.attempts, l.next_action_at
      from leasehold.lease l where ${leading} and l.state <> 'revoked' limit ${FEW} + 1)
    (select l.id, l.next_action_at as at from few l join leasehold.target t on t.id = l.target_id
      where ${areFew} and ${ALL_OF_IT} and ${ON_TARGET} and ${OF_STATE} and ${BEHIND}
      order by l.next_action_at, l.id limit $5::integer)
    union all
    (${inOrderSql(`not ${areFew}`)})`
}

/** So many ended leases are looked at for one page, whether or not they are on it. */
const LOOKED_AT = 20_000

/**
 * Leases that are over, the last one first. `more` says where to go on when the page is not full and there are others
 * that were not looked at.
 */
export async function listEndedLeases(
  db: Db,
  { after, limit, ...filter }: LeaseFilter & { after: LeasePlace | undefined; limit: number },
): Promise<{ leases: ListedLease[]; more: LeasePlace | undefined }> {
  const { principalId, tokenId, prefix, targetName, mountPath, grantId } = filter
  const place = [after?.at ?? 'infinity', after?.id ?? '']
  const window = `select l.* from leasehold.lease l
    where l.state = 'revoked' and l.ended_at <= $1::timestamptz
      and (l.ended_at, l.id) < ($1::timestamptz, $2::text) order by l.ended_at desc, l.id desc`
  const leases = await many<ListedLease>(
    db,
    `select ${COLUMNS}, ${PLACE('l.ended_at')} as place from (${window} limit ${LOOKED_AT}) l ${JOINED}
     where ($3::text is null or l.principal_id = $3) and ($4::text is null or starts_with(l.path || '/' || l.id, $4))
       and ($5::text is null or l.grant_id = $5) and ($6::text is null or t.name = $6)
       and ($7::text is null or m.path = $7) and ($9::text is null or l.token_id = decode($9, 'hex'))
     order by l.ended_at desc, l.id desc limit $8::integer`,
    [
      ...place,
      principalId ?? null,
      prefix ?? null,
      grantId ?? null,
      targetName ?? null,
      mountPath ?? null,
      limit,
      tokenId ?? null,
    ],
  )
  if (leases.length >= limit) return { leases, more: undefined }
  const more = await one<LeasePlace>(
    db,
    `select ${PLACE('l.ended_at')} as at, l.id from (${window} offset ${LOOKED_AT - 1} limit 1) l`,
    place,
  )
  return { leases, more }
}

export type LeaseDetail = ListedLease & {
  allowedBy: Readonly<Record<string, unknown>> | null
  renewals: number
  steps: { step: string; at: string; evidence: Readonly<Record<string, unknown>> }[]
  receipt: string | null
  now: Date
}

export const findLeaseDetail = (db: Db, id: string): Promise<LeaseDetail | undefined> =>
  one<LeaseDetail>(
    db,
    `select ${COLUMNS}, '' as place, l.allowed_by as "allowedBy", l.renewals, l.steps, r.jws as receipt,
       leasehold.ledger_now() as now
     from leasehold.lease l ${JOINED} left join leasehold.receipt r on r.lease_id = l.id
     where l.id = $1`,
    [id],
  )

/** What bulk endings need to know of leases, to tell whose they are. */
export const findLeaseOwners = (
  db: Db,
  ids: readonly string[],
): Promise<Pick<ListedLease, 'id' | 'path' | 'tokenId' | 'principalId' | 'state'>[]> =>
  many(
    db,
    `select id, path, encode(token_id, 'hex') as "tokenId", principal_id as "principalId", state
     from leasehold.lease where id = any($1)`,
    [ids],
  )

/** How many leases end with a token, those of the tokens that it made among them. */
export async function countOfToken(db: Db, tokenId: string): Promise<number> {
  const row = await one<{ count: number }>(
    db,
    `with recursive tree as (
       select k.id from leasehold.token k where k.id = decode($1, 'hex')
       union all
       select k.id from leasehold.token k join tree on k.parent_id = tree.id where k.ended_at is null)
     select count(*) as count from tree join leasehold.lease l on l.token_id = tree.id
     where l.state <> 'revoked' and not l.outlives_token`,
    [tokenId],
  )
  return row?.count ?? 0
}
