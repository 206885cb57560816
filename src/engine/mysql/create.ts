import { randomBase62 } from '../../lib/ids.ts'
import { failed, ok, type Result } from '../../lib/result.ts'
import { deadlineIn } from '../deadline.ts'
import { type Created, EngineError, type Ticket } from '../engine.ts'
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
    ...own.map((draft) => settle(outcomes, [draft], () => createWithOwnSql(connections, draft))),
    ...batches.map((batch) =>
      settle(outcomes, batch, () =>
        connections.use('issuing', (session, facts) => createShared(session, facts, batch)),
      ),
    ),
  ])
  return tickets.map((ticket) => outcomes.get(ticket) ?? failed(new EngineError('failed', 'not tried')))
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

/** Gives each draft its outcome whatever happens. */
async function settle(
  outcomes: Map<Ticket, Result<Created>>,
  drafts: readonly Draft[],
  run: () => Promise<Map<Ticket, Created | EngineError>>,
): Promise<void> {
  const answers = await run().catch(
    (error) => new Map(drafts.map(({ ticket }) => [ticket, toEngineError(error)] as const)),
  )
  for (const { ticket } of drafts) {
    const answer =
      answers.get(ticket) ?? new EngineError('failed', 'the target did not say what became of it')
    outcomes.set(ticket, answer instanceof Error ? failed(answer) : ok(answer))
  }
}
