import { type AdminCredentials, type Engine, EngineError, type Passwords } from '../engine/engine.ts'
import { type Db, lockNamed } from '../ledger/db.ts'
import type { Rotation } from '../ledger/rotation.ts'
import { switchAdmins } from '../ledger/rotation-work.ts'
import { findTarget, findTargetById, type Target } from '../ledger/targets.ts'
import type { Sensitive } from '../lib/sensitive.ts'
import type { CredentialPlace, Credentials } from '../secrets/credentials.ts'
import { refuseSharedAdmin } from './accounts.ts'

/** Targets as rotation reaches them. */
export type Reach = {
  /** The open engine, logged in as the target's admin. Shared with others: not ours to close. */
  open(target: Target): Promise<Engine>
  /** Logged in as somebody else; whoever asked closes it. */
  openAs(target: Target, admin: AdminCredentials): Engine
}

/** One account whose password is to change: where it is kept, and how to change and try it. */
export type Site = {
  target: Target
  account: string
  place: CredentialPlace
  /** Proves what can be proved while nothing has changed. */
  prepare(): Promise<void>
  set(password: Sensitive): Promise<void>
  accepts(password: Sensitive): Promise<boolean>
  /** Whether a candidate that the target refuses may be dropped. Not when it could be the only way in. */
  canDrop(): Promise<boolean>
  /**
   * In the transaction after which the new password is sent: false when the credential has been written anew since it
   * was read. Who writes it takes the same lock, and waits for a rotation that has begun.
   */
  begin(db: Db): Promise<boolean>
  /** The rotation is done: in the transaction that says so. 0: the target was written meanwhile. */
  switchOver(db: Db): Promise<number>
  close(): Promise<void>
}

export type SiteParts = { ledger: Db; credentials: Credentials; reach: Reach }

/** Throws an `EngineError` that says what is missing. */
export async function siteOf(parts: SiteParts, rotation: Rotation): Promise<Site> {
  return rotation.kind === 'static' ? staticSite(parts, rotation) : adminSite(parts, rotation)
}

/**
 * The admin of the target sets the password, whatever it was; so a candidate that is refused can always be dropped.
 * Where the admin may not, the account does it by itself, as long as the store knows how it logs in.
 */
async function staticSite(parts: SiteParts, rotation: Rotation): Promise<Site> {
  const target = await findTarget(parts.ledger, rotation.mountId, rotation.targetName)
  if (!target) throw new EngineError('failed', `there is no connection "${rotation.targetName}"`)
  const passwords = passwordsOf(target, await parts.reach.open(target))
  return {
    target,
    account: rotation.username,
    place: placeOf(rotation),
    prepare: async () => {},
    async set(password) {
      const statements = given(rotation.statements)
      try {
        await passwords.set(rotation.username, password, statements)
      } catch (error) {
        if (!isDenied(error) || statements) throw error
        const known = await parts.credentials.read(placeOf(rotation), 'current')
        if (!known || known.password.reveal() === '') throw error
        await asThemselves(parts.reach, target, rotation.username, known.password, password).catch(() => {
          throw error // what the admin lacks is what can be put right
        })
      }
    },
    accepts: (password) => passwords.accepts(rotation.username, password),
    canDrop: async () => true,
    begin: async () => true,
    switchOver: async () => 1,
    close: async () => {},
  }
}

/**
 * An admin account sets its own password, and so needs no right over another. Alone on its target, it is the way in
 * while it is rotated; of two, it is the one that is not in use, and takes the other's place when all is done.
 */
async function adminSite(parts: SiteParts, rotation: Rotation): Promise<Site> {
  const target = await findTargetById(parts.ledger, rotation.targetId ?? '')
  if (!target) throw new EngineError('failed', 'the target of this admin account is not in the ledger')
  const alone = rotation.secretName === null
  const place: CredentialPlace = alone ? target : placeOf(rotation)
  const stored = await parts.credentials.read(place, 'current')
  if (!stored || stored.password.reveal() === '') {
    throw new EngineError('no_admin', `the store has no password for the admin account of "${target.name}"`)
  }
  const account = stored.username ?? String(target.spec.username ?? '')
  const engine = parts.reach.openAs(target, { ...stored, username: account })
  const passwords = passwordsOf(target, engine)
  const statements = given(target.spec.root_rotation_statements as string[] | undefined)
  const accepts = (password: Sensitive) => passwords.accepts(account, password)
  return {
    target,
    account,
    place,
    accepts,
    async prepare() {
      await refuseSharedAdmin(parts.ledger, target, account)
      // Every proof is a version more in the store of others: none for a target that would not take the password.
      if (place.passwordReference === null || !(await accepts(stored.password))) return
      await parts.credentials.proveWritable(place)
    },
    async set(password) {
      try {
        await passwords.set(account, password, statements)
      } catch (error) {
        if (alone || !isDenied(error)) throw error
        // Somebody changed it: the one in use may be allowed to put it right.
        const other = passwordsOf(target, await parts.reach.open(target))
        await other.set(account, password, statements)
      }
    },
    canDrop: async () => !alone || (await accepts(stored.password)),
    async begin(db) {
      await lockNamed(db, `target ${target.mountId} ${target.name}`)
      const now = await findTargetById(db, target.id)
      return now?.secretName === target.secretName
    },
    switchOver: async (db) =>
      alone ? 1 : switchAdmins(db, { id: rotation.id, targetId: target.id }, target),
    close: () => engine.close(),
  }
}

export function passwordsOf(target: Pick<Target, 'name' | 'engine'>, engine: Engine): Passwords {
  if (engine.passwords) return engine.passwords
  throw new EngineError(
    'failed',
    `"${target.name}" (${target.engine}) has no passwords that could be rotated`,
  )
}

export const placeOf = ({ secretName, passwordReference }: Rotation): CredentialPlace => ({
  secretName: secretName ?? '',
  passwordReference,
})

const isDenied = (error: unknown): boolean => error instanceof EngineError && error.kind === 'denied'

async function asThemselves(
  reach: Reach,
  target: Target,
  username: string,
  known: Sensitive,
  password: Sensitive,
): Promise<void> {
  const engine = reach.openAs(target, { username, password: known })
  try {
    await passwordsOf(target, engine).set(username, password)
  } finally {
    await engine.close()
  }
}

/** None of its own means ours. */
const given = (statements: readonly string[] | undefined): readonly string[] | undefined =>
  statements && statements.length > 0 ? statements : undefined
