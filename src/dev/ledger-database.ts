import pg from 'pg'
import type { PostgresServer } from './embedded-postgres.ts'

const DATABASE = 'leasehold'

/**
 * The ledger's database on the embedded server, made at the first start and owned by a role of its own; answers that
 * role's URL. Its password is the superuser's, which is kept beside the data, so that both are read from one place.
 */
export async function makeLedgerDatabase(postgres: PostgresServer): Promise<string> {
  await asSuperuser(postgres, 'postgres', async (client) => {
    const password = pg.escapeLiteral(postgres.password)
    if (!(await exists(client, 'select from pg_roles where rolname = $1', DATABASE))) {
      await client.query(`create role ${DATABASE} login password ${password}`)
    }
    if (!(await exists(client, 'select from pg_database where datname = $1', DATABASE))) {
      await client.query(`create database ${DATABASE} owner ${DATABASE}`)
    }
    await client.query(`revoke connect, temporary on database ${DATABASE} from public`)
  })
  return postgres.url(DATABASE, { name: DATABASE, password: postgres.password })
}

export async function asSuperuser<T>(
  postgres: PostgresServer,
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ connectionString: postgres.url(database) })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

export async function exists(client: pg.Client, sql: string, value: string): Promise<boolean> {
  const { rowCount } = await client.query(sql, [value])
  return (rowCount ?? 0) > 0
}
