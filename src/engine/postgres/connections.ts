import pg from 'pg'
import type { Sensitive } from '../../lib/sensitive.ts'
import { type Admin, EngineError, type Lane } from '../engine.ts'
import { type Functions, hasFunctions, isOurVersion, VERSION_QUERY } from './definer.ts'
import { isLoginRefused, toEngineError } from './errors.ts'
import { actAs } from './makers.ts'
import type { Target } from './target.ts'
import { NO_TLS_ANSWER, tlsOptions } from './tls.ts'

/** Issuing and ending have connections of their own, so that a flood of new leases cannot hold up an old one's end. */
const LANES = ['issuing', 'ending'] as const satisfies Lane[]

export type Session = pg.ClientBase

/** What a new session found out. */
export type Facts = {
  version: number
  isSuperuser: boolean
  createsRoles: boolean
  /** What to work by in place of rights of our own, where it is installed. */
  functions: Functions | undefined
  /** The account we are logged in as. */
  admin: string
  /** The role that the session stays between transactions, and for how many accounts to come; see `makers.ts`. */
  acting?: { name: string; left: number } | undefined
  database: string
}

export type Connections = {
  /** Lends a session outside of any transaction. When `work` throws, the session is thrown away. */
  use<T>(lane: Lane, work: (session: Session, facts: Facts) => Promise<T>): Promise<T>
  /** As `use`, for work that says itself as whom, or that anybody could do: the session is whoever it was last. */
  useActing<T>(lane: Lane, work: (session: Session, facts: Facts) => Promise<T>): Promise<T>
  /** As `use`, for statements we did not write: nothing they set outlives them. */
  useForOwnSql<T>(lane: Lane, work: (session: Session, facts: Facts) => Promise<T>): Promise<T>
  /** Lends a session in another database, opened for this and closed after. */
  elsewhere<T>(database: string, work: (session: Session, facts: Facts) => Promise<T>): Promise<T>
  /** Returns once ending has a connection, which it then keeps. */
  warm(): Promise<void>
  inUse(): { lane: Lane; open: number; idle: number; waiting: number }[]
  close(): Promise<void>
}

const CONNECT_TIMEOUT_MS = 10_000
const STATEMENT_TIMEOUT_MS = 30_000
/** Above the server's own limit, for servers that no longer answer at all. */
const ANSWER_TIMEOUT_MS = 40_000
export const LOCK_TIMEOUT_MS = 2_000
const IDLE_IN_TRANSACTION_MS = 10_000
const IDLE_MS = 30_000
const KEEPALIVE_AFTER_MS = 10_000
const ENDING_CONNECTIONS = 2

/** Nothing that anyone put into a schema, temporary tables included, can stand in for what our statements name. */
export const SAFE_SEARCH_PATH = 'pg_catalog, pg_temp'

/** Commits wait for the disk at least: after a crash of the target, an account proved gone must not be back. */
const PREPARE_SESSION = `
  SET statement_timeout = ${STATEMENT_TIMEOUT_MS}; SET lock_timeout = ${LOCK_TIMEOUT_MS};
  SET idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_MS};
  SET standard_conforming_strings = on; SET timezone = 'UTC'; SET datestyle = 'ISO';
  SET default_transaction_isolation = 'read committed';
  SET client_min_messages = warning; SET search_path = ${SAFE_SEARCH_PATH};
  SELECT set_config('synchronous_commit', 'local', false) WHERE current_setting('synchronous_commit') = 'off';
  SELECT current_setting('server_version_num')::int AS version, current_user AS admin,
         current_database() AS database, pg_is_in_recovery() AS is_standby,
         rolsuper AS is_superuser, rolcreaterole AS creates_roles, ${hasFunctions('current_user')} AS has_functions
  FROM pg_catalog.pg_roles WHERE rolname = current_user`

type LanePool = {
  pool: pg.Pool
  options: pg.ClientConfig
  facts: Map<Session, Facts>
  accountKey: Sensitive | undefined
  onLogin: (accepted: boolean) => void
}
type WithRetry = <T>(lane: Lane, attempt: (pool: LanePool) => Promise<T>) => Promise<T>

/** Connects lazily. A refused login asks for the credentials again, once, since they may have been rotated. */
export function openConnections(target: Target, admin: Admin): Connections {
  const current: Partial<Record<Lane, Promise<LanePool>>> = {}
  const built: Partial<Record<Lane, LanePool>> = {}
  // As libpq: TLS is for TCP.
  let plain = target.sslMode === 'disable' || target.place.host.startsWith('/')
  let closed = false
  const busy = new Set<pg.PoolClient>()

  const opened = (lane: Lane): Promise<LanePool> => {
    if (closed) throw new EngineError('unreachable', 'the connections to this target are closed')
    current[lane] ??= buildPool(target, lane, admin, plain).then(
      (pool) => {
        built[lane] = pool
        return pool
      },
      (error) => {
        delete current[lane]
        throw error
      },
    )
    return current[lane]
  }

  const discard = (lane: Lane, stale: Promise<LanePool>): void => {
    if (current[lane] === stale) delete current[lane]
    void stale.then(endPool, () => {})
  }

  /** Tries again with what may have changed: the credentials, or TLS that the server turned out not to speak. */
  const withRetry: WithRetry = async (lane, attempt) => {
    const opening = opened(lane)
    const pool = await opening
    try {
      return await attempt(pool)
    } catch (error) {
      const downgrade = !plain && mayGoPlain(target) && isNoTls(error)
      if (!downgrade && !isLoginRefused(error)) throw error
      if (!downgrade) pool.onLogin(false)
      plain ||= downgrade
      discard(lane, opening)
      return attempt(await opened(lane))
    }
  }

  const acquire = async (lane: Lane): Promise<{ client: pg.PoolClient; facts: Facts }> => {
    try {
      return await withRetry(lane, async ({ pool, facts }) => {
        const client = await pool.connect()
        return { client, facts: facts.get(client) as Facts }
      })
    } catch (error) {
      if (error instanceof Error && error.message === ALL_BUSY) {
        throw new EngineError('blocked', `all our connections for ${lane} stayed busy`)
      }
      throw toEngineError(error, 'connecting')
    }
  }

  const lend = async <T>(lane: Lane, work: Work<T>, before: Before, afterwards?: Afterwards): Promise<T> => {
    const { client, facts } = await acquire(lane)
    busy.add(client)
    let done = false
    try {
      await before(client, facts)
      const answer = await work(client, facts)
      await afterwards?.(client)
      done = true
      return answer
    } catch (error) {
      throw toEngineError(error)
    } finally {
      busy.delete(client)
      client.release(!done)
    }
  }

  return {
    use: (lane, work) => lend(lane, work, asAdmin),
    useActing: (lane, work) => lend(lane, work, async () => {}),
    useForOwnSql: (lane, work) => lend(lane, work, asAdmin, scrub),
    elsewhere: (database, work) => withOwnClient(withRetry, database, work),
    async warm() {
      const { pool } = await opened('ending')
      // A lost one is opened again here, before accounts are made that could use up the server's slots.
      if (pool.totalCount === 0) await lend('ending', async () => {}, asAdmin)
    },
    inUse: () =>
      LANES.flatMap((lane) => {
        const { pool } = built[lane] ?? {}
        if (!pool) return []
        return [{ lane, open: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }]
      }),
    async close() {
      closed = true
      for (const client of busy) void client.end().catch(() => {})
      await Promise.all(LANES.map((lane) => current[lane]?.then(endPool, () => {})))
    },
  }
}

/** The pool's words when nobody gave a connection back in time: no sign that the target is down. */
const ALL_BUSY = 'timeout exceeded when trying to connect'

type Work<T> = (session: Session, facts: Facts) => Promise<T>
type Before = (session: Session, facts: Facts) => Promise<void>
type Afterwards = (session: Session) => Promise<void>

const asAdmin: Before = (session, facts) => actAs(session, facts, null)

const mayGoPlain = ({ sslMode }: Target): boolean => sslMode === 'prefer' || sslMode === 'allow'

const isNoTls = (error: unknown): boolean => error instanceof Error && error.message === NO_TLS_ANSWER

async function buildPool(target: Target, lane: Lane, admin: Admin, plain: boolean): Promise<LanePool> {
  const credentials = await admin(lane)
  const facts = new Map<Session, Facts>()
  const options: pg.ClientConfig = {
    host: target.place.host,
    port: target.place.port,
    database: target.place.database,
    user: credentials.username || target.username || '',
    password: credentials.password.reveal(),
    ssl: plain ? false : tlsOptions(target, credentials),
    application_name: 'leasehold',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_AFTER_MS,
  }
  const { accountKey } = credentials
  const onLogin = (accepted: boolean): void => credentials.onLogin?.(accepted)
  const { max, min } = poolSize(target, lane)
  const pool = new pg.Pool({
    ...options,
    max,
    min,
    idleTimeoutMillis: IDLE_MS,
    maxLifetimeSeconds: target.maxConnectionLifetimeSeconds,
    onConnect: async (client) => {
      onLogin(true)
      facts.set(client, await prepare(client, accountKey))
    },
  })
  return { pool: watched(pool, facts), options, facts, accountKey, onLogin }
}

function poolSize(target: Target, lane: Lane): { max: number; min: number } {
  if (lane === 'ending') return { max: ENDING_CONNECTIONS, min: 1 }
  const max = Math.max(1, target.maxOpenConnections - ENDING_CONNECTIONS)
  return { max, min: Math.min(max, target.maxIdleConnections) }
}

/** A connection that dies while nobody uses it is an event without a caller, and would end the process. */
function watched(pool: pg.Pool, facts: Map<Session, Facts>): pg.Pool {
  pool.on('error', () => {})
  pool.on('remove', (client) => facts.delete(client))
  return pool
}

async function prepare(client: Session, accountKey: Sensitive | undefined): Promise<Facts> {
  // Between two queries of one piece of work there is no listener of the pool's.
  client.on('error', () => {})
  const results = (await client.query(PREPARE_SESSION)) as unknown as pg.QueryResult[]
  const row = results.at(-1)?.rows[0]
  if (row.is_standby) {
    throw new EngineError(
      'unreachable',
      'the server is a read-only standby; connection_url must follow the primary',
    )
  }
  const { version, is_superuser: isSuperuser, creates_roles: createsRoles, admin, database } = row
  // A superuser may do it all, and would only pay for the detour.
  const callable = row.has_functions && !isSuperuser && isOurVersion(await functionsVersion(client))
  return {
    version,
    isSuperuser,
    createsRoles,
    admin,
    database,
    functions: callable ? { accountKey } : undefined,
  }
}

const functionsVersion = async (client: Session): Promise<number> =>
  (await client.query(VERSION_QUERY)).rows[0].version

/** DISCARD ALL undoes roles, settings, temporary tables and session locks, and with them our own settings. */
async function scrub(client: Session): Promise<void> {
  await client.query('DISCARD ALL')
  await client.query(PREPARE_SESSION)
}

async function withOwnClient<T>(withRetry: WithRetry, database: string, work: Work<T>): Promise<T> {
  const doing = `in database ${JSON.stringify(database)}`
  const { client, facts } = await withRetry('ending', async ({ options, accountKey }) => {
    const candidate = new pg.Client({ ...options, database })
    try {
      await candidate.connect()
      return { client: candidate, facts: await prepare(candidate, accountKey) }
    } catch (error) {
      void candidate.end().catch(() => {})
      throw error
    }
  }).catch((error) => {
    throw toEngineError(error, doing)
  })
  try {
    return await work(client, facts)
  } catch (error) {
    throw toEngineError(error, doing)
  } finally {
    await client.end().catch(() => {})
  }
}

const endPool = ({ pool }: LanePool): Promise<void> => pool.end().catch(() => {})
