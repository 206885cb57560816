import { aJob, onBehalfOf } from '../../audit/request.ts'
import { findBreakGlassPolicy, findBreakGlassPolicyById } from '../../ledger/break-glass-policies.ts'
import type { Ledger } from '../../ledger/db.ts'
import { noteGrant } from '../../ledger/grants.ts'
import {
  type ClaimedNotification,
  claimNotifications,
  type DestinationKey,
  dueDestinations,
  releaseNotifications,
  settleNotification,
} from '../../ledger/notifications.ts'
import { backoffMs } from '../../lib/backoff.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import { type Destination, destinationSecret, destinationsOf } from './destinations.ts'
import type { Message } from './message.ts'
import { type Send, type Sent, send as sendOverHttp } from './send.ts'

/** Sends what is to be told. */
export type Deliverer = {
  /** One piece of work for each destination for which something is due: none waits for another. */
  due(): Promise<{ name: string; run: () => Promise<void> }[]>
  /** Gives up what is being sent; it is sent again by whoever comes next. */
  stop(): void
}

type Parts = {
  ledger: Ledger
  /** What the built-in store has under a name. */
  secretOf(name: string): Promise<Sensitive | undefined>
  /** This process's name in claims. */
  worker: string
  send?: Send
}

const DESTINATIONS_AT_ONCE = 32
const BATCH = 10
/** Longer than a whole batch may take. */
const CLAIM_SECONDS = 120
/** Then it is old news, and stays in the log as failed. */
const GIVE_UP_SECONDS = 24 * 3_600

export function createDeliverer({ ledger, secretOf, worker, send = sendOverHttp }: Parts): Deliverer {
  const stopping = new AbortController()
  const parts = { ledger, secretOf, worker, send, stopping: stopping.signal }
  return {
    async due() {
      const keys = await dueDestinations(ledger, DESTINATIONS_AT_ONCE)
      return keys.map((key) => ({
        name: `telling ${key.destination} of ${key.policy}`,
        run: () => drain(parts, key),
      }))
    },
    stop: () => stopping.abort(),
  }
}

type Sending = Required<Parts> & { stopping: AbortSignal }

async function drain(parts: Sending, key: DestinationKey): Promise<void> {
  const { ledger, worker, stopping } = parts
  while (!stopping.aborted) {
    const claimed = await claimNotifications(ledger, key, { worker, limit: BATCH, seconds: CLAIM_SECONDS })
    if (claimed.length === 0) return
    for (const [at, notification] of claimed.entries()) {
      const sent = await tryOnce(parts, key, notification)
      // Where nobody answers the rest would only wait to hear the same.
      if (sent.delivered || sent.status !== null) continue
      const ids = claimed.slice(at + 1).map(({ id }) => id)
      const waitMs = stopping.aborted ? 0 : backoffMs(notification.attempts + 1)
      await releaseNotifications(ledger, { ids, worker, waitMs })
      return
    }
  }
}

async function tryOnce(
  parts: Sending,
  key: DestinationKey,
  notification: ClaimedNotification,
): Promise<Sent> {
  const { ledger, worker, send, stopping } = parts
  let isGone = false
  const trying = async (): Promise<Sent> => {
    const found = await destinationOf(parts, key, notification)
    if (found) return send(found.to, notification.body as Message, found.key, stopping)
    isGone = true
    return { delivered: false, status: null, error: 'the policy has no such destination any more' }
  }
  const sent = await trying().catch(
    (error): Sent => ({ delivered: false, status: null, error: messageOf(error) }),
  )
  const { id } = notification
  if (sent.delivered) {
    await settleNotification(ledger, {
      ...{ id, worker, state: 'delivered', status: sent.status, error: null, waitMs: 0 },
    })
    return sent
  }
  if (stopping.aborted) {
    await releaseNotifications(ledger, { ids: [id], worker, waitMs: 0 })
    return sent
  }
  await recordFailure(parts, key, notification, { ...sent, final: isGone || isOld(notification) })
  return sent
}

const isOld = ({ ageSeconds }: ClaimedNotification): boolean => ageSeconds >= GIVE_UP_SECONDS

/**
 * As the policy has it today, so that an address that was changed is used no more; as it was when the grant was asked
 * for where the policy, or the destination, has gone meanwhile.
 */
async function destinationOf(
  { ledger, secretOf }: Sending,
  { policy, destination }: DestinationKey,
  { policyId }: ClaimedNotification,
): Promise<{ to: Destination; key: Sensitive | undefined } | undefined> {
  for (const row of [
    await findBreakGlassPolicy(ledger, policy),
    await findBreakGlassPolicyById(ledger, policyId),
  ]) {
    const to = row && destinationsOf(row.spec).find(({ name }) => name === destination)
    if (to) return { to, key: await secretOf(destinationSecret(row.id, destination)) }
  }
  return undefined
}

/** On the audit log each time; on the record of the grant the first time, and when it is given up. */
async function recordFailure(
  { ledger, worker }: Sending,
  { policy, destination }: DestinationKey,
  { id, grantId, event, attempts }: ClaimedNotification,
  { status, error, final }: Extract<Sent, { delivered: false }> & { final: boolean },
): Promise<void> {
  const failure = { destination, policy, told: event, error, attempts: attempts + 1, given_up: final }
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
}
