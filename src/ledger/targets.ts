import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'

export type Target = {
  id: string
  mountId: string
  name: string
  engine: string
  plugin: string
  spec: Document
  secretName: string
  /** Where the admin's password is, when it is not in that secret. */
  passwordReference: string | null
  allowedRoles: string[]
  verified: boolean
  capabilities: Document | null
  version: number
}

const TARGET = `id, mount_id as "mountId", name, engine, plugin, spec, secret_name as "secretName",
  password_reference as "passwordReference",
  allowed_roles as "allowedRoles", verified, capabilities, version`

export const findTarget = (db: Db, mountId: string, name: string): Promise<Target | undefined> =>
  one<Target>(
    db,
    `select ${TARGET} from leasehold.target where mount_id = $1 and name = $2 and removed_at is null`,
    [mountId, name],
  )

/** Any target a lease may pin, removed ones too. */
export const findTargetById = (db: Db, id: string): Promise<Target | undefined> =>
  one<Target>(db, `select ${TARGET} from leasehold.target where id = $1`, [id])

export const listTargets = (db: Db, mountId: string): Promise<Target[]> =>
  many<Target>(
    db,
    `select ${TARGET} from leasehold.target where mount_id = $1 and removed_at is null order by name`,
    [mountId],
  )

/** Targets that are enrolled, or still have leases to end; with the number that tells whether an open engine is current. */
export const targetsInUse = (db: Db): Promise<{ id: string; version: number }[]> =>
  many(
    db,
    `select t.id, t.version from leasehold.target t
     where t.removed_at is null
       or exists (select from leasehold.lease l where l.target_id = t.id and l.next_action_at is not null)`,
  )

/** Of every mount, those of an engine that are enrolled, or were and still have leases to end there. */
export const targetsOfEngine = (db: Db, engine: string): Promise<Target[]> =>
  many<Target>(
    db,
    `select ${TARGET} from leasehold.target t
     where engine = $1 and (removed_at is null
       or exists (select from leasehold.lease l where l.target_id = t.id and l.next_action_at is not null))
     order by name, id`,
    [engine],
  )

/** Writes a target whole. A live one of that id is replaced, and its version counts up. */
export const putTarget = (db: Db, target: Omit<Target, 'version'>): Promise<number> =>
  change(
    db,
    `insert into leasehold.target
       (id, mount_id, name, engine, plugin, spec, secret_name, password_reference, allowed_roles, verified, capabilities)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
     on conflict (id) do update set engine = excluded.engine, plugin = excluded.plugin, spec = excluded.spec,
       secret_name = excluded.secret_name, password_reference = excluded.password_reference, allowed_roles = excluded.allowed_roles, verified = excluded.verified,
       capabilities = excluded.capabilities, version = target.version + 1`,
    [
      target.id,
      target.mountId,
      target.name,
      target.engine,
      target.plugin,
      target.spec,
      target.secretName,
      target.passwordReference,
      target.allowedRoles,
      target.verified,
      target.capabilities,
    ],
  )

/** Counts the version up, so that every process opens the engine anew. */
export const touchTarget = (db: Db, id: string): Promise<number> =>
  change(db, 'update leasehold.target set version = version + 1 where id = $1', [id])

/** The target is gone from the API; leases that pin it go on ending there. */
export const removeTarget = (db: Db, id: string): Promise<number> =>
  change(
    db,
    'update leasehold.target set removed_at = leasehold.ledger_now() where id = $1 and removed_at is null',
    [id],
  )
