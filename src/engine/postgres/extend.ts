import { failed, ok, type Result } from '../../lib/result.ts'
import { EngineError, type Term } from '../engine.ts'
import { timestamp } from '../timestamp.ts'
import type { Connections, Facts, Session } from './connections.ts'
import { toEngineError } from './errors.ts'
import { extendByFunctions, extendsPlainly } from './extend-definer.ts'
import { many, runIsolated } from './isolate.ts'
import { makerOf, underMakers } from './makers.ts'
import { runOwnSql } from './own-sql.ts'
import { type Plan, readPlan } from './role.ts'
import { identifier, literal, nameArray } from './sql.ts'
import type { Target } from './target.ts'

type Renewal = { term: Term; plan: Plan }
type Known = { oid: string; maker: string | null }
type Now = { nowMs: number; roles: ReadonlyMap<string, Known> }

/** Moves VALID UNTIL and nothing else: a login that was disabled stays disabled. */
export async function extendAccounts(
  connections: Connections,
  target: Target,
  terms: readonly Term[],
): Promise<Result<void>[]> {
  const problems = new Map<Term, EngineError>()
  const renewals = terms.map((term) => ({ term, plan: readPlan(term.role, target) }))
  const shared = renewals.filter(({ plan }) => plan.renewal.length === 0)
  const own = renewals.filter(({ plan }) => plan.renewal.length > 0)
  const settle = async (batch: Renewal[], run: () => Promise<void>): Promise<void> => {
    if (batch.length === 0) return
    await run().catch((error) => {
      for (const { term } of batch) problems.set(term, toEngineError(error))
    })
  }
  await Promise.all([
    settle(shared, () =>
      connections.useActing('issuing', (session, facts) =>
        extendShared(session, facts, target, shared, problems),
      ),
    ),
    ...own.map((renewal) => settle([renewal], () => extendWithOwnSql(connections, target, renewal))),
  ])
  return terms.map((term) => {
    const problem = problems.get(term)
    return problem ? failed(problem) : ok(undefined)
  })
}

async function begin(session: Session, facts: Facts, renewals: readonly Renewal[]): Promise<Now> {
  const names = renewals.map(({ term }) => term.account.name)
  const results = await many(
    session,
    `BEGIN; SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now_ms;
     SELECT rolname, oid::text, ${makerOf('e.oid', facts)} AS maker FROM pg_roles AS e WHERE rolname = ANY (${nameArray(names)})`,
  )
  const roles = (results[2]?.rows ?? []) as (Known & { rolname: string })[]
  return { nowMs: results[1]?.rows[0].now_ms, roles: new Map(roles.map((role) => [role.rolname, role])) }
}

function absence({ term: { account } }: Renewal, { roles }: Now): EngineError | undefined {
  const oid = roles.get(account.name)?.oid
  if (oid === undefined)
    return new EngineError('failed', `the account "${account.name}" is gone from the target`)
  if (account.targetRef !== null && account.targetRef !== oid) {
    return new EngineError('failed', `the account "${account.name}" was replaced by another of that name`)
  }
  return undefined
}

const newExpiry = ({ term }: Renewal, target: Target, nowMs: number): string =>
  timestamp(nowMs + term.lifetimeMs + target.expiryMarginMs)

const extendText = (renewal: Renewal, target: Target, nowMs: number): string =>
  `ALTER ROLE ${identifier(renewal.term.account.name)} VALID UNTIL ${literal(newExpiry(renewal, target, nowMs))}`

const extendTexts = (
  batch: readonly Renewal[],
  facts: Facts,
  target: Target,
  { nowMs, roles }: Now,
): string =>
  underMakers(
    batch,
    ({ term }) => roles.get(term.account.name)?.maker ?? null,
    facts,
    (theirs) => theirs.map((renewal) => extendText(renewal, target, nowMs)).join('; '),
  )

async function extendShared(
  session: Session,
  facts: Facts,
  target: Target,
  renewals: readonly Renewal[],
  problems: Map<Term, EngineError>,
): Promise<void> {
  const { functions } = facts
  if (!functions) return extendPlainly(session, facts, target, renewals, problems)
  const refused = await extendByFunctions(
    { session, functions },
    target,
    renewals.map(({ term }) => term),
  )
  const plain = extendsPlainly(facts) ? renewals.filter(({ term }) => refused.unknown.includes(term)) : []
  if (plain.length > 0) await extendPlainly(session, facts, target, plain, problems)
  for (const [term, problem] of refused.problems) {
    if (!plain.some((renewal) => renewal.term === term)) problems.set(term, problem)
  }
}

async function extendPlainly(
  session: Session,
  facts: Facts,
  target: Target,
  renewals: readonly Renewal[],
  problems: Map<Term, EngineError>,
): Promise<void> {
  const now = await begin(session, facts, renewals)
  const present = renewals.filter((renewal) => {
    const problem = absence(renewal, now)
    if (problem) problems.set(renewal.term, problem)
    return !problem
  })
  if (present.length === 0) {
    await session.query('ROLLBACK')
    return
  }
  const failures = new Map<Renewal, EngineError>()
  const text = (batch: readonly Renewal[]): string => extendTexts(batch, facts, target, now)
  await runIsolated(session, present, text, failures)
  for (const [{ term }, problem] of failures) problems.set(term, problem)
}

async function extendWithOwnSql(connections: Connections, target: Target, renewal: Renewal): Promise<void> {
  const problem = await connections.useForOwnSql('issuing', async (session: Session, facts: Facts) => {
    const now = await begin(session, facts, [renewal])
    try {
      const gone = absence(renewal, now)
      if (gone) throw gone
      const expiration = newExpiry(renewal, target, now.nowMs)
      const { name } = renewal.term.account
      await runOwnSql(session, facts, renewal.plan.renewal, { name, expiration })
      await extendOne(session, facts, target, renewal, now)
      await session.query('COMMIT')
      return undefined
    } catch (error) {
      await session.query('ROLLBACK')
      return toEngineError(error, 'renew_statements')
    }
  })
  if (problem) throw problem
}

/** In a transaction that the caller began. */
async function extendOne(
  session: Session,
  facts: Facts,
  target: Target,
  renewal: Renewal,
  now: Now,
): Promise<void> {
  if (facts.functions) {
    const { functions } = facts
    const { unknown, problems } = await extendByFunctions({ session, functions }, target, [renewal.term])
    const problem = problems.get(renewal.term)
    if (!problem) return
    if (unknown.length === 0 || !extendsPlainly(facts)) throw problem
  }
  await session.query(extendTexts([renewal], facts, target, now))
}
