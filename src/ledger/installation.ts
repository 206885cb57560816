import { type Db, one } from './db.ts'

/** This installation's id, made at the first call on a ledger. */
export async function installationId(db: Db, candidate: string): Promise<string> {
  await db.query('insert into leasehold.installation (id) values ($1) on conflict do nothing', [candidate])
  const row = await one<{ id: string }>(db, 'select id from leasehold.installation')
  if (!row) throw new Error('the ledger has no installation row')
  return row.id
}

/** What the ledger takes for now: the one clock that decides. */
export async function ledgerNow(db: Db): Promise<Date> {
  const row = await one<{ now: Date }>(db, 'select leasehold.ledger_now() as now')
  if (!row) throw new Error('the ledger gave no answer')
  return row.now
}
