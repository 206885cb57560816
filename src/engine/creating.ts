import { failed, ok, type Result } from '../lib/result.ts'
import { type Created, EngineError, type Ticket } from './engine.ts'

/** What making accounts has in common, whatever kind of database makes them. */

/** What became of each; a ticket that is not in it got no answer. */
export type CreateAnswers = Map<Ticket, Created | EngineError>

/** Makes the accounts of some tickets together, and gives each its outcome whatever happens. */
export async function settle(
  outcomes: Map<Ticket, Result<Created>>,
  orders: readonly { ticket: Ticket }[],
  make: () => Promise<CreateAnswers>,
  toEngineError: (error: unknown) => EngineError,
): Promise<void> {
  const answers = await make().catch(
    (error): CreateAnswers => new Map(orders.map(({ ticket }) => [ticket, toEngineError(error)])),
  )
  for (const { ticket } of orders) {
    const answer =
      answers.get(ticket) ?? new EngineError('failed', 'the target did not say what became of it')
    outcomes.set(ticket, answer instanceof Error ? failed(answer) : ok(answer))
  }
}

/** As the engine answers them: one for each ticket, in their order. */
export const outcomesOf = (
  tickets: readonly Ticket[],
  outcomes: ReadonlyMap<Ticket, Result<Created>>,
): Result<Created>[] =>
  tickets.map((ticket) => outcomes.get(ticket) ?? failed(new EngineError('failed', 'not tried')))
