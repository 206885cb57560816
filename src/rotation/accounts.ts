import type { Db } from '../ledger/db.ts'
import { findAdminRotation, isLeaseAccount, staticAccounts } from '../ledger/rotation.ts'
import { type Target, targetsOfEngine } from '../ledger/targets.ts'
import { BrokerError } from '../lib/errors.ts'
import { ID_PATTERN } from '../lib/ids.ts'

/** Whose account an account is: an admin's, a static role's, a lease's. No account can be two of these. */

const refuse = (text: string): BrokerError => new BrokerError('invalid_request', text)

/** MySQL has accounts by host; who logs in from several is still the same name. */
const baseName = ({ engine }: Pick<Target, 'engine'>, username: string): string =>
  engine === 'mysql' ? username.replace(/@[^@]*$/, '').replace(/^(['"`])(.*)\1$/, '$2') : username

const isSame = (target: Pick<Target, 'engine'>, one: string, other: string): boolean =>
  baseName(target, one) === baseName(target, other)

/** As connection URLs of every engine have it; undefined where there is none to be seen. */
const serverOf = ({ spec }: Pick<Target, 'spec'>): string | undefined =>
  /@([^@/?]+)[^@]*$/.exec(String(spec.connection_url ?? ''))?.[1]

/** A connection that is there already, or is about to be written. */
type Somewhere = Pick<Target, 'engine' | 'spec'> & { id: string | undefined }

/** The connections to the same server, this one among them: accounts are the server's, and each may have its share. */
async function onSameServer(db: Db, target: Somewhere): Promise<Target[]> {
  const server = serverOf(target)
  const all = await targetsOfEngine(db, target.engine)
  return all.filter((each) => each.id === target.id || (server !== undefined && serverOf(each) === server))
}

/** The admin accounts of a target as its configuration has them, whichever is in use. */
async function adminAccounts(db: Db, target: Target): Promise<string[]> {
  const rotation = await findAdminRotation(db, target.id)
  const names = [target.spec.username, rotation?.username, rotation?.alternateUsername]
  return names.filter((name): name is string => typeof name === 'string' && name !== '')
}

/** The static role that has this account, on any connection to the same server. */
async function holderOf(
  db: Db,
  target: Somewhere,
  username: string,
  except?: string,
): Promise<string | undefined> {
  for (const { id, mountId, name } of await onSameServer(db, target)) {
    const isOwn = id === target.id
    const holder = (await staticAccounts(db, mountId, name)).find(
      (other) => !(isOwn && other.name === except) && isSame(target, other.username, username),
    )
    if (holder) return isOwn ? `"${holder.name}"` : `"${holder.name}" of the connection "${name}"`
  }
  return undefined
}

/** An account that we make and end: every such name holds its lease's id. */
const isLeased = (username: string): boolean =>
  username.split(/[^0-9A-Za-z]+/).some((word) => ID_PATTERN.test(word))

/** Throws a `BrokerError` that says whose account it is already. `name`: the static role that wants it. */
export async function refuseTakenAccount(
  db: Db,
  target: Target,
  { name, username }: { name: string; username: string },
): Promise<void> {
  for (const each of await onSameServer(db, target)) {
    const admins = await adminAccounts(db, each)
    if (!admins.some((admin) => isSame(target, admin, username))) continue
    throw refuse(
      `username "${username}" is an admin account of "${each.name}": it is rotated by rotate-root, and no static role can have it`,
    )
  }
  if (isLeased(username) || (await isLeaseAccount(db, target.id, username))) {
    throw refuse(`username "${username}" is an account of a lease: its password ends with it`)
  }
  const holder = await holderOf(db, target, username, name)
  if (holder) throw refuse(`username "${username}" is the account of the static role ${holder} already`)
}

/** Throws a `BrokerError` when one of these admin accounts is a static role's. */
export async function refuseStaticAccount(
  db: Db,
  target: Somewhere,
  usernames: readonly string[],
): Promise<void> {
  for (const username of usernames) {
    const holder = await holderOf(db, target, username)
    if (holder) {
      throw refuse(`"${username}" is the account of the static role ${holder}: it cannot be an admin account`)
    }
  }
}

/**
 * Throws a `BrokerError` when another connection logs in with this admin account, which a new password would lock out
 * with all that was leased there. Not where both read the password from one reference: then both have the new one.
 */
export async function refuseSharedAdmin(db: Db, target: Target, username: string): Promise<void> {
  const { passwordReference: reference } = target
  for (const each of await onSameServer(db, target)) {
    if (each.id === target.id || (reference !== null && each.passwordReference === reference)) continue
    const admins = await adminAccounts(db, each)
    if (!admins.some((admin) => isSame(target, admin, username))) continue
    throw refuse(
      `"${username}" is an admin account of the connection "${each.name}" too, which a new password would lock out: ` +
        'give each connection an account of its own, or both one reference to the password',
    )
  }
}
