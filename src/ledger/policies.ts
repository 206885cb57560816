import { change, type Db, type Ledger, lockNamed, many } from './db.ts'

/** A live policy document. */
export type PolicyRow = { name: string; version: number; text: string }

export const findPolicies = (db: Db, names: string[]): Promise<PolicyRow[]> =>
  many<PolicyRow>(
    db,
    'select name, version, document as text from leasehold.policy where name = any($1) and replaced_at is null',
    [names],
  )

async function listPolicyNames(db: Db): Promise<string[]> {
  const rows = await many<{ name: string }>(
    db,
    'select name from leasehold.policy where replaced_at is null order by name',
  )
  return rows.map(({ name }) => name)
}

/** The documents, for whoever decides by them. */
export const policyShelf = (ledger: Ledger) => ({
  find: (names: string[]) => findPolicies(ledger, names),
  names: () => listPolicyNames(ledger),
  put: (name: string, text: string) => putPolicy(ledger, name, text),
  remove: async (name: string) => void (await removePolicy(ledger, name)),
})

/** Writes a new version; the old one stays, for whoever it let do something. */
const putPolicy = (ledger: Ledger, name: string, text: string): Promise<void> =>
  ledger.transaction(async (db) => {
    await lockNamed(db, `policy ${name}`)
    await removePolicy(db, name)
    await db.query(
      `insert into leasehold.policy (name, version, document)
       select $1, coalesce(max(version), 0) + 1, $2 from leasehold.policy where name = $1`,
      [name, text],
    )
  })

const removePolicy = (db: Db, name: string): Promise<number> =>
  change(
    db,
    'update leasehold.policy set replaced_at = leasehold.ledger_now() where name = $1 and replaced_at is null',
    [name],
  )
