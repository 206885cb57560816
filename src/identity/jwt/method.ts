import type { Ledger } from '../../ledger/db.ts'
import type { Document } from '../../ledger/documents.ts'
import type { Reading } from '../../ledger/reading.ts'
import type { AuthMounts } from '../auth-mounts.ts'
import { type AuthMount, logIn } from '../login.ts'
import type { CreatedToken } from '../token-create.ts'
import { checkTokenFields, tokenFieldsOf } from '../token-fields.ts'
import { checkJwtConfig, type JwtConfig } from './config.ts'
import { refused, type WireFields } from './fields.ts'
import { checkKeySource, type KeySource, openKeySource } from './key-source.ts'
import { checkJwtRole, type JwtRole } from './role.ts'
import { verifyLogin } from './verify.ts'

/** The method `jwt`: a workload shows a token that its platform signed. */
export type JwtMethod = {
  config(mountId: string): Promise<JwtConfig | undefined>
  /** Replaces the whole configuration, once its keys could be fetched. */
  writeConfig(mountId: string, fields: WireFields, options: { verify: boolean }): Promise<void>
  writeRole(mountId: string, name: string, fields: WireFields): Promise<void>
  logIn(ask: {
    mount: AuthMount
    roleName: string | undefined
    jwt: string
    sourceAddress: string
    reading: Reading
  }): Promise<CreatedToken>
}

export function createJwtMethod(ledger: Ledger, mounts: AuthMounts): JwtMethod {
  const sources = new Map<string, { config: JwtConfig; keys: KeySource }>()

  /** The revision cache answers the same object until something changes; then the keys may be others too. */
  const keysOf = (mountId: string, config: JwtConfig): KeySource => {
    const known = sources.get(mountId)
    if (known && (known.config === config || JSON.stringify(known.config) === JSON.stringify(config))) {
      return known.keys
    }
    const keys = openKeySource(config)
    sources.set(mountId, { config, keys })
    return keys
  }

  return {
    config: async (mountId) => (await mounts.config(mountId)) as JwtConfig | undefined,
    async writeConfig(mountId, fields, { verify }) {
      const config = checkJwtConfig(fields)
      if (verify) await checkKeySource(config)
      await mounts.writeConfig(mountId, config as unknown as Document)
    },
    writeRole: (mountId, name, fields) =>
      mounts.writeRole(mountId, name, (before) => {
        const token = checkTokenFields(fields, before)
        const role = checkJwtRole(fields, {
          mountType: 'jwt',
          before: before as unknown as JwtRole | undefined,
          hasBoundCidrs: token.token_bound_cidrs.length > 0,
        })
        return { ...role, ...token } as unknown as Document
      }),
    async logIn({ mount, roleName: asked, jwt, sourceAddress, reading }) {
      const { revision, now } = reading
      const config = (await mounts.loginConfig(revision, mount.id)) as unknown as JwtConfig | undefined
      const roleName = (asked || config?.default_role || '').toLowerCase()
      if (roleName === '') throw refused('missing role')
      const spec = await mounts.loginRole(revision, mount.id, roleName)
      if (!spec) {
        // Nobody's role is longer, and nobody needs a long name sent back.
        throw refused(`role ${JSON.stringify(roleName.slice(0, 256))} could not be found`)
      }
      if (!config) throw refused('could not load configuration')
      const role = spec as unknown as JwtRole
      const identity = await verifyLogin({
        config,
        keys: keysOf(mount.id, config),
        role,
        roleName,
        jwt,
        now,
      })
      return logIn(ledger, {
        mount,
        roleName,
        token: tokenFieldsOf(spec),
        proven: { ...identity, kind: 'workload', alias: identity.subject },
        sourceAddress,
        now,
      })
    },
  }
}
