import { newId } from '../../lib/ids.ts'
import type { Capabilities } from '../engine.ts'
import type { Connections, Facts, Session } from './connections.ts'
import { makeCreatorText } from './creators.ts'
import { tryFunctions } from './definer.ts'
import { isStatementFault, toEngineError } from './errors.ts'
import { many } from './isolate.ts'
import { spreads } from './makers.ts'
import { ownerFor, useOwner } from './owner.ts'
import { identifier, identifiers, MARK_PATTERN } from './sql.ts'
import type { Target } from './target.ts'

const OLDEST_VERSION = 130_000
const SKEW_WARNING_MS = 2_000

type Rights = {
  server_version: string
  creates_roles: boolean
  inherits: boolean
  signals: boolean
  reserved: boolean
  /** Groups it is in or may put itself in; not those that only help it to end leases. */
  groups: string[]
  /** Roles it made accounts as, before it had functions. */
  creators: string[]
}

/** What the admin account may do, tried for real where a trial can be rolled back. */
export async function probeTarget(connections: Connections, target: Target): Promise<Capabilities> {
  return connections.use('ending', async (session, facts) => {
    const clockSkewMs = await measureSkew(session)
    const rights = await readRights(session)
    const missing = missingRights(facts, rights)
    if (missing.length === 0) missing.push(...(await tryForReal(session, facts, target)))
    const slow = missing.length === 0 ? await tryCreators(session, facts, target) : []
    const serverId = await readServerId(session, facts)
    return {
      serverVersion: rights.server_version,
      ...(serverId === undefined ? {} : { serverId }),
      clockSkewMs,
      revocability: 'immediate',
      missing,
      warnings: [...warningsFor(facts, rights, clockSkewMs), ...slow],
    }
  })
}

async function measureSkew(session: Session): Promise<number> {
  const beforeMs = Date.now()
  const { rows } = await session.query(
    'SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now_ms',
  )
  const afterMs = Date.now()
  return Math.round(rows[0].now_ms - (beforeMs + afterMs) / 2)
}

/** Made by initdb and kept by every copy and standby, so it survives a failover and a change of address. */
async function readServerId(session: Session, { database }: Facts): Promise<string | undefined> {
  try {
    const { rows } = await session.query('SELECT system_identifier::text AS id FROM pg_control_system()')
    return `${rows[0].id}/${database}`
  } catch (error) {
    if (!isStatementFault(error)) throw error
    return undefined
  }
}

async function readRights(session: Session): Promise<Rights> {
  const { rows } = await session.query(
    `SELECT current_setting('server_version') AS server_version, rolcreaterole AS creates_roles,
            rolinherit AS inherits, pg_has_role('pg_signal_backend', 'USAGE') AS signals,
            current_setting('reserved_connections', true)::int > 0
              AND EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'pg_use_reserved_connections' AND pg_has_role(r.oid, 'USAGE'))
              AS reserved,
            ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                  WHERE m.member = pg_roles.oid AND g.rolname <> ALL ('{pg_signal_backend,pg_use_reserved_connections}')
                    AND coalesce(shobj_description(g.oid, 'pg_authid'), '') NOT LIKE ${MARK_PATTERN}
                    AND NOT ${IS_CREATOR}
                  ORDER BY 1 LIMIT 5) AS groups,
            ARRAY(SELECT DISTINCT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                  WHERE m.member = pg_roles.oid AND ${IS_CREATOR} ORDER BY 1) AS creators
     FROM pg_roles WHERE rolname = current_user`,
  )
  return rows[0] as Rights
}

const IS_CREATOR = `(g.rolname LIKE 'leasehold\\_creator\\_%' AND g.rolcreaterole)`

function missingRights({ version, isSuperuser, admin, functions }: Facts, rights: Rights): string[] {
  const missing: string[] = []
  if (version < OLDEST_VERSION) missing.push('PostgreSQL 13 or newer')
  if (isSuperuser || functions) return missing
  if (!rights.creates_roles) {
    missing.push(
      `CREATEROLE, or this version's functions in its place (install what \`leasehold target sql\` prints, or run: ALTER ROLE "${admin}" CREATEROLE)`,
    )
  }
  if (version < 160_000 && !rights.inherits && !rights.signals) {
    missing.push(`ending sessions (run: ALTER ROLE "${admin}" INHERIT)`)
  }
  return missing
}

/** Makes an account, changes it, drops it, gets the owner role ready, and takes all of it back. */
async function tryForReal(session: Session, facts: Facts, { owner }: Target): Promise<string[]> {
  const name = identifier(`v_probe_${newId()}`)
  try {
    if (facts.functions) {
      await tryFunctions(session, ownerFor(owner, facts.admin).name)
      return []
    }
    await many(
      session,
      `BEGIN; CREATE ROLE ${name} NOLOGIN VALID UNTIL 'now'; COMMENT ON ROLE ${name} IS 'leasehold probe';
       ALTER ROLE ${name} NOLOGIN VALID UNTIL 'now'; DROP ROLE ${name}`,
    )
    const problem = await useOwner(session, facts, ownerFor(owner, facts.admin))
    return problem ? [problem.message] : []
  } catch (error) {
    if (!isStatementFault(error)) throw error
    return [`making and dropping roles: ${toEngineError(error).message}`]
  } finally {
    await session.query('ROLLBACK')
  }
}

/** Whether accounts can be made by several roles in turn. All is taken back. */
async function tryCreators(session: Session, facts: Facts, { creatorRoles }: Target): Promise<string[]> {
  if (!spreads(facts) || facts.functions || creatorRoles === 0) return []
  const name = `leasehold_creator_probe_${newId()}`
  try {
    await many(session, `BEGIN; ${makeCreatorText(facts, name)}; SET LOCAL ROLE ${identifier(name)}`)
    return []
  } catch (error) {
    if (!isStatementFault(error)) throw error
    return [
      `"${facts.admin}" cannot make creator roles, so it gets slower with each live lease: ${toEngineError(error).message}`,
    ]
  } finally {
    await session.query('ROLLBACK')
  }
}

function warningsFor(
  { version, isSuperuser, admin, functions }: Facts,
  rights: Rights,
  skewMs: number,
): string[] {
  const warnings: string[] = []
  if (Math.abs(skewMs) > SKEW_WARNING_MS) {
    warnings.push(
      `the target's clock is ${Math.round(skewMs / 100) / 10} s from ours; expiries it enforces itself follow its own clock`,
    )
  }
  if (version < 160_000) {
    warnings.push(
      'before PostgreSQL 16 a leased user can become its group with SET ROLE, and what it makes as the group outlives its lease, SECURITY DEFINER functions among it: give groups no CREATE on any schema or database',
    )
  }
  if (isSuperuser) return warnings
  if (functions) return [...warnings, ...moreThanFunctions(admin, rights)]
  if (!rights.signals) {
    warnings.push(
      `"${admin}" is not in pg_signal_backend: sessions of an account that somebody dropped by hand cannot be ended (run: GRANT pg_signal_backend TO "${admin}")`,
    )
  }
  if (version < 160_000) {
    warnings.push(
      `before PostgreSQL 16 CREATEROLE is nearly a superuser: whoever gets the password of "${admin}" can join any role that is not one`,
    )
  } else if (!rights.reserved) {
    warnings.push(
      `"${admin}" has no reserved connection: when clients use up all slots, a new worker cannot connect to end leases (set reserved_connections and run: GRANT pg_use_reserved_connections TO "${admin}")`,
    )
  }
  return warnings
}

/** What a thief of the login has beside the functions. */
function moreThanFunctions(admin: string, { creates_roles, groups, creators }: Rights): string[] {
  return [
    ...(creates_roles
      ? [
          `"${admin}" works by functions and has CREATEROLE all the same (run: ALTER ROLE "${admin}" NOCREATEROLE)`,
        ]
      : []),
    ...(creators.length > 0
      ? [
          `"${admin}" can still become the roles it made accounts as, and make roles as they do (run, when the leases from before have ended: DROP ROLE ${identifiers(creators)})`,
        ]
      : []),
    ...groups.map((group) => `"${admin}" is a member of "${group}" (run: REVOKE "${group}" FROM "${admin}")`),
  ]
}
