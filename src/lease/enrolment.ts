import { AsyncResource } from 'node:async_hooks'
import {
  type AdminCredentials,
  type Capabilities,
  type Checked,
  EngineError,
  type EngineType,
  type Spec,
} from '../engine/engine.ts'
import { type Ledger, lockNamed } from '../ledger/db.ts'
import { retryNow } from '../ledger/lease-ending.ts'
import { countLiveLeases } from '../ledger/lease-queries.ts'
import type { Mount } from '../ledger/mounts.ts'
import {
  findTarget,
  listTargets,
  putTarget,
  removeTarget,
  type Target,
  touchTarget,
} from '../ledger/targets.ts'
import { batcher } from '../lib/batcher.ts'
import { BrokerError, messageOf } from '../lib/errors.ts'
import { newId } from '../lib/ids.ts'
import { ok } from '../lib/result.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import type { SecretStore } from '../secrets/secret-store.ts'

export type { Target } from '../ledger/targets.ts'

/** The mount that something belongs to; its type says which engines may serve it. */
export type Holder = Pick<Mount, 'id' | 'type'>

/** A target as its writer gives it. Absent fields keep what they were. */
export type TargetWrite = {
  plugin?: string | undefined
  verify: boolean
  allowedRoles?: string[] | undefined
  password?: Sensitive | undefined
  tlsPrivateKey?: Sensitive | undefined
  /** The engine's fields under their wire names; no secret among them but what a connection URL may embed. */
  fields: Spec
}

export type Enrolment = {
  /** Connects and tries what the admin account may do, then keeps the target. Answers warnings. */
  write(mount: Holder, name: string, write: TargetWrite): Promise<string[]>
  find(mountId: string, name: string): Promise<Target | undefined>
  list(mountId: string): Promise<Target[]>
  /** Refused while leases live there, unless forced; they go on ending in either case. */
  remove(mountId: string, name: string, force: boolean): Promise<void>
  /** Every process closes its connections to the target and opens new ones. */
  reset(mountId: string, name: string): Promise<void>
}

export type EnrolmentParts = {
  ledger: Ledger
  secrets: SecretStore
  engineTypes: readonly EngineType[]
  wake: (targetId: string) => void
}

/** The admin credential of a target, from the secret store. */
export async function adminCredentials(secrets: SecretStore, target: Target): Promise<AdminCredentials> {
  const stored = await storedCredential(secrets, target.secretName)
  if (!stored) {
    throw new EngineError(
      'denied',
      `the admin credential of "${target.name}" is missing from the secret store`,
    )
  }
  return asAdmin(target.spec, stored)
}

async function storedCredential(secrets: SecretStore, name: string): Promise<StoredCredential | undefined> {
  const stored = await secrets.get(name)
  return stored && (JSON.parse(stored.text.reveal()) as StoredCredential)
}

const asAdmin = (spec: Spec, { password, tls_private_key: key }: StoredCredential): AdminCredentials => ({
  username: String(spec.username ?? ''),
  password: sensitive(password),
  ...(key === undefined ? {} : { tlsPrivateKey: sensitive(key) }),
})

type StoredCredential = { password: string; tls_private_key?: string }

/** Each write holds a connection to the ledger while it tries the target, and needs a second one for the secret. */
const WRITES_AT_A_TIME = 3

export function createEnrolment(parts: EnrolmentParts): Enrolment {
  const { ledger } = parts
  const inTurn = batcher<() => Promise<string[]>, string[]>(
    (writes) => Promise.all(writes.map(async (write) => ok(await write()))),
    { max: 1, inFlight: WRITES_AT_A_TIME },
  )

  return {
    // Bound to the request that asks, so that the record of what is changed names it.
    write: (mount, name, write) => inTurn(AsyncResource.bind(() => writeTarget(parts, mount, name, write))),
    find: (mountId, name) => findTarget(ledger, mountId, name),
    list: (mountId) => listTargets(ledger, mountId),
    async remove(mountId, name, force) {
      const target = await findTarget(ledger, mountId, name)
      if (!target) return
      const live = await countLiveLeases(ledger, target.id)
      if (live > 0 && !force) {
        throw new BrokerError(
          'invalid_request',
          `"${name}" has ${live} live leases: revoke them first, or repeat with force=true and let them end by themselves`,
        )
      }
      // The admin credential stays in the store as long as the row: leases that pin it still have to be ended.
      await removeTarget(ledger, target.id)
    },
    async reset(mountId, name) {
      const target = await findTarget(ledger, mountId, name)
      if (!target) {
        throw new BrokerError('invalid_request', `failed to find entry for connection with name: "${name}"`)
      }
      await touchTarget(ledger, target.id)
      await tryWaitingAgain(parts, target.id)
    },
  }
}

/**
 * The new credential goes into the store under a new name, is tried, and only then named by the target's row; so
 * neither a crash nor a refusal leaves a target without the credential it worked with. One writer of a name at a time.
 *
 * A connection that is pointed at another server is another target: leases pin the old row, with its credential, and
 * end where they were made.
 */
async function writeTarget(
  parts: EnrolmentParts,
  mount: Holder,
  name: string,
  write: TargetWrite,
): Promise<string[]> {
  const { before, target, warnings } = await parts.ledger.transaction(async (db) => {
    await lockNamed(db, `target ${mount.id} ${name}`)
    const before = await findTarget(db, mount.id, name)
    const types = parts.engineTypes.filter(({ mountType }) => mountType === mount.type)
    const { target, credential, warnings } = await tryWrite({ ...parts, engineTypes: types }, before, write)
    const secretName = `target/${newId()}`
    await parts.secrets.put(secretName, sensitive(JSON.stringify(credential)))
    if (before && before.id !== target.id) await removeTarget(db, before.id)
    await putTarget(db, { ...target, mountId: mount.id, name, secretName })
    return { before, target, warnings }
  })
  if (before?.id === target.id) {
    await parts.secrets.delete(before.secretName)
    await tryWaitingAgain(parts, target.id)
  }
  return warnings
}

type Tried = {
  target: Omit<Target, 'mountId' | 'name' | 'secretName' | 'version'>
  credential: StoredCredential
  warnings: string[]
}

/** What the target's row is to be, once the server has been asked; nothing is written yet. */
async function tryWrite(
  parts: EnrolmentParts,
  before: Target | undefined,
  write: TargetWrite,
): Promise<Tried> {
  const plugin = write.plugin ?? before?.plugin ?? ''
  const type = engineType(parts.engineTypes, plugin)
  const checked = type.checkTarget({ ...before?.spec, ...write.fields })
  const credential = await candidateCredential(parts.secrets, before, write, checked)
  const tried = write.verify ? await tryTarget(type, checked.spec, credential) : undefined
  const same = before && isSamePlace(before, checked.spec, tried) ? before : undefined
  return {
    target: {
      id: same?.id ?? newId(),
      engine: type.name,
      plugin,
      spec: checked.spec,
      allowedRoles: write.allowedRoles ?? before?.allowedRoles ?? [],
      verified: write.verify,
      // What an earlier trial of the same server found still holds when this one was told not to try.
      capabilities: tried ?? same?.capabilities ?? null,
    },
    credential,
    warnings: [...checked.warnings, ...(tried?.warnings ?? [])],
  }
}

/** The server tells who it is; where it does not, or was not asked, the address has to be the same to the letter. */
function isSamePlace(before: Target, spec: Spec, tried: Capabilities | undefined): boolean {
  const known = before.capabilities?.serverId
  if (tried?.serverId !== undefined && known !== undefined) return tried.serverId === known
  return spec.connection_url === before.spec.connection_url
}

function engineType(types: readonly EngineType[], plugin: string): EngineType {
  if (plugin === '') throw new BrokerError('invalid_request', 'empty plugin name')
  const type = types.find(({ plugins }) => plugins.includes(plugin))
  if (!type) throw new BrokerError('invalid_request', `unknown plugin name: "${plugin}"`)
  return type
}

async function candidateCredential(
  secrets: SecretStore,
  before: Target | undefined,
  write: TargetWrite,
  { password: embedded }: Checked,
): Promise<StoredCredential> {
  const known = before ? await storedCredential(secrets, before.secretName) : undefined
  const key = write.tlsPrivateKey?.reveal() ?? known?.tls_private_key
  return {
    password: write.password?.reveal() ?? embedded?.reveal() ?? known?.password ?? '',
    ...(key === undefined ? {} : { tls_private_key: key }),
  }
}

async function tryTarget(type: EngineType, spec: Spec, credential: StoredCredential): Promise<Capabilities> {
  const engine = type.open(spec, async () => asAdmin(spec, credential))
  try {
    const capabilities = await engine.probe()
    if (capabilities.missing.length > 0) {
      throw new Error(`the admin account lacks: ${capabilities.missing.join('; ')}`)
    }
    return capabilities
  } catch (error) {
    throw new BrokerError(
      'invalid_request',
      `error creating database object: error verifying connection: ${messageOf(error)}`,
      {
        cause: error,
      },
    )
  } finally {
    await engine.close()
  }
}

/** A changed target may heal what failed there: do not sit out the backoff. */
async function tryWaitingAgain({ ledger, wake }: EnrolmentParts, targetId: string): Promise<void> {
  if ((await retryNow(ledger, targetId)) > 0) wake(targetId)
}
