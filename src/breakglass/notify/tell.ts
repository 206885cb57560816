import { findBreakGlassPolicyById } from '../../ledger/break-glass-policies.ts'
import type { Db } from '../../ledger/db.ts'
import { insertNotifications } from '../../ledger/notifications.ts'
import { newId } from '../../lib/ids.ts'
import { destinationsOf } from './destinations.ts'
import { messageOf, type Told } from './message.ts'

/**
 * Puts down what is to be told to whom, in the transaction of what it tells of: nothing is told of a move that was not
 * made, and of none that was made nothing is told. Who sends it is another matter, and holds up nobody.
 */
export async function tell(db: Db, told: Told): Promise<void> {
  const { grant, event } = told
  const policy = await findBreakGlassPolicyById(db, grant.policyId)
  if (!policy) return
  const wanted = destinationsOf(policy.spec).filter(({ events }) => events?.includes(event) ?? true)
  if (wanted.length === 0) return
  await insertNotifications(
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
