import { type Db, many } from './db.ts'

/** How long each part of a drill took, in seconds; null for what has not happened. */
export type DrillReport = {
  id: string
  policy: string
  state: string
  requestedAt: Date
  toFirstVote: number | null
  toApproval: number | null
  toAccess: number | null
  toProvedGone: number | null
  toReview: number | null
}

const sinceAsked = (at: string): string => `extract(epoch from ${at} - g.requested_at)::double precision`

/** Drills, the latest first. */
export const listDrills = (db: Db, limit: number): Promise<DrillReport[]> =>
  many<DrillReport>(
    db,
    `select g.id, p.name as policy, g.state, g.requested_at as "requestedAt",
       ${sinceAsked(`(select min(v.cast_at) from leasehold.grant_vote v where v.grant_id = g.id)`)} as "toFirstVote",
       ${sinceAsked('g.approved_at')} as "toApproval", ${sinceAsked('g.started_at')} as "toAccess",
       -- Of how long it takes to end, not of how long it was used.
       (select extract(epoch from g.ended_at - min(e.at))::double precision from leasehold.grant_event e
         where e.grant_id = g.id and e.to_state = 'ending') as "toProvedGone",
       (select extract(epoch from min(r.at) - g.ended_at)::double precision from leasehold.grant_review r
         where r.grant_id = g.id and r.outcome <> 'reopened') as "toReview"
     from leasehold.access_grant g join leasehold.break_glass_policy p on p.id = g.policy_id
     where g.lane = 'drill' order by g.requested_at desc, g.id limit $1`,
    [limit],
  )

/** Live policies for emergencies, and when each was last drilled all the way to access. */
export const lastDrills = (db: Db): Promise<{ policy: string; lastDrillAt: Date | null; now: Date }[]> =>
  many(
    db,
    `select p.name as policy, max(g.started_at) as "lastDrillAt", leasehold.ledger_now() as now
     from leasehold.break_glass_policy p
     left join leasehold.break_glass_policy v on v.name = p.name
     left join leasehold.access_grant g on g.policy_id = v.id and g.lane = 'drill'
     where p.replaced_at is null and p.spec ->> 'lane' = 'break_glass'
     group by p.name order by p.name`,
  )
