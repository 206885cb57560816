import { DatabaseError, Pool, type PoolClient, type QueryResult, type QueryResultRow, types } from 'pg'
import { BrokerError } from '../lib/errors.ts'
import type { Result } from '../lib/result.ts'

/** Anything a statement can run on: the pool for one statement, a client inside a transaction. */
export type Db = {
  query<Row extends QueryResultRow>(sql: string, values?: unknown[]): Promise<QueryResult<Row>>
}

export type Ledger = Db & {
  /**
   * Runs `work` in one transaction; its error is the one thrown, whatever the rollback does. Runs it again when the
   * server ended it only because two transactions met, so it must not change anything but through its `db`.
   */
  transaction<T>(work: (db: Db) => Promise<T>): Promise<T>
  /** Whom the work in hand is for, when somebody keeps a record of it. To be carried to `transactionFor`. */
  behalf(): Behalf | undefined
  /**
   * One transaction for several callers, whose parts `work` answers in their order. What it did for each, if it did
   * anything (`ok`, and not `false`), is recorded with that one's request.
   */
  transactionFor<T>(
    behalves: readonly (Behalf | undefined)[],
    work: (db: Db) => Promise<Result<T>[]>,
  ): Promise<Result<T>[]>
  close(): Promise<void>
}

/** A request or a job, as whoever keeps the record knows it. Nothing to anybody else. */
export type Behalf = object

export type OpenLedger = Ledger & {
  /** Connections that are open, those of them that are idle, and callers waiting for one. */
  connections(): { open: number; idle: number; waiting: number }
}

// Counts and fences are bigint in SQL and far below 2^53 here.
types.setTypeParser(types.builtins.INT8, Number)

const CONNECT_TIMEOUT_MS = 5_000
/** Longer than any statement of ours takes on a ledger of millions of leases. */
const STATEMENT_TIMEOUT_MS = 30_000

/**
 * Each statement is planned once and by index, whatever the planner thinks: planning anew costs more than running, and
 * a plan made while a table was young would read all of it later.
 */
const SESSION = `set plan_cache_mode = force_generic_plan; set jit = off;
  set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off`

/**
 * Opens lazily: nothing connects before the first statement. `onError` hears of idle connections that die. A ledger
 * that does not answer is a `BrokerError` of code `unavailable`; whether the statement took effect is then unknown.
 * `isPatient`: statements may take as long as they do.
 */
export function openLedger(
  url: string,
  onError: (error: Error) => void,
  { connections = 10, isPatient = false } = {},
): OpenLedger {
  const pool = new Pool({
    connectionString: url,
    max: connections,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: isPatient ? 0 : STATEMENT_TIMEOUT_MS,
    keepAlive: true,
    application_name: 'leasehold',
    // The pool waits for it before it lends the connection, whatever the type says.
    onConnect: (client) => client.query(SESSION) as unknown as undefined,
  })
  // Without a listener a failover, which kills idle connections, would end the process.
  let closing = false
  pool.on('error', (error) => {
    // The server lets go of a connection a little after the pool has: no news once we are leaving.
    if (!closing) onError(error)
  })

  return {
    ...heard(pool),
    transaction: (work) => retryConflicts(() => transaction(pool, work)),
    behalf: () => undefined,
    transactionFor: (_, work) => retryConflicts(() => transaction(pool, work)),
    connections: () => ({ open: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    close: () => {
      closing = true
      return pool.end()
    },
  }
}

/** Connection exceptions, shutdowns and crashes, and a server with no place left for us. */
const SERVER_AWAY = /^(08|57P0|53300)/

/** The same, with an error of our own when there was no answer, and statements with values prepared. */
const heard = (db: Pick<PoolClient, 'query'>): Db => ({
  query: <Row extends QueryResultRow>(sql: string, values?: unknown[]) =>
    db.query<Row>(values ? { name: nameOf(sql), text: sql, values } : { text: sql }).catch(throwUnavailable),
})

const names = new Map<string, string>()

/** Our statements are a few dozen fixed texts: each connection plans one once, which is up to half of its cost. */
function nameOf(sql: string): string {
  const known = names.get(sql)
  if (known) return known
  const name = `leasehold_${names.size}`
  names.set(sql, name)
  return name
}

function throwUnavailable(error: unknown): never {
  if (error instanceof DatabaseError && !SERVER_AWAY.test(error.code ?? '')) throw error
  throw new BrokerError('unavailable', 'the ledger does not answer', { cause: error })
}

async function transaction<T>(pool: Pool, work: (db: Db) => Promise<T>): Promise<T> {
  const client = await pool.connect().catch(throwUnavailable)
  // The pool's own listener is off while a client is lent: without this a ledger that restarts between two of our
  // statements would end the process. The next statement fails all the same, and tells.
  client.on('error', ignore)
  const db = heard(client)
  let broken: Error | undefined
  try {
    await db.query('begin')
    const result = await work(db)
    await db.query('commit')
    return result
  } catch (error) {
    // A failed rollback means the connection is unusable; the first error is still the one to tell.
    await db.query('rollback').catch((rollbackError: Error) => {
      broken = rollbackError
    })
    throw error
  } finally {
    client.off('error', ignore)
    client.release(broken)
  }
}

const ignore = (): void => {}

export async function many<Row extends QueryResultRow>(
  db: Db,
  sql: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const result = await db.query<Row>(sql, values)
  return result.rows
}

export async function one<Row extends QueryResultRow>(
  db: Db,
  sql: string,
  values: unknown[] = [],
): Promise<Row | undefined> {
  const rows = await many<Row>(db, sql, values)
  return rows[0]
}

/** How many rows the statement changed. */
export async function change(db: Db, sql: string, values: unknown[] = []): Promise<number> {
  const result = await db.query(sql, values)
  return result.rowCount ?? 0
}

/**
 * `many` for a statement that locks several rows: outside a transaction it is run again when it met another such
 * statement. Inside one the whole transaction has to be, and `transaction` does.
 */
export function manyLocking<Row extends QueryResultRow>(
  db: Db,
  sql: string,
  values: unknown[] = [],
): Promise<Row[]> {
  return 'transaction' in db ? retryConflicts(() => many<Row>(db, sql, values)) : many<Row>(db, sql, values)
}

/** Until the end of the transaction: whoever asks for the same name waits. */
export async function lockNamed(db: Db, name: string): Promise<void> {
  await db.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [name])
}

const DEADLOCK = '40P01'
const SERIALIZATION_FAILURE = '40001'
const ATTEMPTS = 5

async function retryConflicts<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      const code = (error as { code?: string }).code
      if ((code !== DEADLOCK && code !== SERIALIZATION_FAILURE) || attempt === ATTEMPTS) throw error
    }
  }
}
