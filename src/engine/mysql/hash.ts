import { createHash, randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'

/** What servers store in place of a password. A hash that we send ourselves keeps the password out of their logs. */

export type HashPlugin = 'mysql_native_password' | 'caching_sha2_password'

export async function hashFor(plugin: HashPlugin, password: string): Promise<string> {
  if (plugin === 'mysql_native_password') return nativeHash(password)
  // Milliseconds of work on this thread: whoever waits for it gets a turn between two of them.
  await turn()
  return cachingSha2Hash(password)
}

const sha1 = (data: string | Buffer): Buffer => createHash('sha1').update(data).digest()

/** `mysql_native_password`, as every MariaDB and MySQL to 8.4 takes it. */
export const nativeHash = (password: string): string =>
  `*${sha1(sha1(password)).toString('hex').toUpperCase()}`

const SALT_LENGTH = 20
/** In thousands, in three hexadecimal digits; what servers use themselves. */
const THOUSANDS_OF_ROUNDS = 5
const CRYPT64 = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** `caching_sha2_password`: the SHA-256 scheme of crypt(3), with a salt of 20 characters and no cut of it. */
export function cachingSha2Hash(password: string): string {
  const rounds = THOUSANDS_OF_ROUNDS.toString(16).padStart(3, '0')
  const salt = newSalt()
  return `$A$${rounds}$${salt}${sha256Crypt(password, Buffer.from(salt), THOUSANDS_OF_ROUNDS * 1_000)}`
}

/** Of the letters of the alphabet only, so that the hash can stand in any text. */
const newSalt = (): string => [...randomBytes(SALT_LENGTH)].map((byte) => CRYPT64[byte & 63]).join('')

const sha256 = (...parts: readonly Buffer[]): Buffer => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

const repeated = (block: Buffer, length: number): Buffer =>
  Buffer.concat(Array.from({ length: Math.ceil(length / block.length) }, () => block)).subarray(0, length)

/** https://www.akkadia.org/drepper/SHA-crypt.txt; the letters in the comments are its names. */
export function sha256Crypt(password: string, salt: Buffer, rounds: number): string {
  const key = Buffer.from(password)
  const alternate = sha256(key, salt, key) // B
  const parts = [key, salt, repeated(alternate, key.length)]
  for (let bits = key.length; bits > 0; bits >>= 1) parts.push(bits & 1 ? alternate : key)
  let digest = sha256(...parts) // A
  const p = repeated(sha256(...Array.from({ length: key.length }, () => key)), key.length)
  const s = repeated(sha256(...Array.from({ length: 16 + (digest[0] as number) }, () => salt)), salt.length)
  for (let round = 0; round < rounds; round += 1) {
    const odd = round % 2 === 1
    const middle = [...(round % 3 === 0 ? [] : [s]), ...(round % 7 === 0 ? [] : [p])]
    digest = sha256(odd ? p : digest, ...middle, odd ? digest : p)
  }
  return crypt64(digest)
}

/** Each group of three bytes, in the scheme's own order, gives four letters; the last two bytes give three. */
function crypt64(digest: Buffer): string {
  let text = ''
  const letters = (bits: number, count: number): void => {
    for (let i = 0; i < count; i += 1) text += CRYPT64[(bits >> (6 * i)) & 63]
  }
  const at = (i: number): number => digest[i] as number
  let [a, b, c] = [0, 10, 20]
  for (let group = 0; group < 10; group += 1) {
    letters((at(a) << 16) | (at(b) << 8) | at(c), 4)
    ;[a, b, c] = [c + 1, a + 1, b + 1]
  }
  letters((at(31) << 8) | at(30), 3)
  return text
}
