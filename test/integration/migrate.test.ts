import { readdir, readFile } from 'node:fs/promises'
import pg from 'pg'
import { afterEach, expect, test, vi } from 'vitest'
import { migrateLedger } from '../../src/compose.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { createDatabase } from '../support/database.ts'
import { silent } from '../support/wire.ts'

// What is asked of migrations of a ledger that is large and in use.

afterEach(() => void vi.useRealTimers())

test('a migration takes as long as it takes, and so does waiting for that of another process', async () => {
  const database = await createDatabase()
  const other = new pg.Client({ connectionString: database.url })
  await other.connect()
  try {
    await other.query('begin')
    // The first statement of each migration makes this, and whoever makes it too waits.
    await other.query('create schema leasehold')
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const migrating = migrateLedger({
      ledgerUrl: sensitive(database.url),
      log: silent,
    }).then(
      () => 'migrated',
      (error: Error) => error.message,
    )
    const waiting = 'select from pg_locks where not granted and pid <> pg_backend_pid()'
    while ((await other.query(waiting)).rowCount === 0) await other.query('select pg_sleep(0.02)')
    vi.advanceTimersByTime(3_600_000)
    await other.query('rollback')
    expect(await migrating).toBe('migrated')
  } finally {
    vi.useRealTimers()
    await other.end()
    await database.drop()
  }
})

test('no index of a table that was there is built where its readers would wait for it', async () => {
  const folder = new URL('../../src/ledger/migrations/', import.meta.url)
  const names = (await readdir(folder)).filter((name) => name >= '0022').sort()
  const texts = await Promise.all(names.map((name) => readFile(new URL(name, folder), 'utf8')))
  // All of them are one transaction: what one has locked is locked in the next.
  const sql = texts.join('\n').replaceAll(/--.*/g, '')
  const altered = [...sql.matchAll(/alter table leasehold\.(\w+)/g)].map(({ 1: table, index }) => ({
    table,
    index,
  }))
  expect(altered.map(({ table }) => table)).toContain('token')
  for (const { 1: table, index } of sql.matchAll(/create (?:unique )?index \w+\s+on leasehold\.(\w+)/g)) {
    const before = altered.filter((one) => one.table === table && one.index < index)
    expect(before, `an index on ${table}`).toEqual([])
  }
})
