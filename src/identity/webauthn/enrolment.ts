import { createHash } from 'node:crypto'
import { type Ledger, lockNamed } from '../../ledger/db.ts'
import { findKnownPerson } from '../../ledger/people-logins.ts'
import type { Reading } from '../../ledger/reading.ts'
import { putEnrolment, takeEnrolment } from '../../ledger/webauthn-challenges.ts'
import { insertWebauthnKey, keysOfPerson, type WebauthnKey } from '../../ledger/webauthn-keys.ts'
import { BrokerError, messageOf } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { type Identity, type Principal, personOf } from '../../policy/principal.ts'
import { refused } from '../jwt/fields.ts'
import type { AuthMount } from '../login.ts'
import { type Answered, creationOptions, type Enrolled, isTooLong, verifyEnrolment } from './ceremony.ts'
import { CHALLENGE_SECONDS, challengeHash, newEnrolmentChallenge } from './challenge.ts'
import type { WebauthnConfig } from './config.ts'
import { checkKeyName } from './keys.ts'

/** More than anybody carries, and the spare ones in the safe. */
const MOST_KEYS = 10

/** The issuer's clock may be ahead of ours by so much. */
const SKEW_SECONDS = 60

export type EnrolmentAsk = {
  mount: AuthMount
  principal: Principal
  config: WebauthnConfig
  reading: Reading
}

/** Options for the browser of somebody who may enrol a key now. What they began before is over. */
export async function beginEnrolment(ledger: Ledger, ask: EnrolmentAsk) {
  await mustBeEnrolling(ledger, ask, ask.config.enrolment_max_login_age)
  const { mount, principal, config } = ask
  const { entityId, identity } = principal
  const keys = await keysOfPerson(ledger, mount.id, entityId)
  if (keys.length >= MOST_KEYS) throw tooManyKeys()
  const challenge = newEnrolmentChallenge()
  await putEnrolment(
    ledger,
    { mountId: mount.id, entityId, challenge: challengeHash(challenge) },
    CHALLENGE_SECONDS,
  )
  const name = identity.metadata.name || identity.subject
  const user = { id: userHandle(mount.id, entityId), name: identity.subject, displayName: name }
  return creationOptions(config, { challenge, user, keys })
}

/** Keeps the key that answered. The challenge is spent with it, by the person who began and by nobody else. */
export async function finishEnrolment(
  ledger: Ledger,
  ask: EnrolmentAsk & {
    answered: Answered
    name: string
    /** Hears what is about to be enrolled, for the record. */
    enrolling(key: { id: string; aaguid: string }): void
  },
): Promise<WebauthnKey> {
  const { mount, principal, config, answered } = ask
  await mustBeEnrolling(ledger, ask, config.enrolment_max_login_age + CHALLENGE_SECONDS)
  const name = checkKeyName(ask.name)
  if (isTooLong(answered)) throw refused('the security key was not accepted: its answer is too long')
  const { enrolled, challenge } = await verified(config, answered)
  mustBeWelcome(config, enrolled)
  const row = rowOf(mount, principal, enrolled, name)
  ask.enrolling(row)
  return ledger.transaction(async (db) => {
    const { mountId, entityId, id } = row
    await lockNamed(db, `webauthn keys ${mountId} ${entityId}`)
    const begun = { mountId, entityId, challenge: challengeHash(challenge) }
    if (!(await takeEnrolment(db, begun, principal.tokenId))) {
      throw refused('this enrolment took too long, or was not begun by you: begin again')
    }
    if ((await keysOfPerson(db, mountId, entityId)).length >= MOST_KEYS) throw tooManyKeys()
    if (!(await insertWebauthnKey(db, row))) throw refused('this key is enrolled already')
    const kept = (await keysOfPerson(db, mountId, entityId)).find((key) => key.id === id)
    if (!kept) throw new Error(`the security key ${id} is not in the ledger`)
    return kept
  })
}

const tooManyKeys = () => refused(`you have ${MOST_KEYS} security keys, which is the most: remove one first`)

const notNow = (why: string) => new BrokerError('permission_denied', why)

/**
 * Only who has just proved themselves at their provider, with a second factor, and holds the token of that very login:
 * not by another key, which may be stolen, nor by a token that was made from theirs.
 */
async function mustBeEnrolling(
  ledger: Ledger,
  { principal, config, reading }: EnrolmentAsk,
  maxAgeSeconds: number,
): Promise<void> {
  const { identity, entityId, derived } = principal
  const { kind, authTime, amr = [], mount } = identity
  const known = entityId === '' ? undefined : await findKnownPerson(ledger, entityId)
  if (kind !== 'human' || derived || known?.mountPath !== mount || personOf(identity) === '') {
    throw notNow('to enrol a security key, log in at your identity provider, and use the token of that login')
  }
  if (authTime === undefined) throw notNow('your login does not say when you proved who you are')
  const age = reading.now.getTime() / 1_000 - authTime
  if (age < -SKEW_SECONDS || age > maxAgeSeconds) {
    throw notNow('to enrol a security key, log in at your identity provider again: your login is too old')
  }
  const wanted = config.enrolment_amr
  if (wanted.length > 0 && !wanted.some((method) => amr.includes(method))) {
    throw notNow(`to enrol a security key, log in with a second factor (${wanted.join(', ')})`)
  }
}

async function verified(config: WebauthnConfig, answered: Answered) {
  try {
    return await verifyEnrolment(config, answered)
  } catch (error) {
    throw new BrokerError('invalid_request', `the security key was not accepted: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/** As WebAuthn has it. */
const MAX_CREDENTIAL_ID_BYTES = 1_023
const MAX_PUBLIC_KEY_BYTES = 2_048

function mustBeWelcome(config: WebauthnConfig, { aaguid, ...key }: Enrolled): void {
  const { id, publicKey } = key.credential
  if (
    Buffer.byteLength(id, 'base64url') > MAX_CREDENTIAL_ID_BYTES ||
    publicKey.length > MAX_PUBLIC_KEY_BYTES
  ) {
    throw refused('the security key was not accepted: its id or its public key is too long')
  }
  if (
    config.require_hardware_bound &&
    (key.credentialDeviceType !== 'singleDevice' || key.credentialBackedUp)
  ) {
    throw refused('this key can be copied to other devices: enrol one that stays in its hardware')
  }
  if (config.allowed_aaguids.length > 0 && !config.allowed_aaguids.includes(aaguid.toLowerCase())) {
    throw refused('keys of this model are not accepted here')
  }
}

const TRANSPORTS = new Set(['ble', 'cable', 'hybrid', 'internal', 'nfc', 'smart-card', 'usb'])

function rowOf(
  mount: AuthMount,
  { entityId, identity, displayName }: Principal,
  { credential, aaguid, credentialDeviceType, credentialBackedUp }: Enrolled,
  name: string,
) {
  return {
    id: newId(),
    mountId: mount.id,
    credentialId: credential.id,
    publicKey: Buffer.from(credential.publicKey),
    counter: credential.counter,
    aaguid,
    // A hint for browsers, and the browser's word.
    transports: [...new Set(credential.transports ?? [])].filter((one) => TRANSPORTS.has(one)),
    deviceType: credentialDeviceType,
    backedUp: credentialBackedUp,
    name,
    entityId,
    role: identity.metadata.role ?? '',
    person: personAt(identity, displayName),
  }
}

function personAt({ claims, subject, mount, groups, metadata }: Identity, displayName: string) {
  const { iss, sub } = claims
  return {
    iss,
    sub,
    subject,
    mount,
    role: metadata.role ?? '',
    groups: [...groups],
    displayName: metadata.name || displayName,
  }
}

/** What a key calls its owner: the same for all keys of a person, and nothing by which others could know them. */
export const userHandle = (mountId: string, entityId: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(createHash('sha256').update(`leasehold webauthn user v1\n${mountId}\n${entityId}`).digest())
