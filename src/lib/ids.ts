import { randomBytes, randomInt } from 'node:crypto'

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz'
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** 24 characters of lower-case Crockford base32 (120 random bits): lease ids, accessors, row ids. */
export function newId(): string {
  let id = ''
  // The alphabet has 32 letters, so five bits of each byte choose without bias.
  for (const byte of randomBytes(24)) id += CROCKFORD[byte & 31]
  return id
}

export const ID_PATTERN = /^[0-9a-hjkmnp-tv-z]{24}$/

/** `length` characters of base62 from the system's random source, each 5.95 bits. */
export function randomBase62(length: number): string {
  let text = ''
  while (text.length < length) {
    for (const byte of randomBytes(length)) {
      // 248 is the largest multiple of 62 in a byte: above it, the first letters would come more often.
      if (byte < 248 && text.length < length) text += BASE62[byte % 62]
    }
  }
  return text
}

/** A client token: `lh.` and 190 random bits. The ledger holds only its SHA-256. */
export const newToken = (): string => `lh.${randomBase62(32)}`

/** A uniform factor in [low, high), for jitter. */
export const jitter = (low: number, high: number): number =>
  low + (randomInt(1_000_000) / 1_000_000) * (high - low)
