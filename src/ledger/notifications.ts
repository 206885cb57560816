import { change, type Db, many, manyLocking } from './db.ts'
import type { Document } from './documents.ts'

export type NewNotification = {
  id: string
  grantId: string
  event: string
  policyId: string
  destination: string
  body: Document
}

/** Due at once. */
export const insertNotifications = (db: Db, notifications: readonly NewNotification[]): Promise<number> =>
  change(
    db,
    `insert into leasehold.notification (id, grant_id, event, policy_id, destination, body, next_action_at)
     select n.id, n."grantId", n.event, n."policyId", n.destination, n.body, leasehold.ledger_now()
     from jsonb_to_recordset($1::jsonb)
       as n (id text, "grantId" text, event text, "policyId" text, destination text, body jsonb)`,
    [JSON.stringify(notifications)],
  )

/** Of one policy, whatever its version. */
export type DestinationKey = { policy: string; destination: string }

/** Those for which something is due, the longest overdue first. */
export const dueDestinations = (db: Db, limit: number): Promise<DestinationKey[]> =>
  many<DestinationKey>(
    db,
    `select p.name as policy, n.destination
     from leasehold.notification n join leasehold.break_glass_policy p on p.id = n.policy_id
     where n.next_action_at <= leasehold.ledger_now()
     group by p.name, n.destination order by min(n.next_action_at) limit $1`,
    [limit],
  )

export type ClaimedNotification = {
  id: string
  grantId: string
  event: string
  policyId: string
  body: Document
  attempts: number
  /** Seconds since it was to be told. */
  ageSeconds: number
}

/** Takes what is due for one destination for so many seconds; those that have failed least often come first. */
export const claimNotifications = (
  db: Db,
  { policy, destination }: DestinationKey,
  { worker, limit, seconds }: { worker: string; limit: number; seconds: number },
): Promise<ClaimedNotification[]> =>
  manyLocking<ClaimedNotification>(
    db,
    `with due as (
       select n.id from leasehold.notification n
       where n.next_action_at <= leasehold.ledger_now() and n.destination = $2
         and n.policy_id in (select p.id from leasehold.break_glass_policy p where p.name = $1)
       order by n.attempts, n.created_at, n.id limit $4 for update skip locked),
     claimed as (
       update leasehold.notification n
       set claimed_by = $3, next_action_at = leasehold.ledger_now() + make_interval(secs => $5::integer)
       from due where n.id = due.id
       returning n.*)
     select id, grant_id as "grantId", event, policy_id as "policyId", body, attempts,
       extract(epoch from leasehold.ledger_now() - created_at)::double precision as "ageSeconds"
     from claimed order by attempts, created_at, id`,
    [policy, destination, worker, limit, seconds],
  )

export type Settled = {
  id: string
  worker: string
  state: 'delivered' | 'failed' | 'waiting'
  status: number | null
  error: string | null
  /** Until the next try; for `waiting`. */
  waitMs: number
}

/** What came of one try; 0 when it is somebody else's by now. */
export const settleNotification = (
  db: Db,
  { id, worker, state, status, error, waitMs }: Settled,
): Promise<number> =>
  change(
    db,
    `update leasehold.notification
     set state = $3, attempts = attempts + 1, last_status = $4, last_error = $5, claimed_by = null,
       next_action_at = case when $3 = 'waiting' then leasehold.ledger_now() + $6 * interval '1 millisecond' end,
       settled_at = case when $3 <> 'waiting' then leasehold.ledger_now() end
     where id = $1 and claimed_by = $2 and state = 'waiting'`,
    [id, worker, state, status, error, waitMs],
  )

/** Everything of one destination that is due by now waits for so long: nobody answers there. */
export const putOffNotifications = (
  db: Db,
  { policy, destination }: DestinationKey,
  { attempts, waitMs, newWaitMs }: { attempts: number; waitMs: number; newWaitMs: number },
): Promise<number> =>
  change(
    db,
    `with due as (
       select n.id from leasehold.notification n
       where n.next_action_at <= leasehold.ledger_now() and n.destination = $2
         and n.policy_id in (select p.id from leasehold.break_glass_policy p where p.name = $1)
       order by n.id for update skip locked)
     update leasehold.notification n
     set next_action_at = leasehold.ledger_now()
       + case when n.attempts >= $4 then $3::float8 else $5::float8 end * interval '1 millisecond'
     from due where n.id = due.id`,
    [policy, destination, waitMs, attempts, newWaitMs],
  )

/** Given back without a try. */
export const releaseNotifications = (
  db: Db,
  { ids, worker, waitMs }: { ids: readonly string[]; worker: string; waitMs: number },
): Promise<number> =>
  change(
    db,
    `update leasehold.notification
     set claimed_by = null, next_action_at = leasehold.ledger_now() + $3 * interval '1 millisecond'
     where id = any($1) and claimed_by = $2 and state = 'waiting'`,
    [ids, worker, waitMs],
  )

export type NotificationRow = {
  id: string
  grantId: string | null
  policy: string
  destination: string
  event: string
  state: 'waiting' | 'delivered' | 'failed'
  attempts: number
  createdAt: Date
  nextAttemptAt: Date | null
  lastStatus: number | null
  lastError: string | null
  settledAt: Date | null
}

/** The newest first, of one grant, or of all where none is named. */
export const listNotifications = (
  db: Db,
  { grantId, state, limit }: { grantId: string | null; state: string | null; limit: number },
): Promise<NotificationRow[]> =>
  many<NotificationRow>(
    db,
    `select n.id, n.grant_id as "grantId", p.name as policy, n.destination, n.event, n.state, n.attempts,
       n.created_at as "createdAt", n.next_action_at as "nextAttemptAt", n.last_status as "lastStatus",
       n.last_error as "lastError", n.settled_at as "settledAt"
     from leasehold.notification n join leasehold.break_glass_policy p on p.id = n.policy_id
     where ($1::text is null or n.grant_id = $1) and ($2::text is null or n.state = $2)
     order by n.created_at desc, n.id limit $3`,
    [grantId, state, limit],
  )
