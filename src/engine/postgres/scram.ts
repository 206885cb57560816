import { createHash, createHmac, pbkdf2, pbkdf2Sync, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'

const derive = promisify(pbkdf2)
const SALT_BYTES = 16
const KEY_BYTES = 32
/** Up to here the way to another thread and back costs more than the derivation. */
const AT_ONCE_ITERATIONS = 32

/**
 * What PostgreSQL stores in place of a password (RFC 5802, 7677): with it a login can be checked, not made.
 * Passwords are base62, so SASLprep has nothing to change.
 */
export async function scramVerifier(password: string, iterations: number): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const salted =
    iterations <= AT_ONCE_ITERATIONS
      ? pbkdf2Sync(password, salt, iterations, KEY_BYTES, 'sha256')
      : await derive(password, salt, iterations, KEY_BYTES, 'sha256')
  const hmac = (text: string): Buffer => createHmac('sha256', salted).update(text).digest()
  const storedKey = createHash('sha256').update(hmac('Client Key')).digest('base64')
  const serverKey = hmac('Server Key').toString('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`
}
