import type { CreateAnswers } from '../creating.ts'
import { type Created, EngineError } from '../engine.ts'
import type { Connections, Facts, Session } from './connections.ts'
import { toEngineError } from './errors.ts'
import { many } from './isolate.ts'
import { beginCreate, createdAs, grantTexts, type Order, problemWith, validUntil } from './order.ts'
import { runOwnSql } from './own-sql.ts'
import { identifier, literal, markComment } from './sql.ts'
import type { Target } from './target.ts'

const NEEDS_CREATEROLE =
  'creation_statements need an admin account with CREATEROLE, and this one works by functions instead; name groups in member_of'

/**
 * Makes one account by its role's own SQL, alone in its transaction. What every account has is then added: the
 * expiry, the connection limit, the mark, and the groups of `member_of`.
 */
export async function createWithOwnSql(
  connections: Connections,
  target: Target,
  order: Order,
): Promise<CreateAnswers> {
  const answer = await connections.useForOwnSql('issuing', async (session, facts) => {
    if (facts.functions && !facts.createsRoles) return new EngineError('denied', NEEDS_CREATEROLE)
    const { nowMs, groups } = await beginCreate(session, facts, [order])
    const problem = problemWith(order, groups, facts)
    if (problem) {
      await session.query('ROLLBACK')
      return problem
    }
    try {
      return await createInTransaction(session, facts, target, order, nowMs)
    } catch (error) {
      await session.query('ROLLBACK')
      return toEngineError(error, 'creation_statements')
    }
  })
  return new Map([[order.ticket, answer]])
}

async function createInTransaction(
  session: Session,
  facts: Facts,
  target: Target,
  order: Order,
  nowMs: number,
): Promise<Created> {
  const { name, leaseId } = order.ticket.account
  const expiration = validUntil(order, target, nowMs)
  await runOwnSql(session, facts, order.plan.creation, { name, verifier: order.verifier, expiration })
  const limit = `CASE WHEN rolconnlimit < 0 THEN ${order.plan.connectionLimit} ELSE rolconnlimit END`
  const [made] = (
    await session.query(
      `SELECT oid::text, ${limit} AS "limit" FROM pg_roles WHERE rolname = ${literal(name)}`,
    )
  ).rows
  if (!made) throw new EngineError('failed', `they made no role named "${name}"`)
  const additions = [
    `ALTER ROLE ${identifier(name)} VALID UNTIL ${literal(expiration)} CONNECTION LIMIT ${made.limit}`,
    markComment(name, leaseId),
    ...grantTexts([order], facts),
    'COMMIT',
  ]
  await many(session, additions.join('; '))
  return createdAs(order, made.oid)
}
