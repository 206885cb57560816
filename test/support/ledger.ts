import { inject } from 'vitest'
import { type Ledger, openLedger } from '../../src/ledger/db.ts'
import { migrate } from '../../src/ledger/migrate.ts'
import { createDatabase, type TestDatabase } from './database.ts'

/** A migrated ledger in a database of the test's own, whose clock the test can move. */
export type TestLedger = {
  ledger: Ledger
  url: string
  /** Another process's connections to the same ledger; closed with it. */
  another(): Ledger
  /** Moves the ledger's clock forward, for every connection, from the next transaction on. */
  advance(seconds: number): Promise<void>
  /** What the ledger takes for now. */
  now(): Promise<Date>
  close(): Promise<void>
}

const MOVABLE_CLOCK = `
  create table public.test_clock (
    only_row boolean primary key default true check (only_row),
    ahead interval not null default '0',
    stopped_at timestamptz);
  insert into public.test_clock default values;
  create or replace function leasehold.ledger_now() returns timestamptz language sql stable
    as 'select coalesce(stopped_at, now()) + ahead from public.test_clock'`

/** A migrated ledger with a movable clock that nobody is connected to: to copy takes less than to migrate anew. */
export async function createLedger(serverUrl: string): Promise<TestDatabase> {
  const database = await createDatabase(serverUrl)
  const ledger = openLedger(database.url, () => {}, { connections: 1 })
  await migrate(ledger)
  await ledger.query(MOVABLE_CLOCK)
  await ledger.close()
  return database
}

/** With `stopped` the clock moves only by `advance`, so that no test depends on how fast the machine is. */
export async function openTestLedger({
  connections = 10,
  stopped = false,
  serverUrl,
}: {
  connections?: number
  stopped?: boolean
  /** Another server than the run's shared one. */
  serverUrl?: string
} = {}): Promise<TestLedger> {
  const database =
    serverUrl === undefined
      ? await createDatabase(inject('postgresUrl'), { like: inject('ledgerDatabase') })
      : await createLedger(serverUrl)
  const opened: Ledger[] = []
  const another = () => {
    // Dropping the database cuts connections that the pool has let go of but the server has not: no news to a test.
    const ledger = openLedger(database.url, () => {}, { connections })
    opened.push(ledger)
    return ledger
  }
  const ledger = another()
  if (stopped) await ledger.query(`update public.test_clock set stopped_at = date_trunc('second', now())`)

  return {
    ledger,
    url: database.url,
    another,
    async advance(seconds) {
      await ledger.query(`update public.test_clock set ahead = ahead + $1 * interval '1 second'`, [seconds])
    },
    async now() {
      const { rows } = await ledger.query<{ now: Date }>('select leasehold.ledger_now() as now')
      return (rows[0] as { now: Date }).now
    },
    async close() {
      await Promise.all(opened.map((each) => each.close()))
      await database.drop()
    },
  }
}
