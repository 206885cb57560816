import type { CreateAnswers } from '../creating.ts'
import type { Created, EngineError, Ticket } from '../engine.ts'
import { type Facts, LOCK_TIMEOUT_MS, type Session } from './connections.ts'
import { actAsCreator, creatorOf, lendGroups } from './creators.ts'
import { call, extensionKeyHash, type Functions, type Making } from './definer.ts'
import { runIsolated } from './isolate.ts'
import { actAs } from './makers.ts'
import { beginCreate, createdAs, grantTexts, type Order, problemWith, validUntil } from './order.ts'
import { identifier, literal, markComment, nameArray } from './sql.ts'
import type { Target } from './target.ts'

/** Makes the accounts of one batch in one transaction, all by statements of ours. */
export async function createShared(
  session: Session,
  facts: Facts,
  target: Target,
  orders: readonly Order[],
): Promise<CreateAnswers> {
  const problems: CreateAnswers = new Map()
  await actAsCreator(session, facts, target, orders.length)
  const { nowMs, groups } = await begin(session, facts, orders)
  const good = orders.filter((order) => {
    const problem = problemWith(order, groups, facts)
    if (problem) problems.set(order.ticket, problem)
    return !problem
  })
  if (good.length === 0) {
    await session.query('ROLLBACK')
    return problems
  }
  const failures = new Map<Order, EngineError>()
  const results = await runIsolated(
    session,
    good,
    (batch) => createTexts(batch, facts, target, nowMs),
    failures,
    // Another batch may hold a group for as long as it takes to make its accounts.
    { finish: `${oidsQuery(good)}; COMMIT`, searchLockMs: LOCK_TIMEOUT_MS },
  )
  // The query also finds an account that was there before: only what did not fail is of our making.
  const made = good.filter((order) => !failures.has(order))
  return new Map([
    ...problems,
    ...[...failures].map(([{ ticket }, error]) => [ticket, error] as const),
    ...readCreated(made, results.at(-2)?.rows ?? []),
  ])
}

/**
 * What the creator that we act as may not give, we let it give first, as far as we may ourselves. Where that does not
 * help, because somebody dropped it for one, we go on as the admin account.
 */
async function begin(
  session: Session,
  facts: Facts,
  orders: readonly Order[],
): ReturnType<typeof beginCreate> {
  const first = await beginCreate(session, facts, orders)
  const creator = creatorOf(facts)
  if (creator === undefined || ungiven(first).length === 0) return first
  await session.query('ROLLBACK')
  await lendGroups(session, facts, creator, ungiven(first))
  const second = await beginCreate(session, facts, orders)
  if (ungiven(second).length === 0) return second
  await session.query('ROLLBACK')
  await actAs(session, facts, null)
  return beginCreate(session, facts, orders)
}

const ungiven = ({ groups }: Awaited<ReturnType<typeof beginCreate>>): string[] =>
  [...groups].flatMap(([name, { grantable, reachesAdmin }]) => (grantable || reachesAdmin ? [] : [name]))

function createTexts(batch: readonly Order[], facts: Facts, target: Target, nowMs: number): string {
  const { functions } = facts
  if (functions) return call.make(batch.map((order) => making(order, functions, target, nowMs)))
  return [
    // What a creator makes must not come with its rights, or becoming the creator reads it all.
    ...(creatorOf(facts) === undefined ? [] : ["SET LOCAL createrole_self_grant = ''"]),
    ...batch.map((order) => createText(order, target, nowMs)),
    ...grantTexts(batch, facts),
  ].join('; ')
}

const making = (
  { ticket, plan, verifier }: Order,
  functions: Functions,
  target: Target,
  nowMs: number,
): Making => ({
  name: ticket.account.name,
  lease: ticket.account.leaseId,
  verifier,
  key_hash: extensionKeyHash(functions, ticket.account.name),
  until: Math.ceil((nowMs + ticket.lifetimeMs + target.expiryMarginMs) / 1_000),
  connections: plan.connectionLimit,
  groups: plan.memberOf,
})

function createText(order: Order, target: Target, nowMs: number): string {
  const { name, leaseId } = order.ticket.account
  return (
    `CREATE ROLE ${identifier(name)} LOGIN PASSWORD ${literal(order.verifier)} ` +
    `VALID UNTIL ${literal(validUntil(order, target, nowMs))} ` +
    `CONNECTION LIMIT ${order.plan.connectionLimit}; ${markComment(name, leaseId)}`
  )
}

const oidsQuery = (orders: readonly Order[]): string =>
  `SELECT oid::text, rolname FROM pg_roles WHERE rolname = ANY (${nameArray(orders.map(({ ticket }) => ticket.account.name))})`

function readCreated(
  orders: readonly Order[],
  rows: { oid: string; rolname: string }[],
): [Ticket, Created][] {
  const oids = new Map(rows.map(({ oid, rolname }) => [rolname, oid]))
  return orders.flatMap((order) => {
    const oid = oids.get(order.ticket.account.name)
    return oid === undefined ? [] : [[order.ticket, createdAs(order, oid)]]
  })
}
