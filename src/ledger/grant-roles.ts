import { type Db, many } from './db.ts'
import type { Document } from './documents.ts'

/** A role that could be asked for, with its target, as a plan tells of them. */
export type AskableRole = {
  /** `database/creds/app`: where the role is asked for. */
  path: string
  mount: string
  name: string
  version: number
  roleId: string
  spec: Document
  targetId: string
  target: string
  engine: string
  targetSpec: Document
  capabilities: Document | null
}

/** Every live role whose target there is; with `paths`, of those. */
export const askableRoles = (db: Db, paths?: readonly string[]): Promise<AskableRole[]> =>
  many<AskableRole>(
    db,
    `select m.path || 'creds/' || r.name as path, m.path as mount, r.name, r.version, r.id as "roleId", r.spec,
       t.id as "targetId", t.name as target, t.engine, t.spec as "targetSpec", t.capabilities
     from leasehold.role r
     join leasehold.mount m on m.id = r.mount_id and m.disabled_at is null
     join leasehold.target t on t.mount_id = r.mount_id and t.name = r.target_name and t.removed_at is null
     where r.replaced_at is null and ($1::text[] is null or m.path || 'creds/' || r.name = any($1))
     order by path`,
    [paths ?? null],
  )

/** Of these paths of auth mounts, those by which nobody can be logged in any more. */
export async function deadMounts(db: Db, paths: readonly string[]): Promise<string[]> {
  const rows = await many<{ path: string }>(
    db,
    `select p.path from unnest($1::text[]) as p (path)
     where not exists (select from leasehold.mount m where m.path = p.path and m.disabled_at is null)`,
    [paths],
  )
  return rows.map(({ path }) => path)
}
