import type { Limit } from '../engine.ts'
import { isNearly, slotsLimit } from '../survey.ts'
import type { Facts, Session } from './connections.ts'
import { many } from './isolate.ts'

/** Above this the catalog of roles slows down what has nothing to do with us, such as backups. */
const MANY_ROLES = 50_000
/** A row of `pg_class` has to fit into a page, and what is not its access list takes about 250 bytes of the 8160. */
const ACL_BYTES = 7_900

/** How far the target is from what it can bear: roles, the longest access list, connections. */
export async function readLimits(session: Session, { database }: Facts): Promise<Limit[]> {
  const [roles, acls, slots] = await many(session, `${ROLES}; ${LARGEST_ACL}; ${SLOTS}`)
  const acl = acls?.rows[0]
  const { used, reserved, max } = slots?.rows[0] ?? { used: 0, reserved: 0, max: 0 }
  return [
    rolesLimit(roles?.rows[0]?.count ?? 0),
    ...(acl ? [aclLimit(acl.bytes, `${acl.what}, ${acl.items} entries, in database "${database}"`)] : []),
    slotsLimit({ used, max: max - reserved, what: `${reserved} of ${max} are reserved` }),
  ]
}

const ROLES = 'SELECT count(*)::int AS count FROM pg_roles'

/** Of the database we are connected to; access lists of databases themselves can grow on. */
const LARGEST_ACL = `
  SELECT pg_column_size(relacl) AS bytes, cardinality(relacl) AS items, oid::regclass::text AS what
  FROM pg_class WHERE relacl IS NOT NULL ORDER BY 1 DESC, oid LIMIT 1`

const SLOTS = `
  SELECT (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
         current_setting('superuser_reserved_connections')::int
           + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
         current_setting('max_connections')::int AS max`

function rolesLimit(used: number): Limit {
  if (used <= MANY_ROLES) return { name: 'roles', used }
  return {
    name: 'roles',
    used,
    warning: `there are ${used} roles; end leases sooner, or lower their number by quotas`,
  }
}

function aclLimit(used: number, what: string): Limit {
  const limit: Limit = { name: 'acl_bytes', used, max: ACL_BYTES, what }
  if (!isNearly(used, ACL_BYTES)) return limit
  return {
    ...limit,
    warning: `the access list of ${what} has ${used} of about ${ACL_BYTES} bytes; when it is full nothing can be granted on it: grant to group roles, and name those in member_of`,
  }
}
