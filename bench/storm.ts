import { setTimeout as sleep } from 'node:timers/promises'
import { untilEnded } from './ended.ts'
import type { HttpClient } from './http-client.ts'
import { loop, perSecond } from './load.ts'
import type { Figure } from './report.ts'
import type { Installation } from './world.ts'

const PATH = 'database/creds/issue-1'
const CLIENTS = 32
const NOTICE_SECONDS = 6
const PATIENCE_MS = 120_000

/** Many leases due in one second, ended by the worker; and for comparison, the API ending one after another. */
export async function storm(
  installation: Installation,
  { leases: count, oneByOneMs, queue }: { leases: number; oneByOneMs: number; queue: string },
): Promise<Figure[]> {
  const api = await installation.clients(CLIENTS)
  const leases: string[] = []
  await loop(CLIENTS, { calls: count + Math.ceil(oneByOneMs / 4) }, async (i) => {
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

/** A few by renewing, as holders do, so that the wake-up is the ordinary one; the rest in the ledger alone. */
async function makeDueTogether(
  { ledger }: Installation,
  api: readonly HttpClient[],
  leases: readonly string[],
): Promise<void> {
  const dueAtMs = (Math.ceil(Date.now() / 1_000) + NOTICE_SECONDS) * 1_000
  await Promise.all(
    api.map((client, i) =>
      client.call('POST', 'sys/leases/renew', {
        lease_id: leases[i],
        increment: Math.floor((dueAtMs - Date.now()) / 1_000),
      }),
    ),
  )
  await ledger.query(
    `update leasehold.lease set expires_at = $2, next_action_at = $2 where path = $1 and state = 'active'`,
    [PATH, new Date(dueAtMs)],
  )
  if (Date.now() > dueAtMs) throw new Error('the ledger was too slow to bring about a storm')
  await sleep(dueAtMs - Date.now())
}
