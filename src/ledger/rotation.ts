import { change, type Db, many, one } from './db.ts'

/** How far a rotation got. `set` onwards, the target may have the new password. */
export type RotationPhase = 'propose' | 'set' | 'verify' | 'promote'

/** A password that we keep and change. */
export type Rotation = {
  id: string
  kind: 'static' | 'admin'
  mountId: string
  targetName: string
  /** Of an admin. */
  targetId: string | null
  /** Of a static role. */
  name: string | null
  username: string
  alternateUsername: string | null
  statements: string[]
  periodSeconds: number | null
  schedule: string | null
  windowSeconds: number | null
  automated: boolean
  pairGroup: string | null
  secretName: string | null
  passwordReference: string | null
  phase: RotationPhase | null
  dueAt: Date | null
  requestedAt: Date | null
  /** Whoever asked did not care what its group does. */
  forced: boolean
  claimedBy: string | null
  /** Counts claims: while it stays the same, nobody has begun anything. */
  fence: number
  attempts: number
  lastError: string | null
  rotations: number
  lastRotatedAt: Date | null
}

/** What its writer decides of it. */
export type RotationTerms = Pick<
  Rotation,
  'statements' | 'periodSeconds' | 'schedule' | 'windowSeconds' | 'automated' | 'pairGroup' | 'dueAt'
>

export const ROTATION = `r.id, r.kind, r.mount_id as "mountId", r.target_name as "targetName", r.target_id as "targetId",
  r.name, r.username, r.alternate_username as "alternateUsername", r.statements, r.period_seconds as "periodSeconds",
  r.schedule, r.window_seconds as "windowSeconds", r.automated, r.pair_group as "pairGroup",
  r.secret_name as "secretName", r.password_reference as "passwordReference", r.phase, r.due_at as "dueAt",
  r.requested_at as "requestedAt", r.forced, r.claimed_by as "claimedBy", r.fence, r.attempts, r.last_error as "lastError",
  r.rotations, r.last_rotated_at as "lastRotatedAt"`

export const findStaticRole = (db: Db, mountId: string, name: string): Promise<Rotation | undefined> =>
  one<Rotation>(
    db,
    `select ${ROTATION} from leasehold.rotation r
     where r.kind = 'static' and r.mount_id = $1 and r.name = $2 and r.removed_at is null`,
    [mountId, name],
  )

export async function listStaticRoleNames(db: Db, mountId: string): Promise<string[]> {
  const rows = await many<{ name: string }>(
    db,
    `select r.name from leasehold.rotation r
     where r.kind = 'static' and r.mount_id = $1 and r.removed_at is null order by r.name`,
    [mountId],
  )
  return rows.map(({ name }) => name)
}

/** The static roles of a target: by name, and which account each has. */
export const staticAccounts = (
  db: Db,
  mountId: string,
  targetName: string,
): Promise<{ name: string; username: string }[]> =>
  many(
    db,
    `select r.name, r.username from leasehold.rotation r
     where r.kind = 'static' and r.mount_id = $1 and r.target_name = $2 and r.removed_at is null`,
    [mountId, targetName],
  )

export const findAdminRotation = (db: Db, targetId: string): Promise<Rotation | undefined> =>
  one<Rotation>(
    db,
    `select ${ROTATION} from leasehold.rotation r
     where r.kind = 'admin' and r.target_id = $1 and r.removed_at is null`,
    [targetId],
  )

export const findRotation = (db: Db, id: string): Promise<Rotation | undefined> =>
  one<Rotation>(db, `select ${ROTATION} from leasehold.rotation r where r.id = $1`, [id])

/** When each member of a group last rotated, and what it is about to do. */
export const groupOf = (db: Db, mountId: string, pairGroup: string): Promise<Rotation[]> =>
  many<Rotation>(
    db,
    `select ${ROTATION} from leasehold.rotation r
     where r.mount_id = $1 and r.pair_group = $2 and r.removed_at is null order by r.id`,
    [mountId, pairGroup],
  )

export type NewRotation = Pick<
  Rotation,
  'id' | 'kind' | 'mountId' | 'targetName' | 'targetId' | 'name' | 'username' | 'alternateUsername'
> &
  RotationTerms & {
    secretName: string | null
    passwordReference: string | null
    /** The account has what the store has, as a login has shown. */
    imported: boolean
  }

/** It is first looked at when it is due. */
export const insertRotation = (db: Db, row: NewRotation): Promise<number> =>
  change(
    db,
    `insert into leasehold.rotation
       (id, kind, mount_id, target_name, target_id, name, username, alternate_username, statements, period_seconds,
        schedule, window_seconds, automated, pair_group, secret_name, password_reference, due_at, next_action_at,
        last_rotated_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17,
       case when $18 then leasehold.ledger_now() end)`,
    [
      row.id,
      row.kind,
      row.mountId,
      row.targetName,
      row.targetId,
      row.name,
      row.username,
      row.alternateUsername,
      row.statements,
      row.periodSeconds,
      row.schedule,
      row.windowSeconds,
      row.automated,
      row.pairGroup,
      row.secretName,
      row.passwordReference,
      row.dueAt,
      row.imported,
    ],
  )

/** New terms; what is under way goes on, and is looked at no later than planned. */
export const changeTerms = (db: Db, id: string, terms: RotationTerms): Promise<number> =>
  change(
    db,
    `update leasehold.rotation r
     set statements = $2, period_seconds = $3, schedule = $4, window_seconds = $5, automated = $6, pair_group = $7,
       due_at = $8,
       next_action_at = case when r.claimed_by is not null then r.next_action_at
         when r.phase is null and r.requested_at is null then $8
         else least(r.next_action_at, $8) end
     where r.id = $1 and r.removed_at is null`,
    [
      id,
      terms.statements,
      terms.periodSeconds,
      terms.schedule,
      terms.windowSeconds,
      terms.automated,
      terms.pairGroup,
      terms.dueAt,
    ],
  )

/** Where its credential rests from now on; `username` and `alternateUsername` as its writer has them. */
export const changeAccounts = (
  db: Db,
  id: string,
  {
    username,
    alternateUsername,
    secretName,
    passwordReference,
  }: Pick<Rotation, 'username' | 'alternateUsername' | 'secretName' | 'passwordReference'>,
): Promise<number> =>
  change(
    db,
    `update leasehold.rotation set username = $2, alternate_username = $3, secret_name = $4, password_reference = $5
     where id = $1`,
    [id, username, alternateUsername, secretName, passwordReference],
  )

/**
 * The password that its writer gave is in force, as a login has shown after `before` was read. 0: somebody is rotating
 * it, or has since, or a statement with another may still arrive.
 */
export const adoptCredential = (
  db: Db,
  before: Pick<Rotation, 'id' | 'fence'>,
  { secretName, passwordReference }: { secretName: string; passwordReference: string | null },
  dueAt: Date | null,
): Promise<number> =>
  change(
    db,
    `update leasehold.rotation
     set secret_name = $2, password_reference = $3, phase = null, sent_at = null, requested_at = null, forced = false,
       attempts = 0, last_error = null, last_rotated_at = leasehold.ledger_now(), due_at = $4, next_action_at = $4
     where id = $1 and fence = $5 and claimed_by is null and sent_at is null and removed_at is null`,
    [before.id, secretName, passwordReference, dueAt, before.fence],
  )

/** Due now, out of turn. Answers how often it had been rotated and tried before; undefined for one that is gone. */
export const requestRotation = (
  db: Db,
  id: string,
  forced: boolean,
): Promise<{ rotations: number; attempts: number } | undefined> =>
  one(
    db,
    `update leasehold.rotation
     set requested_at = leasehold.ledger_now(), forced = $2,
       next_action_at = case when claimed_by is null then leasehold.ledger_now() else next_action_at end
     where id = $1 and removed_at is null returning rotations, attempts`,
    [id, forced],
  )

/** Nobody asks any more, as long as the account surely has the password that it had, or the one that the store knows of. */
export const withdrawRequest = (db: Db, id: string): Promise<number> =>
  change(
    db,
    `update leasehold.rotation
     set requested_at = null, forced = false,
       next_action_at = case when phase is null then due_at else next_action_at end
     where id = $1 and requested_at is not null and claimed_by is null and sent_at is null
       and (phase is null or phase in ('propose', 'set'))`,
    [id],
  )

/**
 * Gone from the API; what the store has of it is the sweep's to forget. 0: somebody is at work on its password, which
 * nobody would know after.
 */
export const removeRotation = (db: Db, id: string): Promise<number> =>
  change(
    db,
    `update leasehold.rotation
     set removed_at = leasehold.ledger_now(), next_action_at = null, claimed_by = null, fence = fence + 1
     where id = $1 and removed_at is null
       and (claimed_by is null or phase is null or next_action_at <= leasehold.ledger_now())`,
    [id],
  )

/**
 * As `removeRotation`, for one whose account is surely as it was: the target was never asked, or has refused. Not
 * after statements of a role's own, the first of which may have been carried out before one failed.
 */
export const removeUntouched = (db: Db, id: string): Promise<number> =>
  change(
    db,
    `update leasehold.rotation
     set removed_at = leasehold.ledger_now(), next_action_at = null, fence = fence + 1
     where id = $1 and removed_at is null and claimed_by is null and sent_at is null
       and (phase is null or phase = 'propose' or (phase = 'set' and statements = '{}'))`,
    [id],
  )

/** Whether a lease has or had this account on the target. */
export async function isLeaseAccount(db: Db, targetId: string, account: string): Promise<boolean> {
  const rows = await many(
    db,
    'select from leasehold.lease l where l.target_id = $1 and l.account = $2 limit 1',
    [targetId, account],
  )
  return rows.length > 0
}

/**
 * Whether the password of a target's admin account may be about to change, so that no other may be written now. With
 * a login to prove the one that is written, only while a statement of ours can still arrive.
 */
export async function isAdminAmidRotation(
  db: Db,
  targetId: string,
  { proven }: { proven: boolean },
): Promise<boolean> {
  const rows = await many(
    db,
    `select from leasehold.rotation r
     where r.kind = 'admin' and r.target_id = $1 and r.removed_at is null and r.secret_name is null
       and r.phase in ('set', 'verify', 'promote')
       and (not $2 or r.claimed_by is not null or r.sent_at is not null)`,
    [targetId, proven],
  )
  return rows.length > 0
}
