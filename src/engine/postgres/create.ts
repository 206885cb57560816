import { randomBase62 } from '../../lib/ids.ts'
import { failed, type Result } from '../../lib/result.ts'
import { outcomesOf, settle } from '../creating.ts'
import { deadlineIn } from '../deadline.ts'
import type { Created, Ticket } from '../engine.ts'
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
    ...own.map((order) =>
      settle(outcomes, [order], () => createWithOwnSql(connections, target, order), toEngineError),
    ),
    ...batches(shared).map((batch) =>
      settle(
        outcomes,
        batch,
        () =>
          connections.useActing('issuing', (session, facts) => createShared(session, facts, target, batch)),
        toEngineError,
      ),
    ),
  ])
  return outcomesOf(tickets, outcomes)
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
