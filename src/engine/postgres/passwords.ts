import pg from 'pg'
import type { Sensitive } from '../../lib/sensitive.ts'
import { deadlineIn } from '../deadline.ts'
import { type Admin, EngineError, type Passwords } from '../engine.ts'
import { checkRotation } from '../rotation-sql.ts'
import type { Connections, Session } from './connections.ts'
import { isServerError, toEngineError } from './errors.ts'
import { many } from './isolate.ts'
import { runOwnSql } from './own-sql.ts'
import { scramVerifier } from './scram.ts'
import { identifier, literal, lockKey } from './sql.ts'
import { checkStatements, parseStatements } from './statements.ts'
import type { Target } from './target.ts'
import { NO_TLS_ANSWER, tlsOptions } from './tls.ts'

/** From the call: after this a new password is not sent any more, and the server ends what was sent before by itself. */
const SET_WITHIN_MS = 15_000
const CONNECT_TIMEOUT_MS = 10_000
const NAME_BYTES = 64

/** Passwords of roles that are not leased. They reach the server as SCRAM verifiers: no log of its statements has one. */
export function passwordsOf(connections: Connections, target: Target, admin: Admin): Passwords {
  return {
    check: (field, statements) => checkRotation(field, checkStatements(field, statements)),
    async set(username, password, statements) {
      refuseCut(username)
      const isLate = deadlineIn(SET_WITHIN_MS)
      const own = statements && parseStatements(statements)
      const verifier = await scramVerifier(password.reveal(), target.scramIterations)
      if (!own) {
        return connections.use('issuing', (session) =>
          inTime(session, username, isLate, (texts) =>
            many(session, `ALTER ROLE ${identifier(username)} PASSWORD ${literal(verifier)}; ${texts}`),
          ),
        )
      }
      await connections.useForOwnSql('issuing', (session, facts) =>
        inTime(session, username, isLate, async (texts) => {
          await runOwnSql(session, facts, own, { name: username, verifier })
          await session.query(texts)
        }),
      )
    },
    async accepts(username, password) {
      refuseCut(username)
      return letsIn(target, admin, username, password)
    },
  }
}

/** The server cuts longer names and goes on with what is left, which may be the name of another. */
function refuseCut(username: string): void {
  if (Buffer.byteLength(username) < NAME_BYTES) return
  throw new EngineError(
    'failed',
    `the target has no account "${username}": no name has ${NAME_BYTES} bytes or more`,
  )
}

/**
 * Runs `work` with the role's name locked and looks at the deadline only then, so that of two that set one password
 * the later ask comes later. It ends the transaction by the text it is given; without that the server does.
 */
async function inTime(
  session: Session,
  username: string,
  isLate: () => boolean,
  work: (commit: string) => Promise<unknown>,
): Promise<void> {
  await session.query(`BEGIN; SELECT pg_advisory_xact_lock('${lockKey(username)}')`)
  try {
    if (isLate()) throw new EngineError('late', 'the target took too long; the password was not sent')
    await work('COMMIT')
  } catch (error) {
    await session.query('ROLLBACK').catch(() => {}) // the first error tells more
    throw toEngineError(error, `setting the password of "${username}"`)
  }
}

/** A session of its own, and gone at once: neither a pool nor an old connection may answer in its place. */
async function letsIn(target: Target, admin: Admin, username: string, password: Sensitive): Promise<boolean> {
  try {
    const plain = target.sslMode === 'disable' || target.place.host.startsWith('/')
    return await logIn(target, admin, { username, password }, plain)
  } catch (error) {
    throw toEngineError(error, `logging in as "${username}"`)
  }
}

async function logIn(
  target: Target,
  admin: Admin,
  user: { username: string; password: Sensitive },
  plain: boolean,
): Promise<boolean> {
  // A server that asks every client for a certificate asks for ours.
  const key = target.tlsCertificate === undefined ? {} : await admin('ending')
  const client = new pg.Client({
    host: target.place.host,
    port: target.place.port,
    database: target.place.database,
    user: user.username,
    password: user.password.reveal(),
    ssl: plain ? false : tlsOptions(target, { ...key, ...user }),
    application_name: 'leasehold',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: CONNECT_TIMEOUT_MS,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query('SELECT pg_is_in_recovery() AS is_standby')
    if (!rows[0].is_standby) return true
    // It may not have heard of the password yet, or not of the one before.
    throw new EngineError(
      'unreachable',
      'the server is a read-only standby; connection_url must follow the primary',
    )
  } catch (error) {
    if (!plain && mayGoPlain(target) && error instanceof Error && error.message === NO_TLS_ANSWER) {
      return logIn(target, admin, user, true)
    }
    if (isServerError(error) && error.code === WRONG_PASSWORD) return false
    if (isKnownButNotNow(error)) return true
    throw error
  } finally {
    void client.end().catch(() => {})
  }
}

const mayGoPlain = ({ sslMode }: Target): boolean => sslMode === 'prefer' || sslMode === 'allow'

const WRONG_PASSWORD = '28P01'
const TOO_MANY_CONNECTIONS = '53300'
const NO_RIGHT = '42501'
/** What the server does after it has found the password right. */
const AFTER_THE_PASSWORD = ['InitializeSessionUserId', 'CheckMyDatabase', 'InitPostgres']

/** The password was right, and then the role's or the database's limit was used up, or the database is not for this role. */
const isKnownButNotNow = (error: unknown): boolean =>
  isServerError(error) &&
  (error.code === TOO_MANY_CONNECTIONS || error.code === NO_RIGHT) &&
  AFTER_THE_PASSWORD.includes(error.routine ?? '')
