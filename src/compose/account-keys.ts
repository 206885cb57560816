import { randomBytes } from 'node:crypto'
import type { Admin } from '../engine/engine.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import { madeOnce } from '../secrets/made-once.ts'
import type { SecretStore } from '../secrets/secret-store.ts'

const KEY_BYTES = 32

/**
 * Adds to an admin credential the installation's account key, made when it is first asked for. It stays in our own
 * store, whichever store the credential itself comes from: who steals the one has not got the other.
 */
export function accountKeys(secrets: SecretStore): (admin: Admin) => Admin {
  let known: Promise<Sensitive> | undefined
  const newKey = async () => sensitive(randomBytes(KEY_BYTES).toString('base64'))
  const key = (): Promise<Sensitive> => {
    known ??= madeOnce(secrets, 'account-key', newKey).catch((error) => {
      known = undefined
      throw error
    })
    return known
  }
  return (admin) => async (lane) => {
    const credentials = await admin(lane)
    // Ending takes no key, and must not wait for one.
    return lane === 'ending' ? credentials : { ...credentials, accountKey: await key() }
  }
}
