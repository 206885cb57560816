import type { EngineError } from '../engine.ts'
import type { Facts, Session } from './connections.ts'
import { runIsolated } from './isolate.ts'
import type { Found } from './lookup.ts'
import { underMakers } from './makers.ts'
import { identifier, identifiers } from './sql.ts'

/** Gives us the rights of roles, to use and to become; from 16 on neither comes with being a member. */
export const joinText = ({ version, admin }: Facts, names: readonly string[]): string =>
  `GRANT ${identifiers(names)} TO ${identifier(admin)}${version >= 160_000 ? ' WITH INHERIT TRUE, SET TRUE' : ''}`

/**
 * Makes us a member of accounts of ours: an admin that is no superuser may end a session or hand over a table only
 * with the rights of the account. From 16 on, having made it gives no such rights, only the right to take them.
 * Not done when accounts are made, since every membership slows the admin down.
 */
export async function becomeMember(
  session: Session,
  facts: Facts,
  accounts: readonly Found[],
): Promise<Map<Found, EngineError>> {
  const failures = new Map<Found, EngineError>()
  if (facts.isSuperuser || facts.functions || accounts.length === 0) return failures
  await session.query('BEGIN')
  await runIsolated(
    session,
    accounts,
    (batch) =>
      underMakers(
        batch,
        ({ maker }) => maker,
        facts,
        (theirs) =>
          joinText(
            facts,
            theirs.map(({ name }) => name),
          ),
      ),
    failures,
  )
  return failures
}
