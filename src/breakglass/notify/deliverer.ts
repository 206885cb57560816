import { findBreakGlassPolicy, findBreakGlassPolicyById } from '../../ledger/break-glass-policies.ts'
import type { Ledger } from '../../ledger/db.ts'
import {
  type ClaimedNotification,
  claimNotifications,
  type DestinationKey,
  dueDestinations,
  putOffNotifications,
  releaseNotifications,
  settleNotification,
} from '../../ledger/notifications.ts'
import { backoffMs } from '../../lib/backoff.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import { oneAtATime } from '../../queue/one-at-a-time.ts'
import { type Destination, destinationSecret, destinationsOf } from './destinations.ts'
import type { Message } from './message.ts'
import { recordFailure } from './record.ts'
import { type Send, type Sent, send as sendOverHttp } from './send.ts'

/** Sends what is to be told. */
export type Deliverer = {
  /** One piece of work for each destination for which something is due: none waits for another, and none fails. */
  due(): Promise<{ name: string; run: () => Promise<void> }[]>
  /** Begins all of that, and waits for nobody: for wake-ups. */
  begin(): Promise<void>
  /** Gives up what is being sent, and resolves when nothing is; it is sent again by whoever comes next. */
  stop(): Promise<void>
}

/** As wake-ups for deliveries are known in the queue: no target has it. */
export const DELIVERIES_WAKEUP = 'deliveries'

type Parts = {
  ledger: Ledger
  /** What the built-in store has under a name. */
  secretOf(name: string): Promise<Sensitive | undefined>
  /** Has somebody look again in so long: something is due then. */
  wakeIn(ms: number): void
  /** This process's name in claims. */
  worker: string
  log: Logger
  send?: Send
}

const DESTINATIONS_AT_ONCE = 32
const BATCH = 10
/** Longer than a whole batch may take. */
const CLAIM_SECONDS = 120
/** Then it is old news, and stays in the log as failed. */
const GIVE_UP_SECONDS = 24 * 3_600

export function createDeliverer({ send = sendOverHttp, ...rest }: Parts): Deliverer {
  const { ledger, log } = rest
  const stopping = new AbortController()
  const parts = { ...rest, send, stopping: stopping.signal }
  const inHand = new Set<string>()
  const work = oneAtATime(async (key) => {
    inHand.add(key)
    await drain(parts, keyOf(key)).catch((error) =>
      log.error({ error: messageOf(error) }, `telling ${key} failed; the next sweep tries again`),
    )
    inHand.delete(key)
  })
  const due = async () => {
    // Those in hand may have more that is due: they must not take the places of others.
    const keys = await dueDestinations(ledger, DESTINATIONS_AT_ONCE + inHand.size)
    return keys.map((key) => ({
      name: `telling ${key.destination} of ${key.policy}`,
      run: () => work.run(textOf(key)),
    }))
  }
  return {
    due,
    async begin() {
      for (const { run } of await due()) void run()
    },
    async stop() {
      stopping.abort()
      await work.drain()
    },
  }
}

/** Neither name has a slash in it. */
const textOf = ({ policy, destination }: DestinationKey): string => `${policy}/${destination}`
const keyOf = (text: string): DestinationKey => {
  const [policy = '', destination = ''] = text.split('/')
  return { policy, destination }
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
      await releaseNotifications(ledger, { ids, worker, waitMs: 0 })
      if (stopping.aborted) return
      // What is new waits no longer than it would after a try of its own.
      const wait = { attempts: notification.attempts, waitMs: backoffMs(notification.attempts + 1) }
      await putOffNotifications(ledger, key, { ...wait, newWaitMs: backoffMs(1) })
      parts.wakeIn(wait.waitMs)
      if (notification.attempts > 0) parts.wakeIn(backoffMs(1))
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
    (error): Sent => ({
      delivered: false,
      status: null,
      error: 'its address or its key could not be read',
      cause: messageOf(error),
    }),
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
