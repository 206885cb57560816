import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import type pg from 'pg'

/**
 * The limits: what a loop gets that sends the same SQL with nothing around it. Each text is one message; issuing and
 * renewing are one commit each, ending three, since nobody is sure of an end that rests on one.
 */

const GROUP = 'bench_group'

let made = 0
const nextName = (): string => `raw_${(made++).toString(36).padStart(20, '0')}`

/** Makes an account and answers its name. */
export async function rawIssue(client: pg.Client, verifier: string): Promise<string> {
  const name = nextName()
  await client.query(
    `BEGIN; CREATE ROLE ${name} LOGIN PASSWORD '${verifier}' VALID UNTIL '${validUntil()}' CONNECTION LIMIT 10;
     COMMENT ON ROLE ${name} IS 'raw'; GRANT ${GROUP} TO ${name}; COMMIT`,
  )
  return name
}

export const rawRenew = (client: pg.Client, name: string): Promise<unknown> =>
  client.query(`ALTER ROLE ${name} VALID UNTIL '${validUntil()}'`)

export async function rawEnd(client: pg.Client, name: string): Promise<void> {
  await client.query(`ALTER ROLE ${name} NOLOGIN`)
  await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${name}'`)
  await client.query(`DROP ROLE ${name}`)
}

/** Away with what no measurement needs any more. */
export async function rawDropAll(client: pg.Client, names: readonly string[]): Promise<void> {
  for (let at = 0; at < names.length; at += 200) {
    await client.query(`DROP ROLE ${names.slice(at, at + 200).join(', ')}`)
  }
}

const validUntil = (): string => new Date(Date.now() + 600_000).toISOString()

const derive = promisify(pbkdf2)

/** A SCRAM verifier of a new password, as every account needs one of its own. */
export async function newVerifier(iterations: number): Promise<string> {
  const salt = randomBytes(16)
  const salted = await derive(randomBytes(24).toString('base64'), salt, iterations, 32, 'sha256')
  const keyed = (text: string) => createHmac('sha256', salted).update(text).digest()
  const stored = createHash('sha256').update(keyed('Client Key')).digest('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${keyed('Server Key').toString('base64')}`
}
