import type { Sensitive } from '../lib/sensitive.ts'
import { type SecretStore, SecretStoreError } from './secret-store.ts'

/** The installation's secret of this name, made when first asked for: of several processes one writes it and all read it. */
export async function madeOnce(
  secrets: SecretStore,
  name: string,
  make: () => Promise<Sensitive>,
): Promise<Sensitive> {
  const known = await secrets.get(name)
  if (known) return known.text
  try {
    await secrets.put(name, await make(), { ifVersion: 0 })
  } catch (error) {
    if (!(error instanceof SecretStoreError && error.kind === 'conflict')) throw error
  }
  return madeOnce(secrets, name, make)
}
