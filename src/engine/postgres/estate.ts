import { type Ending, EngineError } from '../engine.ts'
import type { Connections, Facts, Session } from './connections.ts'
import { call } from './definer.ts'
import { isStatementFault, toEngineError } from './errors.ts'
import { many, runIsolated } from './isolate.ts'
import type { Found } from './lookup.ts'
import { becomeMember } from './membership.ts'
import { type Owner, useOwner } from './owner.ts'
import { identifier, identifiers, literal, oidArray } from './sql.ts'

/** One account on the target on its way out. `notes` becomes its evidence. */
export type Leaver = {
  ending: Ending
  found: Found
  owner: Owner
  notes: Record<string, string | number | boolean | readonly string[]>
}

/** Objects an account owns, or rights it was given, by the database they are in; null for what all databases share. */
type Holding = { oid: string; database: string | null; owns: boolean }

/**
 * Gives what the accounts own to their owner role and takes back what they were granted, in every database that
 * holds any. Most accounts hold nothing, and then this is one query.
 */
export async function handOver(
  connections: Connections,
  leavers: readonly Leaver[],
  failures: Map<Leaver, EngineError>,
): Promise<void> {
  const holdings = await connections.useActing('ending', (session) => findHoldings(session, leavers))
  if (holdings.length === 0) return
  const heirs = leavers.filter(({ found }) => holdings.some(({ oid }) => oid === found.oid))
  const home = await connections.use('ending', async (session, facts) => {
    // Functions need no such rights, and who may own what was decided when they were installed.
    if (!facts.functions) await getRights(session, facts, heirs, failures)
    return facts
  })
  const databases = new Set(holdings.map(({ database }) => database))
  for (const database of databases) {
    const there = heirs.filter(
      (leaver) =>
        !failures.has(leaver) &&
        holdings.some((holding) => holding.oid === leaver.found.oid && holding.database === database),
    )
    if (there.length === 0) continue
    await settleDatabase(connections, home, database, there, failures)
    for (const leaver of there) {
      const owned = holdings.some(
        ({ oid, owns, ...holding }) => owns && oid === leaver.found.oid && holding.database === database,
      )
      if (owned && !failures.has(leaver)) noteHandedOver(leaver, database)
    }
  }
}

async function getRights(
  session: Session,
  facts: Facts,
  heirs: readonly Leaver[],
  failures: Map<Leaver, EngineError>,
): Promise<void> {
  const refused = await becomeMember(
    session,
    facts,
    heirs.map(({ found }) => found),
  )
  for (const leaver of heirs) {
    const problem = refused.get(leaver.found)
    if (problem) failures.set(leaver, problem)
  }
  for (const group of byOwner(heirs)) {
    const problem = await useOwner(session, facts, (group[0] as Leaver).owner)
    if (problem) for (const leaver of group) failures.set(leaver, problem)
  }
}

function noteHandedOver({ notes, owner }: Leaver, database: string | null): void {
  const words = `objects now owned by "${owner.name}" in database "${database}"`
  notes.residual = [...((notes.residual as string[]) ?? []), words]
}

async function findHoldings(session: Session, leavers: readonly Leaver[]): Promise<Holding[]> {
  const { rows } = await session.query(
    `SELECT s.refobjid::text AS oid, coalesce(d.datname, current_database()) AS database,
            bool_or(s.deptype = 'o') AS owns
     FROM pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid
     WHERE s.refclassid = 'pg_authid'::regclass AND (s.dbid = 0 OR d.oid IS NOT NULL)
       AND s.refobjid = ANY (${oidArray(leavers.map(({ found }) => found.oid))}) GROUP BY 1, 2`,
  )
  return rows as Holding[]
}

const byOwner = (leavers: readonly Leaver[]): Leaver[][] => {
  const groups = new Map<string, Leaver[]>()
  for (const leaver of leavers)
    groups.set(leaver.owner.name, [...(groups.get(leaver.owner.name) ?? []), leaver])
  return [...groups.values()]
}

/** By functions here if by functions where accounts are made; without them nothing can be done here. */
function hereBy(home: Facts, here: Facts): Facts {
  if (!home.functions || here.functions) return here
  throw new EngineError(
    'denied',
    'the functions are not installed here; run what `leasehold target sql` prints with --database',
  )
}

async function settleDatabase(
  connections: Connections,
  home: Facts,
  database: string | null,
  leavers: readonly Leaver[],
  failures: Map<Leaver, EngineError>,
): Promise<void> {
  if (database === null) return
  try {
    await connections.elsewhere(database, async (session, found) => {
      const facts = hereBy(home, found)
      await disarmFunctions(session, facts, leavers, failures)
      for (const group of byOwner(leavers)) {
        await reassign(
          session,
          facts,
          group.filter((leaver) => !failures.has(leaver)),
          failures,
        )
      }
    })
    for (const leaver of leavers) {
      leaver.notes.settled_databases = [...((leaver.notes.settled_databases as string[]) ?? []), database]
      leaver.notes.owner = leaver.owner.name
    }
  } catch (error) {
    // One database that does not answer holds up those who left something in it, and nobody else.
    for (const leaver of leavers) failures.set(leaver, toEngineError(error))
  }
}

/**
 * SECURITY DEFINER functions work for whoever calls them with the rights of their owner, so they lose that first, in
 * a transaction of its own: should handing over then fail, they are harmless.
 */
async function disarmFunctions(
  session: Session,
  facts: Facts,
  leavers: readonly Leaver[],
  failures: Map<Leaver, EngineError>,
): Promise<void> {
  const results = await many(
    session,
    `BEGIN; SELECT oid::regprocedure::text AS signature, proowner::text AS owner FROM pg_proc
     WHERE prosecdef AND proowner = ANY (${oidArray(leavers.map(({ found }) => found.oid))})`,
  )
  const functions = (results[1]?.rows ?? []) as { signature: string; owner: string }[]
  const theirs = (leaver: Leaver) => functions.filter(({ owner }) => owner === leaver.found.oid)
  const armed = leavers.filter((leaver) => theirs(leaver).length > 0)
  const text = (batch: readonly Leaver[]): string =>
    facts.functions
      ? call.disarm(batch.map(({ found }) => found))
      : batch
          .flatMap(theirs)
          .map(({ signature }) => `ALTER ROUTINE ${signature} SECURITY INVOKER`)
          .join('; ')
  await runIsolated(session, armed, text, failures)
  for (const leaver of armed) {
    leaver.notes.definer_functions_disarmed = theirs(leaver).map(({ signature }) => signature)
  }
}

async function reassign(
  session: Session,
  facts: Facts,
  leavers: readonly Leaver[],
  failures: Map<Leaver, EngineError>,
): Promise<void> {
  const owner = leavers[0]?.owner.name
  if (owner === undefined) return
  await session.query('BEGIN')
  const lent = await lendSchemas(session, facts, leavers, owner)
  const text = (batch: readonly Leaver[]): string => {
    if (facts.functions)
      return call.handOver(
        batch.map(({ found }) => found),
        owner,
      )
    const names = identifiers(batch.map(({ found }) => found.name))
    return `REASSIGN OWNED BY ${names} TO ${identifier(owner)}; DROP OWNED BY ${names}`
  }
  const returned = lent.map(
    (schema) => `REVOKE CREATE ON SCHEMA ${identifier(schema)} FROM ${identifier(owner)}`,
  )
  await runIsolated(session, leavers, text, failures, { finish: [...returned, 'COMMIT'].join('; ') })
}

/**
 * For anyone but a superuser, a function (unlike a table) may only go to a role that could create it in its schema.
 * So the owner may, until the end of this transaction, where we can let it.
 */
async function lendSchemas(
  session: Session,
  { isSuperuser, functions }: Facts,
  leavers: readonly Leaver[],
  owner: string,
): Promise<string[]> {
  if (isSuperuser || functions) return []
  const { rows } = await session.query(
    // The function answers names as they are quoted in SQL.
    `SELECT DISTINCT n.name AS schema
     FROM pg_shdepend s, pg_identify_object(s.classid, s.objid, s.objsubid) o,
       LATERAL (SELECT (parse_ident(o.schema))[1] AS name) n
     WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o'
       AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND s.refobjid = ANY (${oidArray(leavers.map(({ found }) => found.oid))})
       AND s.classid NOT IN ('pg_class'::regclass, 'pg_type'::regclass)
       AND n.name IS NOT NULL AND NOT has_schema_privilege(${literal(owner)}, n.name, 'CREATE')`,
  )
  const lent: string[] = []
  for (const { schema } of rows as { schema: string }[]) {
    try {
      await many(
        session,
        `SAVEPOINT lend; GRANT CREATE ON SCHEMA ${identifier(schema)} TO ${identifier(owner)}; RELEASE lend`,
      )
      lent.push(schema)
    } catch (error) {
      if (!isStatementFault(error)) throw error
      await session.query('ROLLBACK TO lend')
    }
  }
  return lent
}
