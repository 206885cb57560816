import { splitLeaseId } from '../lease/wire-id.ts'
import type { Db } from '../ledger/db.ts'
import { findLiveOnPaths } from '../ledger/grant-leases.ts'
import { doom } from '../ledger/lease-ending.ts'
import { BrokerError } from '../lib/errors.ts'
import { ACTION } from './access-actions.ts'
import type { AccessParts, Caller } from './access-parts.ts'
import { type Act, situationFor } from './actions.ts'
import { checkRoles } from './activate.ts'
import { checkMayReceive, checkNotFrozen, type Granted, issueAll, rolesOf, undo } from './credentials.ts'
import { deciding, won } from './deciding.ts'
import type { PlanRole } from './plan.ts'
import { conflict, type Situation } from './situation.ts'

export type Collect = (
  caller: Caller,
  ask: Omit<Act, 'actor'> & { paths?: readonly string[] | undefined },
) => Promise<Granted[]>

/**
 * Fresh credentials under a grant in force, such as after a suspension or an answer that got lost. What its requester
 * had for the same roles ends. Handed out only when the grant is still in force once they are made.
 */
export const createCollect =
  (parts: AccessParts): Collect =>
  async (caller, { paths, ...ask }) => {
    const { ledger } = parts
    const act = { ...ask, actor: caller.actor }
    const situation = await situationFor(ledger, act, ACTION.collect)
    const roles = chosen(situation, paths)
    await checkMayReceive(parts, caller, situation, roles)
    const { grant } = situation
    const credentials = await issueAll(parts, caller, grant, grant.expiresAt ?? grant.now, roles)
    caller.onUndelivered(() => undo(parts, credentials))
    try {
      await checkRoles(parts, grant, credentials)
      await collected(parts, act, roles, credentials)
      return credentials
    } catch (error) {
      await undo(parts, credentials)
      throw error
    }
  }

/**
 * The same for who comes by another door, where policy has been asked already: throws unless they may be given the role
 * at a path anew, under a grant of theirs.
 */
export async function checkMayCollect(db: Db, ask: Act, path: string): Promise<void> {
  await checkNotFrozen(db, chosen(await situationFor(db, ask, ACTION.collect), [path]))
}

function chosen({ grant }: Situation, paths: readonly string[] | undefined): PlanRole[] {
  const all = rolesOf(grant)
  if (!paths || paths.length === 0) return all
  const unknown = paths.find((path) => !all.some((role) => role.path === path))
  if (unknown !== undefined) {
    throw new BrokerError(
      'invalid_request',
      `Field validation failed: field "roles" names ${JSON.stringify(unknown)}, which the request is not for`,
    )
  }
  return all.filter(({ path }) => paths.includes(path))
}

/**
 * Row 16a: whoever suspends or ends the grant comes before it, and nothing is handed out; or after, and ends this too.
 * Of two who collect at once the first to come here has the others' ended, so that one account a role is left.
 */
async function collected(
  { ledger, moves, wake }: AccessParts,
  { version: _, ...act }: Act,
  roles: readonly PlanRole[],
  made: readonly Granted[],
): Promise<void> {
  const paths = roles.map(({ path }) => path)
  const own = made.map(({ issued }) => splitLeaseId(issued.leaseId).id)
  const doomed = await deciding(ledger, async (db) => {
    const { grant, actor } = await situationFor(db, act, ACTION.collect)
    const live = await findLiveOnPaths(db, grant.id, paths)
    if (!own.every((id) => live.some((lease) => lease.id === id && lease.state === 'active'))) {
      throw conflict('fresh credentials were collected elsewhere meanwhile')
    }
    const event = { event: 'collect', to: 'active', who: 'requester' } as const
    won(await moves.record(db, { grant, ...event, actor, detail: { roles: paths } }))
    const others = live.filter(({ id }) => !own.includes(id)).map(({ id }) => id)
    return doom(db, { ids: others }, 'replaced')
  })
  for (const targetId of new Set(doomed.map(({ targetId }) => targetId))) wake(targetId)
}
