import { change, type Db, many, one } from './db.ts'
import type { Document } from './documents.ts'
import type { SomePerson } from './grant-reviews.ts'

/** A security key, as its person enrolled it. */
export type WebauthnKeyRow = {
  id: string
  mountId: string
  /** Base64url. */
  credentialId: string
  publicKey: Buffer
  counter: number
  aaguid: string
  transports: string[]
  deviceType: 'singleDevice' | 'multiDevice'
  backedUp: boolean
  name: string
  entityId: string
  /** The role by which the person had logged in. */
  role: string
  /** Who that was, as proved then. */
  person: Document
}

export type WebauthnKey = WebauthnKeyRow & { createdAt: Date; lastUsedAt: Date | null }

const KEY = `k.id, k.mount_id as "mountId", k.credential_id as "credentialId", k.public_key as "publicKey", k.counter,
  k.aaguid, k.transports, k.device_type as "deviceType", k.backed_up as "backedUp", k.name, k.entity_id as "entityId",
  k.role, k.person, k.created_at as "createdAt", k.last_used_at as "lastUsedAt"`

/** False when the mount knows a key of this credential already. */
export async function insertWebauthnKey(db: Db, key: WebauthnKeyRow): Promise<boolean> {
  const rows = await change(
    db,
    `insert into leasehold.webauthn_key (id, mount_id, credential_id, public_key, counter, aaguid, transports,
       device_type, backed_up, name, entity_id, role, person)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
     on conflict (mount_id, credential_id) do nothing`,
    [
      key.id,
      key.mountId,
      key.credentialId,
      key.publicKey,
      key.counter,
      key.aaguid,
      key.transports,
      key.deviceType,
      key.backedUp,
      key.name,
      key.entityId,
      key.role,
      key.person,
    ],
  )
  return rows > 0
}

export const findKeyByCredential = (
  db: Db,
  mountId: string,
  credentialId: string,
): Promise<WebauthnKey | undefined> =>
  one<WebauthnKey>(
    db,
    `select ${KEY} from leasehold.webauthn_key k where k.mount_id = $1 and k.credential_id = $2`,
    [mountId, credentialId],
  )

/** Of one person on a mount, the oldest first. */
export const keysOfPerson = (db: Db, mountId: string, entityId: string): Promise<WebauthnKey[]> =>
  many<WebauthnKey>(
    db,
    `select ${KEY} from leasehold.webauthn_key k where k.entity_id = $2 and k.mount_id = $1
     order by k.created_at, k.id`,
    [mountId, entityId],
  )

/** Who has keys on a mount, how many, and who they were at the newest enrolment. */
export const peopleWithKeys = (
  db: Db,
  mountId: string,
): Promise<{ entityId: string; keys: number; person: Document }[]> =>
  many(
    db,
    `select k.entity_id as "entityId", count(*)::integer as keys,
       (array_agg(k.person order by k.created_at desc, k.id))[1] as person
     from leasehold.webauthn_key k where k.mount_id = $1 group by k.entity_id order by k.entity_id`,
    [mountId],
  )

type KeyOf = { mountId: string; entityId: string; id: string }

export const renameWebauthnKey = (db: Db, { mountId, entityId, id }: KeyOf, name: string): Promise<number> =>
  change(
    db,
    'update leasehold.webauthn_key set name = $4 where id = $3 and mount_id = $1 and entity_id = $2',
    [mountId, entityId, id, name],
  )

export const dropWebauthnKey = (db: Db, { mountId, entityId, id }: KeyOf): Promise<number> =>
  change(db, 'delete from leasehold.webauthn_key where id = $3 and mount_id = $1 and entity_id = $2', [
    mountId,
    entityId,
    id,
  ])

/**
 * Every key of somebody, on whichever mounts: run it in the transaction that ends their tokens, and after that, so that
 * an enrolment by one of them has ended or finds its token gone.
 */
export const dropKeysOfPerson = (db: Db, { id, person }: SomePerson): Promise<number> =>
  change(
    db,
    `delete from leasehold.webauthn_key k
     where k.entity_id = $1 or ($2 <> ''
       and hashtextextended((k.person ->> 'iss') || '#' || (k.person ->> 'sub'), 0) = hashtextextended($2, 0)
       and (k.person ->> 'iss') || '#' || (k.person ->> 'sub') = $2)`,
    [id, person],
  )

/** Those enrolled on a mount that was disabled, and those of people whom only that mount knew. */
export const dropKeysOfMount = (db: Db, mountId: string): Promise<number> =>
  change(
    db,
    `delete from leasehold.webauthn_key k
     where k.mount_id = $1 or k.entity_id in (select e.id from leasehold.entity e where e.mount_id = $1)`,
    [mountId],
  )

/**
 * What rests on a login by a key, such as a vote, does not stand any more: nor where that login was over before, by the
 * will of whoever had it.
 */
export const revokeLoginsByKey = (db: Db, entityId: string, keyId: string): Promise<number> =>
  change(
    db,
    `update leasehold.token k set revoked = true
     where k.entity_id = $1 and k.parent_id is null and k.identity ->> 'kind' = 'human'
       and k.identity -> 'metadata' ->> 'security_key' = $2 and not k.revoked`,
    [entityId, keyId],
  )

/** Live tokens that a key gave, and those that carry its login on. */
export async function tokensByKey(db: Db, entityId: string, keyId: string): Promise<string[]> {
  const rows = await many<{ id: string }>(
    db,
    `select encode(k.id, 'hex') as id from leasehold.token k
     where k.entity_id = $1 and k.ended_at is null and k.identity -> 'metadata' ->> 'security_key' = $2`,
    [entityId, keyId],
  )
  return rows.map(({ id }) => id)
}

/** Live tokens that keys of a mount gave. Those of a key that was removed have ended with it. */
export async function tokensByKeysOf(db: Db, mountId: string): Promise<string[]> {
  const rows = await many<{ id: string }>(
    db,
    `select encode(k.id, 'hex') as id from leasehold.webauthn_key w
     join leasehold.token k on k.entity_id = w.entity_id and k.ended_at is null
       and k.identity -> 'metadata' ->> 'security_key' = w.id
     where w.mount_id = $1`,
    [mountId],
  )
  return rows.map(({ id }) => id)
}
