import type { CreateAnswers } from '../creating.ts'
import { EngineError } from '../engine.ts'
import { timestamp } from '../timestamp.ts'
import type { Connections, Facts } from './connections.ts'
import { toEngineError } from './errors.ts'
import {
  beginCreate,
  createdAs,
  type Draft,
  giveGroups,
  type Order,
  problemWith,
  withHashes,
} from './order.ts'
import { passwordForms, runOwnSql } from './own-sql.ts'
import { dropText } from './server.ts'
import type { Row, Session } from './session.ts'
import { accountText, fullName, userAtHost } from './sql.ts'

/**
 * Makes one account by its role's own SQL, on a connection of its own. What every account has is then added: the
 * connection limit and the groups of `member_of`. Where a step fails, whatever has the user's name is dropped again.
 */
export async function createWithOwnSql(connections: Connections, draft: Draft): Promise<CreateAnswers> {
  const answer = await connections.useForOwnSql('issuing', async (session, facts) => {
    const [order] = (await withHashes([draft], facts.dialect)) as [Order]
    const ground = await beginCreate(session, facts, [order])
    const problem = problemWith(order, ground, facts)
    if (problem) return problem
    try {
      await make(session, facts, order)
      return createdAs(order)
    } catch (error) {
      const reason = toEngineError(error, 'creation_statements')
      if (reason.kind !== 'unreachable') await dropAll(session, facts, order)
      return reason
    }
  })
  return new Map([[draft.ticket, answer]])
}

async function make(session: Session, facts: Facts, order: Order): Promise<void> {
  const { account, plan, password, ticket } = order
  await runOwnSql(session, plan.creation, {
    name: account.user,
    host: account.host,
    password: await passwordForms(password, facts.dialect),
    expiration: timestamp(Date.now() + ticket.lifetimeMs),
  })
  const rows = await accountsOf(session, facts, order)
  const made = rows.find(({ host }) => String(host).toLowerCase() === account.host)
  if (!made) throw new EngineError('failed', notMade(order, rows))
  if (!Number(made.max_connections)) {
    await session.run(`ALTER USER ${accountText(account)} WITH MAX_USER_CONNECTIONS ${plan.connectionLimit}`)
  }
  await giveGroups(session, order, facts)
}

function notMade({ account }: Order, rows: readonly Row[]): string {
  const [other] = rows
  if (!other) return `they made no account ${fullName(account)}`
  const { user, host } = other
  return `they made no account ${fullName(account)} but ${user}@${host}: give the role that host, or write '{{name}}'@'{{host}}'`
}

const accountsOf = (session: Session, { dialect }: Facts, { account }: Order): Promise<Row[]> =>
  session.run(dialect.accountsQuery([account.user]))

/** As far as that can be done now; the lease that was not issued is ended as well, and finds what is left. */
async function dropAll(session: Session, facts: Facts, order: Order): Promise<void> {
  try {
    const rows = await accountsOf(session, facts, order)
    if (rows.length > 0)
      await session.run(dropText(rows.map(({ user, host }) => userAtHost(`${user}@${host}`))))
  } catch {
    // The reason why it was not made matters more than this one.
  }
}
