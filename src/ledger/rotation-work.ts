import { change, type Db, many, manyLocking, one } from './db.ts'
import { ROTATION, type Rotation, type RotationPhase } from './rotation.ts'

/** A rotation in a worker's hands. Writes about it carry the fence; when somebody claimed it since, they change nothing. */
export type ClaimedRotation = Rotation & {
  now: Date
  /** Milliseconds for which a statement may still arrive at the target; 0: none is under way. */
  unsettledMs: number
}

/** How long a claim holds without a sign of life. */
const CLAIM = `interval '20 seconds'`
/** After this no statement that was sent can still take effect: what an engine allows itself for one, and more. */
const SETTLES = `interval '90 seconds'`

const CLAIM_SET = `set claimed_by = $1, fence = r.fence + 1, next_action_at = leasehold.ledger_now() + ${CLAIM}`

const CLAIMED = `${ROTATION}, leasehold.ledger_now() as now,
  greatest(0, coalesce(extract(epoch from r.sent_at + ${SETTLES} - leasehold.ledger_now()) * 1000, 0))::double precision
    as "unsettledMs"`

/** Takes due rotations of a target, the longest overdue first. */
export const claimDueRotations = (
  db: Db,
  ask: { mountId: string; targetName: string; worker: string; limit: number },
): Promise<ClaimedRotation[]> =>
  manyLocking<ClaimedRotation>(
    db,
    `with due as (
       select id from leasehold.rotation
       where mount_id = $2 and target_name = $3 and next_action_at <= leasehold.ledger_now()
       order by next_action_at limit $4 for update skip locked)
     update leasehold.rotation r ${CLAIM_SET} from due where r.id = due.id returning ${CLAIMED}`,
    [ask.worker, ask.mountId, ask.targetName, ask.limit],
  )

/** Takes this one if it is due and nobody holds it. */
export const claimRotation = (db: Db, id: string, worker: string): Promise<ClaimedRotation | undefined> =>
  one<ClaimedRotation>(
    db,
    `with due as (
       select id from leasehold.rotation where id = $2 and next_action_at <= leasehold.ledger_now()
       for update skip locked)
     update leasehold.rotation r ${CLAIM_SET} from due where r.id = due.id returning ${CLAIMED}`,
    [worker, id],
  )

type Held = { id: string; fence: number }

/** The holder is alive and at work. */
export const keepRotationClaim = (db: Db, { id, fence }: Held): Promise<number> =>
  change(
    db,
    `update leasehold.rotation set next_action_at = leasehold.ledger_now() + ${CLAIM}
     where id = $1 and fence = $2 and claimed_by is not null`,
    [id, fence],
  )

/**
 * What is to be done next, before it is done; renews the claim. `sending` says that from now on a statement may arrive
 * at the target. 0: somebody else has it.
 */
export const enterPhase = (
  db: Db,
  { id, fence }: Held,
  phase: RotationPhase | null,
  { sending = false } = {},
): Promise<number> =>
  change(
    db,
    `update leasehold.rotation
     set phase = $3, sent_at = case when $4 then leasehold.ledger_now() end,
       next_action_at = leasehold.ledger_now() + ${CLAIM}
     where id = $1 and fence = $2 and claimed_by is not null`,
    [id, fence, phase, sending],
  )

/** The target has answered: whatever it did, nothing that was sent is still on its way. */
export const settleSent = (db: Db, { id, fence }: Held): Promise<number> =>
  change(db, 'update leasehold.rotation set sent_at = null where id = $1 and fence = $2', [id, fence])

/** The rotation is done, and the next one planned. 0: somebody else has it. */
export const finishRotation = (db: Db, { id, fence }: Held, dueAt: Date | null): Promise<number> =>
  change(
    db,
    `update leasehold.rotation
     set phase = null, sent_at = null, requested_at = null, forced = false, attempts = 0, last_error = null,
       rotations = rotations + 1, last_rotated_at = leasehold.ledger_now(), due_at = $3, next_action_at = $3,
       claimed_by = null
     where id = $1 and fence = $2 and claimed_by is not null`,
    [id, fence, dueAt],
  )

/** Given back without a rotation: planned anew for `dueAt`, such as after a window that was missed. */
export const postponeRotation = (
  db: Db,
  { id, fence }: Held,
  { dueAt, lookAt, note }: { dueAt: Date | null; lookAt: Date | null; note: string | null },
): Promise<number> =>
  change(
    db,
    `update leasehold.rotation
     set due_at = $3, next_action_at = $4, last_error = $5, attempts = 0, claimed_by = null
     where id = $1 and fence = $2 and claimed_by is not null`,
    [id, fence, dueAt, lookAt, note],
  )

/** Given back after a failure, to be taken again after `retryMs`. */
export const releaseRotation = (
  db: Db,
  { id, fence }: Held,
  { error, retryMs }: { error: string; retryMs: number },
): Promise<number> =>
  change(
    db,
    `update leasehold.rotation
     set attempts = attempts + 1, last_error = $3, claimed_by = null,
       next_action_at = leasehold.ledger_now() + $4 * interval '1 millisecond'
     where id = $1 and fence = $2 and claimed_by is not null`,
    [id, fence, error, retryMs],
  )

/** Targets, by mount and name, with a rotation due now. */
export const targetsToRotate = (db: Db): Promise<{ mountId: string; targetName: string }[]> =>
  many(
    db,
    `select distinct r.mount_id as "mountId", r.target_name as "targetName" from leasehold.rotation r
     where r.next_action_at <= leasehold.ledger_now()`,
  )

/** Closes those of mounts that were disabled and of targets that are gone: nothing can ask for their passwords any more. */
export const removeStranded = (db: Db): Promise<number> =>
  change(
    db,
    `update leasehold.rotation r
     set removed_at = leasehold.ledger_now(), next_action_at = null, fence = r.fence + 1
     from leasehold.mount m
     where m.id = r.mount_id and r.removed_at is null and r.claimed_by is null
       and (m.disabled_at is not null or (r.kind = 'admin' and r.phase is null and exists (
         select from leasehold.target t where t.id = r.target_id and t.removed_at is not null)))`,
  )

/** Credentials of rotations that are gone, still to be dropped from the store. */
export const leftCredentials = (
  db: Db,
): Promise<{ id: string; secretName: string; passwordReference: string | null }[]> =>
  many(
    db,
    `select id, secret_name as "secretName", password_reference as "passwordReference" from leasehold.rotation
     where removed_at is not null and secret_name is not null limit 100`,
  )

export const noteDropped = (db: Db, id: string): Promise<number> =>
  change(db, 'update leasehold.rotation set secret_name = null where id = $1 and removed_at is not null', [
    id,
  ])

/** The two admin accounts change places: the rotated one is in use from now on. 0: the target was written meanwhile. */
export async function switchAdmins(
  db: Db,
  { id, targetId }: { id: string; targetId: string },
  inUse: { secretName: string; passwordReference: string | null },
): Promise<number> {
  return change(
    db,
    `with rested as (select secret_name, password_reference from leasehold.rotation where id = $1),
       switched as (
         update leasehold.target t
         set secret_name = rested.secret_name, password_reference = rested.password_reference, version = t.version + 1
         from rested where t.id = $2 and t.secret_name = $3 returning t.id)
     update leasehold.rotation r set secret_name = $3, password_reference = $4
     from switched where r.id = $1`,
    [id, targetId, inUse.secretName, inUse.passwordReference],
  )
}
