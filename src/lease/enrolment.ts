import {
  type AdminCredentials,
  type Capabilities,
  type Checked,
  EngineError,
  type EngineType,
  type Spec,
} from '../engine/engine.ts'
import type { Ledger } from '../ledger/db.ts'
import { retryNow } from '../ledger/lease-ending.ts'
import { countLiveLeases } from '../ledger/lease-queries.ts'
import {
  findTarget,
  listTargets,
  putTarget,
  removeTarget,
  type Target,
  touchTarget,
} from '../ledger/targets.ts'
import { BrokerError, messageOf } from '../lib/errors.ts'
import { newId } from '../lib/ids.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import type { SecretStore } from '../secrets/secret-store.ts'

export type { Target } from '../ledger/targets.ts'

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
  write(mountId: string, name: string, write: TargetWrite): Promise<string[]>
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

export function createEnrolment(parts: EnrolmentParts): Enrolment {
  const { ledger } = parts

  return {
    write: (mountId, name, write) => writeTarget(parts, mountId, name, write),
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
 * neither a crash nor a refusal leaves a target without the credential it worked with.
 */
async function writeTarget(
  parts: EnrolmentParts,
  mountId: string,
  name: string,
  write: TargetWrite,
): Promise<string[]> {
  const { ledger, secrets } = parts
  const before = await findTarget(ledger, mountId, name)
  const type = engineType(parts.engineTypes, write.plugin ?? before?.plugin ?? '')
  const merged = type.checkTarget({ ...before?.spec, ...write.fields })
  const credential = await candidateCredential(secrets, before, write, merged)

  const target: Omit<Target, 'version'> = {
    id: before?.id ?? newId(),
    mountId,
    name,
    engine: type.name,
    plugin: write.plugin ?? before?.plugin ?? '',
    spec: merged.spec,
    secretName: `target/${newId()}`,
    allowedRoles: write.allowedRoles ?? before?.allowedRoles ?? [],
    verified: write.verify,
    capabilities: null,
  }
  const tried = write.verify ? await tryTarget(type, target.spec, credential) : undefined
  await secrets.put(target.secretName, sensitive(JSON.stringify(credential)))
  await putTarget(ledger, { ...target, capabilities: tried ?? null })
  if (before) {
    await secrets.delete(before.secretName)
    await tryWaitingAgain(parts, target.id)
  }
  return [...merged.warnings, ...(tried?.warnings ?? [])]
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
