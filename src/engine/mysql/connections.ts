import { type Connection, type ConnectionOptions, createConnection } from 'mysql2/promise'
import { type Admin, type AdminCredentials, EngineError, type Lane } from '../engine.ts'
import { isLoginRefused, isServerError, toEngineError } from './errors.ts'
import { openPool, type Pool } from './pool.ts'
import { type Dialect, dialectOf, readServer } from './server.ts'
import { type Session, sessionOn } from './session.ts'
import { type UserAtHost, userAtHost } from './sql.ts'
import type { Target } from './target.ts'
import { mustVerify, NO_TLS_CODE, openSocket, tlsOptions } from './tls.ts'

/** Issuing and ending have connections of their own, so that a flood of new leases cannot hold up an old one's end. */
const LANES = ['issuing', 'ending'] as const satisfies Lane[]

/** What a new session found out. */
export type Facts = {
  dialect: Dialect
  /** The account we are logged in as. */
  admin: UserAtHost
  /** Whether it is shown the sessions of others; without that, "no session" would mean nothing. */
  seesSessions: boolean
}

export type Connections = {
  /** Lends a session. When `work` throws, the session is thrown away, and its locks with it. */
  use<T>(lane: Lane, work: Work<T>): Promise<T>
  /** As `use`, for statements we did not write: of a session that takes one at a time and is thrown away after. */
  useForOwnSql<T>(lane: Lane, work: Work<T>): Promise<T>
  /** A login with what a leased account has, closed again by `leave`. */
  logIn(username: string, password: string): Promise<{ leave(): void }>
  /** Returns once ending has a connection, which it then keeps. */
  warm(): Promise<void>
  inUse(): { lane: string; open: number; idle: number; waiting: number }[]
  close(): Promise<void>
}

type Work<T> = (session: Session, facts: Facts) => Promise<T>

const WAIT_MS = 10_000
const IDLE_MS = 30_000
const LOCK_WAIT_S = 5
const SERVER_IDLE_S = 3_600
const ENDING_CONNECTIONS = 2

/**
 * A mode and character set of ours, for our quoting and the lexer's, whatever the server makes of what clients ask
 * for; a lock on the grant tables that others hold must not hold us for a day.
 */
const PREPARE_SESSION = `SET NAMES utf8mb4, SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00',
  autocommit = 1, lock_wait_timeout = ${LOCK_WAIT_S}, innodb_lock_wait_timeout = ${LOCK_WAIT_S}, wait_timeout = ${SERVER_IDLE_S}`

/** Refused without the right to see the sessions of others, whichever way it was given; nothing else needs it. */
const SEES_SESSIONS = 'SELECT COUNT(*) AS n FROM information_schema.INNODB_CMPMEM'

type LanePools = {
  pools: { ours: Pool; own: Pool }
  connect(change: ConnectionOptions): Promise<Connection>
  onLogin(accepted: boolean): void
}
type WithRetry = <T>(lane: Lane, attempt: (lanePools: LanePools) => Promise<T>) => Promise<T>

/** Connects lazily. A refused login asks for the credentials again, once, since they may have been rotated. */
export function openConnections(target: Target, admin: Admin): Connections {
  const facts = new WeakMap<Connection, Facts>()
  const current: Partial<Record<Lane, Promise<LanePools>>> = {}
  const built: Partial<Record<Lane, LanePools>> = {}
  let plain = target.tls === 'false' || target.place.socketPath !== undefined
  let closed = false

  const opened = (lane: Lane): Promise<LanePools> => {
    if (closed) throw new EngineError('unreachable', 'the connections to this target are closed')
    current[lane] ??= admin(lane).then(
      (credentials) => {
        // A client certificate must not end up on a connection without TLS.
        const options = optionsFor(target, credentials, plain && !mustVerify(target, credentials))
        built[lane] = buildPools({ target, lane, options, facts, credentials })
        return built[lane]
      },
      (error) => {
        delete current[lane]
        throw error
      },
    )
    return current[lane]
  }

  const discard = (lane: Lane, stale: Promise<LanePools>): void => {
    if (current[lane] === stale) delete current[lane]
    void stale.then(endPools, () => {})
  }

  /** Tries again with what may have changed: the credentials, or TLS that the server turned out not to speak. */
  const withRetry: WithRetry = async (lane, attempt) => {
    const opening = opened(lane)
    const lanePools = await opening
    try {
      return await attempt(lanePools)
    } catch (error) {
      const downgrade = !plain && target.tls === 'preferred' && isNoTls(error)
      if (!downgrade && !isLoginRefused(error)) throw error
      if (!downgrade) lanePools.onLogin(false)
      plain ||= downgrade
      discard(lane, opening)
      return attempt(await opened(lane))
    }
  }

  const lend = async <T>(lane: Lane, kind: 'ours' | 'own', work: Work<T>): Promise<T> => {
    const { connection, pool } = await withRetry(lane, async ({ pools }) => ({
      connection: await pools[kind].acquire(),
      pool: pools[kind],
    })).catch((error) => {
      throw toEngineError(error, 'connecting')
    })
    let done = false
    try {
      const answer = await work(sessionOn(connection, kind === 'own'), facts.get(connection) as Facts)
      done = true
      return answer
    } catch (error) {
      throw toEngineError(error)
    } finally {
      pool.release(connection, done && kind === 'ours')
    }
  }

  return {
    use: (lane, work) => lend(lane, 'ours', work),
    useForOwnSql: (lane, work) => lend(lane, 'own', work),
    logIn: (user, password) => logIn(withRetry, user, password),
    async warm() {
      const { pools } = await opened('ending')
      if (pools.ours.inUse().open === 0) await lend('ending', 'ours', async () => {})
    },
    inUse: () =>
      LANES.flatMap((lane) => {
        const { pools } = built[lane] ?? {}
        return pools ? [{ lane, ...pools.ours.inUse() }] : []
      }),
    async close() {
      closed = true
      await Promise.allSettled(Object.values(current).map((opening) => opening.then(endPools)))
    },
  }
}

const isNoTls = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === NO_TLS_CODE

/** On a connection of its own. What is tried again is the way there; a refusal is the answer to another's password. */
async function logIn(withRetry: WithRetry, user: string, password: string): Promise<{ leave(): void }> {
  const answer = await withRetry('issuing', async ({ connect }) => {
    try {
      return { connection: await connect({ user, password }) }
    } catch (error) {
      if (!isLoginRefused(error)) throw error
      return { error }
    }
  })
  if (!answer.connection) throw answer.error
  const { connection } = answer
  connection.on('error', () => {})
  return { leave: () => connection.destroy() }
}

function optionsFor(target: Target, credentials: AdminCredentials, plain: boolean): ConnectionOptions {
  return {
    host: target.tlsServerName ?? target.place.host,
    user: credentials.username || target.username || '',
    password: credentials.password.reveal(),
    ...(plain ? {} : { ssl: tlsOptions(target, credentials) }),
    connectTimeout: target.place.connectTimeoutMs,
    // What a number cannot hold comes as text.
    supportBigNumbers: true,
  }
}

type Building = {
  target: Target
  lane: Lane
  options: ConnectionOptions
  facts: WeakMap<Connection, Facts>
  credentials: AdminCredentials
}

function buildPools({ target, lane, options, facts, credentials }: Building): LanePools {
  const onLogin = (accepted: boolean): void => credentials.onLogin?.(accepted)
  const connect = (change: ConnectionOptions): Promise<Connection> =>
    createConnection({ ...options, stream: () => openSocket(target), ...change })
  const pool = (name: string, sizes: { max: number; keep: number }, multipleStatements: boolean): Pool =>
    openPool({
      name,
      connect: async () => {
        const connection = await connect({ multipleStatements })
        onLogin(true)
        facts.set(connection, await prepare(connection))
        return connection
      },
      ...sizes,
      idleMs: IDLE_MS,
      lifetimeMs: target.maxConnectionLifetimeSeconds * 1_000,
      waitMs: WAIT_MS,
    })
  return {
    pools: {
      ours: pool(lane, poolSizes(target, lane), true),
      own: pool(`statements of roles (${lane})`, { max: 1, keep: 0 }, false),
    },
    connect,
    onLogin,
  }
}

function poolSizes(target: Target, lane: Lane): { max: number; keep: number } {
  if (lane === 'ending') return { max: ENDING_CONNECTIONS, keep: 1 }
  // One is left for the statements of roles.
  const max = Math.max(1, target.maxOpenConnections - ENDING_CONNECTIONS - 1)
  return { max, keep: Math.min(max, target.maxIdleConnections) }
}

async function prepare(connection: Connection): Promise<Facts> {
  // Between two queries of one piece of work there is no listener of the pool's.
  connection.on('error', () => {})
  const session = sessionOn(connection, true)
  try {
    await session.run(PREPARE_SESSION)
    const [row] = await session.run(
      `SELECT VERSION() AS version, CURRENT_USER() AS admin, @@performance_schema AS performance_schema,
              @@global.read_only OR @@innodb_read_only AS is_standby`,
    )
    if (row?.is_standby) {
      throw new EngineError('unreachable', 'the server is read-only; connection_url must follow the primary')
    }
    const dialect = dialectOf(readServer(String(row?.version), Number(row?.performance_schema) === 1))
    for (const statement of dialect.prepareSession) await session.run(statement)
    return { dialect, admin: userAtHost(String(row?.admin)), seesSessions: await seesSessions(session) }
  } catch (error) {
    connection.destroy()
    throw error
  }
}

async function seesSessions(session: Session): Promise<boolean> {
  try {
    await session.run(SEES_SESSIONS)
    return true
  } catch (error) {
    if (isServerError(error)) return false
    throw error
  }
}

const endPools = async ({ pools }: LanePools): Promise<void> => {
  await Promise.allSettled([pools.ours.close(), pools.own.close()])
}
