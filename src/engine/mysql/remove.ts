import type { Ending, EngineError, Evidence } from '../engine.ts'
import type { Connections } from './connections.ts'
import { isStatementFault, toEngineError } from './errors.ts'
import { runIsolated } from './isolate.ts'
import { findAccounts, type Item } from './lookup.ts'
import { runOwnSql } from './own-sql.ts'
import { readPlan } from './role.ts'
import { dropText } from './server.ts'
import { fullName, userAtHost } from './sql.ts'
import type { Target } from './target.ts'

const NOTE_LIMIT = 300
const FAILED = 'failed: '

/**
 * The role's own revocation statements, then DROP USER for all at once. A role's own statements can neither stop nor
 * replace what follows: when they fail the receipt says so, and the account goes all the same.
 */
export async function remove(
  connections: Connections,
  target: Target,
  endings: readonly Ending[],
): Promise<Map<Ending, Evidence | EngineError>> {
  const before = await find(connections, endings)
  const there = new Set(before.items.map(({ ending }) => ending))
  const own = new Map<Ending, string>()
  for (const ending of endings) {
    const note = await runRevocation(connections, target, ending, there.has(ending))
    if (note) own.set(ending, note)
  }
  // They may have dropped it themselves.
  const { items } = own.size > 0 ? await find(connections, endings) : before
  const failures = new Map<Item, EngineError>()
  await connections.use('ending', (session) =>
    runIsolated(
      items,
      async (batch) => void (await session.run(dropText(batch.map(({ found }) => found)))),
      failures,
    ),
  )
  return new Map(
    endings.map((ending) => {
      const mine = items.filter((item) => item.ending === ending)
      const failure = mine.map((item) => failures.get(item)).find((problem) => problem !== undefined)
      return [ending, failure ?? evidence(there.has(ending), before.left.get(ending) ?? [], own.get(ending))]
    }),
  )
}

function evidence(wasThere: boolean, left: readonly string[], own: string | undefined): Evidence {
  const residual = [
    ...(own?.startsWith(FAILED) ? [`what revocation_statements were to undo: they ${own}`] : []),
    ...left.map((what) => `${what}, which it made, remains and can no longer run`),
  ]
  return {
    account: wasThere ? 'dropped' : 'absent',
    ...(own === undefined ? {} : { revocation_statements: own }),
    ...(residual.length > 0 ? { residual } : {}),
  }
}

/** The accounts, and the programs they made, in words. */
async function find(
  connections: Connections,
  endings: readonly Ending[],
): Promise<{ items: Item[]; left: Map<Ending, string[]> }> {
  return connections.use('ending', async (session, facts) => {
    const items = await findAccounts(session, facts, endings)
    const left = new Map<Ending, string[]>()
    if (items.length === 0) return { items, left }
    const rows = await session
      .run(facts.dialect.definersQuery(items.map(({ found }) => found)))
      .catch((error) => {
        if (!isStatementFault(error)) throw error
        return []
      })
    for (const { definer, kind, name } of rows) {
      const ending = items.find(({ found }) => fullName(found) === String(definer))?.ending
      if (ending) left.set(ending, [...(left.get(ending) ?? []), `${kind} ${name}`])
    }
    return { items, left }
  })
}

/** What became of a role's own revocation statements, undefined when it has none. */
async function runRevocation(
  connections: Connections,
  target: Target,
  { account, role }: Ending,
  isThere: boolean,
): Promise<string | undefined> {
  const { revocation } = readPlan(role, target)
  if (revocation.length === 0) return undefined
  if (!isThere) return 'not run: the account was absent'
  const { user, host } = userAtHost(account.name)
  return connections.useForOwnSql('ending', async (session) => {
    try {
      await runOwnSql(session, revocation, { name: user, host })
      return 'run'
    } catch (error) {
      // Also where they never answered, or ended their own connection: whether the server is there, DROP will tell.
      return `${FAILED}${toEngineError(error).message}`.slice(0, NOTE_LIMIT)
    }
  })
}
