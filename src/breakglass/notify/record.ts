import { aJob, onBehalfOf } from '../../audit/request.ts'
import type { Ledger } from '../../ledger/db.ts'
import { noteGrant } from '../../ledger/grants.ts'
import {
  type ClaimedNotification,
  type DestinationKey,
  settleNotification,
} from '../../ledger/notifications.ts'
import { backoffMs } from '../../lib/backoff.ts'
import type { Logger } from '../../lib/log.ts'
import type { Sent } from './send.ts'

type Failure = Extract<Sent, { delivered: false }> & {
  /** It is tried no more. */
  final: boolean
}

/**
 * On the audit log each time; on the record of the grant the first time, and when it is given up. Both have the kind of
 * failure alone. What the error said in full is for who runs this process.
 */
export async function recordFailure(
  {
    ledger,
    worker,
    log,
    wakeIn,
  }: { ledger: Ledger; worker: string; log: Logger; wakeIn: (ms: number) => void },
  { policy, destination }: DestinationKey,
  { id, grantId, event, attempts }: ClaimedNotification,
  { status, error, cause, final }: Failure,
): Promise<void> {
  const failure = { destination, policy, told: event, error, attempts: attempts + 1, given_up: final }
  log.warn({ ...failure, notification: id, error: cause ?? error }, 'a message was not delivered')
  const job = aJob(() => ({
    type: 'system',
    what: { operation: 'notify' },
    outcome: { error: 'delivery_failed', message: error },
    details: { grant_id: grantId, notification: id, ...failure },
  }))
  const waitMs = backoffMs(attempts + 1)
  const state = final ? 'failed' : 'waiting'
  await onBehalfOf(job, () =>
    ledger.transaction(async (db) => {
      const settled = await settleNotification(db, { id, worker, state, status, error, waitMs })
      if (settled > 0 && (attempts === 0 || final)) {
        await noteGrant(db, grantId, { event: 'delivery_failed', actor: null, detail: failure })
      }
    }),
  )
  if (!final) wakeIn(waitMs)
}
