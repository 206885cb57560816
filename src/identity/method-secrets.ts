import type { Document } from '../ledger/documents.ts'
import type { Sensitive } from '../lib/sensitive.ts'
import type { AuthMounts } from './auth-mounts.ts'

/**
 * Where auth methods keep what nobody may read back: functions of the secret store, which this folder does not know.
 * Each text gets a name of its own, and the name is all that the ledger has of it. Throw `BrokerError` (`unavailable`)
 * when the store does not answer.
 */
export type MethodSecrets = {
  /** Answers the name under which the text is kept from now on. */
  keep(text: Sensitive): Promise<string>
  find(name: string): Promise<Sensitive | undefined>
  /** No error when there is none of that name. */
  forget(name: string): Promise<void>
}

/** The member of a stored configuration that names its secret. Not for the wire. */
const NAME = 'secret_name'

/** The configuration as its method made it, and under what name its secret is kept, if it has one. */
export function configAndSecret(stored: Document): { config: Document; secretName: string | undefined } {
  const { [NAME]: name, ...config } = stored
  return { config, secretName: typeof name === 'string' ? name : undefined }
}

/**
 * Replaces a mount's configuration. `secret` is a text to keep with it from now on, or else `check` says whether the
 * one there was stays. `check` makes the new configuration of the old one under a lock, or throws. The text is kept
 * before it is named and the old one forgotten after, so that no mount is ever without the secret it works with; what
 * a refusal or a crash leaves behind is a sealed text that nothing names.
 */
export async function writeConfigWithSecret(
  { mounts, secrets }: { mounts: AuthMounts; secrets: MethodSecrets },
  mountId: string,
  secret: Sensitive | undefined,
  check: (before: Document | undefined) => { config: Document; keepsSecret: boolean },
): Promise<void> {
  const newName = secret && (await secrets.keep(secret))
  let name: string | undefined
  const replaced = await mounts.changeConfig(mountId, (stored) => {
    const before = stored && configAndSecret(stored)
    const { config, keepsSecret } = check(before?.config)
    name = newName ?? (keepsSecret ? before?.secretName : undefined)
    return { ...config, ...(name !== undefined && { [NAME]: name }) }
  })
  const oldName = replaced && configAndSecret(replaced).secretName
  if (oldName !== undefined && oldName !== name) await secrets.forget(oldName)
}
