import { AsyncResource } from 'node:async_hooks'
import { type Admin, type Capabilities, EngineError, type EngineType, type Spec } from '../engine/engine.ts'
import { type Ledger, lockNamed } from '../ledger/db.ts'
import { retryNow } from '../ledger/lease-ending.ts'
import { countLiveLeases } from '../ledger/lease-queries.ts'
import type { Mount } from '../ledger/mounts.ts'
import { isAdminAmidRotation } from '../ledger/rotation.ts'
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
import type { Credential, CredentialPlace, Credentials, GivenCredential } from '../secrets/credentials.ts'
import { adminOf, asAdmin, givenPassword, passwordFault } from './admin-credentials.ts'

export type { Target } from '../ledger/targets.ts'

/** The mount that something belongs to; its type says which engines may serve it. */
export type Holder = Pick<Mount, 'id' | 'type'>

/** A target as its writer gives it. Absent fields keep what they were. */
export type TargetWrite = {
  plugin?: string | undefined
  verify: boolean
  allowedRoles?: string[] | undefined
  /** Or a reference to one. */
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
  credentials: Credentials
  engineTypes: readonly EngineType[]
  wake: (targetId: string) => void
}

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
 * A new credential goes into the store under a new name, is tried, and only then named by the target's row; so
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
  const { credentials } = parts
  let kept: CredentialPlace | undefined
  const written = await parts.ledger
    .transaction(async (db) => {
      await lockNamed(db, `target ${mount.id} ${name}`)
      const before = await findTarget(db, mount.id, name)
      const types = parts.engineTypes.filter(({ mountType }) => mountType === mount.type)
      const tried = await tryWrite({ ...parts, engineTypes: types }, before, write)
      if (!tried.place) {
        if (before && (await isAdminAmidRotation(db, before.id, { proven: write.verify })))
          throw amidRotation(name)
        kept = await credentials.keep('target', tried.given)
        if (write.verify) await credentials.remember(kept, tried.credential)
      }
      const place = tried.place ?? (kept as CredentialPlace)
      if (before && before.id !== tried.target.id) await removeTarget(db, before.id)
      await putTarget(db, { ...tried.target, ...place, mountId: mount.id, name })
      return { ...tried, before }
    })
    .catch(async (error) => {
      // Should the store not answer now, a secret stays there that nothing names.
      if (kept) await credentials.forget(kept).catch(() => {})
      throw passwordFault(error)
    })
  const { before, target, warnings } = written
  if (before?.id !== target.id) return warnings
  await tryWaitingAgain(parts, target.id)
  return kept ? [...warnings, ...(await forgotten(credentials, before))] : warnings
}

/** The write stands, whatever the store does now. */
async function forgotten(credentials: Credentials, before: CredentialPlace): Promise<string[]> {
  try {
    await credentials.forget(before)
    return []
  } catch (error) {
    return [`the credential from before is still in the secret store: ${messageOf(error)}`]
  }
}

type Tried = {
  target: Omit<Target, 'mountId' | 'name' | keyof CredentialPlace | 'version'>
  warnings: string[]
} & CredentialTried

/** With a place, the credential stays as it is; without, what was given and the login that came of it. */
type CredentialTried =
  | { place: CredentialPlace }
  | { place?: undefined; given: GivenCredential; credential: Credential }

/** What the target's row is to be, once the server has been asked; nothing is written yet. */
async function tryWrite(
  { engineTypes, credentials }: EnrolmentParts,
  before: Target | undefined,
  write: TargetWrite,
): Promise<Tried> {
  const plugin = write.plugin ?? before?.plugin ?? ''
  const type = engineType(engineTypes, plugin)
  const checked = type.checkTarget({ ...before?.spec, ...write.fields })
  const { spec } = checked
  const asked = askedFor(before, write, checked.password)
  const found = asked ? await newCredential(credentials, before, asked) : undefined
  const admin = found
    ? async () => asAdmin(spec, found.credential)
    : adminOf(credentials, { ...(before as Target), spec })
  const tried = write.verify ? await tryTarget(type, spec, admin) : undefined
  const same = before && isSamePlace(before, spec, tried) ? before : undefined
  const credential = found ?? (same ? { place: placeOf(same) } : await newCredential(credentials, before, {}))
  return {
    ...credential,
    target: {
      id: same?.id ?? newId(),
      engine: type.name,
      plugin,
      spec,
      allowedRoles: write.allowedRoles ?? before?.allowedRoles ?? [],
      verified: write.verify,
      // What an earlier trial of the same server found still holds when this one was told not to try.
      capabilities: tried ?? same?.capabilities ?? null,
    },
    warnings: [...checked.warnings, ...(found?.warnings ?? []), ...(tried?.warnings ?? [])],
  }
}

/** The server tells who it is; where it does not, or was not asked, the address has to be the same to the letter. */
function isSamePlace(before: Target, spec: Spec, tried: Capabilities | undefined): boolean {
  const known = before.capabilities?.serverId
  if (tried?.serverId !== undefined && known !== undefined) return tried.serverId === known
  return ['connection_url', 'kubernetes_host'].every((name) => spec[name] === before.spec[name])
}

function engineType(types: readonly EngineType[], plugin: string): EngineType {
  if (plugin === '') throw new BrokerError('invalid_request', 'empty plugin name')
  const type = types.find(({ plugins }) => plugins.includes(plugin))
  if (!type) throw new BrokerError('invalid_request', `unknown plugin name: "${plugin}"`)
  return type
}

type CredentialAsk = Partial<GivenCredential> & { withUsername?: boolean }

/** What the write says about the credential; undefined when it leaves all of it as it is. */
function askedFor(
  before: Target | undefined,
  { password, tlsPrivateKey, fields }: TargetWrite,
  embedded: Sensitive | undefined,
): CredentialAsk | undefined {
  const given = password ? givenPassword(password) : embedded
  const { username } = fields
  // A password that is given is for the name beside it, whichever a rotation has chosen.
  const withUsername = username !== undefined && (given !== undefined || username !== before?.spec.username)
  if (before && !given && !tlsPrivateKey && !withUsername) return undefined
  return { ...(given && { password: given }), ...(tlsPrivateKey && { tlsPrivateKey }), withUsername }
}

/** The rest is as before, but for the name that a rotation may have chosen: one that is written goes before it. */
async function newCredential(
  credentials: Credentials,
  before: Target | undefined,
  { withUsername, ...ask }: CredentialAsk,
): Promise<{ given: GivenCredential; credential: Credential; warnings: string[] }> {
  if (before && !ask.password) await refuseAmidRotation(credentials, before)
  const { known, warnings } = await knownCredential(credentials, before, ask.password !== undefined)
  const { version: _, username, ...rest } = known ?? { version: '', password: sensitive('') }
  const reference = before?.passwordReference
  const given = {
    ...(username !== undefined && !withUsername && { username }),
    ...rest,
    ...(reference && { password: { reference } }),
    ...ask,
  }
  return { given, credential: await credentials.resolve(given), warnings }
}

/** The candidate may be in force already, and the copy made here would not have it. */
async function refuseAmidRotation(credentials: Credentials, before: Target): Promise<void> {
  if (!(await credentials.read(before, 'pending'))) return
  throw amidRotation(before.name)
}

const amidRotation = (name: string): BrokerError =>
  new BrokerError(
    'conflict',
    `the password of "${name}" is being rotated: try again after, or give a password that a login can prove`,
  )

async function knownCredential(credentials: Credentials, before: Target | undefined, replaced: boolean) {
  if (!before) return { known: undefined, warnings: [] }
  try {
    return { known: await credentials.read(before, 'current'), warnings: [] }
  } catch (error) {
    // A store that is gone for good must not keep a target from getting its password from elsewhere.
    if (!replaced) throw error
    const lost = `a tls_private_key given before has to be given again: ${messageOf(error)}`
    return { known: undefined, warnings: [lost] }
  }
}

const placeOf = ({ secretName, passwordReference }: CredentialPlace): CredentialPlace => ({
  secretName,
  passwordReference,
})

async function tryTarget(type: EngineType, spec: Spec, admin: Admin): Promise<Capabilities> {
  // Whatever connection it is tried on, the store's word is what counts.
  const engine = type.open(spec, () => admin('issuing'))
  try {
    const capabilities = await engine.probe()
    if (capabilities.missing.length > 0) {
      throw new Error(`the admin account lacks: ${capabilities.missing.join('; ')}`)
    }
    return capabilities
  } catch (error) {
    throw new BrokerError(
      error instanceof EngineError && error.kind === 'no_admin' ? 'unavailable' : 'invalid_request',
      `${type.mountType === 'database' ? 'error creating database object: ' : ''}error verifying connection: ${messageOf(error)}`,
      { cause: error },
    )
  } finally {
    await engine.close()
  }
}

/** A changed target may heal what failed there: do not sit out the backoff. */
async function tryWaitingAgain({ ledger, wake }: EnrolmentParts, targetId: string): Promise<void> {
  if ((await retryNow(ledger, targetId)) > 0) wake(targetId)
}
