import { messageOf } from '../../lib/errors.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import { checkName, checkText, type SecretStore, SecretStoreError } from '../secret-store.ts'
import { seal, sealingKey, unseal } from './seal.ts'

export type SealedRow = { sealed: Buffer; version: number }

/** Where the boxes rest: the ledger's table, handed in so that this folder needs no database. */
export type SealedRows = {
  get(name: string): Promise<SealedRow | undefined>
  /** Writes the row when its version is still `row.version - 1` (0: there is none); false when it is not. */
  put(name: string, row: SealedRow): Promise<boolean>
  delete(name: string): Promise<void>
}

/** Writers of one name that meet each other again and again are a bug, not traffic. */
const PUT_ATTEMPTS = 5

/** Secrets in our own database, sealed under a key derived from the master key, which the database never sees. */
export function builtinSecretStore(rows: SealedRows, masterKey: Sensitive): SecretStore {
  const key = sealingKey(masterKey)

  const putAfter = async (name: string, text: Sensitive, version: number): Promise<boolean> => {
    const next = { name, version: version + 1 }
    return asked(rows.put(name, { sealed: seal(key, next, text), version: next.version }))
  }

  return {
    async get(name) {
      checkName(name)
      const row = await asked(rows.get(name))
      if (!row) return undefined
      return { text: unseal(key, { name, version: row.version }, row.sealed), version: row.version }
    },

    async put(name, text, options) {
      checkName(name)
      checkText(text)
      for (let attempt = 0; attempt < PUT_ATTEMPTS; attempt++) {
        const version = options?.ifVersion ?? (await asked(rows.get(name)))?.version ?? 0
        if (await putAfter(name, text, version)) return version + 1
        if (options) break
      }
      throw new SecretStoreError('conflict', `someone else changed the secret ${name} at the same time`)
    },

    async delete(name) {
      checkName(name)
      await asked(rows.delete(name))
    },
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
