import { change, type Db, many, manyLocking } from './db.ts'

/** A grant in somebody's hands. Giving it back carries the fence; who claimed it since has it then. */
export type ClaimedGrant = { id: string; fence: number; attempts: number }

/** How long a claim holds without a sign of life. */
const CLAIM = `interval '20 seconds'`

/** Takes grants at which somebody has to look, the longest overdue first. */
export const claimDueGrants = (db: Db, worker: string, limit: number): Promise<ClaimedGrant[]> =>
  manyLocking<ClaimedGrant>(
    db,
    `with due as (
       select id from leasehold.access_grant where next_action_at <= leasehold.ledger_now()
       order by next_action_at limit $2 for update skip locked)
     update leasehold.access_grant g
     set claimed_by = $1, fence = g.fence + 1, next_action_at = leasehold.ledger_now() + ${CLAIM}
     from due where g.id = due.id
     returning g.id, g.fence, g.attempts`,
    [worker, limit],
  )

/** The holder is alive and at work. */
export const keepGrantClaim = (db: Db, { id, fence }: ClaimedGrant): Promise<number> =>
  change(
    db,
    `update leasehold.access_grant set next_action_at = leasehold.ledger_now() + ${CLAIM}
     where id = $1 and fence = $2 and claimed_by is not null`,
    [id, fence],
  )

/**
 * Given back. `at` is when somebody has to look again, null for never, by the version that was looked at: when somebody
 * has moved it since, that is now. After an error it is in `retryMs`. 0: somebody else has it.
 */
export const releaseGrant = (
  db: Db,
  { id, fence }: ClaimedGrant,
  back: { at: Date | null; version: number; error: null } | { retryMs: number; error: string },
): Promise<number> =>
  back.error === null
    ? change(
        db,
        `update leasehold.access_grant
         set claimed_by = null, attempts = 0, last_error = null,
           next_action_at = case when version = $4 then $3 else leasehold.ledger_now() end
         where id = $1 and fence = $2 and claimed_by is not null`,
        [id, fence, back.at, back.version],
      )
    : change(
        db,
        `update leasehold.access_grant
         set claimed_by = null, attempts = attempts + 1, last_error = $4,
           next_action_at = leasehold.ledger_now() + $3 * interval '1 millisecond'
         where id = $1 and fence = $2 and claimed_by is not null`,
        [id, fence, back.retryMs, back.error],
      )

/** Targets, of these, on which a grant is stuck at its end. */
export const stuckTargets = (db: Db, targetIds: readonly string[]): Promise<{ id: string; name: string }[]> =>
  many(
    db,
    `select distinct t.id, t.name
     from leasehold.access_grant g
     join leasehold.lease l on l.grant_id = g.id and l.state <> 'revoked'
     join leasehold.target t on t.id = l.target_id
     where g.state = 'ending_stuck' and l.target_id = any($1) order by t.name`,
    [targetIds],
  )

/** Grants in force one of whose leases was found changed, or gone, on its target. */
export const findChangedOutside = (db: Db): Promise<{ id: string; leaseId: string; found: string }[]> =>
  many(
    db,
    `select distinct on (g.id) g.id, l.path || '/' || l.id as "leaseId", l.end_reason as found
     from leasehold.access_grant g join leasehold.lease l on l.grant_id = g.id
     where g.state = 'active' and l.end_reason in ('foreign_change', 'account_gone')
     order by g.id, l.id`,
  )

/** Grants in force, one of whose targets is there no more. */
export const findRetired = (db: Db): Promise<{ id: string; target: string }[]> =>
  many(
    db,
    `select distinct on (g.id) g.id, t.name as target
     from leasehold.access_grant g
     cross join lateral jsonb_array_elements(g.plan -> 'roles') as r (role)
     join leasehold.target t on t.id = r.role ->> 'target_id'
     where g.state in ('active', 'suspended') and t.removed_at is not null
     order by g.id, t.name`,
  )

/** Grants of somebody that still stand, or whose access does; those they asked for by another mount, too. */
export async function openGrantsOf(db: Db, requesterId: string): Promise<string[]> {
  const rows = await many<{ id: string }>(
    db,
    `select id from leasehold.access_grant
     where (requester_id = $1 or requester ->> 'person' in (
         select o.requester ->> 'person' from leasehold.access_grant o
         where o.requester_id = $1 and o.requester ->> 'person' <> ''))
       and state in ('pending', 'approved', 'activating', 'active', 'suspended') order by requested_at`,
    [requesterId],
  )
  return rows.map(({ id }) => id)
}
