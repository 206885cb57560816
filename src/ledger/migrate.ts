import { readdir, readFile } from 'node:fs/promises'
import { type Db, type Ledger, many, one } from './db.ts'

const FOLDER = new URL('./migrations/', import.meta.url)
const FILE_NAME = /^(\d{4})-[a-z0-9-]+\.sql$/
/** Any number of processes may start at once; this advisory lock lets one of them migrate. */
const LOCK = 5_410_617_302

/** Brings the ledger to this version's schema. Throws when a newer version of Leasehold has been here. */
export async function migrate(ledger: Ledger): Promise<void> {
  const files = await migrationFiles()
  await ledger.transaction(async (db) => {
    await db.query('select pg_advisory_xact_lock($1)', [LOCK])
    await db.query('create schema if not exists leasehold')
    await db.query(`create table if not exists leasehold.migration (
      number integer primary key, name text not null, applied_at timestamptz not null default now())`)
    const applied = await appliedNumbers(db)
    refuseNewerLedger(applied, files)
    for (const { number, name } of files) {
      if (applied.has(number)) continue
      await db.query(await readFile(new URL(name, FOLDER), 'utf8'))
      await db.query('insert into leasehold.migration (number, name) values ($1, $2)', [number, name])
    }
  })
}

/** Whether `migrate` has run to this version's end: what a server checks before it serves. */
export async function isMigrated(db: Db): Promise<boolean> {
  const table = await one<{ found: boolean }>(
    db,
    `select to_regclass('leasehold.migration') is not null as found`,
  )
  if (!table?.found) return false
  const files = await migrationFiles()
  const applied = await appliedNumbers(db)
  refuseNewerLedger(applied, files)
  return files.every(({ number }) => applied.has(number))
}

async function migrationFiles(): Promise<{ number: number; name: string }[]> {
  const names = (await readdir(FOLDER)).filter((name) => FILE_NAME.test(name)).sort()
  return names.map((name) => ({ number: Number(name.slice(0, 4)), name }))
}

async function appliedNumbers(db: Db): Promise<Set<number>> {
  const rows = await many<{ number: number }>(db, 'select number from leasehold.migration')
  return new Set(rows.map(({ number }) => number))
}

function refuseNewerLedger(applied: Set<number>, files: { number: number }[]): void {
  const newest = Math.max(0, ...files.map(({ number }) => number))
  const unknown = [...applied].filter((number) => number > newest)
  if (unknown.length > 0) {
    throw new Error(
      `the ledger has migration ${Math.max(...unknown)}, newer than this version of Leasehold (${newest}); use the newer version`,
    )
  }
}
