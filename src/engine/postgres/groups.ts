import { EngineError } from '../engine.ts'
import type { Facts } from './connections.ts'
import { reachesUs } from './makers.ts'
import { nameArray } from './sql.ts'

/** What is known of the groups a role names: whether each is there, and whether we may give it. */
export type Groups = ReadonlyMap<string, { grantable: boolean; reachesAdmin: boolean }>

/**
 * A group that is itself a member of the admin account, as every superuser is, would hand out the broker's own
 * rights. Before 16 CREATEROLE may grant any group; since then it takes the ADMIN option.
 */
export const groupsQuery = (groups: Iterable<string>, facts: Facts): string => `
  SELECT rolname, ${reachesUs('g.oid', facts)} AS reaches_admin,
         ${grantable(facts)} AS grantable
  FROM pg_roles AS g WHERE rolname = ANY (${nameArray(groups)})`

function grantable({ version, isSuperuser, functions }: Facts): string {
  if (functions) return 'rolname = ANY ((SELECT leasehold_broker.groups())::name[])'
  return isSuperuser || version < 160_000 ? 'true' : "pg_has_role(oid, 'MEMBER WITH ADMIN OPTION')"
}

export const readGroups = (rows: { rolname: string; reaches_admin: boolean; grantable: boolean }[]): Groups =>
  new Map(rows.map((row) => [row.rolname, { grantable: row.grantable, reachesAdmin: row.reaches_admin }]))

export function problemWithGroups(
  memberOf: readonly string[],
  groups: Groups,
  { admin, functions }: Facts,
): EngineError | undefined {
  for (const name of memberOf) {
    const group = groups.get(name)
    if (!group) return new EngineError('failed', `member_of: the target has no role "${name}"`)
    if (group.reachesAdmin) {
      return new EngineError(
        'failed',
        `member_of: "${name}" has the rights of the admin account and cannot be given`,
      )
    }
    if (!group.grantable && functions) {
      return new EngineError(
        'denied',
        `member_of: the functions on the target may not give "${name}"; install again what \`leasehold target sql\` prints`,
      )
    }
    if (!group.grantable) {
      return new EngineError(
        'denied',
        `member_of: the admin account "${admin}" may not give "${name}"; run: GRANT "${name}" TO "${admin}" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE`,
      )
    }
  }
  return undefined
}
