import type { CreateAnswers } from '../creating.ts'
import type { EngineError } from '../engine.ts'
import type { Facts } from './connections.ts'
import { runIsolated } from './isolate.ts'
import {
  beginCreate,
  createdAs,
  type Draft,
  giveGroups,
  groupTexts,
  type Order,
  problemWith,
  RELEASE,
  withHashes,
} from './order.ts'
import { type Dialect, dropText } from './server.ts'
import type { Session } from './session.ts'

/** Makes the accounts of one batch together, all by statements of ours. What is only half made is dropped again. */
export async function createShared(
  session: Session,
  facts: Facts,
  drafts: readonly Draft[],
): Promise<CreateAnswers> {
  const orders = await withHashes(drafts, facts.dialect)
  const ground = await beginCreate(session, facts, orders)
  const failures = new Map<Order, EngineError>()
  const good = orders.filter((order) => {
    const problem = problemWith(order, ground, facts)
    if (problem) failures.set(order, problem)
    return !problem
  })
  // None of these accounts was there when their names were locked, so what is undone is of our making.
  await runIsolated(
    good,
    (batch) => make(session, facts, batch),
    failures,
    (batch) => drop(session, batch),
  )
  await session.run(RELEASE)
  return new Map(orders.map((order) => [order.ticket, failures.get(order) ?? createdAs(order)]))
}

async function make(session: Session, facts: Facts, orders: readonly Order[]): Promise<void> {
  const users = createTexts(orders, facts.dialect)
  const [only] = orders
  if (orders.length > 1 || only === undefined) {
    await session.many([...users, ...groupTexts(orders, facts.dialect)])
    return
  }
  // Alone, each step is sent by itself, so that an error can say what it failed at.
  await session.many(users)
  await giveGroups(session, only, facts)
}

async function drop(session: Session, orders: readonly Order[]): Promise<void> {
  await session.run(dropText(orders.map(({ account }) => account)))
}

/** One statement for all accounts with the same limit, which goes for the whole of it. */
function createTexts(orders: readonly Order[], dialect: Dialect): string[] {
  const byLimit = new Map<number, Order[]>()
  for (const order of orders) {
    const { connectionLimit } = order.plan
    byLimit.set(connectionLimit, [...(byLimit.get(connectionLimit) ?? []), order])
  }
  return [...byLimit].map(([limit, same]) => dialect.createUsers(same, limit))
}
