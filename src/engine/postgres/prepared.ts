import { type Ending, EngineError } from '../engine.ts'
import type { Connections, Facts, Session } from './connections.ts'
import { call } from './definer.ts'
import { toEngineError } from './errors.ts'
import { theirOids } from './lookup.ts'
import { makerOf, underMakers } from './makers.ts'
import { joinText } from './membership.ts'
import { identifier, literal } from './sql.ts'

type PreparedRow = {
  gid: string
  database: string
  owner_oid: string
  owner: string | null
  maker: string | null
}

/** Transactions that accounts left prepared, by the owner's OID since a dropped role has no name. */
export const preparedQuery = (endings: readonly Ending[], facts: Facts): string => `
  SELECT p.gid, d.datname AS database, p.ownerid::text AS owner_oid, r.rolname AS owner,
         ${facts.functions ? 'NULL' : makerOf('r.oid', facts)} AS maker
  FROM pg_prepared_xact() AS p JOIN pg_database d ON d.oid = p.dbid LEFT JOIN pg_roles r ON r.oid = p.ownerid
  WHERE p.ownerid IN ${theirOids(endings)}`

type RolledBack = { counts: Map<Ending, number>; problems: Map<Ending, EngineError> }

export async function rollBackPrepared(
  { connections, facts: home }: { connections: Connections; facts: Facts },
  endings: readonly Ending[],
  rows: readonly PreparedRow[],
): Promise<RolledBack> {
  const counts = new Map<Ending, number>()
  const problems = new Map<Ending, EngineError>()
  for (const row of rows) {
    const ending = endings.find(
      ({ account }) => account.targetRef === row.owner_oid || account.name === row.owner,
    )
    if (!ending) continue
    try {
      if (home.functions) {
        await connections.elsewhere(home.database, (session) => session.query(call.lend(row.owner_oid)))
      }
      await connections.elsewhere(row.database, (session) => rollBack(session, home, row))
      counts.set(ending, (counts.get(ending) ?? 0) + 1)
    } catch (error) {
      problems.set(ending, toEngineError(error, 'rolling back a prepared transaction'))
    }
  }
  return { counts, problems }
}

const joinAsMaker = (facts: Facts, owner: string, maker: string | null): string =>
  underMakers(
    [owner],
    () => maker,
    { ...facts, acting: undefined },
    (names) => joinText(facts, names),
  )

/** Only its owner and superusers may; the statement cannot run in a transaction. */
async function rollBack(session: Session, facts: Facts, row: PreparedRow): Promise<void> {
  if (!facts.isSuperuser) {
    if (row.owner === null) throw new EngineError('denied', `only a superuser can roll back "${row.gid}" now`)
    if (!facts.functions) await session.query(`BEGIN; ${joinAsMaker(facts, row.owner, row.maker)}; COMMIT`)
    await session.query(`SET ROLE ${identifier(row.owner)}`)
  }
  await session.query(`ROLLBACK PREPARED ${literal(row.gid)}`)
}
