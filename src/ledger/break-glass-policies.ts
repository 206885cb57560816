import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'

/** One version of a policy; a grant pins the one it was asked under. */
export type BreakGlassPolicyRow = {
  id: string
  name: string
  version: number
  spec: Document
  replacedAt: Date | null
}

const POLICY = `id, name, version, spec, replaced_at as "replacedAt"`

export const findBreakGlassPolicy = (db: Db, name: string): Promise<BreakGlassPolicyRow | undefined> =>
  one<BreakGlassPolicyRow>(
    db,
    `select ${POLICY} from leasehold.break_glass_policy where name = $1 and replaced_at is null`,
    [name],
  )

/** Any version, replaced ones too. */
export const findBreakGlassPolicyById = (db: Db, id: string): Promise<BreakGlassPolicyRow | undefined> =>
  one<BreakGlassPolicyRow>(db, `select ${POLICY} from leasehold.break_glass_policy where id = $1`, [id])

export const findBreakGlassPoliciesById = (db: Db, ids: readonly string[]): Promise<BreakGlassPolicyRow[]> =>
  many<BreakGlassPolicyRow>(db, `select ${POLICY} from leasehold.break_glass_policy where id = any($1)`, [
    ids,
  ])

export const listBreakGlassPolicies = (db: Db): Promise<BreakGlassPolicyRow[]> =>
  many<BreakGlassPolicyRow>(
    db,
    `select ${POLICY} from leasehold.break_glass_policy where replaced_at is null order by name`,
  )

/** Versions that any grant was asked under: whoever has a part in those may still see them. */
export const policiesOfGrants = (db: Db): Promise<BreakGlassPolicyRow[]> =>
  many<BreakGlassPolicyRow>(
    db,
    `select ${POLICY} from leasehold.break_glass_policy p
     where exists (select from leasehold.access_grant g where g.policy_id = p.id)`,
  )

/** A new version in the place of the one before. Run it in a transaction that has locked the name. */
export async function putBreakGlassPolicy(
  db: Db,
  { id, name, spec }: { id: string; name: string; spec: Document },
): Promise<void> {
  await removeBreakGlassPolicy(db, name)
  await db.query(
    `insert into leasehold.break_glass_policy (id, name, version, spec)
     select $1, $2, coalesce(max(version), 0) + 1, $3 from leasehold.break_glass_policy where name = $2`,
    [id, name, spec],
  )
}

/** Nothing can be asked under it from here on; its rows stay. */
export const removeBreakGlassPolicy = (db: Db, name: string): Promise<number> =>
  change(
    db,
    `update leasehold.break_glass_policy set replaced_at = leasehold.ledger_now()
     where name = $1 and replaced_at is null`,
    [name],
  )
