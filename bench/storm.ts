import { setTimeout as sleep } from 'node:timers/promises'
import { untilEnded } from './ended.ts'
import type { HttpClient } from './http-client.ts'
import { loop, perSecond } from './load.ts'
import type { Figure } from './report.ts'
import type { Installation } from './world.ts'

const PATH = 'database/creds/issue-1'
const CLIENTS = 32
/** Renewals per second that we count on when we choose the second in which all are due. */
const RENEWALS_PER_SECOND = 1_000
const PATIENCE_MS = 120_000

/** Many leases due in one second, ended by the worker; and for comparison, the API ending one after another. */
export async function storm(
  installation: Installation,
  { leases: count, oneByOneMs, queue }: { leases: number; oneByOneMs: number; queue: string },
): Promise<Figure[]> {
  const api = await installation.clients(CLIENTS)
  const leases: string[] = []
  await loop(CLIENTS, { calls: count + Math.ceil(oneByOneMs / 2) }, async (i) => {
    const answer = (await (api[i] as HttpClient).call('GET', PATH)) as { lease_id: string }
    leases.push(answer.lease_id)
  })
  const oneByOne = await loop(1, { forMs: oneByOneMs }, () =>
    (api[0] as HttpClient).call('POST', 'sys/leases/revoke', { lease_id: leases.pop() }),
  )
  const surplus = leases.splice(count)
  await loop(CLIENTS, { calls: surplus.length }, (i) =>
    (api[i] as HttpClient).call('POST', 'sys/leases/revoke', { lease_id: surplus.pop() }),
  )
  await makeDueTogether(installation, api, leases)
  const ended = await untilEnded(installation, PATH, PATIENCE_MS)
  for (const client of api) client.close()

  const name = `storm of ${ended.count} leases due in one second, queue on ${queue}`
  const drained = (ended.count / ended.goneMs) * 1_000
  const ratio = drained / perSecond(oneByOne)
  return [
    {
      name: `${name}: ended and proved gone`,
      value: drained,
      unit: '/s',
      limit: { name: 'ended one by one', value: perSecond(oneByOne) },
      ratio,
      aim: { text: 'at least 5', met: ratio >= 5 },
    },
    {
      name: `${name}: access ended`,
      value: (ended.count / ended.accessMs) * 1_000,
      unit: '/s',
      p50Ms: ended.lagP50Ms,
      p99Ms: ended.lagP99Ms,
    },
  ]
}

/** By renewing, as holders do, so that the wake-up is the ordinary one. */
async function makeDueTogether(
  { ledger }: Installation,
  api: readonly HttpClient[],
  leases: readonly string[],
): Promise<void> {
  const dueAtMs = (Math.ceil(Date.now() / 1_000 + leases.length / RENEWALS_PER_SECOND) + 3) * 1_000
  let next = 0
  await loop(CLIENTS, { calls: leases.length }, (i) =>
    (api[i] as HttpClient).call('POST', 'sys/leases/renew', {
      lease_id: leases[next++],
      increment: Math.floor((dueAtMs - Date.now()) / 1_000),
    }),
  )
  if (Date.now() > dueAtMs - 500) throw new Error('renewing took too long for a storm')
  // The few that were answered across a second's edge.
  await ledger.query(
    `update leasehold.lease set expires_at = $2, next_action_at = $2 where path = $1 and state = 'active'`,
    [PATH, new Date(dueAtMs)],
  )
  await sleep(dueAtMs - Date.now())
}
