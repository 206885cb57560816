import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'

/** A secret id as the ledger knows it: never its text. Ids are SHA-256 in hex. */
export type SecretIdRow = {
  id: string
  accessor: string
  mountId: string
  roleName: string
  metadata: Record<string, string>
  cidrs: string[]
  tokenCidrs: string[]
  /** Null for any number. */
  usesLeft: number | null
  /** 0 when it has no end. */
  ttlSeconds: number
}

export type SecretIdKept = SecretIdRow & { createdAt: Date; updatedAt: Date; expiresAt: Date | null }

const SECRET_ID = `encode(k.id, 'hex') as id, k.accessor, k.mount_id as "mountId", k.role_name as "roleName",
  k.metadata, k.cidrs, k.token_cidrs as "tokenCidrs", k.uses_left as "usesLeft", k.ttl_seconds as "ttlSeconds",
  k.created_at as "createdAt", k.updated_at as "updatedAt", k.expires_at as "expiresAt"`

const UNEXPIRED = '(k.expires_at is null or k.expires_at > leasehold.ledger_now())'

const UNIQUE_VIOLATION = '23505'

/** Whether a role could not be written because another one of its mount has this role_id. */
export const isRoleIdTaken = (error: unknown): boolean => {
  const { code, constraint } = error as { code?: string; constraint?: string }
  return code === UNIQUE_VIOLATION && constraint === 'auth_role_role_id'
}

export const findAppRole = (
  db: Db,
  mountId: string,
  roleId: string,
): Promise<{ name: string; spec: Document } | undefined> =>
  one(db, `select name, spec from leasehold.auth_role where mount_id = $1 and spec ->> 'role_id' = $2`, [
    mountId,
    roleId,
  ])

/** The role as it is until the end of the transaction. */
export async function holdAppRole(db: Db, mountId: string, name: string): Promise<Document | undefined> {
  const row = await one<{ spec: Document }>(
    db,
    'select spec from leasehold.auth_role where mount_id = $1 and name = $2 for share',
    [mountId, name],
  )
  return row?.spec
}

/** Takes a role away, with its secret ids. Run it in a transaction. */
export async function removeAppRole(db: Db, mountId: string, name: string): Promise<void> {
  // Those that are made or used at the same time wait, or are waited for, in the order of their ids. The foreign key
  // takes whatever is made between the two statements.
  await change(
    db,
    `delete from leasehold.approle_secret where id in (
       select id from leasehold.approle_secret where mount_id = $1 and role_name = $2 order by id for update)`,
    [mountId, name],
  )
  await change(db, 'delete from leasehold.auth_role where mount_id = $1 and name = $2', [mountId, name])
}

/** False when the role has this very secret id already. Run it in a transaction that holds the role. */
export async function insertSecretId(db: Db, row: SecretIdRow): Promise<boolean> {
  // One whose time is over may not have been swept yet.
  await change(
    db,
    `delete from leasehold.approle_secret k where k.id = decode($1, 'hex') and not ${UNEXPIRED}`,
    [row.id],
  )
  const rows = await change(
    db,
    `insert into leasehold.approle_secret
       (id, accessor, mount_id, role_name, metadata, cidrs, token_cidrs, uses_left, ttl_seconds, expires_at)
     values (decode($1, 'hex'), $2, $3, $4, $5, $6, $7, $8, $9::bigint,
       case when $9::bigint > 0 then leasehold.ledger_now() + $9::bigint * interval '1 second' end)
     on conflict (id) do nothing`,
    [
      row.id,
      row.accessor,
      row.mountId,
      row.roleName,
      row.metadata,
      row.cidrs,
      row.tokenCidrs,
      row.usesLeft,
      row.ttlSeconds,
    ],
  )
  return rows > 0
}

/** Those that there are and whose time is not over. */
export const findSecretIds = (db: Db, ids: readonly string[]): Promise<SecretIdKept[]> =>
  many<SecretIdKept>(
    db,
    `select ${SECRET_ID} from leasehold.approle_secret k
     where k.id in (select decode(h, 'hex') from unnest($1::text[]) h) and ${UNEXPIRED}`,
    [ids],
  )

type RoleKey = { mountId: string; roleName: string }

export const findSecretIdByAccessor = (
  db: Db,
  { mountId, roleName }: RoleKey,
  accessor: string,
): Promise<SecretIdKept | undefined> =>
  one<SecretIdKept>(
    db,
    `select ${SECRET_ID} from leasehold.approle_secret k
     where k.accessor = $1 and k.mount_id = $2 and k.role_name = $3 and ${UNEXPIRED}`,
    [accessor, mountId, roleName],
  )

export async function listSecretIdAccessors(db: Db, { mountId, roleName }: RoleKey): Promise<string[]> {
  const rows = await many<{ accessor: string }>(
    db,
    `select k.accessor from leasehold.approle_secret k
     where k.mount_id = $1 and k.role_name = $2 and ${UNEXPIRED} order by k.accessor`,
    [mountId, roleName],
  )
  return rows.map(({ accessor }) => accessor)
}

export const dropSecretId = (db: Db, id: string): Promise<number> =>
  change(db, `delete from leasehold.approle_secret where id = decode($1, 'hex')`, [id])

/**
 * Takes so many uses of each secret id, or as many as it has left; answers how many each gave. One that is not in the
 * answer is gone, or its time is over. Run it in a transaction: until its end nobody else uses these, nor takes them away.
 */
export async function takeSecretIdUses(
  db: Db,
  asked: ReadonlyMap<string, number>,
): Promise<ReadonlyMap<string, number>> {
  const rows = await many<{ id: string; given: number }>(
    db,
    `with asked as (select decode(h, 'hex') as id, uses from unnest($1::text[], $2::integer[]) as s (h, uses)),
     counted as (
       select k.id, k.uses_left from leasehold.approle_secret k
       where k.id in (select id from asked) and k.uses_left is not null and ${UNEXPIRED}
       order by k.id for update),
     -- Nothing of these changes, so that their logins need not wait for each other.
     uncounted as (
       select k.id from leasehold.approle_secret k
       where k.id in (select id from asked) and k.uses_left is null and ${UNEXPIRED}
       order by k.id for share),
     used_up as (
       delete from leasehold.approle_secret k using counted c join asked a using (id)
       where k.id = c.id and c.uses_left <= a.uses),
     used as (
       update leasehold.approle_secret k
       set uses_left = c.uses_left - a.uses, updated_at = leasehold.ledger_now()
       from counted c join asked a using (id) where k.id = c.id and c.uses_left > a.uses)
     select encode(a.id, 'hex') as id, least(a.uses, c.uses_left) as given
     from asked a join counted c using (id)
     union all
     select encode(a.id, 'hex'), a.uses from asked a join uncounted u using (id)`,
    [[...asked.keys()], [...asked.values()]],
  )
  return new Map(rows.map(({ id, given }) => [id, given]))
}
