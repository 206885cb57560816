import type { EngineType, Spec } from '../engine/engine.ts'
import { type Db, type Ledger, lockNamed } from '../ledger/db.ts'
import { ledgerNow } from '../ledger/reconcile-leases.ts'
import {
  changeAccounts,
  changeTerms,
  findAdminRotation,
  insertRotation,
  type Rotation,
  type RotationTerms,
} from '../ledger/rotation.ts'
import { findTarget, type Target } from '../ledger/targets.ts'
import { BrokerError, messageOf } from '../lib/errors.ts'
import { newId } from '../lib/ids.ts'
import type { Sensitive } from '../lib/sensitive.ts'
import type { CredentialPlace, Credentials } from '../secrets/credentials.ts'
import { refuseStaticAccount } from './accounts.ts'
import { failureOf, refusalOf } from './failure.ts'
import type { Rotator } from './rotator.ts'
import { checkSchedule, nextDue, type ScheduleWrite } from './schedule.ts'
import { placeOf, type Reach } from './site.ts'

export type AdminRotation = Rotation

/** What a write of a target says about the rotation of its admin account, and about that account. */
export type AdminWrite = {
  schedule: ScheduleWrite
  disabled?: boolean | undefined
  /** A second admin account, and its password: the two take turns. An empty name takes it away. */
  alternateUsername?: string | undefined
  alternatePassword?: Sensitive | undefined
  /** Of the target: as they are written to it. */
  plugin?: string | undefined
  verify: boolean
  password?: Sensitive | undefined
  fields: Spec
}

export type AdminRotations = {
  /**
   * Checks everything before the target is written, and answers what is to be done after, which answers warnings.
   * Throws a `BrokerError` that names the field.
   */
  prepare(mountId: string, name: string, write: AdminWrite): Promise<() => Promise<string[]>>
  find(targetId: string): Promise<AdminRotation | undefined>
  /** Rotates the admin password now, and answers when it is done. */
  rotate(mountId: string, name: string): Promise<void>
}

export type AdminParts = {
  ledger: Ledger
  credentials: Credentials
  reach: Reach
  engineTypes: readonly EngineType[]
  rotator: Pick<Rotator, 'now'>
}

const refuse = (text: string): BrokerError => new BrokerError('invalid_request', text)

export function createAdminRotations(parts: AdminParts): AdminRotations {
  const { ledger } = parts
  return {
    prepare: (mountId, name, write) => prepare(parts, mountId, name, write),
    find: (targetId) => findAdminRotation(ledger, targetId),
    async rotate(mountId, name) {
      const target = await findTarget(ledger, mountId, name)
      if (!target) throw refuse(`failed to find entry for connection with name: "${name}"`)
      const stored = await parts.credentials.read(target, 'current').catch((error) => {
        throw failureOf(error)
      })
      if (!stored || stored.password.reveal() === '') {
        throw refuse(
          `"${name}" has no stored password that could be rotated: write one with its configuration`,
        )
      }
      const id = await ensureRow(parts, target)
      await parts.rotator.now(id).catch(async (error) => {
        throw await refusalOf(ledger, id, error)
      })
    },
  }
}

/** Made at the first rotation by hand, where nothing was configured. */
async function ensureRow({ ledger }: AdminParts, target: Target): Promise<string> {
  return ledger.transaction(async (db) => {
    await lockNamed(db, `target ${target.mountId} ${target.name}`)
    const known = await findAdminRotation(db, target.id)
    if (known) return known.id
    const id = newId()
    await insertRotation(db, { ...NO_TERMS, ...rowOf(target), id, alternateUsername: null, ...NO_PLACE })
    return id
  })
}

const NO_TERMS: RotationTerms = {
  statements: [],
  periodSeconds: null,
  schedule: null,
  windowSeconds: null,
  automated: true,
  pairGroup: null,
  dueAt: null,
}
const NO_PLACE = { secretName: null, passwordReference: null }

const rowOf = (target: Target) => ({
  kind: 'admin' as const,
  mountId: target.mountId,
  targetName: target.name,
  targetId: target.id,
  name: null,
  username: String(target.spec.username ?? ''),
  imported: false,
})

async function prepare(
  parts: AdminParts,
  mountId: string,
  name: string,
  write: AdminWrite,
): Promise<() => Promise<string[]>> {
  const { ledger, engineTypes } = parts
  const now = await ledgerNow(ledger)
  const before = await findTarget(ledger, mountId, name)
  const row = before && (await findAdminRotation(ledger, before.id))
  const terms = checkTerms(write, row, now)
  const type = engineTypes.find(({ plugins }) => plugins.includes(write.plugin ?? before?.plugin ?? ''))
  // An unknown plugin is the target's to refuse, and says why.
  if (!type) return async () => []
  const { spec, password: embedded } = type.checkTarget({ ...before?.spec, ...write.fields })
  await checkStatements(type, spec)
  const givesPassword = write.password !== undefined || embedded !== undefined
  if (row && row.rotations > 0 && givesPassword && !write.verify) {
    throw refuse(
      `password: that of "${name}" was rotated here, and another is taken only when a login proves it: leave password out, or set verify_connection`,
    )
  }
  const username = String(spec.username ?? '')
  const changes = givesPassword || (before !== undefined && username !== before.spec.username)
  const alternate = alternateOf(row, write, { username, changes })
  const names = alternate.username === null ? [username] : [username, alternate.username]
  await refuseStaticAccount(ledger, { id: before?.id, engine: type.name, spec }, names)
  const warnings: string[] = []
  if (alternate.username !== null && alternate.password) {
    const login = { username: alternate.username, password: alternate.password }
    const shares = write.verify && (await tryAlternate(type, spec, username, login))
    if (!shares) warnings.push(TAKING_TURNS)
  }
  return async () => [...warnings, ...(await apply(parts, { mountId, name }, terms, alternate))]
}

/** On an engine that connects to nothing. */
async function checkStatements(type: EngineType, spec: Spec): Promise<void> {
  const statements = spec.root_rotation_statements as string[] | undefined
  if (!statements || statements.length === 0) return
  const engine = type.open(spec, () => Promise.reject(new Error('nothing is asked of the target here')))
  try {
    engine.passwords?.check?.('root_rotation_statements', statements)
  } finally {
    await engine.close()
  }
}

function checkTerms(write: AdminWrite, row: Rotation | undefined, now: Date): RotationTerms {
  const schedule = checkSchedule(write.schedule, row, now)
  const automated = write.disabled === undefined ? (row?.automated ?? true) : !write.disabled
  const isSame = row && row.periodSeconds === schedule.periodSeconds && row.schedule === schedule.schedule
  const planned = (isSame && row.dueAt) || nextDue(schedule, row?.lastRotatedAt ?? now)
  return { ...NO_TERMS, ...schedule, automated, dueAt: automated ? planned : null }
}

/** Password undefined: the account and its credential stay as they are. */
type Alternate = { username: string | null; password?: Sensitive }

function alternateOf(
  row: Rotation | undefined,
  { alternateUsername, alternatePassword }: AdminWrite,
  { username, changes }: { username: string; changes: boolean },
): Alternate {
  const known = row?.alternateUsername ?? null
  const wanted = alternateUsername === undefined ? known : alternateUsername || null
  if (wanted === null) {
    if (alternatePassword) throw refuse('alternate_password needs an alternate_username')
    return { username: null }
  }
  if (wanted === username) throw refuse('alternate_username must be another account than username')
  if (alternatePassword) return { username: wanted, password: alternatePassword }
  if (wanted !== known) throw refuse('alternate_username needs an alternate_password')
  if (!changes) return { username: wanted }
  throw refuse(
    'alternate_password is required when username or password is written: the two admin accounts take turns, and are given together',
  )
}

/** The second account has to be able to do all that the first does, also to what that made. False where nobody can tell. */
async function tryAlternate(
  type: EngineType,
  spec: Spec,
  first: string,
  login: { username: string; password: Sensitive },
): Promise<boolean> {
  const engine = type.open(spec, async () => login)
  try {
    const { missing } = await engine.probe()
    if (missing.length > 0) throw new Error(`the account lacks: ${missing.join('; ')}`)
    const obstacles = await engine.sharing?.(first)
    if (obstacles && obstacles.length > 0) throw new Error(`${obstacles.join('; ')} (docs/rotation.md)`)
    return obstacles !== undefined
  } catch (error) {
    throw new BrokerError('invalid_request', `alternate_username: ${messageOf(error)}`, { cause: error })
  } finally {
    await engine.close()
  }
}

async function apply(
  { ledger, credentials }: AdminParts,
  at: { mountId: string; name: string },
  terms: RotationTerms,
  { username, password }: Alternate,
): Promise<string[]> {
  const kept = password && (await credentials.keep('target', { username: username ?? '', password }))
  try {
    const { dropped, warnings } = await ledger.transaction(async (db) => {
      await lockNamed(db, `target ${at.mountId} ${at.name}`)
      const target = await findTarget(db, at.mountId, at.name)
      if (!target) return { warnings: [] }
      const row = await findAdminRotation(db, target.id)
      return row
        ? changeRow(db, { target, row }, terms, { username, kept })
        : addRow(db, target, terms, { username, kept })
    })
    // What the store keeps of it is of no use to anybody.
    if (dropped) await credentials.forget(dropped).catch(() => {})
    return warnings
  } catch (error) {
    if (kept) await credentials.forget(kept).catch(() => {})
    throw error
  }
}

type Applied = { warnings: string[]; dropped?: CredentialPlace }
type KeptAlternate = { username: string | null; kept: CredentialPlace | undefined }

const TAKING_TURNS =
  'each of the two admin accounts has to be able to end what the other has made: see docs/rotation.md'
const MOVED =
  'the connection points to another server: alternate_username was for the one before, and has to be given again with its password'

async function addRow(
  db: Db,
  target: Target,
  terms: RotationTerms,
  { username, kept }: KeptAlternate,
): Promise<Applied> {
  const isWanted = terms.periodSeconds !== null || terms.schedule !== null || kept !== undefined
  if (isWanted) {
    const alternate = { ...(kept ?? NO_PLACE), alternateUsername: kept ? username : null }
    await insertRotation(db, { ...terms, ...rowOf(target), ...alternate, id: newId() })
  }
  return { warnings: username !== null && !kept ? [MOVED] : [] }
}

async function changeRow(
  db: Db,
  { target, row }: { target: Target; row: Rotation },
  terms: RotationTerms,
  { username, kept }: KeptAlternate,
): Promise<Applied> {
  const stays = kept === undefined && username !== null
  const { secretName, passwordReference } = kept ?? (stays ? row : NO_PLACE)
  const changes = secretName !== row.secretName
  if (changes && row.phase !== null) {
    throw new BrokerError('conflict', `the password of "${target.name}" is being rotated: try again after`)
  }
  await changeTerms(db, row.id, terms)
  const accounts = { username: String(target.spec.username ?? ''), alternateUsername: username }
  await changeAccounts(db, row.id, { ...accounts, secretName, passwordReference })
  return { warnings: [], ...(changes && row.secretName !== null && { dropped: placeOf(row) }) }
}
