import { randomBytes } from 'node:crypto'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { madeOnce } from '../secrets/made-once.ts'
import type { SecretStore } from '../secrets/secret-store.ts'

const KEY_BYTES = 32

/** A key of the installation's own, in base64: made when it is first asked for, and kept in mind from then on. */
export function installationKey(secrets: SecretStore, name: string): () => Promise<Sensitive> {
  let known: Promise<Sensitive> | undefined
  const newKey = async () => sensitive(randomBytes(KEY_BYTES).toString('base64'))
  return () => {
    known ??= madeOnce(secrets, name, newKey).catch((error) => {
      known = undefined
      throw error
    })
    return known
  }
}
