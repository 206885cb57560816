import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'

/** One ask for access, from the ask to the review. State, lane and events are words of whoever moves it. */
export type Grant = {
  id: string
  policyId: string
  lane: string
  state: string
  version: number
  requesterId: string
  requester: Document
  plan: Document
  planHash: string
  reason: string
  ticket: string
  ticketState: 'none' | 'verified' | 'unverified'
  durationSeconds: number
  requestedAt: Date
  pendingExpiresAt: Date
  escalations: number
  approvedAt: Date | null
  activateBy: Date | null
  startedAt: Date | null
  expiresAt: Date | null
  extendedSeconds: number
  endReason: string | null
  endedAt: Date | null
  stuckSince: Date | null
  reviewDueAt: Date | null
  reviewOverdueAt: Date | null
  ratification: 'none' | 'due' | 'ratified' | 'refused' | 'overdue'
  ratifyBy: Date | null
  forceRotation: boolean
  controlAccessor: string | null
  detail: Document
  nextActionAt: Date | null
  claimedBy: string | null
  fence: number
  attempts: number
  lastError: string | null
  /** The ledger's time when it was read. */
  now: Date
}

/** Of the row `g`. */
export const GRANT = `g.id, g.policy_id as "policyId", g.lane, g.state, g.version, g.requester_id as "requesterId",
  g.requester, g.plan, g.plan_hash as "planHash", g.reason, g.ticket, g.ticket_state as "ticketState",
  g.duration_seconds as "durationSeconds", g.requested_at as "requestedAt",
  g.pending_expires_at as "pendingExpiresAt", g.escalations, g.approved_at as "approvedAt",
  g.activate_by as "activateBy", g.started_at as "startedAt", g.expires_at as "expiresAt",
  g.extended_seconds as "extendedSeconds", g.end_reason as "endReason", g.ended_at as "endedAt",
  g.stuck_since as "stuckSince", g.review_due_at as "reviewDueAt", g.review_overdue_at as "reviewOverdueAt",
  g.ratification, g.ratify_by as "ratifyBy", g.force_rotation as "forceRotation",
  g.control_accessor as "controlAccessor", g.detail, g.next_action_at as "nextActionAt",
  g.claimed_by as "claimedBy", g.fence, g.attempts, g.last_error as "lastError", leasehold.ledger_now() as now`

export const findGrant = (db: Db, id: string): Promise<Grant | undefined> =>
  one<Grant>(db, `select ${GRANT} from leasehold.access_grant g where g.id = $1`, [id])

/** The same, once whoever holds its row has let go of it; nobody else moves it before the transaction's end. */
export async function lockGrant(db: Db, id: string): Promise<Grant | undefined> {
  await db.query('select from leasehold.access_grant where id = $1 for update', [id])
  return findGrant(db, id)
}

export const findGrantByKey = (
  db: Db,
  requesterId: string,
  idempotencyKey: Buffer,
): Promise<Grant | undefined> =>
  one<Grant>(
    db,
    `select ${GRANT} from leasehold.access_grant g where g.requester_id = $1 and g.idempotency_key = $2`,
    [requesterId, idempotencyKey],
  )

/** What a move may change besides the state. Absent fields stay as they are. */
export type GrantPatch = Partial<
  Pick<
    Grant,
    | 'plan'
    | 'planHash'
    | 'durationSeconds'
    | 'ticketState'
    | 'escalations'
    | 'approvedAt'
    | 'activateBy'
    | 'startedAt'
    | 'expiresAt'
    | 'extendedSeconds'
    | 'endReason'
    | 'endedAt'
    | 'stuckSince'
    | 'reviewDueAt'
    | 'reviewOverdueAt'
    | 'ratification'
    | 'ratifyBy'
    | 'forceRotation'
    | 'controlAccessor'
    | 'detail'
    | 'nextActionAt'
    | 'claimedBy'
    | 'attempts'
    | 'lastError'
  >
>

const PATCHED = [
  'plan',
  'plan_hash',
  'duration_seconds',
  'ticket_state',
  'escalations',
  'approved_at',
  'activate_by',
  'started_at',
  'expires_at',
  'extended_seconds',
  'end_reason',
  'ended_at',
  'stuck_since',
  'review_due_at',
  'review_overdue_at',
  'ratification',
  'ratify_by',
  'force_rotation',
  'control_accessor',
  'detail',
  'next_action_at',
  'claimed_by',
  'attempts',
  'last_error',
]

const columns = (patch: GrantPatch): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(patch)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]),
  )

/** What is written of one move beside the row. */
type GrantNote = { event: string; actor: object | null; detail: Document }

export type NewGrant = Pick<
  Grant,
  | 'id'
  | 'policyId'
  | 'lane'
  | 'state'
  | 'requesterId'
  | 'requester'
  | 'plan'
  | 'planHash'
  | 'reason'
  | 'ticket'
  | 'ticketState'
  | 'durationSeconds'
  | 'requestedAt'
  | 'pendingExpiresAt'
> & { idempotencyKey: Buffer | null }

/**
 * A new grant and its first event; undefined when its requester has used this idempotency key before. The number of an
 * event is the version it made.
 */
export const insertGrant = (
  db: Db,
  { idempotencyKey, ...grant }: NewGrant,
  patch: GrantPatch,
  { event, actor, detail }: GrantNote,
): Promise<Grant | undefined> =>
  one<Grant>(
    db,
    `with made as (
       insert into leasehold.access_grant as g
         (id, policy_id, lane, state, requester_id, requester, plan, plan_hash, reason, ticket, ticket_state,
          duration_seconds, requested_at, pending_expires_at, idempotency_key, approved_at, activate_by, ratification,
          force_rotation, control_accessor, detail, next_action_at)
       select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, p.approved_at, p.activate_by,
         coalesce(p.ratification, 'none'), coalesce(p.force_rotation, false), p.control_accessor, coalesce(p.detail, '{}'), p.next_action_at
       from jsonb_populate_record(null::leasehold.access_grant, $16::jsonb) p
       on conflict (requester_id, idempotency_key) where idempotency_key is not null do nothing
       returning g.*
     ), noted as (
       insert into leasehold.grant_event (grant_id, number, event, from_state, to_state, actor, detail)
       select id, version, $17, null, state, $18, $19 from made
     )
     select ${GRANT} from made g`,
    [
      grant.id,
      grant.policyId,
      grant.lane,
      grant.state,
      grant.requesterId,
      grant.requester,
      grant.plan,
      grant.planHash,
      grant.reason,
      grant.ticket,
      grant.ticketState,
      grant.durationSeconds,
      grant.requestedAt,
      grant.pendingExpiresAt,
      idempotencyKey,
      columns(patch),
      event,
      actor,
      detail,
    ],
  )

/**
 * Moves a grant on from what its mover has read, and writes the event of it; undefined when somebody else has moved it
 * since. Two at once wait for each other here, so what else a transaction decides by is read before and still holds.
 */
export const moveGrant = (
  db: Db,
  { id, version, state }: Pick<Grant, 'id' | 'version' | 'state'>,
  { to, set, event, actor, detail }: { to: string; set: GrantPatch } & GrantNote,
): Promise<Grant | undefined> =>
  one<Grant>(
    db,
    `with moved as (
       update leasehold.access_grant g set version = g.version + 1, state = $4,
         (${PATCHED.join(', ')}) =
           (select ${PATCHED.map((name) => `p.${name}`).join(', ')} from jsonb_populate_record(g, $5::jsonb) p)
       where g.id = $1 and g.version = $2 and g.state = $3
       returning g.*
     ), noted as (
       insert into leasehold.grant_event (grant_id, number, event, from_state, to_state, actor, detail)
       select id, version, $6, $3, state, $7, $8 from moved
     )
     select ${GRANT} from moved g`,
    [id, version, state, to, columns(set), event, actor, detail],
  )

/** Puts on a grant's record what moves nothing, such as a delivery that failed; 0 when there is no such grant. */
export const noteGrant = (db: Db, id: string, { event, actor, detail }: GrantNote): Promise<number> =>
  change(
    db,
    `with noted as (
       update leasehold.access_grant set version = version + 1 where id = $1 returning id, version, state
     )
     insert into leasehold.grant_event (grant_id, number, event, from_state, to_state, actor, detail)
     select id, version, $2, state, state, $3, $4 from noted`,
    [id, event, actor, detail],
  )

export type GrantEventRow = {
  number: number
  at: Date
  event: string
  from: string | null
  to: string
  actor: Document | null
  detail: Document
}

/** In order. */
export const grantEvents = (db: Db, grantId: string): Promise<GrantEventRow[]> =>
  many<GrantEventRow>(
    db,
    `select number, at, event, from_state as "from", to_state as "to", actor, detail
     from leasehold.grant_event where grant_id = $1 order by number`,
    [grantId],
  )

/** Grants of one person under a policy that still stand, or whose access may; and the ledger's time. */
export async function countLiveGrants(
  db: Db,
  { id, person }: { id: string; person: string },
  policyName: string,
): Promise<{ live: number; now: Date }> {
  const row = await one<{ live: number; now: Date }>(
    db,
    `select count(g.id) as live, leasehold.ledger_now() as now
     from leasehold.access_grant g join leasehold.break_glass_policy p on p.id = g.policy_id and p.name = $2
     where (g.requester_id = $1 or ($3 <> '' and g.requester ->> 'person' = $3))
       and g.state in ('pending', 'approved', 'activating', 'active', 'suspended', 'ending', 'ending_stuck')`,
    [id, policyName, person],
  )
  if (!row) throw new Error('a count is always answered')
  return row
}
