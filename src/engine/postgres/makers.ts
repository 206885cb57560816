import type { Facts, Session } from './connections.ts'
import { identifier, literal } from './sql.ts'

/**
 * From 16 on a role is its maker's, and each that it made makes it slower. So accounts are made by several roles that the
 * admin account becomes in turn (`creators.ts`), and changed and dropped by the one that made them. Which that is, the
 * target's catalog says.
 */
export const spreads = ({ version, isSuperuser }: Facts): boolean => version >= 160_000 && !isSuperuser

const adminOid = ({ admin }: Facts): string => `(SELECT oid FROM pg_roles WHERE rolname = ${literal(admin)})`

/** Who the session is, outside of transactions. */
const actingAs = ({ acting, admin }: Facts): string => acting?.name ?? admin

/** For a query: the name of the role to become for changing the role of this OID, null where it is the admin account. */
export const makerOf = (oid: string, facts: Facts): string =>
  spreads(facts)
    ? `(SELECT c.rolname FROM pg_auth_members m JOIN pg_roles c ON c.oid = m.member
        WHERE m.roleid = ${oid} AND m.admin_option AND c.rolcreaterole AND NOT c.rolcanlogin
          -- Whom we may become takes a look at all that is anybody's, so it is not asked for who we are already.
          AND CASE WHEN c.rolname = ${literal(actingAs(facts))} THEN true ELSE pg_has_role(session_user, c.oid, 'SET') END
        ORDER BY c.oid LIMIT 1)`
    : 'NULL::name'

/** For a query: whether whoever has this role, or is in it, has our rights. */
export const reachesUs = (oid: string, facts: Facts): string => {
  const admin = adminOid(facts)
  const reachesAdmin = `pg_has_role(${oid}, ${admin}, 'MEMBER')`
  if (!spreads(facts)) return reachesAdmin
  return `(${reachesAdmin} OR EXISTS (
    SELECT FROM pg_auth_members k JOIN pg_roles c ON c.oid = k.roleid
    WHERE k.member = ${admin} AND k.set_option AND c.rolcreaterole AND NOT c.rolcanlogin
      AND pg_has_role(${oid}, c.oid, 'MEMBER')))`
}

/** One text for all items, each under the role that `roleOf` says; null is the admin account. For a transaction. */
export function underMakers<Item>(
  items: readonly Item[],
  roleOf: (item: Item) => string | null,
  facts: Facts,
  textFor: (items: readonly Item[]) => string,
): string {
  const byRole = new Map<string, Item[]>()
  for (const item of items) {
    const role = roleOf(item) ?? facts.admin
    byRole.set(role, [...(byRole.get(role) ?? []), item])
  }
  const own = actingAs(facts)
  const texts: string[] = []
  let current = own
  const become = (role: string): void => {
    if (role !== current) texts.push(`SET LOCAL ROLE ${identifier(role)}`)
    current = role
  }
  for (const [role, theirs] of byRole) {
    become(role)
    texts.push(textFor(theirs))
  }
  become(own)
  return texts.join('; ')
}

/**
 * Outside of any transaction: the session becomes this role for good, null for the admin account. To become a role reads
 * all that the admin account could become, so it is worth it to stay the same.
 */
export async function actAs(session: Session, facts: Facts, role: string | null): Promise<void> {
  const name = role ?? facts.admin
  if (name !== actingAs(facts)) await session.query(`SET ROLE ${identifier(name)}`)
  facts.acting = role === null ? undefined : { name, left: 0 }
}

/** The one role that is not who we are already and has to do with all of these, if there is such a one. */
function other(facts: Facts, roles: readonly (string | null)[]): { role: string | null } | undefined {
  const [role, ...more] = new Set(roles)
  if (role === undefined || more.length > 0 || (role ?? facts.admin) === actingAs(facts)) return undefined
  return { role }
}

/** Between transactions: becomes the one role that made all of these, if it is one. */
export async function actAsOne(
  session: Session,
  facts: Facts,
  makers: readonly (string | null)[],
): Promise<void> {
  const next = other(facts, makers)
  if (next) await actAs(session, facts, next.role)
}

/** As `actAsOne`, in a transaction that has changed nothing yet; leaves another one. */
export async function actAsOneFromHere(
  session: Session,
  facts: Facts,
  makers: readonly (string | null)[],
): Promise<void> {
  const next = other(facts, makers)
  if (!next) return
  await session.query('COMMIT')
  await actAs(session, facts, next.role)
  await session.query('BEGIN')
}
