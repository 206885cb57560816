import { ledgerNow } from '../ledger/reconcile-leases.ts'
import { findStaticRole, type Rotation } from '../ledger/rotation.ts'
import { findTarget } from '../ledger/targets.ts'
import { BrokerError } from '../lib/errors.ts'
import type { Sensitive } from '../lib/sensitive.ts'
import type { Held } from '../secrets/credentials.ts'
import { failureOf } from './failure.ts'
import { passwordsOf, placeOf, type SiteParts } from './site.ts'

/** The password of a static role, and when it was and will be changed. */
export type StaticCredential = { role: Rotation; password: Sensitive; ttlSeconds: number }

/** What `static-creds` answers; undefined for a role there is not. Throws a `BrokerError`. */
export async function readCredential(
  parts: SiteParts,
  mountId: string,
  name: string,
): Promise<StaticCredential | undefined> {
  const now = await ledgerNow(parts.ledger)
  const role = await findStaticRole(parts.ledger, mountId, name)
  if (!role) return undefined
  const held = await passwordInForce(parts, role).catch((error) => {
    throw failureOf(error)
  })
  const next = role.dueAt && Math.max(0, Math.floor((role.dueAt.getTime() - now.getTime()) / 1_000))
  if (!held || held.password.reveal() === '') {
    throw new BrokerError(
      'invalid_request',
      `the password of static role "${name}" is not known yet: it was imported without one; ` +
        `its first rotation is ${role.dueAt ? `at ${role.dueAt.toISOString()}` : 'not planned'}, or rotate-role/${name} makes one now`,
    )
  }
  return { role, password: held.password, ttlSeconds: next ?? 0 }
}

/** Of a rotation that is half done, the new one as soon as the target takes it: the store has it as the current one later. */
async function passwordInForce(
  { ledger, credentials, reach }: SiteParts,
  role: Rotation,
): Promise<Held | undefined> {
  const mayBeSet = role.phase !== null && role.phase !== 'propose'
  const candidate = mayBeSet ? await credentials.read(placeOf(role), 'pending') : undefined
  const target = candidate && (await findTarget(ledger, role.mountId, role.targetName))
  if (target) {
    const passwords = passwordsOf(target, await reach.open(target))
    // A target that does not answer says nothing against the one before.
    const isIn = await passwords.accepts(role.username, candidate.password).catch(() => false)
    if (isIn) return candidate
  }
  return credentials.read(placeOf(role), 'current')
}
