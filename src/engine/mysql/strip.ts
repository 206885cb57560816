import type { Ending, EngineError } from '../engine.ts'
import type { Facts } from './connections.ts'
import { isStatementFault } from './errors.ts'
import { runIsolated } from './isolate.ts'
import { findAccounts, type Item } from './lookup.ts'
import type { Session } from './session.ts'
import { accountText, accountTexts, fullName } from './sql.ts'

/** What was taken, and what could not be: for the receipt. */
export type Stripped = { rights_revoked?: boolean; not_taken?: string; residual?: readonly string[] }

/**
 * Takes the rights of accounts whose programs the server runs by itself: an event goes on with the rights of whoever
 * made it, locked or not. MariaDB shows who has made any, and that is next to nobody. MySQL shows events only to who
 * may look into their schema, so there the rights of all are taken.
 *
 * Where it fails, the account is dropped without this a moment later; that is noted, and holds nothing up. And where
 * events run in the name of a role that others have too, nobody can tell whose they are: they are noted.
 */
export async function strip(
  session: Session,
  facts: Facts,
  endings: readonly Ending[],
): Promise<Map<Ending, Stripped>> {
  const items = endings.length === 0 ? [] : await findAccounts(session, facts, endings)
  const failures = new Map<Item, EngineError>()
  const makers = items.length === 0 ? [] : await suspects(session, facts, items)
  const goingOn = items.length === 0 ? new Map<string, string[]>() : await roleEvents(session, facts, items)
  await revokeAll(session, facts, makers, failures)
  const stripped = new Map<Ending, Stripped>()
  for (const item of items) {
    const said = { ...stripped.get(item.ending) }
    const problem = failures.get(item)
    const residual = [
      ...(said.residual ?? []),
      ...(problem ? [`its rights could not be taken before it was dropped: ${problem.message}`] : []),
      ...(goingOn.get(fullName(item.found)) ?? []),
    ]
    if (problem) said.not_taken = problem.message
    else if (makers.includes(item)) said.rights_revoked = true
    stripped.set(item.ending, { ...said, ...(residual.length > 0 ? { residual } : {}) })
  }
  return stripped
}

async function revokeAll(
  session: Session,
  facts: Facts,
  makers: readonly Item[],
  failures: Map<Item, EngineError>,
): Promise<void> {
  if (makers.length === 0) return
  const roles = await rolesOf(session, facts, makers)
  const texts = (batch: readonly Item[]): string[] => [
    `REVOKE ALL PRIVILEGES, GRANT OPTION FROM ${accountTexts(batch.map(({ found }) => found))}`,
    ...batch.flatMap(({ found }) =>
      (roles.get(fullName(found)) ?? []).map((role) => `REVOKE ${role} FROM ${accountText(found)}`),
    ),
  ]
  await runIsolated(makers, async (batch) => void (await session.many(texts(batch))), failures)
}

async function suspects(session: Session, facts: Facts, items: readonly Item[]): Promise<readonly Item[]> {
  if (facts.dialect.server.flavour === 'MySQL') return items
  try {
    const rows = await session.run(facts.dialect.definersQuery(items.map(({ found }) => found)))
    const makers = new Set(rows.map(({ definer }) => String(definer)))
    return items.filter(({ found }) => makers.has(fullName(found)))
  } catch (error) {
    if (!isStatementFault(error)) throw error
    // Who may not look cannot tell one from the other.
    return items
  }
}

/** By account, in words. */
async function roleEvents(
  session: Session,
  { dialect }: Facts,
  items: readonly Item[],
): Promise<Map<string, string[]>> {
  const events = new Map<string, string[]>()
  try {
    for (const row of await session.run(dialect.roleEventsQuery(items.map(({ found }) => found)))) {
      const account = fullName({ user: String(row.user), host: String(row.host) })
      const words = `event ${row.name} goes on in the name of the role ${row.role}, which it had and may have made it with`
      events.set(account, [...(events.get(account) ?? []), words])
    }
  } catch (error) {
    if (!isStatementFault(error)) throw error
  }
  return events
}

/** By account, roles as statements name them. */
async function rolesOf(
  session: Session,
  { dialect }: Facts,
  items: readonly Item[],
): Promise<Map<string, string[]>> {
  const roles = new Map<string, string[]>()
  try {
    for (const row of await session.run(dialect.rolesQuery(items.map(({ found }) => found)))) {
      const name = `${row.user}@${row.host}`
      roles.set(name, [...(roles.get(name) ?? []), accountText({ user: row.role, host: row.role_host })])
    }
  } catch (error) {
    if (!isStatementFault(error)) throw error
  }
  return roles
}
