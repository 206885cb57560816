import { findAppRole, findSecretIds, type SecretIdKept, takeSecretIdUses } from '../../ledger/approle.ts'
import type { Ledger } from '../../ledger/db.ts'
import type { Document } from '../../ledger/documents.ts'
import type { Reading } from '../../ledger/reading.ts'
import { batcher } from '../../lib/batcher.ts'
import { ok } from '../../lib/result.ts'
import { revised } from '../../lib/revised.ts'
import { isWithin, withinBoth } from '../cidr.ts'
import { type AuthMount, logIn } from '../login.ts'
import type { Spend } from '../spending.ts'
import type { CreatedToken } from '../token-create.ts'
import { type TokenFields, tokenFieldsOf } from '../token-fields.ts'
import { AppRoleLoginRefused } from './refusal.ts'
import { type AppRole, isRoleId } from './role.ts'
import { secretIdHash } from './secret-id.ts'

export type AppRoleLoginAsk = {
  mount: AuthMount
  roleId: string
  secretId: string
  sourceAddress: string
  reading: Reading
}

type FoundRole = { name: string; spec: Document }

/** Logs in who has a role_id and, unless its role asks for none, a secret id of that role. */
export function createAppRoleLogin(ledger: Ledger): (ask: AppRoleLoginAsk) => Promise<CreatedToken> {
  const roleOf = keptRoles(ledger)
  const secretOf = batcher<string, SecretIdKept | undefined>(
    async (ids) => {
      const found = await findSecretIds(ledger, [...new Set(ids)])
      const byId = new Map(found.map((secret) => [secret.id, secret]))
      return ids.map((id) => ok(byId.get(id)))
    },
    { inFlight: 2 },
  )

  /** The role and, where it asks for one, the secret id that were shown. */
  const proved = async ({ mount, reading, ...sent }: AppRoleLoginAsk) => {
    const [roleId, text] = [sent.roleId.trim(), sent.secretId.trim()]
    if (roleId === '') throw new AppRoleLoginRefused('missing_role_id')
    const found = await roleOf(reading.revision, mount.id, roleId)
    if (found && !asRole(found).bind_secret_id) return { found, secret: undefined }
    if (text === '') throw new AppRoleLoginRefused('missing_secret_id')
    // One of no role is looked for as well: to refuse it shall take no less than to refuse one of a role.
    const secret = await secretOf(secretIdHash(mount.id, found?.name ?? '', text))
    if (!found) throw new AppRoleLoginRefused('unknown_role')
    if (!secret) throw new AppRoleLoginRefused('unknown_secret')
    return { found, secret }
  }

  return async (ask) => {
    const { found, secret } = await proved(ask)
    const role = asRole(found)
    checkAddress(ask.sourceAddress, secret, role)
    return logIn(ledger, {
      mount: ask.mount,
      roleName: found.name,
      token: tokenFor(found.spec, secret),
      proven: {
        kind: 'workload',
        // Not the role_id: that is half of what it takes to log in, may change, and may be another role's then.
        subject: role.principal,
        // So accounts are named after the mount alone.
        alias: '',
        groups: [],
        claims: secret ? { secret_id_accessor: secret.accessor } : {},
        metadata: { ...secret?.metadata, role_name: found.name },
      },
      sourceAddress: ask.sourceAddress,
      now: ask.reading.now,
      ...(secret && { spend: useOf(secret) }),
    })
  }
}

const asRole = ({ spec }: FoundRole): AppRole => spec as unknown as AppRole

/** Roles by their role_id, for as long as the ledger's revision stays. */
function keptRoles(ledger: Ledger) {
  const kept = revised<FoundRole>(async (keys) => {
    const found = await Promise.all(
      keys.map(async (key) => {
        const at = key.indexOf('/')
        return [key, await findAppRole(ledger, key.slice(0, at), key.slice(at + 1))] as const
      }),
    )
    return new Map(found.flatMap(([key, role]) => (role ? [[key, role] as const] : [])))
  })
  // Whoever logs in chooses the role_id: of one that no role can have, the ledger is not asked.
  return async (revision: number, mountId: string, roleId: string): Promise<FoundRole | undefined> =>
    isRoleId(roleId) ? kept(revision, `${mountId}/${roleId}`) : undefined
}

/** The secret id's bounds were inside the role's when it was made, and the role's may be tighter now: both hold. */
function checkAddress(address: string, secret: SecretIdKept | undefined, role: AppRole): void {
  if (!isAllowed(secret?.cidrs, address)) throw new AppRoleLoginRefused('address_outside_secret')
  if (!isAllowed(role.secret_id_bound_cidrs, address)) throw new AppRoleLoginRefused('address_outside_role')
}

const isAllowed = (blocks: readonly string[] = [], address: string): boolean =>
  blocks.length === 0 || isWithin(blocks, address)

/** What the role says of its tokens, and from where this secret id lets them be used. */
function tokenFor(spec: Document, secret: SecretIdKept | undefined): TokenFields {
  const token = tokenFieldsOf(spec)
  const both = withinBoth(token.token_bound_cidrs, secret?.tokenCidrs ?? [])
  if (!both) throw new AppRoleLoginRefused('address_outside_role')
  return { ...token, token_bound_cidrs: both }
}

const useOf = ({ id }: SecretIdKept): Spend => ({
  id,
  take: takeSecretIdUses,
  refusal: () => new AppRoleLoginRefused('used_up'),
})
