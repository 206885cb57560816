import { findBreakGlassPolicyById } from '../../ledger/break-glass-policies.ts'
import type { Db } from '../../ledger/db.ts'
import { insertNotifications } from '../../ledger/notifications.ts'
import { newId } from '../../lib/ids.ts'
import type { GrantState } from '../states.ts'
import { setsReached } from '../waiting.ts'
import { type Destination, destinationsOf, stepsOf } from './destinations.ts'
import { messageOf, type Told } from './message.ts'

/**
 * Puts down what is to be told to whom, in the transaction of what it tells of: nothing is told of a move that was not
 * made, and of none that was made nothing is told. Who sends it is another matter, and holds up nobody. Answers how many
 * messages there are.
 */
export async function tell(db: Db, told: Told): Promise<number> {
  const { grant, event } = told
  const policy = await findBreakGlassPolicyById(db, grant.policyId)
  if (!policy) return 0
  const steps = stepsOf(policy.spec)
  const wanted = destinationsOf(policy.spec).filter(
    (one) => (one.events?.includes(event) ?? true) && hasItsTurn(one, told.grant, steps),
  )
  if (wanted.length === 0) return 0
  return insertNotifications(
    db,
    wanted.map(({ name }) => {
      const id = newId()
      return {
        id,
        grantId: grant.id,
        event,
        policyId: policy.id,
        destination: name,
        body: messageOf(told, policy, id),
      }
    }),
  )
}

/** Until then there is nothing to know for those who have not been asked to decide, nor, where it ends so, any more. */
const BEFORE_ACCESS: ReadonlySet<string> = new Set<GrantState>([
  'pending',
  'approved',
  'denied',
  'cancelled',
  'expired',
  'voided',
])

/** An emergency is for everybody at once; so is all that comes of access, and of what is not escalated. */
function hasItsTurn(
  { sets }: Destination,
  { state, lane, escalations }: Told['grant'],
  steps: readonly (readonly string[])[],
): boolean {
  if (!sets || lane === 'sealed' || !BEFORE_ACCESS.has(state)) return true
  const reached = setsReached(steps, escalations)
  return reached === 'all' || sets.some((set) => reached.includes(set))
}
