import type { External } from './reference.ts'
import { type ExternalStore, type SecretStore, SecretStoreError } from './secret-store.ts'

export type StoreName = 'builtin' | External

/** Every store of this installation. */
export type SecretStores = {
  /** Always there: what the installation itself needs, and the last-good copies. */
  builtin: SecretStore
  /** Where a password goes that somebody gives us. */
  default: StoreName
  /** Throws kind `not_configured`. */
  store(name: StoreName): SecretStore
  external(name: External): ExternalStore
  close(): Promise<void>
}

export function secretStores(parts: {
  builtin: SecretStore
  external: Partial<Record<External, ExternalStore>>
  default: StoreName
}): SecretStores {
  const external = (name: External): ExternalStore => {
    const found = parts.external[name]
    if (!found) throw new SecretStoreError('not_configured', `no ${WORDS[name]}`)
    return found
  }
  return {
    builtin: parts.builtin,
    default: parts.default,
    external,
    store: (name) => (name === 'builtin' ? parts.builtin : external(name)),
    async close() {
      await Promise.allSettled(Object.values(parts.external).map((store) => store.close()))
    },
  }
}

const WORDS: Readonly<Record<External, string>> = {
  vault: 'Vault is configured here (LEASEHOLD_VAULT_ADDR)',
  aws: 'AWS Secrets Manager is configured here (LEASEHOLD_AWS_REGION)',
}
