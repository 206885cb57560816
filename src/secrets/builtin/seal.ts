import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { type Sensitive, sensitive } from '../../lib/sensitive.ts'
import { SecretStoreError } from '../secret-store.ts'

/**
 * The built-in store's box. Each text has a data key of its own, and only that is wrapped by the master key, so that
 * a change of master key rewrites 68 bytes a row and never needs the texts.
 *
 *   1 format | 8 key id | 60 data key wrapped (12 nonce, 32, 16 tag) | 12 nonce, text, 16 tag
 *
 * Both layers carry the secret's name and version as associated data: a row copied over another, or an old text put
 * back under a new version, does not open. The data key's layer carries the format and the key id too, the text's only
 * the format: in format 1, which is still read, it carried both, so that re-wrapping had to open the text.
 */
const FORMAT = 2
const OLD_FORMAT = 1
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

/** The key that seals, and one that is only known so that what it sealed can still be opened. */
export type SealingKeys = { current: SealingKey; previous?: SealingKey | undefined }

/** Which row it is. */
export type Row = { name: string; version: number }

export function seal({ current }: Pick<SealingKeys, 'current'>, row: Row, text: Sensitive): Buffer {
  const dataKey = randomBytes(KEY_BYTES)
  return Buffer.concat([
    wrap(current, row, dataKey),
    encrypt(dataKey, binding(Buffer.of(FORMAT), 'text', row), Buffer.from(text.reveal(), 'utf8')),
  ])
}

/** Throws kind `wrong_key` or `damaged`; never answers with anything but what was sealed for this row. */
export function unseal(keys: SealingKeys, row: Row, sealed: Buffer): Sensitive {
  const { header, dataKey, box } = open(keys, row, sealed)
  const bound = header[0] === OLD_FORMAT ? header : header.subarray(0, 1)
  return intact(row, () => sensitive(decrypt(dataKey, binding(bound, 'text', row), box).toString('utf8')))
}

/** The same text of the same row under the current key. Throws as `unseal`. */
export function rewrap(keys: SealingKeys, row: Row, sealed: Buffer): Buffer {
  const { header, dataKey, box } = open(keys, row, sealed)
  if (header[0] === OLD_FORMAT) return seal(keys, row, unseal(keys, row, sealed))
  return Buffer.concat([wrap(keys.current, row, dataKey), box])
}

function wrap({ id, wrap }: SealingKey, row: Row, dataKey: Buffer): Buffer {
  const header = Buffer.concat([Buffer.of(FORMAT), id])
  return Buffer.concat([header, encrypt(wrap, binding(header, 'data-key', row), dataKey)])
}

function open(
  { current, previous }: SealingKeys,
  row: Row,
  sealed: Buffer,
): { header: Buffer; dataKey: Buffer; box: Buffer } {
  const header = sealed.subarray(0, HEADER_BYTES)
  const wrapped = sealed.subarray(HEADER_BYTES, HEADER_BYTES + WRAPPED_BYTES)
  if ((header[0] !== FORMAT && header[0] !== OLD_FORMAT) || wrapped.length !== WRAPPED_BYTES) {
    throw damaged(row)
  }
  const id = header.subarray(1)
  const key = [current, previous].find((each) => each?.id.equals(id))
  if (!key) throw wrongKey(row, id, current.id)
  const dataKey = intact(row, () => decrypt(key.wrap, binding(header, 'data-key', row), wrapped))
  return { header, dataKey, box: sealed.subarray(HEADER_BYTES + WRAPPED_BYTES) }
}

function intact<T>(row: Row, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    throw damaged(row, cause)
  }
}

const binding = (header: Buffer, layer: 'data-key' | 'text', { name, version }: Row): Buffer =>
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

const damaged = ({ name, version }: Row, cause?: unknown): SecretStoreError =>
  new SecretStoreError(
    'damaged',
    `the stored secret ${name} (version ${version}) was changed after it was sealed`,
    {
      cause,
    },
  )

const wrongKey = ({ name }: Row, sealedUnder: Buffer, ours: Buffer): SecretStoreError =>
  new SecretStoreError(
    'wrong_key',
    `the stored secret ${name} was sealed under master key ${sealedUnder.toString('hex')}, this process has ` +
      `${ours.toString('hex')}: give it the right one in LEASEHOLD_MASTER_KEY_FILE or LEASEHOLD_MASTER_KEY, ` +
      `and after a change of key the old one in LEASEHOLD_PREVIOUS_MASTER_KEY_FILE`,
  )
