import { change, type Db, one } from './db.ts'
import type { Document } from './documents.ts'
import { GRANT, type Grant } from './grants.ts'

/** A break-glass grant in force, as conditions of policies see it. */
export type LiveGrant = {
  id: string
  policy: string
  lane: string
  reason: string
  ticket: string
  /** The subjects of those whose approval of the plan as it stands counts. */
  approvers: string[]
  expiresAt: Date
}

/** Of a row g with its policy p. */
const FACTS = `g.id, p.name as policy, g.lane, g.reason, g.ticket, g.expires_at as "expiresAt",
       array(select v.voter->>'subject' from leasehold.grant_vote v
         where v.grant_id = g.id and v.round = 0 and v.decision in ('approve', 'witness') and v.ended_at is null
           and v.plan_hash = g.plan_hash order by v.number) as approvers`

/** Undefined once it is not in force. */
export const findInForce = (db: Db, id: string): Promise<LiveGrant | undefined> =>
  one<LiveGrant>(
    db,
    `select ${FACTS}
     from leasehold.access_grant g join leasehold.break_glass_policy p on p.id = g.policy_id
     where g.id = $1 and g.state = 'active' and g.expires_at > leasehold.ledger_now()`,
    [id],
  )

/**
 * Of the grants of a principal that are active now and have this very path in their plan, the one that ends last. A
 * drill opens nothing besides what it is a drill of, a role agreed to in one namespace opens no other, and a role that
 * was written anew is none that people have seen.
 */
export const findLiveGrant = (
  db: Db,
  {
    principalId,
    path,
    parameters = {},
  }: { principalId: string; path: string; parameters?: Readonly<Record<string, unknown>> | undefined },
): Promise<LiveGrant | undefined> =>
  one<LiveGrant>(
    db,
    `select ${FACTS}
     from leasehold.access_grant g join leasehold.break_glass_policy p on p.id = g.policy_id
     where g.requester_id = $1 and g.state = 'active' and g.lane <> 'drill'
       and g.expires_at > leasehold.ledger_now()
       and exists (
         select from jsonb_array_elements(g.plan->'roles') as r (role)
         join leasehold.role k on k.id = r.role->>'role_id' and k.replaced_at is null
         where r.role->>'path' = $2
           and coalesce(r.role->>'kubernetes_namespace', $3) = $3
           and not ($4 and r.role->>'engine' = 'kubernetes'))
     order by g.expires_at desc, g.id limit 1`,
    [principalId, path, ...placeOf(parameters)],
  )

/**
 * Where in a cluster an ask would lead: people have approved one namespace, and never all of them. Names are compared
 * as they are read, in any case.
 */
function placeOf(parameters: Readonly<Record<string, unknown>>): [namespace: string, isWide: boolean] {
  const given = (wanted: string): unknown[] =>
    Object.entries(parameters).flatMap(([name, value]) => (name.toLowerCase() === wanted ? [value] : []))
  const [namespace = '', ...more] = given('kubernetes_namespace')
  const isWide = given('cluster_role_binding').some((value) => value !== false && value !== 'false')
  return [more.length > 0 ? '' : String(namespace), isWide]
}

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
