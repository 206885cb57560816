import { isRoleIdTaken, removeAppRole } from '../../ledger/approle.ts'
import type { Ledger } from '../../ledger/db.ts'
import type { Document } from '../../ledger/documents.ts'
import { BrokerError } from '../../lib/errors.ts'
import type { AuthMounts } from '../auth-mounts.ts'
import { refused, type WireFields } from '../jwt/fields.ts'
import type { CreatedToken } from '../token-create.ts'
import { checkTokenFields } from '../token-fields.ts'
import { type AppRoleLoginAsk, createAppRoleLogin } from './login.ts'
import { type AppRole, checkAppRole, checkRoleId } from './role.ts'
import { createSecretIds, type SecretIds } from './secret-ids.ts'

/** The method `approle`, for machines that have nothing better to show: a name, and a secret made for it. */
export type AppRoleMethod = {
  /** As `AuthMounts` has them, without their role_id and what names their principal; a role takes its secret ids with it. */
  roles: Pick<AuthMounts, 'role' | 'roleNames' | 'removeRole'>
  writeRole(mountId: string, name: string, fields: WireFields): Promise<void>
  /** Undefined where there is no such role. */
  roleId(mountId: string, name: string): Promise<string | undefined>
  /** The old one is good for nothing from then on. Throws 404 where there is no such role. */
  writeRoleId(mountId: string, name: string, roleId: string): Promise<void>
  secretIds: SecretIds
  logIn(ask: AppRoleLoginAsk): Promise<CreatedToken>
}

export function createAppRoleMethod(ledger: Ledger, mounts: AuthMounts): AppRoleMethod {
  const write: AuthMounts['writeRole'] = async (mountId, name, check) => {
    try {
      await mounts.writeRole(mountId, name, check)
    } catch (error) {
      throw isRoleIdTaken(error) ? refused('role_id already in use') : error
    }
  }

  return {
    roles: {
      role: async (mountId, name) => {
        const spec = await mounts.role(mountId, name)
        if (!spec) return undefined
        const { role_id: _, principal: __, ...shown } = spec
        return shown
      },
      roleNames: mounts.roleNames,
      removeRole: (mountId, name) => ledger.transaction((db) => removeAppRole(db, mountId, name)),
    },
    writeRole: (mountId, name, fields) =>
      write(mountId, name, (before) => {
        const token = checkTokenFields(fields, before)
        const role = checkAppRole(fields, {
          before: before as unknown as AppRole | undefined,
          hasBoundCidrs: token.token_bound_cidrs.length > 0,
        })
        return { ...role, ...token } as unknown as Document
      }),
    roleId: async (mountId, name) => {
      const spec = await mounts.role(mountId, name)
      return spec && (spec as unknown as AppRole).role_id
    },
    writeRoleId: (mountId, name, roleId) => {
      checkRoleId(roleId)
      return write(mountId, name, (before) => {
        if (!before) throw new BrokerError('not_found', `role ${JSON.stringify(name)} does not exist`)
        return { ...before, role_id: roleId }
      })
    },
    secretIds: createSecretIds(ledger),
    logIn: createAppRoleLogin(ledger),
  }
}
