import { type Engine, EngineError } from '../engine/engine.ts'
import { type Db, type Ledger, lockNamed } from '../ledger/db.ts'
import type { Mount } from '../ledger/mounts.ts'
import { ledgerNow } from '../ledger/reconcile-leases.ts'
import { findRole } from '../ledger/roles.ts'
import {
  adoptCredential,
  changeTerms,
  findStaticRole,
  groupOf,
  insertRotation,
  listStaticRoleNames,
  type Rotation,
  type RotationTerms,
  removeRotation,
  removeUntouched,
} from '../ledger/rotation.ts'
import { findTarget, type Target } from '../ledger/targets.ts'
import { BrokerError, messageOf } from '../lib/errors.ts'
import { newId } from '../lib/ids.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import type { CredentialPlace, Credentials } from '../secrets/credentials.ts'
import { refuseTakenAccount } from './accounts.ts'
import { failureOf, refusalOf } from './failure.ts'
import { waitsUntil } from './pairs.ts'
import { proveLogin } from './rotate.ts'
import type { Rotator } from './rotator.ts'
import { checkSchedule, nextDue, type ScheduleWrite } from './schedule.ts'
import { passwordsOf, placeOf, type Reach } from './site.ts'
import { readCredential, type StaticCredential } from './static-credential.ts'

export type { StaticCredential } from './static-credential.ts'
export type StaticRole = Rotation

/** As its writer gives it. Absent fields keep what was. */
export type StaticRoleWrite = {
  dbName?: string | undefined
  username?: string | undefined
  schedule: ScheduleWrite
  statements?: string[] | undefined
  /** Rotates together with no other of the same group. */
  group?: string | undefined
  credentialType?: string | undefined
  /** The account's password as it is now. */
  password?: Sensitive | undefined
  skipImportRotation?: boolean | undefined
}

export type StaticRoles = {
  /** A new one's account is rotated before this answers, unless it is imported as it is. */
  write(mount: Pick<Mount, 'id'>, name: string, write: StaticRoleWrite): Promise<string[]>
  find(mountId: string, name: string): Promise<StaticRole | undefined>
  names(mountId: string): Promise<string[]>
  /** The account stays on the target, with the password that was read last. */
  remove(mountId: string, name: string): Promise<void>
  /** Undefined for a role there is not. */
  credential(mountId: string, name: string): Promise<StaticCredential | undefined>
  /** Rotates now, and answers when it is done. */
  rotate(mountId: string, name: string, options: { forced: boolean }): Promise<void>
}

export type StaticRoleParts = {
  ledger: Ledger
  credentials: Credentials
  reach: Reach
  rotator: Pick<Rotator, 'now'>
}

const refuse = (text: string): BrokerError => new BrokerError('invalid_request', text)

export function createStaticRoles(parts: StaticRoleParts): StaticRoles {
  const { ledger } = parts
  return {
    async write(mount, name, write) {
      const before = await findStaticRole(ledger, mount.id, name)
      return before ? changeRole(parts, before, write) : makeRole(parts, mount.id, name, write)
    },
    find: (mountId, name) => findStaticRole(ledger, mountId, name),
    names: (mountId) => listStaticRoleNames(ledger, mountId),
    async remove(mountId, name) {
      const role = await findStaticRole(ledger, mountId, name)
      if (role && (await removeRotation(ledger, role.id)) === 0) throw amidRotation(name)
    },
    credential: (mountId, name) => readCredential(parts, mountId, name),
    async rotate(mountId, name, { forced }) {
      const role = await findStaticRole(ledger, mountId, name)
      if (!role) throw refuse('no static role found for role name')
      if (!forced) await refuseTooSoon(ledger, role)
      await parts.rotator.now(role.id, { forced }).catch(async (error) => {
        throw await refusalOf(ledger, role.id, error)
      })
    },
  }
}

/** By hand, too, the other half of a pair is left alone for as long as somebody may still be moving to this one. */
async function refuseTooSoon(ledger: Db, role: StaticRole): Promise<void> {
  if (role.pairGroup === null) return
  const now = await ledgerNow(ledger)
  const wait = waitsUntil(role, await groupOf(ledger, role.mountId, role.pairGroup), now)
  if (!wait) return
  throw refuse(
    `"${wait.for}" of rotation_group "${role.pairGroup}" was rotated a short while ago or is about to be: ` +
      `wait until ${wait.at.toISOString()}, or repeat with force=true`,
  )
}

/** The account is tried before anything is written, and the role is written before the account is changed. */
async function makeRole(
  parts: StaticRoleParts,
  mountId: string,
  name: string,
  write: StaticRoleWrite,
): Promise<string[]> {
  const { ledger, credentials } = parts
  const { dbName = '', username = '' } = write
  if (dbName === '') throw refuse('database name is required')
  if (username === '') throw refuse('username is a required field to create a static account')
  const now = await ledgerNow(ledger)
  const terms = checkTerms(write, undefined, now)
  const target = await findTarget(ledger, mountId, dbName)
  if (!target) throw refuse(`there is no connection "${dbName}": a static role is of an account that exists`)
  const engine = await parts.reach.open(target)
  checkStatements(target, engine, terms.statements)
  const imports = write.password !== undefined || write.skipImportRotation === true
  await tryAccount(target, engine, username, write.password)

  const place = await credentials.keep('static', { username, password: write.password ?? sensitive('') })
  const id = newId()
  try {
    await ledger.transaction(async (db) => {
      await lockNamed(db, `role ${mountId} ${name}`)
      await lockNamed(db, `target ${mountId} ${dbName}`)
      await refuseTaken(db, mountId, name)
      await refuseTakenAccount(db, target, { name, username })
      await insertRotation(db, {
        ...terms,
        ...place,
        id,
        kind: 'static',
        mountId,
        targetName: dbName,
        targetId: null,
        name,
        username,
        alternateUsername: null,
        imported: write.password !== undefined,
      })
    })
  } catch (error) {
    // Should the store not answer now, a secret stays there that nothing names.
    await credentials.forget(place).catch(() => {})
    throw error
  }
  if (!imports || (write.password !== undefined && write.skipImportRotation !== true)) {
    await rotateFirst(parts, id)
  }
  return []
}

/** A first rotation that surely changed nothing takes the role with it; any other goes on being tried. */
async function rotateFirst({ ledger, rotator }: StaticRoleParts, id: string): Promise<void> {
  try {
    await rotator.now(id)
  } catch (error) {
    if ((await removeUntouched(ledger, id)) === 1) throw failureOf(error)
    throw new BrokerError(
      'target_failed',
      `the static role is written, and its first rotation goes on being tried: ${messageOf(error)}`,
      { cause: error },
    )
  }
}

async function changeRole(
  { ledger, credentials, reach }: StaticRoleParts,
  role: StaticRole,
  write: StaticRoleWrite,
): Promise<string[]> {
  if (write.username !== undefined && write.username !== role.username) {
    throw refuse('cannot update static account username')
  }
  if (write.dbName !== undefined && write.dbName !== role.targetName) {
    throw refuse('cannot update the connection of a static role: its account is there; make another role')
  }
  const now = await ledgerNow(ledger)
  const terms = checkTerms(write, role, now)
  let place: CredentialPlace | undefined
  if (write.statements !== undefined || write.password !== undefined) {
    const target = await findTarget(ledger, role.mountId, role.targetName)
    if (!target) throw refuse(`there is no connection "${role.targetName}"`)
    const engine = await reach.open(target)
    checkStatements(target, engine, terms.statements)
    if (write.password !== undefined) {
      await tryAccount(target, engine, role.username, write.password)
      place = await credentials.keep('static', { username: role.username, password: write.password })
    }
  }
  const written = ledger.transaction(async (db) => {
    await changeTerms(db, role.id, terms)
    if (place && (await adoptCredential(db, role, place, nextDue(terms, now))) === 0) {
      throw amidRotation(role.name)
    }
    return placeOf(role)
  })
  const unused = await written.catch(async (error) => {
    if (place) await credentials.forget(place).catch(() => {})
    throw error
  })
  if (place) await credentials.forget(unused).catch(() => {})
  return []
}

const amidRotation = (name: string | null): BrokerError =>
  new BrokerError('conflict', `"${name}" is being rotated at this moment: try again in a while`)

function checkTerms(write: StaticRoleWrite, before: StaticRole | undefined, now: Date): RotationTerms {
  if (write.credentialType !== undefined && write.credentialType !== 'password') {
    throw refuse(`unsupported credential_type: "${write.credentialType}"`)
  }
  const schedule = checkSchedule(write.schedule, before, now)
  if (schedule.periodSeconds === null && schedule.schedule === null) {
    throw refuse('one of rotation_period or rotation_schedule must be provided to create a static account')
  }
  const isSame =
    before && before.periodSeconds === schedule.periodSeconds && before.schedule === schedule.schedule
  return {
    ...schedule,
    automated: true,
    statements: write.statements ?? before?.statements ?? [],
    pairGroup: write.group === undefined ? (before?.pairGroup ?? null) : write.group || null,
    dueAt: isSame ? before.dueAt : nextDue(schedule, before?.lastRotatedAt ?? now),
  }
}

/** Where the engine can tell without running them. Throws a `BrokerError` that names the field. */
function checkStatements(target: Target, engine: Engine, statements: readonly string[]): void {
  asRequest(() => passwordsOf(target, engine).check?.('rotation_statements', statements))
}

/** Whether this is an account whose password a login can prove; with a password, that it is this one. */
async function tryAccount(
  target: Target,
  engine: Engine,
  username: string,
  password: Sensitive | undefined,
): Promise<void> {
  const passwords = asRequest(() => passwordsOf(target, engine))
  const accepts = (candidate: Sensitive) => passwords.accepts(username, candidate)
  try {
    await proveLogin({ account: username, accepts })
    if (password && !(await accepts(password))) {
      throw new EngineError('failed', `password: "${target.name}" does not let "${username}" in with it`)
    }
  } catch (error) {
    throw failureOf(error)
  }
}

function asRequest<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw failureOf(error)
  }
}

async function refuseTaken(db: Db, mountId: string, name: string): Promise<void> {
  if (await findRole(db, mountId, name)) throw refuse('Role and Static Role names must be unique')
  if (await findStaticRole(db, mountId, name)) {
    throw new BrokerError('conflict', `the static role "${name}" was written by somebody else at this moment`)
  }
}
