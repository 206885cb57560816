import type { Ledger } from '../../ledger/db.ts'
import { listNotifications, type NotificationRow } from '../../ledger/notifications.ts'

export type DeliveryFilter = {
  grantId: string | undefined
  state: NotificationRow['state'] | undefined
  limit: number
}

/** What was told, or could not be; the newest first. Who may read it is for the door to say. */
export type DeliveryLog = (filter: DeliveryFilter) => Promise<NotificationRow[]>

export const createDeliveryLog =
  (ledger: Ledger): DeliveryLog =>
  ({ grantId = null, state = null, limit }) =>
    listNotifications(ledger, { grantId, state, limit })
