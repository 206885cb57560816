import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto'
import { randomBase62 } from '../../lib/ids.ts'
import { isObject } from '../jwt/fields.ts'

/** A login that was begun and waits for the person to come back from the provider. */
export type Pending = {
  roleName: string
  redirectUri: string
  /** Of `hashOfClientNonce`; empty when the client gave none. Not the nonce itself, which is worth having after a login was seen. */
  clientNonceHash: string
  nonce: string
  codeVerifier: string
  /** The provider that was asked: what comes back goes to no other. */
  issuer: string
  clientId: string
  expiresAtMs: number
}

/**
 * Where pending logins wait, shared by all servers. `put` resolves once any server can take it, or throws where too
 * many wait. `take` removes what it returns: of many at once, one gets it. Rows past `expiresAt` may be deleted at any
 * time.
 */
export type PendingStates = {
  put(idHash: string, value: Sealed, expiresAt: Date): Promise<void>
  take(idHash: string): Promise<unknown>
}

/** Base64url texts. */
export type Sealed = { iv: string; tag: string; text: string }

const CIPHER = 'aes-256-gcm'
const IV_BYTES = 12
const TAG_BYTES = 16
const STATE_LENGTH = 32
const STATE = new RegExp(`^[0-9A-Za-z]{${STATE_LENGTH}}$`)

/** 190 random bits. */
export const newState = (): string => randomBase62(STATE_LENGTH)
export const isState = (text: string): boolean => STATE.test(text)

/** The mount is part of it, so a state begun under one mount is unknown under every other. */
export const idHashOf = (mount: string, state: string): string =>
  createHash('sha256').update(`leasehold oidc state v1\n${mount}\n${state}`).digest('hex')

/** With this the sealed text does not give away who may end the login, not even to someone who has seen its state. */
export const hashOfClientNonce = (state: string, clientNonce: string): string =>
  clientNonce === ''
    ? ''
    : createHash('sha256').update(`leasehold oidc client nonce v1\n${state}\n${clientNonce}`).digest('hex')

/** The store knows only a hash of the state, from which no key follows: reading it is of no use to anyone. */
const keyOf = (mount: string, state: string): Buffer =>
  Buffer.from(hkdfSync('sha256', state, mount, 'leasehold oidc pending login v1', 32))

export function seal(mount: string, state: string, pending: Pending): Sealed {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv(CIPHER, keyOf(mount, state), iv)
  const text = Buffer.concat([cipher.update(JSON.stringify(pending), 'utf8'), cipher.final()])
  return {
    iv: iv.toString('base64url'),
    tag: cipher.getAuthTag().toString('base64url'),
    text: text.toString('base64url'),
  }
}

/** Undefined for anything but what `seal` made for this mount and state. */
export function open(mount: string, state: string, sealed: unknown): Pending | undefined {
  if (!isObject(sealed)) return undefined
  const [iv, tag, text] = [sealed.iv, sealed.tag, sealed.text].map((part) =>
    Buffer.from(typeof part === 'string' ? part : '', 'base64url'),
  ) as [Buffer, Buffer, Buffer]
  if (iv.length !== IV_BYTES || tag.length !== TAG_BYTES) return undefined
  try {
    const decipher = createDecipheriv(CIPHER, keyOf(mount, state), iv, { authTagLength: TAG_BYTES })
    decipher.setAuthTag(tag)
    const plain = Buffer.concat([decipher.update(text), decipher.final()])
    return JSON.parse(plain.toString('utf8')) as Pending
  } catch {
    return undefined
  }
}
