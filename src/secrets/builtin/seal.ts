import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { type Sensitive, sensitive } from '../../lib/sensitive.ts'
import { SecretStoreError } from '../secret-store.ts'

/**
 * The built-in store's box. Each text has a data key of its own, and only that is wrapped by the master key, so that
 * a change of master key rewrites 60 bytes a row and never needs the texts.
 *
 *   1 format | 8 key id | 60 data key wrapped (12 nonce, 32, 16 tag) | 12 nonce, text, 16 tag
 *
 * Both layers carry the secret's name and version as associated data: a row copied over another, or an old text put
 * back under a new version, does not open.
 */
const FORMAT = 1
const KEY_ID_BYTES = 8
const NONCE_BYTES = 12
const TAG_BYTES = 16
const KEY_BYTES = 32
const WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES
const HEADER_BYTES = 1 + KEY_ID_BYTES

export type SealingKey = {
  /** Tells keys apart and says nothing about them: derived beside the wrapping key, not from it. */
  id: Buffer
  wrap: Buffer
}

/** The master key itself is never used to encrypt, so other uses of it can be derived beside these. */
export function sealingKey(masterKey: Sensitive): SealingKey {
  const secret = Buffer.from(masterKey.reveal(), 'base64')
  if (secret.length !== KEY_BYTES) throw new Error('a master key has 32 bytes')
  const derive = (use: string, length: number): Buffer =>
    Buffer.from(hkdfSync('sha256', secret, '', `leasehold/secrets/v1/${use}`, length))
  return { id: derive('key-id', KEY_ID_BYTES), wrap: derive('wrap', KEY_BYTES) }
}

export type Place = { name: string; version: number }

export function seal(key: SealingKey, place: Place, text: Sensitive): Buffer {
  const header = Buffer.concat([Buffer.of(FORMAT), key.id])
  const dataKey = randomBytes(KEY_BYTES)
  return Buffer.concat([
    header,
    encrypt(key.wrap, binding(header, 'data-key', place), dataKey),
    encrypt(dataKey, binding(header, 'text', place), Buffer.from(text.reveal(), 'utf8')),
  ])
}

/** Throws kind `wrong_key` or `damaged`; never answers with anything but what was sealed for this place. */
export function unseal(key: SealingKey, place: Place, sealed: Buffer): Sensitive {
  const header = sealed.subarray(0, HEADER_BYTES)
  const wrapped = sealed.subarray(HEADER_BYTES, HEADER_BYTES + WRAPPED_BYTES)
  if (header[0] !== FORMAT || wrapped.length !== WRAPPED_BYTES) throw damaged(place)
  if (!header.subarray(1).equals(key.id)) throw wrongKey(place, header.subarray(1), key.id)
  try {
    const dataKey = decrypt(key.wrap, binding(header, 'data-key', place), wrapped)
    const box = sealed.subarray(HEADER_BYTES + WRAPPED_BYTES)
    return sensitive(decrypt(dataKey, binding(header, 'text', place), box).toString('utf8'))
  } catch (cause) {
    throw damaged(place, cause)
  }
}

const binding = (header: Buffer, layer: 'data-key' | 'text', { name, version }: Place): Buffer =>
  Buffer.concat([header, Buffer.from(JSON.stringify([layer, name, version]))])

/** Random nonces are safe here: a data key seals one text, and the wrapping key far fewer than 2^32 data keys. */
function encrypt(key: Buffer, associated: Buffer, plain: Buffer): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(associated)
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

function decrypt(key: Buffer, associated: Buffer, box: Buffer): Buffer {
  const nonce = box.subarray(0, NONCE_BYTES)
  const text = box.subarray(NONCE_BYTES, -TAG_BYTES)
  // Without the length, Node would take a shortened tag.
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(associated).setAuthTag(box.subarray(-TAG_BYTES))
  return Buffer.concat([decipher.update(text), decipher.final()])
}

const damaged = ({ name, version }: Place, cause?: unknown): SecretStoreError =>
  new SecretStoreError(
    'damaged',
    `the stored secret ${name} (version ${version}) was changed after it was sealed`,
    {
      cause,
    },
  )

const wrongKey = ({ name }: Place, sealedUnder: Buffer, ours: Buffer): SecretStoreError =>
  new SecretStoreError(
    'wrong_key',
    `the stored secret ${name} was sealed under master key ${sealedUnder.toString('hex')}, this process has ` +
      `${ours.toString('hex')}: give it the right one in LEASEHOLD_MASTER_KEY_FILE or LEASEHOLD_MASTER_KEY`,
  )
