import { change, type Db, many, one } from './db.ts'

type SealedRow = { sealed: Buffer; version: number }

/** Ciphertext by name, for the built-in secret store. Structurally its `SealedRows`. */
export function sealedSecrets(db: Db): {
  get(name: string): Promise<SealedRow | undefined>
  /** Writes only over the version before it (0: none); false when another writer was first. */
  put(name: string, row: SealedRow): Promise<boolean>
  delete(name: string): Promise<void>
  /** Rows whose box names another key (its bytes 2 to 9) than this. */
  underOtherKeys(keyId: Buffer, name: string, limit: number): Promise<(SealedRow & { name: string })[]>
  /** Changes how the text is sealed, not what it is: only over the box that was read. */
  replace(name: string, row: SealedRow, was: Buffer): Promise<boolean>
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
    underOtherKeys: (keyId, name, limit) =>
      many(
        db,
        `select name, sealed, version from leasehold.sealed_secret
         where substring(sealed from 2 for 8) <> $1 and name > $2 order by name limit $3`,
        [keyId, name, limit],
      ),
    async replace(name, { sealed, version }, was) {
      const replaced = await change(
        db,
        'update leasehold.sealed_secret set sealed = $2 where name = $1 and version = $3 and sealed = $4',
        [name, sealed, version, was],
      )
      return replaced === 1
    },
  }
}
