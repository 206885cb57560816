import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { messageOf } from '../../lib/errors.ts'
import { isObject, refused } from './fields.ts'

/** The algorithms a token may be signed with, all asymmetric: a public key can then never serve as a shared secret. */
export const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const

/** A public key and what it may verify. jose imports a `KeyObject` once per algorithm and keeps that beside the object. */
export type VerificationKey = { kid: string | undefined; algorithms: readonly string[]; key: KeyObject }

/** How many keys one source may hold: a token that names no key is tried against each that fits its algorithm. */
const MAX_KEYS = 64

const MIN_RSA_BITS = 2_048
const EC_ALGORITHM: Record<string, string> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }
const PEM_BLOCKS = /-----BEGIN ([A-Z0-9 ]+)-----/g
const PUBLIC_LABELS = ['PUBLIC KEY', 'RSA PUBLIC KEY', 'CERTIFICATE']

/** Reads one public key, or the key of one certificate. Throws an `Error` that says what is wrong with the text. */
export function keyFromPem(pem: string): VerificationKey {
  const labels = [...pem.matchAll(PEM_BLOCKS)].map(([, label]) => label as string)
  if (labels.length !== 1) {
    throw new Error(`expected one PEM block in each item, found ${labels.length}`)
  }
  // Node would derive the public key from a private one, and the configuration would then hold and show a secret.
  if (!PUBLIC_LABELS.includes(labels[0] as string)) {
    throw new Error('the PEM block is neither a public key nor a certificate')
  }
  let key: KeyObject
  try {
    key = createPublicKey(pem)
  } catch (cause) {
    throw new Error('the PEM block does not hold a key that can be read', { cause })
  }
  const algorithms = algorithmsOf(key)
  if (algorithms.length === 0) {
    throw new Error('the key must be RSA of 2048 bits or more, EC on P-256, P-384 or P-521, or Ed25519')
  }
  return { kid: undefined, algorithms, key }
}

/**
 * The keys of a JWKS that can verify a token. Those of kinds we do not know are left out, as RFC 7517 asks, and so is
 * every symmetric one. Throws an `Error` for what is no JWKS at all.
 */
export function keysFromJwks(document: unknown): VerificationKey[] {
  if (!isObject(document) || !Array.isArray(document.keys)) throw new Error('the answer is not a JWKS')
  const keys = document.keys.map(keyFromJwk).filter((key) => key !== undefined)
  if (keys.length > MAX_KEYS) throw new Error(`the JWKS holds more than ${MAX_KEYS} keys`)
  return keys
}

function keyFromJwk(jwk: unknown): VerificationKey | undefined {
  if (!isObject(jwk) || !isForSignatures(jwk)) return undefined
  if (jwk.kid !== undefined && typeof jwk.kid !== 'string') return undefined
  try {
    const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
    const algorithms = algorithmsOf(key).filter((name) => jwk.alg === undefined || jwk.alg === name)
    return algorithms.length > 0 ? { kid: jwk.kid, algorithms, key } : undefined
  } catch {
    return undefined
  }
}

const isForSignatures = ({ use, key_ops: uses }: Record<string, unknown>): boolean =>
  (use === undefined || use === 'sig') &&
  (uses === undefined || (Array.isArray(uses) && uses.includes('verify')))

function algorithmsOf(key: KeyObject): readonly string[] {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return modulusLength >= MIN_RSA_BITS ? ALGORITHMS.filter((name) => /^[RP]S/.test(name)) : []
    case 'ec':
      return ALGORITHMS.filter((name) => name === EC_ALGORITHM[namedCurve])
    case 'ed25519':
      return ['EdDSA']
    default:
      return []
  }
}

/** Throws the refusal of a configuration field with too many keys, or with one that cannot be read. */
export function checkPems(pems: readonly string[], { field, fault }: { field: string; fault: string }): void {
  if (pems.length > MAX_KEYS) throw refused(`${field} cannot hold more than ${MAX_KEYS} keys`)
  for (const pem of pems) {
    try {
      keyFromPem(pem)
    } catch (cause) {
      throw refused(`${fault}: ${messageOf(cause)}`)
    }
  }
}
