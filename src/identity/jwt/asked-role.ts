import type { Document } from '../../ledger/documents.ts'
import type { Reading } from '../../ledger/reading.ts'
import type { AuthMounts } from '../auth-mounts.ts'
import type { AuthMount } from '../login.ts'
import { refused } from './fields.ts'

/** Nobody's role is longer, and nobody needs a long name sent back. */
const MAX_SHOWN = 256

/** The role a login asks for, or the configuration's default, in lower case. Throws the dialect's refusal. */
export async function askedRole(
  mounts: Pick<AuthMounts, 'loginConfig' | 'loginRole'>,
  ask: { mount: AuthMount; roleName: string | undefined; reading: Reading },
): Promise<{ config: Document; roleName: string; spec: Document }> {
  const { mount, reading } = ask
  const config = await mounts.loginConfig(reading.revision, mount.id)
  const roleName = (ask.roleName || String(config?.default_role ?? '')).toLowerCase()
  if (roleName === '') throw refused('missing role')
  const spec = await mounts.loginRole(reading.revision, mount.id, roleName)
  if (!spec) throw refused(`role ${JSON.stringify(roleName.slice(0, MAX_SHOWN))} could not be found`)
  if (!config) throw refused('could not load configuration')
  return { config, roleName, spec }
}
