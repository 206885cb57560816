import {
  assertSchemaCompatibility,
  createPostgresBackend,
  LATEST_SCHEMA_VERSION,
  type PostgresConnectionOptions,
  Queue,
  runMigrations,
  SchemaMigrationRequiredError,
  Worker,
} from 'bullmq'
import pg from 'pg'
import { patient, QUEUE_OPTIONS, type QueueServer, type ServerParts, WORKER_OPTIONS } from './queue-server.ts'

/** BullMQ's own, and fixed: a pool handed to it is expected to have this one. */
const SCHEMA = 'bullmq'
/** One of them listens for new jobs as long as a worker runs. */
const MAX_CONNECTIONS = 3
const TIMEOUT_MS = 5_000

/**
 * BullMQ on PostgreSQL. The pool is ours, because BullMQ's own names the schema in a startup parameter that PgBouncer
 * refuses, and leaves connections without an error listener for moments in which their end would end the process.
 */
export function postgresServer({ url, name, onError, telemetry }: ServerParts): QueueServer {
  const pool = new pg.Pool({
    connectionString: url,
    application_name: 'leasehold-queue',
    max: MAX_CONNECTIONS,
    connectionTimeoutMillis: TIMEOUT_MS,
    query_timeout: 2 * TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    onConnect: async (client: pg.ClientBase) => {
      listenForErrors(client, onError)
      await client.query(`set search_path to ${SCHEMA}`)
    },
  })
  pool.on('error', onError)
  // A real pool is what BullMQ asks for; only the two type definitions disagree.
  const connection = pool as unknown as PostgresConnectionOptions

  const prepare = async (): Promise<void> => {
    const client = await pool.connect()
    try {
      // Asked first: migrating needs CREATE on the database even when there is nothing to do.
      if ((await schemaVersion(client)) < LATEST_SCHEMA_VERSION) await runMigrations(client, SCHEMA)
      client.release()
    } catch (error) {
      client.release(true)
      throw error
    }
  }

  const told = telemetry && { telemetry }
  const makeBackend = patient(createPostgresBackend, prepare)

  return {
    kind: 'postgres',
    prepare,
    queue() {
      const queue = new Queue(name, { ...QUEUE_OPTIONS, ...told, connection }, createPostgresBackend)
      queue.on('error', onError)
      return queue
    },
    worker(work, concurrency) {
      const worker = new Worker(
        name,
        work,
        { ...WORKER_OPTIONS, ...told, connection, concurrency },
        makeBackend,
      )
      worker.on('error', onError)
      return worker
    },
    close: () => pool.end(),
  }
}

async function schemaVersion(client: pg.PoolClient): Promise<number> {
  try {
    return await assertSchemaCompatibility(client, SCHEMA)
  } catch (error) {
    if (error instanceof SchemaMigrationRequiredError) return 0
    throw error
  }
}

/** For good: BullMQ takes every listener off the connection it listened on before it lets go of it. */
function listenForErrors(client: pg.ClientBase, onError: (error: unknown) => void): void {
  const removeAll = client.removeAllListeners.bind(client)
  client.removeAllListeners = (event) => {
    removeAll(event)
    if (client.listenerCount('error') === 0) client.on('error', onError)
    return client
  }
  client.on('error', onError)
}
