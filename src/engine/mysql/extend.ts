import { failed, ok, type Result } from '../../lib/result.ts'
import { EngineError, type Term } from '../engine.ts'
import { timestamp } from '../timestamp.ts'
import type { Connections } from './connections.ts'
import { toEngineError } from './errors.ts'
import { userOf } from './lookup.ts'
import { runOwnSql } from './own-sql.ts'
import { readPlan } from './role.ts'
import { userAtHost } from './sql.ts'
import type { Target } from './target.ts'

/** Servers of this kind end nothing by the clock, so there is nothing to move: looks that the accounts are there. */
export async function extendAccounts(
  connections: Connections,
  target: Target,
  terms: readonly Term[],
): Promise<Result<void>[]> {
  const rows = await connections.use('issuing', (session, { dialect }) =>
    session.run(dialect.accountsQuery(terms.map(({ account }) => userOf(account)))),
  )
  const there = new Set(rows.map(({ user, host }) => `${user}@${host}`))
  return Promise.all(
    terms.map(async (term): Promise<Result<void>> => {
      const { name } = term.account
      if (!there.has(name)) {
        return failed(new EngineError('failed', `the account "${name}" is gone from the target`))
      }
      try {
        await runRenewal(connections, target, term)
        return ok(undefined)
      } catch (error) {
        return failed(toEngineError(error, 'renew_statements'))
      }
    }),
  )
}

async function runRenewal(connections: Connections, target: Target, term: Term): Promise<void> {
  const { renewal } = readPlan(term.role, target)
  if (renewal.length === 0) return
  const { user, host } = userAtHost(term.account.name)
  const expiration = timestamp(Date.now() + term.lifetimeMs)
  await connections.useForOwnSql('issuing', (session) =>
    runOwnSql(session, renewal, { name: user, host, expiration }),
  )
}
