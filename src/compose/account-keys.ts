import type { Admin } from '../engine/engine.ts'
import type { SecretStore } from '../secrets/secret-store.ts'
import { installationKey } from './installation-key.ts'

/**
 * Adds to an admin credential the installation's account key. It stays in our own store, whichever store the credential
 * itself comes from: who steals the one has not got the other.
 */
export function accountKeys(secrets: SecretStore): (admin: Admin) => Admin {
  const key = installationKey(secrets, 'account-key')
  return (admin) => async (lane) => {
    const credentials = await admin(lane)
    // Ending takes no key, and must not wait for one.
    return lane === 'ending' ? credentials : { ...credentials, accountKey: await key() }
  }
}
