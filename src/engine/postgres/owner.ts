import { EngineError } from '../engine.ts'
import type { Facts, Session } from './connections.ts'
import { isServerError, isStatementFault, toEngineError } from './errors.ts'
import { reachesUs } from './makers.ts'
import { joinText } from './membership.ts'
import { identifier, literal } from './sql.ts'

type OwnerRow = { reaches_admin: boolean; usable: boolean }

/** Who gets what accounts leave behind. */
export type Owner = { name: string; isOurs: boolean }

const MAX_NAME_BYTES = 63

/** One for each admin account: from 16 on, a role that another admin made could not be used. */
export function ownerFor(named: string | undefined, admin: string): Owner {
  if (named !== undefined) return { name: named, isOurs: false }
  const name = Buffer.from(`leasehold_owner_${admin}`).subarray(0, MAX_NAME_BYTES).toString()
  return { name: name.replace(/\ufffd$/, ''), isOurs: true }
}

const DUPLICATE_OBJECT = '42710'

/**
 * Gets the role ready that is to own what accounts leave behind. The default one is made when it is missing, with no
 * rights at all. A role with the rights of our admin account is refused: what is left behind would gain them.
 */
export async function useOwner(
  session: Session,
  facts: Facts,
  { name: owner, isOurs }: Owner,
): Promise<EngineError | undefined> {
  try {
    let row = await findOwner(session, facts, owner)
    if (!row && isOurs) {
      await makeOwner(session, owner)
      row = await findOwner(session, facts, owner)
    }
    if (!row) return new EngineError('blocked', `the owner role "${owner}" is not on the target`)
    if (row.reaches_admin) {
      return new EngineError(
        'blocked',
        `the owner role "${owner}" has the rights of the admin account; name another`,
      )
    }
    if (!row.usable) await session.query(joinText(facts, [owner]))
    return undefined
  } catch (error) {
    if (!isStatementFault(error)) throw error
    const cure = `run: GRANT "${owner}" TO "${facts.admin}"`
    return toEngineError(error, `the owner role "${owner}" cannot be used (${cure})`)
  }
}

async function findOwner(session: Session, facts: Facts, owner: string): Promise<OwnerRow | undefined> {
  const { isSuperuser, version } = facts
  const usable =
    version >= 160_000 ? "pg_has_role(oid, 'USAGE') AND pg_has_role(oid, 'SET')" : "pg_has_role(oid, 'USAGE')"
  const { rows } = await session.query(
    `SELECT ${reachesUs('o.oid', facts)} AS reaches_admin,
            ${isSuperuser ? 'true' : usable} AS usable
     FROM pg_roles AS o WHERE rolname = ${literal(owner)}`,
  )
  return rows[0] as OwnerRow | undefined
}

async function makeOwner(session: Session, owner: string): Promise<void> {
  try {
    await session.query(`CREATE ROLE ${identifier(owner)} NOLOGIN`)
  } catch (error) {
    // Another worker may have been faster.
    if (!isServerError(error) || error.code !== DUPLICATE_OBJECT) throw error
  }
}
