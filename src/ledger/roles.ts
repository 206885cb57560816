import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'

export type Role = {
  id: string
  mountId: string
  name: string
  version: number
  targetName: string
  spec: Document
  defaultTtlSeconds: number
  maxTtlSeconds: number
}

const ROLE = `id, mount_id as "mountId", name, version, target_name as "targetName", spec,
  default_ttl_seconds as "defaultTtlSeconds", max_ttl_seconds as "maxTtlSeconds"`

export const findRole = (db: Db, mountId: string, name: string): Promise<Role | undefined> =>
  one<Role>(
    db,
    `select ${ROLE} from leasehold.role where mount_id = $1 and name = $2 and replaced_at is null`,
    [mountId, name],
  )

export async function listRoleNames(db: Db, mountId: string): Promise<string[]> {
  const rows = await many<{ name: string }>(
    db,
    'select name from leasehold.role where mount_id = $1 and replaced_at is null order by name',
    [mountId],
  )
  return rows.map(({ name }) => name)
}

export const rolesOnTarget = (db: Db, mountId: string, targetName: string): Promise<Role[]> =>
  many<Role>(
    db,
    `select ${ROLE} from leasehold.role where mount_id = $1 and target_name = $2 and replaced_at is null order by name`,
    [mountId, targetName],
  )

/** Writes a new version of a role; the old one stays for the leases that pin it. Run it in a transaction that has locked the name. */
export async function putRole(db: Db, role: Omit<Role, 'version'>): Promise<void> {
  await removeRole(db, role.mountId, role.name)
  await db.query(
    `insert into leasehold.role
       (id, mount_id, name, version, target_name, spec, default_ttl_seconds, max_ttl_seconds)
     select $1, $2, $3, coalesce(max(version), 0) + 1, $4, $5, $6, $7
     from leasehold.role where mount_id = $2 and name = $3`,
    [
      role.id,
      role.mountId,
      role.name,
      role.targetName,
      role.spec,
      role.defaultTtlSeconds,
      role.maxTtlSeconds,
    ],
  )
}

/** Nothing can be asked by this role from here on. */
export const removeRole = (db: Db, mountId: string, name: string): Promise<number> =>
  change(
    db,
    `update leasehold.role set replaced_at = leasehold.ledger_now()
     where mount_id = $1 and name = $2 and replaced_at is null`,
    [mountId, name],
  )
