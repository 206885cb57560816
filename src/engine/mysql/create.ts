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
import type { Draft } from './order.ts'
import { readPlan } from './role.ts'
import { userAtHost } from './sql.ts'
import type { Target } from './target.ts'

/** A statement about accounts costs by the number of all accounts there are, so many share one. */
const BATCH = 64

/**
 * Makes the accounts. Those that need only our own statements share them; a role's own SQL runs alone. A ticket fails
 * alone, except that nothing can be made when the target cannot be reached.
 */
export async function createAccounts(
  connections: Connections,
  target: Target,
  tickets: readonly Ticket[],
): Promise<Result<Created>[]> {
  const outcomes = new Map<Ticket, Result<Created>>()
  const drafts = tickets.flatMap((ticket) => toDraft(target, ticket, outcomes))
  // Ending must have its connection before there is an account that could take the last slot.
  await connections.warm().catch((error) => {
    throw toEngineError(error)
  })
  const own = drafts.filter(({ plan }) => plan.creation.length > 0)
  const shared = drafts.filter(({ plan }) => plan.creation.length === 0)
  const batches = Array.from({ length: Math.ceil(shared.length / BATCH) }, (_, i) =>
    shared.slice(i * BATCH, (i + 1) * BATCH),
  )
  await Promise.all([
    ...own.map((draft) =>
      settle(outcomes, [draft], () => createWithOwnSql(connections, draft), toEngineError),
    ),
    ...batches.map((batch) =>
      settle(
        outcomes,
        batch,
        () => connections.use('issuing', (session, facts) => createShared(session, facts, batch)),
        toEngineError,
      ),
    ),
  ])
  return outcomesOf(tickets, outcomes)
}

function toDraft(target: Target, ticket: Ticket, outcomes: Map<Ticket, Result<Created>>): Draft[] {
  const isLate = deadlineIn(ticket.createWithinMs)
  try {
    const plan = readPlan(ticket.role, target)
    const password = randomBase62(PASSWORD_LENGTH)
    return [{ ticket, plan, account: userAtHost(ticket.account.name), password, isLate }]
  } catch (error) {
    outcomes.set(ticket, failed(toEngineError(error)))
    return []
  }
}
