import { change, type Db, one } from './db.ts'

/** An enrolment that was begun. `challenge` is the SHA-256 of its challenge, in hex. */
export type WebauthnEnrolment = { mountId: string; entityId: string; challenge: string }

/** Takes the place of the one that the same person began before. */
export const putEnrolment = (
  db: Db,
  { mountId, entityId, challenge }: WebauthnEnrolment,
  seconds: number,
): Promise<number> =>
  change(
    db,
    `insert into leasehold.webauthn_enrolment (mount_id, entity_id, id, expires_at)
     values ($1, $2, decode($3, 'hex'), leasehold.ledger_now() + $4::integer * interval '1 second')
     on conflict (mount_id, entity_id) do update
       set id = excluded.id, expires_at = excluded.expires_at`,
    [mountId, entityId, challenge, seconds],
  )

/**
 * Takes it out: false when there is none of this challenge, or its time is over, the mount is gone, or the token has
 * ended by which it was begun. Both stay until the transaction ends.
 */
export async function takeEnrolment(
  db: Db,
  { mountId, entityId, challenge }: WebauthnEnrolment,
  tokenId: string,
): Promise<boolean> {
  const rows = await change(
    db,
    `with held as (
       select id from leasehold.mount where id = $1 and disabled_at is null for share),
     login as (
       select id from leasehold.token where id = decode($4, 'hex') and ended_at is null for share)
     delete from leasehold.webauthn_enrolment w using held, login
     where w.mount_id = held.id and w.entity_id = $2 and w.id = decode($3, 'hex')
       and w.expires_at > leasehold.ledger_now()`,
    [mountId, entityId, challenge, tokenId],
  )
  return rows > 0
}

export async function isChallengeSpent(db: Db, challenge: string): Promise<boolean> {
  const row = await one(db, `select from leasehold.webauthn_spent where id = decode($1, 'hex')`, [challenge])
  return row !== undefined
}

export type KeyUse = {
  mountId: string
  keyId: string
  /** What the key counts since; 0 for one that does not count. */
  counter: number
  challenge: string
  challengeExpiresAt: Date
}

/**
 * Uses up a challenge by a key, and keeps what the key counts by now: for a login in the same transaction. False when
 * the challenge was used or is over, the key is gone or has counted further, or its mount is gone. The mount stays until
 * the transaction ends.
 */
export async function takeKeyUse(
  db: Db,
  { mountId, keyId, counter, challenge, challengeExpiresAt }: KeyUse,
): Promise<boolean> {
  const row = await one(
    db,
    `with held as (
       select id from leasehold.mount where id = $1 and disabled_at is null for share),
     spent as (
       insert into leasehold.webauthn_spent (id, expires_at)
       select decode($4, 'hex'), $5 from held where $5::timestamptz > leasehold.ledger_now()
       on conflict (id) do nothing returning id)
     update leasehold.webauthn_key k set counter = $3::bigint, last_used_at = leasehold.ledger_now()
     from held, spent
     where k.id = $2 and k.mount_id = held.id and (k.counter < $3::bigint or (k.counter = 0 and $3::bigint = 0))
     returning k.id`,
    [mountId, keyId, counter, challenge, challengeExpiresAt],
  )
  return row !== undefined
}
