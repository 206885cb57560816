import type { Ending, EngineError, Evidence } from '../engine.ts'
import type { Connections } from './connections.ts'
import { call } from './definer.ts'
import { toEngineError } from './errors.ts'
import { handOver, type Leaver } from './estate.ts'
import { many, runIsolated } from './isolate.ts'
import { type Found, type FoundRow, foundQuery, matchFound } from './lookup.ts'
import { actAsOne, underMakers } from './makers.ts'
import { becomeMember } from './membership.ts'
import { runOwnSql } from './own-sql.ts'
import { ownerFor } from './owner.ts'
import { readPlan } from './role.ts'
import { identifiers } from './sql.ts'
import type { Target } from './target.ts'

/**
 * The role's own revocation statements, then handing over what is owned, then DROP ROLE. A role's own statements
 * can neither stop nor replace what follows: when they fail the receipt says so, and the account goes all the same.
 */
export async function remove(
  connections: Connections,
  target: Target,
  endings: readonly Ending[],
): Promise<Map<Ending, Evidence | EngineError>> {
  const own = new Map<Ending, string>()
  const { found, admin } = await find(connections, endings)
  for (const ending of endings) {
    const note = await runRevocation(connections, target, ending, found.get(ending) ?? [])
    if (note) own.set(ending, note)
  }
  // They may have dropped it themselves.
  const still = own.size > 0 ? (await find(connections, endings)).found : found
  const leavers = endings.flatMap((ending) =>
    (still.get(ending) ?? []).map((account) => toLeaver(target, ending, account, admin)),
  )
  const failures = new Map<Leaver, EngineError>()
  if (leavers.length > 0) {
    await handOver(connections, leavers, failures)
    await drop(connections, leavers, failures)
  }
  return new Map(
    endings.map((ending) => {
      const mine = leavers.filter((leaver) => leaver.ending === ending)
      const failure = mine.map((leaver) => failures.get(leaver)).find((problem) => problem !== undefined)
      return [ending, failure ?? evidence(mine, (found.get(ending) ?? []).length > 0, own.get(ending))]
    }),
  )
}

function evidence(mine: readonly Leaver[], wasThere: boolean, own: string | undefined): Evidence {
  const residual = [
    ...(own?.startsWith(FAILED) ? [`what revocation_statements were to undo: they ${own}`] : []),
    ...mine.flatMap(({ notes }) => (notes.residual as string[] | undefined) ?? []),
  ]
  return {
    account: wasThere ? 'dropped' : 'absent',
    ...(own === undefined ? {} : { revocation_statements: own }),
    ...Object.assign({}, ...mine.map(({ notes }) => notes)),
    ...(residual.length > 0 ? { residual } : {}),
  }
}

async function find(
  connections: Connections,
  endings: readonly Ending[],
): Promise<{ found: Map<Ending, Found[]>; admin: string }> {
  return connections.useActing('ending', async (session, facts) => {
    const { rows } = await session.query(foundQuery(endings, facts))
    return { found: matchFound(endings, rows as FoundRow[]), admin: facts.admin }
  })
}

function toLeaver(target: Target, ending: Ending, found: Found, admin: string): Leaver {
  const owner = ownerFor(readPlan(ending.role, target).owner, admin)
  return { ending, found, owner, notes: {} }
}

const NOTE_LIMIT = 300
const FAILED = 'failed: '

/** What became of a role's own revocation statements, undefined when it has none. */
async function runRevocation(
  connections: Connections,
  target: Target,
  ending: Ending,
  found: readonly Found[],
): Promise<string | undefined> {
  const { revocation } = readPlan(ending.role, target)
  if (revocation.length === 0) return undefined
  if (found.length === 0) return 'not run: the account was absent'
  const { name } = ending.account
  return connections.useForOwnSql('ending', async (session, facts) => {
    // DROP OWNED BY and the like take the account's own rights.
    await becomeMember(session, facts, found)
    try {
      await session.query('BEGIN')
      await runOwnSql(session, facts, revocation, { name })
      await session.query('COMMIT')
      return 'run'
    } catch (error) {
      await session.query('ROLLBACK')
      return `${FAILED}${toEngineError(error).message}`.slice(0, NOTE_LIMIT)
    }
  })
}

async function drop(
  connections: Connections,
  leavers: readonly Leaver[],
  failures: Map<Leaver, EngineError>,
): Promise<void> {
  const ready = leavers.filter((leaver) => !failures.has(leaver))
  if (ready.length === 0) return
  await connections.useActing('ending', async (session, facts) => {
    await actAsOne(
      session,
      facts,
      ready.map(({ found }) => found.maker),
    )
    await many(session, 'BEGIN')
    const text = (batch: readonly Leaver[]): string =>
      facts.functions
        ? call.drop(batch.map(({ found }) => found))
        : underMakers(
            batch,
            ({ found }) => found.maker,
            facts,
            (theirs) => `DROP ROLE IF EXISTS ${identifiers(theirs.map(({ found }) => found.name))}`,
          )
    await runIsolated(session, ready, text, failures)
  })
}
