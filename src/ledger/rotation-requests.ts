import { change, type Db } from './db.ts'

/** Asks for new passwords of all accounts that are rotated on these targets, now. Answers how many. */
export const requestRotations = (db: Db, targetIds: readonly string[]): Promise<number> =>
  change(
    db,
    `update leasehold.rotation r
     set requested_at = leasehold.ledger_now(), forced = true,
       next_action_at = case when r.claimed_by is null then leasehold.ledger_now() else r.next_action_at end
     from leasehold.target t
     where t.id = any($1) and r.mount_id = t.mount_id and r.target_name = t.name and r.removed_at is null`,
    [targetIds],
  )
