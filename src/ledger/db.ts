import { Pool, type PoolClient, type QueryResultRow, types } from 'pg'

/** Anything a statement can run on: the pool for one statement, a client inside a transaction. */
export type Db = Pick<PoolClient, 'query'>

export type Ledger = Db & {
  /**
   * Runs `work` in one transaction; its error is the one thrown, whatever the rollback does. Runs it again when the
   * server ended it only because two transactions met, so it must not change anything but through its `db`.
   */
  transaction<T>(work: (db: Db) => Promise<T>): Promise<T>
  close(): Promise<void>
}

// Counts and fences are bigint in SQL and far below 2^53 here.
types.setTypeParser(types.builtins.INT8, Number)

const CONNECT_TIMEOUT_MS = 5_000
/** Longer than any statement of ours takes on a ledger of millions of leases. */
const STATEMENT_TIMEOUT_MS = 30_000

/** Opens lazily: nothing connects before the first statement. `onError` hears of idle connections that die. */
export function openLedger(url: string, onError: (error: Error) => void, { connections = 10 } = {}): Ledger {
  const pool = new Pool({
    connectionString: url,
    max: connections,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS,
    keepAlive: true,
    application_name: 'leasehold',
  })
  // Without a listener a failover, which kills idle connections, would end the process.
  pool.on('error', onError)

  return {
    query: pool.query.bind(pool) as Db['query'],
    transaction: (work) => retryConflicts(() => transaction(pool, work)),
    close: () => pool.end(),
  }
}

async function transaction<T>(pool: Pool, work: (db: Db) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  let broken: Error | undefined
  try {
    await client.query('begin')
    const result = await work(client)
    await client.query('commit')
    return result
  } catch (error) {
    // A failed rollback means the connection is unusable; the first error is still the one to tell.
    await client.query('rollback').catch((rollbackError: Error) => {
      broken = rollbackError
    })
    throw error
  } finally {
    client.release(broken)
  }
}

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
