import type { MethodSecrets } from '../identity/method-secrets.ts'
import { BrokerError } from '../lib/errors.ts'
import { newId } from '../lib/ids.ts'
import { type SecretStore, SecretStoreError } from '../secrets/secret-store.ts'

/** The secret store, as auth methods keep in it what nobody may read back. */
export const methodSecrets = (secrets: SecretStore): MethodSecrets => ({
  async keep(text) {
    const name = `auth/${newId()}`
    await secrets.put(name, text).catch(tell)
    return name
  },
  find: async (name) => (await secrets.get(name).catch(tell))?.text,
  forget: (name) => secrets.delete(name).catch(tell),
})

/** What the caller can do something about; a secret that was tampered with, say, is for the log. */
function tell(error: unknown): never {
  if (!(error instanceof SecretStoreError)) throw error
  if (error.kind === 'unreachable') {
    throw new BrokerError('unavailable', 'the secret store does not answer', { cause: error })
  }
  if (error.kind === 'invalid') throw new BrokerError('invalid_request', error.message, { cause: error })
  throw error
}
