import {
  dropSecretId,
  findSecretIdByAccessor,
  findSecretIds,
  holdAppRole,
  insertSecretId,
  listSecretIdAccessors,
  type SecretIdKept,
} from '../../ledger/approle.ts'
import { findAuthRole } from '../../ledger/auth.ts'
import type { Ledger } from '../../ledger/db.ts'
import { dropExpired } from '../../ledger/expired.ts'
import { BrokerError } from '../../lib/errors.ts'
import { newId, randomBase62 } from '../../lib/ids.ts'
import { type Sensitive, sensitive } from '../../lib/sensitive.ts'
import { refused, type WireFields } from '../jwt/fields.ts'
import type { AuthMount } from '../login.ts'
import { checkChosenText, checkSecretIdTerms, secretIdHash } from './secret-id.ts'

export type MadeSecretId = {
  secretId: Sensitive
  accessor: string
  /** 0 for any number, and for no end. */
  uses: number
  ttlSeconds: number
  warnings: string[]
}

type RoleKey = { mountId: string; name: string }
/** The text of a secret id, or the name by which it can be told without knowing it. */
type SecretIdKey = { text: string } | { accessor: string }

/** The secret ids of roles. Those whose time is over, or that are used up, are not there. */
export type SecretIds = {
  /** One that is random, or of the text that somebody chose. Throws 404 where there is no such role. */
  make(
    role: { mount: AuthMount; name: string },
    fields: WireFields,
    chosen?: string | undefined,
  ): Promise<MadeSecretId>
  /** By their accessors. */
  list(role: RoleKey): Promise<string[]>
  find(role: RoleKey, key: SecretIdKey): Promise<SecretIdKept | undefined>
  /** Answers whether it was there. */
  destroy(role: RoleKey, key: SecretIdKey): Promise<boolean>
  dropExpired(): Promise<void>
}

/** 190 bits. */
const CHARACTERS = 32

export function createSecretIds(ledger: Ledger): SecretIds {
  const find: SecretIds['find'] = async ({ mountId, name }, key) => {
    if (!(await findAuthRole(ledger, mountId, name))) throw refused(noSuchRole(name))
    if ('accessor' in key) {
      return findSecretIdByAccessor(ledger, { mountId, roleName: name }, key.accessor)
    }
    const [found] = await findSecretIds(ledger, [secretIdHash(mountId, name, key.text)])
    return found
  }

  return {
    async make({ mount, name }, fields, chosen) {
      const doubts = chosen === undefined ? [] : checkChosenText(chosen)
      const text = chosen ?? randomBase62(CHARACTERS)
      const { accessor, usesLeft, ttlSeconds, warnings } = await ledger.transaction(async (db) => {
        const spec = await holdAppRole(db, mount.id, name)
        if (!spec) throw new BrokerError('not_found', noSuchRole(name))
        const { warnings, ...terms } = checkSecretIdTerms(fields, { name, spec, mountConfig: mount.config })
        const id = secretIdHash(mount.id, name, text)
        const row = { ...terms, id, accessor: newId(), mountId: mount.id, roleName: name }
        if (await insertSecretId(db, row)) return { ...row, warnings }
        throw refused('failed to store secret_id: SecretID is already registered')
      })
      return {
        secretId: sensitive(text),
        accessor,
        uses: usesLeft ?? 0,
        ttlSeconds,
        warnings: [...doubts, ...warnings],
      }
    },
    async list({ mountId, name }) {
      if (!(await findAuthRole(ledger, mountId, name))) throw refused(noSuchRole(name))
      return listSecretIdAccessors(ledger, { mountId, roleName: name })
    },
    find,
    async destroy(role, key) {
      const found = await find(role, key)
      return found !== undefined && (await dropSecretId(ledger, found.id)) > 0
    },
    async dropExpired() {
      await dropExpired(ledger, 'approle_secret')
    },
  }
}

const noSuchRole = (name: string): string => `role ${JSON.stringify(name)} does not exist`
