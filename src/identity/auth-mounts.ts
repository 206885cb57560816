import {
  findAuthConfig,
  findAuthRole,
  listAuthRoles,
  putAuthConfig,
  putAuthRole,
  removeAuthRole,
} from '../ledger/auth.ts'
import { type Ledger, lockNamed } from '../ledger/db.ts'
import type { Document } from '../ledger/documents.ts'
import { BrokerError } from '../lib/errors.ts'
import { revised } from '../lib/revised.ts'

/** The documents of auth mounts, whatever their method: one configuration each, and roles. */
export type AuthMounts = {
  config(mountId: string): Promise<Document | undefined>
  writeConfig(mountId: string, spec: Document): Promise<void>
  /** As `writeRole`, of the whole configuration. Answers the old one. */
  changeConfig(
    mountId: string,
    check: (before: Document | undefined) => Document,
  ): Promise<Document | undefined>
  role(mountId: string, name: string): Promise<Document | undefined>
  roleNames(mountId: string): Promise<string[]>
  /** `check` makes the new document of the old one, or throws; two at once take turns. */
  writeRole(
    mountId: string,
    name: string,
    check: (before: Document | undefined) => Document | Promise<Document>,
  ): Promise<void>
  removeRole(mountId: string, name: string): Promise<void>
  /** For logins: kept for as long as the ledger's revision stays. */
  loginConfig(revision: number, mountId: string): Promise<Document | undefined>
  loginRole(revision: number, mountId: string, name: string): Promise<Document | undefined>
}

/** As paths take it, and no longer than an index of the ledger does. */
const isRoleName = (name: string): boolean => /^\w(?:[\w.-]{0,254}\w)?$/.test(name)

export function createAuthMounts(ledger: Ledger): AuthMounts {
  const kept = <K extends string>(find: (key: K) => Promise<Document | undefined>) =>
    revised<Document>(async (keys) => {
      const found = await Promise.all(keys.map(async (key) => [key, await find(key as K)] as const))
      return new Map(found.flatMap(([key, spec]) => (spec ? [[key, spec] as const] : [])))
    })
  const configs = kept((mountId) => findAuthConfig(ledger, mountId))
  const roles = kept((key) => {
    const [mountId = '', name = ''] = key.split('/')
    return findAuthRole(ledger, mountId, name)
  })

  return {
    config: (mountId) => findAuthConfig(ledger, mountId),
    async writeConfig(mountId, spec) {
      await putAuthConfig(ledger, mountId, spec)
    },
    changeConfig: (mountId, check) =>
      ledger.transaction(async (db) => {
        await lockNamed(db, `auth config ${mountId}`)
        const before = await findAuthConfig(db, mountId)
        await putAuthConfig(db, mountId, check(before))
        return before
      }),
    role: (mountId, name) => findAuthRole(ledger, mountId, name),
    roleNames: (mountId) => listAuthRoles(ledger, mountId),
    writeRole: async (mountId, name, check) => {
      if (!isRoleName(name))
        throw new BrokerError('invalid_request', `invalid role name ${JSON.stringify(name)}`)
      await ledger.transaction(async (db) => {
        await lockNamed(db, `auth role ${mountId} ${name}`)
        await putAuthRole(db, mountId, name, await check(await findAuthRole(db, mountId, name)))
      })
    },
    async removeRole(mountId, name) {
      await removeAuthRole(ledger, mountId, name)
    },
    loginConfig: configs,
    // Whoever logs in chooses the name: of one that no role can have, the ledger is not asked.
    loginRole: async (revision, mountId, name) =>
      isRoleName(name) ? roles(revision, `${mountId}/${name}`) : undefined,
  }
}
