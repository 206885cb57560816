import { dropConfig, strandedSecrets } from '../ledger/auth.ts'
import type { Ledger } from '../ledger/db.ts'
import type { MethodSecrets } from './method-secrets.ts'

/**
 * Forgets the secrets that disabled mounts have left in the store, with the configurations that name them. For sweeps:
 * disabling a mount waits for no store, and what fails here the next call tries again.
 */
export async function dropStrandedSecrets(
  ledger: Ledger,
  secrets: Pick<MethodSecrets, 'forget'>,
): Promise<void> {
  for (const { mountId, secretName } of await strandedSecrets(ledger)) {
    await secrets.forget(secretName)
    await dropConfig(ledger, mountId, secretName)
  }
}
