import type { Account, Ending } from '../engine.ts'
import type { Facts } from './connections.ts'
import type { Session } from './session.ts'
import { type UserAtHost, userAtHost } from './sql.ts'

/** An account as it stands on the target now. */
export type Found = UserAtHost & { locked: boolean; plugin: string }

/** What belongs to which ending, with the ending. */
export type Item = { ending: Ending; found: Found }

export const userOf = (account: Account): string => userAtHost(account.name).user

/**
 * Every account that has a user name of these, at whatever host: a user name is of one lease alone, and a role's own
 * SQL may have made it for other hosts than the role says.
 */
export async function findAccounts(
  session: Session,
  { dialect }: Facts,
  endings: readonly Ending[],
): Promise<Item[]> {
  const byUser = new Map(endings.map((ending) => [userOf(ending.account), ending]))
  const rows = await session.run(dialect.accountsQuery(byUser.keys()))
  return rows.flatMap(({ user, host, locked, plugin }) => {
    const ending = byUser.get(String(user))
    const found = {
      user: String(user),
      host: String(host),
      locked: Number(locked) === 1,
      plugin: String(plugin),
    }
    return ending ? [{ ending, found }] : []
  })
}
