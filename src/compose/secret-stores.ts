import type { Ledger } from '../ledger/db.ts'
import { sealedSecrets } from '../ledger/sealed-secrets.ts'
import type { Logger } from '../lib/log.ts'
import { type AwsSettings, awsStore } from '../secrets/aws/aws-store.ts'
import { builtinSecretStore, type MasterKeys, rewrapSecrets } from '../secrets/builtin/builtin-store.ts'
import { type SecretStores, type StoreName, secretStores } from '../secrets/stores.ts'
import { type VaultSettings, vaultStore } from '../secrets/vault/vault-store.ts'

export type SecretStoreSettings = {
  default: StoreName
  vault: VaultSettings | undefined
  aws: AwsSettings | undefined
}

export type SecretStoreParts = MasterKeys & { secretStores?: SecretStoreSettings | undefined; log: Logger }

/**
 * Every store of the settings, none of which is asked anything yet but the built-in one: after a change of master key
 * its secrets come under the new one first, and what is still under the old one would stop us.
 */
export async function composeSecretStores(
  ledger: Ledger,
  { secretStores: settings, log, ...masterKeys }: SecretStoreParts,
): Promise<SecretStores> {
  const rows = sealedSecrets(ledger)
  const { rewrapped, left } = await rewrapSecrets(rows, masterKeys)
  if (rewrapped > 0) log.info({ secrets: rewrapped }, 'secrets were brought under the master key')
  if (left > 0) {
    log.warn(
      { secrets: left },
      'secrets are sealed under a master key that this process does not have; give it in LEASEHOLD_PREVIOUS_MASTER_KEY_FILE',
    )
  }
  return secretStores({
    builtin: builtinSecretStore(rows, masterKeys),
    external: {
      ...(settings?.vault && { vault: vaultStore(settings.vault) }),
      ...(settings?.aws && { aws: awsStore(settings.aws) }),
    },
    default: settings?.default ?? 'builtin',
  })
}
