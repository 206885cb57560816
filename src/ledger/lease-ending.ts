import { type Db, many, manyLocking } from './db.ts'
import { type Document, startingWith } from './documents.ts'
import type { SomePerson } from './grant-reviews.ts'
import type { EndReason } from './lease-words.ts'

/**
 * Which leases to end now. `under` is a wire lease id, meaning that lease, or a folder of them, without its slash;
 * `outliving` those of somebody that do not end with their tokens.
 */
export type Doomed =
  | { ids: string[] }
  | { under: string }
  | { mountId: string }
  | { tokenIds: string[] }
  | { grantId: string }
  | { outliving: SomePerson }

export type DoomedLease = { id: string; leaseId: string; targetId: string }

/**
 * Makes leases due for ending now; what has begun to end stays as it is, only sooner. Answers each lease that is
 * not yet `revoked`, with its wire id, and its target, so that the caller can wake the workers.
 */
export function doom(db: Db, which: Doomed, reason: EndReason): Promise<DoomedLease[]> {
  const { condition, values } = doomedCondition(which)
  return manyLocking(
    db,
    `with locked as (
       select l.id from leasehold.lease l where l.state <> 'revoked' and ${condition} order by l.id for update)
     update leasehold.lease l
     set state = 'revoking', end_reason = coalesce(l.end_reason, $1),
       next_action_at = case when l.claimed_by is null then leasehold.ledger_now() else l.next_action_at end
     from locked where l.id = locked.id
     returning l.id, l.path || '/' || l.id as "leaseId", l.target_id as "targetId"`,
    [reason, ...values],
  )
}

function doomedCondition(which: Doomed): { condition: string; values: unknown[] } {
  if ('ids' in which) return { condition: 'l.id = any($2)', values: [which.ids] }
  if ('mountId' in which) return { condition: 'l.mount_id = $2', values: [which.mountId] }
  if ('grantId' in which) return { condition: 'l.grant_id = $2', values: [which.grantId] }
  if ('tokenIds' in which) {
    return {
      condition: `l.token_id in (select decode(h, 'hex') from unnest($2::text[]) h) and not l.outlives_token`,
      values: [which.tokenIds],
    }
  }
  if ('outliving' in which) {
    const { id, person } = which.outliving
    return {
      condition: `l.outlives_token and exists (
        select from leasehold.token k where k.id = l.token_id and (k.entity_id = $2
          or ($3 <> '' and (k.identity -> 'claims' ->> 'iss') || '#' || (k.identity -> 'claims' ->> 'sub') = $3)))`,
      values: [id, person],
    }
  }
  return {
    condition: `((l.path || '/' || l.id) = $2 or (l.path || '/' || l.id) like $3)`,
    values: [which.under, startingWith(`${which.under}/`)],
  }
}

/** A lease in a worker's hands. Writes about it carry the fence; when somebody claimed it since, they change nothing. */
export type Claimed = {
  id: string
  path: string
  account: string
  principalId: string
  targetRef: string | null
  targetId: string
  targetVersion: number
  targetName: string
  engine: string
  roleSpec: Document
  reason: EndReason
  issuedAt: Date
  /** Above zero while a create may still land on the target. */
  createWithinMs: number
  /** How long it had been due when it was claimed; of one told to end early, since its latest try was due. */
  lateMs: number
  attempts: number
  fence: number
  steps: RecordedStep[]
}

/** The ledger's time as receipts print it: UTC to the millisecond, whatever the session's time zone. */
const RFC_3339 = `to_char(leasehold.ledger_now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

export type RecordedStep = { step: string; at: string; evidence: Document }

/** How long a claim holds without a sign of life: from `recordSteps`, or `keepClaims` while a step takes its time. */
const CLAIM = `interval '20 seconds'`
/**
 * A step renews a claim only when less than this is left: a row whose indexed columns stay as they are is rewritten
 * in its page, which costs a third.
 */
const RENEW_CLAIM_AT = `interval '12 seconds'`

const CLAIM_RETURNING = `
  l.id, l.path, l.account, l.principal_id as "principalId", l.target_ref as "targetRef", l.target_id as "targetId", t.version as "targetVersion", t.name as "targetName", t.engine,
  r.spec as "roleSpec", l.end_reason as reason, l.issued_at as "issuedAt",
  case when l.target_ref is null
    then greatest(0, extract(epoch from l.create_deadline - leasehold.ledger_now()) * 1000)::double precision
    else 0 end as "createWithinMs",
  (extract(epoch from leasehold.ledger_now() - least(due.next_action_at, l.expires_at)) * 1000)::double precision as "lateMs",
  l.attempts, l.fence, l.steps`

const CLAIM_SET = `
  set state = 'revoking', claimed_by = $2, fence = l.fence + 1,
    end_reason = coalesce(l.end_reason, case l.state when 'active' then 'expired' else 'issue_failed' end),
    next_action_at = leasehold.ledger_now() + ${CLAIM}`

/** Takes due leases of a target, the longest overdue first: those whose access still stands, or those to clean up. */
export function claimDue(
  db: Db,
  {
    targetId,
    access,
    worker,
    limit,
  }: { targetId: string; access: 'stands' | 'ended'; worker: string; limit: number },
): Promise<Claimed[]> {
  return manyLocking<Claimed>(
    db,
    `with due as (
         select id, next_action_at from leasehold.lease
         where target_id = $1 and next_action_at <= leasehold.ledger_now()
           and access_ended_at is ${access === 'stands' ? '' : 'not '}null
         order by next_action_at limit $3
         for update skip locked)
       update leasehold.lease l ${CLAIM_SET}
       from due, leasehold.role r, leasehold.target t
       where l.id = due.id and r.id = l.role_id and t.id = l.target_id
       returning ${CLAIM_RETURNING}`,
    [targetId, worker, limit],
  )
}

/** Takes these leases if they are due and nobody holds them. */
export function claimThese(db: Db, ids: string[], worker: string): Promise<Claimed[]> {
  return manyLocking<Claimed>(
    db,
    `with due as (
         select id, next_action_at from leasehold.lease
         where id = any($1) and next_action_at <= leasehold.ledger_now()
         order by id for update skip locked)
       update leasehold.lease l ${CLAIM_SET}
       from due, leasehold.role r, leasehold.target t
       where l.id = due.id and r.id = l.role_id and t.id = l.target_id
       returning ${CLAIM_RETURNING}`,
    [ids, worker],
  )
}

export type StepDone = {
  id: string
  fence: number
  step: string
  evidence: Document
  endsAccess: boolean
  /** This pass found access where an earlier one had ended it: what was recorded then is no longer the truth. */
  afresh: boolean
}

/**
 * Adds a step to each lease's record. A step done again keeps its first time, unless there was something to do again.
 * Renews the claim. Answers the record so far; a lease that somebody else claimed since is left out.
 */
export function recordSteps(db: Db, done: StepDone[]): Promise<{ id: string; steps: RecordedStep[] }[]> {
  return manyLocking(
    db,
    `with done as (
         select * from json_to_recordset($1)
           as d (id text, fence integer, step text, evidence jsonb, "endsAccess" boolean, afresh boolean)),
       locked as (
         select d.* from done d join leasehold.lease l on l.id = d.id and l.fence = d.fence
         where l.state = 'revoking' order by l.id for update of l)
       update leasehold.lease l
       set steps = case
           when not d.afresh and l.steps @> jsonb_build_array(jsonb_build_object('step', d.step)) then l.steps
           else jsonb_path_query_array(l.steps, '$[*] ? (@.step != $step)', jsonb_build_object('step', d.step))
             || jsonb_build_object(
             'step', d.step, 'at', ${RFC_3339}, 'evidence', d.evidence) end,
         access_ended_at = case
           when d."endsAccess" and (d.afresh or l.access_ended_at is null) then leasehold.ledger_now()
           else l.access_ended_at end,
         next_action_at = case when l.next_action_at > leasehold.ledger_now() + ${RENEW_CLAIM_AT} then l.next_action_at
           else leasehold.ledger_now() + ${CLAIM} end
       from locked d where l.id = d.id
       returning l.id, l.steps`,
    [JSON.stringify(done)],
  )
}

/** The holder is alive and at work. Without this, two workers at a slow target would take leases from each other for ever. */
export async function keepClaims(db: Db, claims: { id: string; fence: number }[]): Promise<void> {
  await manyLocking(
    db,
    `with locked as (
       select l.id from unnest($1::text[], $2::integer[]) as k (id, fence)
       join leasehold.lease l on l.id = k.id and l.fence = k.fence
       where l.state = 'revoking' and l.claimed_by is not null order by l.id for update of l)
     update leasehold.lease l set next_action_at = leasehold.ledger_now() + ${CLAIM}
     from locked where l.id = locked.id
     returning l.id`,
    [claims.map(({ id }) => id), claims.map(({ fence }) => fence)],
  )
}

export type Release = {
  id: string
  fence: number
  /** Null: nothing went wrong, there is just more to do. */
  error: string | null
  retryMs: number
  /** Forgets the steps taken: the account may yet come into being, and then each of them has to be taken for real. */
  startOver: boolean
}

/** Gives claims back, to be taken again after `retryMs`. */
export async function releaseClaims(db: Db, releases: Release[]): Promise<void> {
  await manyLocking(
    db,
    `with given as (
         select * from json_to_recordset($1)
           as g (id text, fence integer, error text, "retryMs" double precision, "startOver" boolean)),
       locked as (
         select g.* from given g join leasehold.lease l on l.id = g.id and l.fence = g.fence
         where l.state = 'revoking' order by l.id for update of l)
       update leasehold.lease l
       set claimed_by = null, last_error = coalesce(g.error, l.last_error),
         attempts = l.attempts + (g.error is not null)::integer,
         steps = case when g."startOver" then '[]' else l.steps end,
         access_ended_at = case when g."startOver" then null else l.access_ended_at end,
         next_action_at = leasehold.ledger_now() + g."retryMs" * interval '1 millisecond'
       from locked g where l.id = g.id`,
    [JSON.stringify(releases)],
  )
}

/** revoking -> revoked, with the receipt in the same commit. Answers the ids moved. */
export async function finish(
  db: Db,
  ended: { id: string; fence: number; receipt: string }[],
): Promise<Set<string>> {
  const rows = await manyLocking<{ id: string }>(
    db,
    `with ended as (select * from json_to_recordset($1) as e (id text, fence integer, receipt text)),
       locked as (
         select e.* from ended e join leasehold.lease l on l.id = e.id and l.fence = e.fence
         where l.state = 'revoking' and l.access_ended_at is not null order by l.id for update of l),
       moved as (
         update leasehold.lease l
         set state = 'revoked', ended_at = leasehold.ledger_now(), next_action_at = null, claimed_by = null
         from locked e where l.id = e.id
         returning l.id, e.receipt)
       insert into leasehold.receipt (lease_id, jws) select id, receipt from moved
       returning lease_id as id`,
    [JSON.stringify(ended)],
  )
  return new Set(rows.map(({ id }) => id))
}

/** Targets with something due now. */
export async function dueTargets(db: Db): Promise<string[]> {
  const rows = await many<{ id: string }>(
    db,
    `select t.id from leasehold.target t
     where exists (select from leasehold.lease l
       where l.target_id = t.id and l.next_action_at <= leasehold.ledger_now())`,
  )
  return rows.map(({ id }) => id)
}

/** The target answers again: everything that waits for its next try there is due now. */
export async function retryNow(db: Db, targetId: string): Promise<number> {
  const rows = await manyLocking(
    db,
    `with waiting as (
         select id from leasehold.lease
         where target_id = $1 and state = 'revoking' and claimed_by is null and attempts > 0
           and next_action_at > leasehold.ledger_now()
         order by id for update skip locked)
       update leasehold.lease l set next_action_at = leasehold.ledger_now()
       from waiting w where l.id = w.id returning l.id`,
    [targetId],
  )
  return rows.length
}
