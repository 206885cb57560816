import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

const NONCE_BYTES = 12
const TAG_BYTES = 16
const KEY_BYTES = 32

/** The secret has to be random throughout: its key takes no salt. */
const keyOf = (secret: string, purpose: string): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, '', purpose, KEY_BYTES))

/**
 * A text that only who has `secret` can read: AES-256-GCM under a key derived from it, for this one purpose. `binding`
 * is what stands beside it in the clear: changed, it no longer opens.
 */
export function sealText(secret: string, purpose: string, text: string, binding: unknown): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', keyOf(secret, purpose), nonce).setAAD(bytesOf(binding))
  return Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
}

/** Throws for another secret, purpose or binding, and for what was changed. */
export function openText(secret: string, purpose: string, sealed: Buffer, binding: unknown): string {
  // Without the length, Node would take a shortened tag.
  const decipher = createDecipheriv('aes-256-gcm', keyOf(secret, purpose), sealed.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(bytesOf(binding)).setAuthTag(sealed.subarray(-TAG_BYTES))
  const body = sealed.subarray(NONCE_BYTES, -TAG_BYTES)
  return Buffer.concat([decipher.update(body), decipher.final()]).toString('utf8')
}

const bytesOf = (binding: unknown): Buffer => Buffer.from(JSON.stringify(binding))
