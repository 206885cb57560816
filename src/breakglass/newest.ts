import type { Db } from '../ledger/db.ts'
import { groupsOfNewestLogins } from '../ledger/newest-logins.ts'
import type { Actor } from './actor.ts'

/**
 * The same people, in the groups that their newest login by the same role has said: whoever has left a group since is
 * not in it by the token, or by the vote, of before. A login by another role may not ask for groups at all, and so says
 * nothing of them.
 */
export async function asOfNow(db: Db, actors: readonly Actor[]): Promise<Actor[]> {
  const people = actors.filter(({ kind }) => kind === 'human')
  if (people.length === 0) return [...actors]
  const found = await groupsOfNewestLogins(
    db,
    people.map(({ id, role = '' }) => ({ entityId: id, role })),
  )
  return actors.map((actor) => {
    const newest = found.find(({ entityId, role }) => entityId === actor.id && role === (actor.role ?? ''))
    return newest ? { ...actor, groups: newest.groups } : actor
  })
}
