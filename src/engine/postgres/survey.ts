import { packed, unpacked } from '../../lib/packed.ts'
import type { Account, Spec, Survey } from '../engine.ts'
import { GRANTS_KEPT, remembered } from '../survey.ts'
import type { Connections, Facts, Session } from './connections.ts'
import { many } from './isolate.ts'
import { judge, type Seen } from './judge.ts'
import { readLimits } from './limits.ts'
import { ownerFor } from './owner.ts'
import { type Plan, readPlan } from './role.ts'
import { leaseIdInMark, MARK_OF, MARK_PATTERN, nameArray, oidArray } from './sql.ts'
import type { Target } from './target.ts'

type Row = Record<string, string | number | boolean | null>
type Grant = { oid: string; key: string; name: string | null; total: number; is_default: boolean }

const GRANTS_NAMED = 5

export function surveyOf(connections: Connections, target: Target): Survey {
  const planOf = remembered((role) => readPlan(role, target))
  return {
    look: (leases) => connections.use('ending', (session, facts) => look(session, facts, planOf, leases)),
    judge: (sighting, plan) => judge(sighting as Seen, plan, planOf(plan.role)),
    limits: () => connections.use('ending', (session, facts) => readLimits(session, facts)),
  }
}

async function look(
  session: Session,
  facts: Facts,
  planOf: (role: Spec) => Plan,
  leases: readonly { account: Account; role: Spec }[],
): Promise<(Seen | null)[]> {
  const accounts = leases.map(({ account }) => account)
  const [roles] = await many(session, packed(rolesQuery(accounts, facts)))
  const rows = unpacked<Row>(roles)
  const oids = rows.map(({ oid }) => String(oid))
  const owners = new Set(leases.map(({ role }) => ownerFor(planOf(role).owner, facts.admin).name))
  const [groups, grants] = await many(
    session,
    `${packed(groupsQuery(oids))}; ${packed(grantsQuery(oids, owners))}`,
  )
  const groupsOf = gathered(unpacked<{ oid: string; name: string }>(groups))
  const grantsOf = gathered(unpacked<Grant>(grants))
  const seen = rows.map((row) => asSeen(row, groupsOf, grantsOf))
  const byOid = new Map(seen.map((each) => [each.account.targetRef, each]))
  const byName = new Map(seen.map((each) => [each.account.name, each]))
  return accounts.map(({ name, targetRef, leaseId }) => {
    const same = targetRef === null ? undefined : byOid.get(targetRef)
    // OIDs come round again: under another name it has to say whose it is.
    const isOurs = same && (same.account.name === name || same.account.leaseId === leaseId)
    return (isOurs ? same : byName.get(name)) ?? null
  })
}

/** The password's verifier never leaves the server. */
const PASSWORD = `left(encode(sha256(convert_to(coalesce(rolpassword, ''), 'UTF8')), 'hex'), 16)`

const rolesQuery = (accounts: readonly Account[], { isSuperuser }: Facts): string => `
  SELECT oid::text, rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
         ${MARK_OF('r.oid')} AS mark, ${isSuperuser ? PASSWORD : 'NULL'} AS password,
         CASE WHEN rolvaliduntil IS NULL OR rolvaliduntil = 'infinity' THEN NULL
              WHEN rolvaliduntil = '-infinity' THEN 0
              ELSE (extract(epoch FROM rolvaliduntil - clock_timestamp()) * 1000)::float8 END AS valid_ms
  FROM ${isSuperuser ? 'pg_authid' : 'pg_roles'} AS r
  -- An array the planner cannot see into, so that it looks each of them up and does not read all roles for a page.
  WHERE oid = ANY (${oidArray(accounts.flatMap(({ targetRef }) => targetRef ?? []))}
    || ARRAY(SELECT oid FROM pg_roles WHERE rolname = ANY (${nameArray(accounts.map(({ name }) => name))})))`

const groupsQuery = (oids: readonly string[]): string => `
  SELECT m.member::text AS oid, g.rolname || CASE WHEN m.admin_option THEN ' (and may give it)' ELSE '' END AS name
  FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = ANY (${oidArray(oids)})`

/**
 * Rights on objects anywhere on the server. Not those that a leased account can have given: on what it or another one
 * owns, left behind, or owns by its group. One could end the leases of others with a GRANT.
 */
const grantsQuery = (oids: readonly string[], owners: Iterable<string>): string => `
  SELECT oid, key, total, is_default, CASE WHEN total <= ${GRANTS_NAMED} AND here THEN pg_describe_object(classid, objid, objsubid) END AS name
  FROM (SELECT s.refobjid::text AS oid, s.classid, s.objid, s.objsubid, s.classid = 'pg_default_acl'::regclass AS is_default,
          coalesce(d.datname, 'all databases') || ': ' || s.classid::regclass || ' ' || s.objid AS key,
          s.dbid = 0 OR d.datname = current_database() AS here,
          (count(*) OVER (PARTITION BY s.refobjid))::int AS total, row_number() OVER (PARTITION BY s.refobjid ORDER BY s.dbid, s.classid, s.objid) AS n
        FROM pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid
        WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = ANY (${oidArray(oids)}) AND s.deptype = 'a'
          AND (s.dbid = 0 OR d.oid IS NOT NULL)
          AND NOT EXISTS (
            SELECT FROM pg_shdepend o JOIN pg_roles w ON w.oid = o.refobjid
            WHERE o.dbid = s.dbid AND o.classid = s.classid AND o.objid = s.objid AND o.objsubid = 0 AND o.deptype = 'o'
              AND o.refclassid = 'pg_authid'::regclass
              AND (w.rolname = ANY (${nameArray(owners)}) OR ${IS_MARKED('w.oid')} OR EXISTS (
                SELECT FROM pg_auth_members m WHERE m.roleid = w.oid AND ${IS_MARKED('m.member')})))) AS g
  WHERE n <= ${GRANTS_KEPT} OR is_default`

const IS_MARKED = (oid: string): string => `${MARK_OF(oid)} LIKE ${MARK_PATTERN}`

function gathered<Item extends { oid: string }>(items: readonly Item[]): Map<string, Item[]> {
  const byOid = new Map<string, Item[]>()
  for (const item of items) {
    const list = byOid.get(item.oid)
    if (list) list.push(item)
    else byOid.set(item.oid, [item])
  }
  return byOid
}

const ATTRIBUTES = {
  rolsuper: 'SUPERUSER',
  rolcreaterole: 'CREATEROLE',
  rolcreatedb: 'CREATEDB',
  rolreplication: 'REPLICATION',
  rolbypassrls: 'BYPASSRLS',
} as const

const NO_NAMES: Seen['grantNames'] = new Map()

function asSeen(row: Row, groups: Map<string, { name: string }[]>, grants: Map<string, Grant[]>): Seen {
  const oid = String(row.oid)
  const own = grants.get(oid) ?? []
  const given = own.filter(({ is_default: isDefault }) => !isDefault)
  return {
    account: {
      leaseId: leaseIdInMark(row.mark as string | null) ?? '',
      name: String(row.rolname),
      targetRef: oid,
    },
    enabled: row.rolcanlogin === true,
    grantNames: given.length === 0 ? NO_NAMES : new Map(given.map(({ key, name }) => [key, name ?? key])),
    traits: {
      oid,
      attributes: Object.entries(ATTRIBUTES).flatMap(([column, word]) =>
        row[column] === true ? [word] : [],
      ),
      groups: (groups.get(oid) ?? []).map(({ name }) => name).sort(),
      grants: given.map(({ key }) => key).sort(),
      grantCount: own[0]?.total ?? 0,
      defaultGrants: given.length < own.length,
      validForMs: row.valid_ms as number | null,
      ...(row.password === null ? {} : { password: String(row.password) }),
    },
  }
}
