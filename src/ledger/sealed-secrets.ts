import { change, type Db, one } from './db.ts'

type SealedRow = { sealed: Buffer; version: number }

/** Ciphertext by name, for the built-in secret store. Structurally its `SealedRows`. */
export function sealedSecrets(db: Db): {
  get(name: string): Promise<SealedRow | undefined>
  /** Writes only over the version before it (0: none); false when another writer was first. */
  put(name: string, row: SealedRow): Promise<boolean>
  delete(name: string): Promise<void>
} {
  return {
    get: (name) =>
      one<SealedRow>(db, 'select sealed, version from leasehold.sealed_secret where name = $1', [name]),
    async put(name, { sealed, version }) {
      const written = await change(
        db,
        `insert into leasehold.sealed_secret (name, sealed, version)
         select $1, $2, $3
         where $3 = 1 or exists (select from leasehold.sealed_secret where name = $1)
         on conflict (name) do update
           set sealed = excluded.sealed, version = excluded.version, updated_at = leasehold.ledger_now()
           where sealed_secret.version = excluded.version - 1`,
        [name, sealed, version],
      )
      return written === 1
    },
    async delete(name) {
      await change(db, 'delete from leasehold.sealed_secret where name = $1', [name])
    },
  }
}
