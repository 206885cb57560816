import { change, type Db, one } from './db.ts'
import type { Document } from './documents.ts'
import { GRANT, type Grant } from './grants.ts'

/** A break-glass grant in force, as conditions of policies see it. */
export type LiveGrant = {
  id: string
  policy: string
  reason: string
  ticket: string
  /** The subjects of those whose approval of the plan as it stands counts. */
  approvers: string[]
  expiresAt: Date
}

/**
 * Of the grants of a principal that are active now and have this very path in their plan, the one that ends last. A
 * drill opens nothing besides what it is a drill of.
 */
export const findLiveGrant = (
  db: Db,
  { principalId, path }: { principalId: string; path: string },
): Promise<LiveGrant | undefined> =>
  one<LiveGrant>(
    db,
    `select g.id, p.name as policy, g.reason, g.ticket, g.expires_at as "expiresAt",
       array(select v.voter->>'subject' from leasehold.grant_vote v
         where v.grant_id = g.id and v.round = 0 and v.decision in ('approve', 'witness') and v.ended_at is null
           and v.plan_hash = g.plan_hash order by v.number) as approvers
     from leasehold.access_grant g join leasehold.break_glass_policy p on p.id = g.policy_id
     where g.requester_id = $1 and g.state = 'active' and g.lane <> 'drill'
       and g.expires_at > leasehold.ledger_now()
       and g.plan->'roles' @> jsonb_build_array(jsonb_build_object('path', $2::text))
     order by g.expires_at desc, g.id limit 1`,
    [principalId, path],
  )

/** The grant that a wrapping token of this accessor was given for. */
export const findGrantByAccessor = (db: Db, accessor: string): Promise<Grant | undefined> =>
  one<Grant>(db, `select ${GRANT} from leasehold.access_grant g where g.control_accessor = $1`, [accessor])

/** By which wrapping token a grant is collected, and what else has to be known then. */
export const bindAccessor = (
  db: Db,
  { id, accessor, detail }: { id: string; accessor: string; detail: Document },
): Promise<number> =>
  change(
    db,
    'update leasehold.access_grant set control_accessor = $2, detail = detail || $3::jsonb where id = $1',
    [id, accessor, detail],
  )
