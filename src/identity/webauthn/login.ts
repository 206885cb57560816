import type { Ledger } from '../../ledger/db.ts'
import type { Reading } from '../../ledger/reading.ts'
import { isChallengeSpent, type KeyUse, takeKeyUse } from '../../ledger/webauthn-challenges.ts'
import { findKeyByCredential, type WebauthnKey } from '../../ledger/webauthn-keys.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Identity } from '../../policy/principal.ts'
import type { AuthMounts } from '../auth-mounts.ts'
import { withinBoth } from '../cidr.ts'
import { isObject } from '../jwt/fields.ts'
import { type AuthMount, logIn, type Proven } from '../login.ts'
import type { Spend } from '../spending.ts'
import type { CreatedToken } from '../token-create.ts'
import { type TokenFields, tokenFieldsOf } from '../token-fields.ts'
import { tighter } from '../token-terms.ts'
import { type Answered, isTooLong, type Shown, verifyShown } from './ceremony.ts'
import { challengeHash, type LoginChallenges } from './challenge.ts'
import type { WebauthnConfig } from './config.ts'
import { userHandle } from './enrolment.ts'
import { type PersonNow, personNow } from './person.ts'
import { WebauthnLoginRefused } from './refusal.ts'

export type KeyLoginAsk = {
  mount: AuthMount
  config: WebauthnConfig
  answered: Answered
  sourceAddress: string
  reading: Reading
  /** Hears which key it is once that is proved, for the record. */
  proved(keyId: string): void
}

type Parts = { ledger: Ledger; mounts: AuthMounts; challenges: LoginChallenges }

/** Below the mount. */
const LOGIN_ENDPOINT = 'login/finish'

/** Gives whoever shows a key of theirs a token, as the person whom their provider knows. Throws `WebauthnLoginRefused`. */
export async function loginByKey(parts: Parts, ask: KeyLoginAsk): Promise<CreatedToken> {
  const { mount, config, reading } = ask
  const key = await keyOf(parts, ask)
  const { shown, challenge, endsAt } = await proved(parts, ask, key)
  ask.proved(key.id)
  const spent = challengeHash(challenge)
  if (await isChallengeSpent(parts.ledger, spent)) throw new WebauthnLoginRefused('challenge_spent', key.id)
  mustBeOriginal(config, key, shown)
  const now = await personNow(parts, {
    entityId: key.entityId,
    role: key.role,
    person: key.person,
    maxAgeSeconds: config.max_identity_age,
    reading,
  })
  return logIn(parts.ledger, {
    mount,
    roleName: null,
    token: tokenFor(config, now, key),
    proven: provenBy(key, now, reading.now),
    knownAs: now.known,
    sourceAddress: ask.sourceAddress,
    endpoint: LOGIN_ENDPOINT,
    now: reading.now,
    spend: useOf({
      mountId: mount.id,
      keyId: key.id,
      counter: shown.newCounter,
      challenge: spent,
      challengeExpiresAt: endsAt,
    }),
  })
}

const MAX_ID_CHARACTERS = 1_400

async function keyOf({ ledger }: Parts, { mount, answered }: KeyLoginAsk): Promise<WebauthnKey> {
  const { id, response } = answered
  if (typeof id !== 'string' || id === '' || id.length > MAX_ID_CHARACTERS || !isObject(response)) {
    throw new WebauthnLoginRefused('malformed', 'id or response')
  }
  if (isTooLong(answered)) throw new WebauthnLoginRefused('malformed', 'size')
  const key = await findKeyByCredential(ledger, mount.id, id)
  if (!key) throw new WebauthnLoginRefused('unknown_key')
  // No key has signed this. A browser that says another owner mixes up two people.
  const { userHandle: handle } = response
  const owner = Buffer.from(userHandle(mount.id, key.entityId)).toString('base64url')
  if (handle !== undefined && handle !== null && handle !== owner) {
    throw new WebauthnLoginRefused('wrong_person', key.id)
  }
  return key
}

async function proved(
  { challenges }: Parts,
  { mount, config, answered, reading }: KeyLoginAsk,
  key: WebauthnKey,
): Promise<{ shown: Shown; challenge: string; endsAt: Date }> {
  let known: { challenge: string; endsAt: Date } | undefined
  const shown = await verifyShown(config, answered, key, async (challenge) => {
    const endsAt = await challenges.endOf(mount.id, challenge, reading.now)
    if (!endsAt) throw new WebauthnLoginRefused('challenge_unusable', key.id)
    known = { challenge, endsAt }
    return true
  }).catch((error) => {
    if (error instanceof WebauthnLoginRefused) throw error
    throw new WebauthnLoginRefused('not_verified', told(key, messageOf(error)), { cause: error })
  })
  if (!known) throw new Error('a key was verified without its challenge')
  return { shown, ...known }
}

const MAX_TOLD_CHARACTERS = 160

/** Some of the library's texts repeat what was sent. */
const told = (key: WebauthnKey, text: string): string => `${key.id}: ${text.slice(0, MAX_TOLD_CHARACTERS)}`

/** Only a key that has just signed is judged: nobody else can have another's taken for a copy. */
function mustBeOriginal(config: WebauthnConfig, key: WebauthnKey, shown: Shown): void {
  const { newCounter, credentialDeviceType, credentialBackedUp } = shown
  if ((newCounter > 0 || key.counter > 0) && newCounter <= key.counter) {
    throw new WebauthnLoginRefused('counter_regressed', key.id)
  }
  const canBeCopied =
    key.deviceType !== 'singleDevice' || credentialDeviceType !== 'singleDevice' || credentialBackedUp
  if (canBeCopied && (config.require_hardware_bound || credentialDeviceType !== key.deviceType)) {
    throw new WebauthnLoginRefused('not_hardware_bound', key.id)
  }
}

/** No token outlives the provider's word: not by renewal either. Nor is it good where one of the role's would not be. */
function tokenFor(
  config: WebauthnConfig,
  { ageSeconds, boundCidrs }: PersonNow,
  key: WebauthnKey,
): TokenFields {
  const token = tokenFieldsOf(config)
  const left = Math.max(1, Math.floor(config.max_identity_age - ageSeconds))
  const most = Math.min(left, tighter(token.token_explicit_max_ttl, token.token_max_ttl))
  const times = { token_ttl: Math.min(token.token_ttl, most), token_explicit_max_ttl: most }
  const token_bound_cidrs = withinBoth(token.token_bound_cidrs, boundCidrs)
  if (!token_bound_cidrs) throw new WebauthnLoginRefused('address_outside_role', key.id)
  return { ...token, ...times, token_bound_cidrs }
}

/** What a token of the provider says of itself and its sign-in: this login is another. */
const ABOUT_THE_TOKEN = new Set('aud azp exp nbf iat jti auth_time acr amr'.split(' '))

/** RFC 8176: the key was touched, and its owner verified by a PIN or a finger, which of them it does not say. */
const amrOf = ({ deviceType }: WebauthnKey): string[] => [
  deviceType === 'singleDevice' ? 'hwk' : 'swk',
  'user',
  'mfa',
]

function provenBy(key: WebauthnKey, { known, identity }: PersonNow, now: Date): Proven {
  const { subject, groups, claims, metadata }: Identity = identity
  return {
    kind: 'human',
    subject,
    groups,
    claims: Object.fromEntries(Object.entries(claims).filter(([name]) => !ABOUT_THE_TOKEN.has(name))),
    metadata: { ...metadata, security_key: key.id },
    authTime: Math.floor(now.getTime() / 1_000),
    amr: amrOf(key),
    home: known.mountPath,
    alias: subject,
  }
}

/** Taken with the token: neither the challenge nor a place of the counter is used twice. */
const useOf = (use: KeyUse): Spend => ({
  id: use.challenge,
  take: async (db) => new Map([[use.challenge, (await takeKeyUse(db, use)) ? 1 : 0]]),
  refusal: () => new WebauthnLoginRefused('used_up', use.keyId),
})
