import { messageOf } from '../../lib/errors.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import { putOver } from '../asking.ts'
import { checkName, checkText, type SecretStore, SecretStoreError } from '../secret-store.ts'
import { rewrap, type SealingKeys, seal, sealingKey, unseal } from './seal.ts'

export type SealedRow = { sealed: Buffer; version: number }

/** Where the boxes rest: the ledger's table, handed in so that this folder needs no database. */
export type SealedRows = {
  get(name: string): Promise<SealedRow | undefined>
  /** Writes the row when its version is still `row.version - 1` (0: there is none); false when it is not. */
  put(name: string, row: SealedRow): Promise<boolean>
  delete(name: string): Promise<void>
  /** Up to so many rows that are sealed under another key than that of this id, by name, from after `name` on. */
  underOtherKeys(keyId: Buffer, name: string, limit: number): Promise<(SealedRow & { name: string })[]>
  /** Puts the box into the row's place when the row still has the one it was made from; false when not. */
  replace(name: string, row: SealedRow, was: Buffer): Promise<boolean>
}

export type MasterKeys = { masterKey: Sensitive; previousMasterKey?: Sensitive | undefined }

const keysOf = ({ masterKey, previousMasterKey }: MasterKeys): SealingKeys => ({
  current: sealingKey(masterKey),
  previous: previousMasterKey && sealingKey(previousMasterKey),
})

/**
 * Secrets in our own database, sealed under a key derived from the master key, which the database never sees. What the
 * previous one sealed can be read too.
 */
export function builtinSecretStore(rows: SealedRows, masterKeys: MasterKeys): SecretStore {
  const keys = keysOf(masterKeys)

  return {
    async get(name) {
      checkName(name)
      const row = await asked(rows.get(name))
      if (!row) return undefined
      return { text: unseal(keys, { name, version: row.version }, row.sealed), version: row.version }
    },

    async put(name, text, options) {
      checkName(name)
      checkText(text)
      return putOver(name, options?.ifVersion, {
        newest: async () => (await asked(rows.get(name)))?.version ?? 0,
        putAfter: (before) => {
          const version = before + 1
          return asked(rows.put(name, { sealed: seal(keys, { name, version }, text), version }))
        },
      })
    },

    async delete(name) {
      checkName(name)
      await asked(rows.delete(name))
    },
  }
}

export type Rewrapped = {
  rewrapped: number
  /** Sealed under a key that was not given, or damaged: these stay as they are. */
  left: number
}

const REWRAP_BATCH = 100

/**
 * Brings every secret under the current master key. Any number of processes may do it at once, and again: a row that is
 * done is not met again, and one that somebody wrote meanwhile is sealed already.
 */
export async function rewrapSecrets(rows: SealedRows, masterKeys: MasterKeys): Promise<Rewrapped> {
  const keys = keysOf(masterKeys)
  const done = { rewrapped: 0, left: 0 }
  for (let after = ''; ; ) {
    const batch = await asked(rows.underOtherKeys(keys.current.id, after, REWRAP_BATCH))
    for (const { name, ...row } of batch) {
      const sealed = rewrapped(keys, { name, ...row })
      if (!sealed) done.left += 1
      else if (await asked(rows.replace(name, { ...row, sealed }, row.sealed))) done.rewrapped += 1
      after = name
    }
    if (batch.length < REWRAP_BATCH) return done
  }
}

/** One secret that cannot be opened must not keep the others under the old key. */
function rewrapped(keys: SealingKeys, { name, version, sealed }: SealedRow & { name: string }) {
  try {
    return rewrap(keys, { name, version }, sealed)
  } catch (error) {
    if (error instanceof SecretStoreError) return undefined
    throw error
  }
}

/** Whatever goes wrong below is a store that does not answer; no driver's error passes the seam. */
async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    throw new SecretStoreError('unreachable', `the secret store did not answer: ${messageOf(cause)}`, {
      cause,
    })
  }
}
