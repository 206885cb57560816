import { randomBase62 } from '../../lib/ids.ts'
import { failed, ok, type Result } from '../../lib/result.ts'
import { deadlineIn } from '../deadline.ts'
import { type Created, EngineError, type Ticket } from '../engine.ts'
import { PASSWORD_LENGTH } from '../target-fields.ts'
import type { Connections } from './connections.ts'
import { createWithOwnSql } from './create-own.ts'
import { createShared } from './create-shared.ts'
import { toEngineError } from './errors.ts'
import type { Order } from './order.ts'
import { readPlan } from './role.ts'
import { scramVerifier } from './scram.ts'
import type { Target } from './target.ts'

/** Where the key derivation rules the cost, small batches on every connection use more of the server's cores. */
const COSTLY_ITERATIONS = 512
const COSTLY_BATCH = 16
const CHEAP_BATCH = 128

/**
 * Makes the accounts. Those that need only our own statements share transactions; a role's own SQL runs alone.
 * A ticket fails alone, except that nothing can be made when the target cannot be reached.
 */
export async function createAccounts(
  connections: Connections,
  target: Target,
  tickets: readonly Ticket[],
): Promise<Result<Created>[]> {
  const outcomes = new Map<Ticket, Result<Created>>()
  const orders = await Promise.all(tickets.map((ticket) => toOrder(target, ticket, outcomes)))
  // Ending must have its connection before there is an account that could take the last slot.
  await connections.warm()
  const ready = orders.filter((order) => order !== undefined)
  const own = ready.filter(({ plan }) => plan.creation.length > 0)
  const shared = ready.filter(({ plan }) => plan.creation.length === 0)
  await Promise.all([
    ...own.map((order) => settle(outcomes, [order], () => createWithOwnSql(connections, target, order))),
    ...batches(shared).map((batch) =>
      settle(outcomes, batch, () =>
        connections.useActing('issuing', (session, facts) => createShared(session, facts, target, batch)),
      ),
    ),
  ])
  return tickets.map((ticket) => outcomes.get(ticket) ?? failed(new EngineError('failed', 'not tried')))
}

async function toOrder(
  target: Target,
  ticket: Ticket,
  outcomes: Map<Ticket, Result<Created>>,
): Promise<Order | undefined> {
  const isLate = deadlineIn(ticket.createWithinMs)
  try {
    const plan = readPlan(ticket.role, target)
    const password = randomBase62(PASSWORD_LENGTH)
    return { ticket, plan, password, verifier: await scramVerifier(password, plan.scramIterations), isLate }
  } catch (error) {
    outcomes.set(ticket, failed(toEngineError(error)))
    return undefined
  }
}

function batches(orders: readonly Order[]): Order[][] {
  const costly = orders.some(({ plan }) => plan.scramIterations >= COSTLY_ITERATIONS)
  const size = costly ? COSTLY_BATCH : CHEAP_BATCH
  const count = Math.ceil(orders.length / size)
  return Array.from({ length: count }, (_, i) => orders.slice(i * size, (i + 1) * size))
}

/** Runs one transaction's worth of orders, and gives each its outcome whatever happens. */
async function settle(
  outcomes: Map<Ticket, Result<Created>>,
  orders: readonly Order[],
  run: () => Promise<Map<Order, Created | EngineError>>,
): Promise<void> {
  const answers = await run().catch(
    (error) => new Map(orders.map((order) => [order, toEngineError(error)] as const)),
  )
  for (const order of orders) {
    const answer = answers.get(order) ?? new EngineError('failed', 'the target did not say what became of it')
    outcomes.set(order.ticket, answer instanceof Error ? failed(answer) : ok(answer))
  }
}
