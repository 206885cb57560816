import type { Ledger } from '../../ledger/db.ts'
import type { Document } from '../../ledger/documents.ts'
import type { Reading } from '../../ledger/reading.ts'
import type { AuthMounts } from '../auth-mounts.ts'
import { type AuthMount, logIn } from '../login.ts'
import { openedFor } from '../opened.ts'
import type { CreatedToken } from '../token-create.ts'
import { checkTokenFields, tokenFieldsOf } from '../token-fields.ts'
import { askedRole } from './asked-role.ts'
import { checkJwtConfig, type JwtConfig, withEvents } from './config.ts'
import type { WireFields } from './fields.ts'
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
  const keysOf = openedFor<JwtConfig, KeySource>(openKeySource)

  return {
    config: async (mountId) => {
      const stored = (await mounts.config(mountId)) as JwtConfig | undefined
      return stored && withEvents(stored)
    },
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
      const { now } = reading
      const found = await askedRole(mounts, { mount, roleName: asked, reading })
      const { roleName, spec } = found
      const config = found.config as unknown as JwtConfig
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
