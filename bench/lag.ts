import { setTimeout as sleep } from 'node:timers/promises'
import { untilEnded } from './ended.ts'
import type { HttpClient } from './http-client.ts'
import { loop, perSecond } from './load.ts'
import type { Figure } from './report.ts'
import type { Installation } from './world.ts'

const PATH = 'database/creds/brief'
/** So many that the pace is kept although each waits for its answer. */
const CLIENTS = 48
const ISSUES_PER_SECOND = 200
const PATIENCE_MS = 60_000
const LATEST_MS = 1_500

/** How late access ends while new leases keep coming at a steady pace. */
export async function lag(
  installation: Installation,
  { seconds, queue }: { seconds: number; queue: string },
): Promise<Figure[]> {
  const api = await installation.clients(CLIENTS)
  const startedAt = performance.now()
  let asked = 0
  const issued = await loop(CLIENTS, { calls: seconds * ISSUES_PER_SECOND }, async (i) => {
    const dueAt = startedAt + (asked++ / ISSUES_PER_SECOND) * 1_000
    await sleep(Math.max(0, dueAt - performance.now()))
    await (api[i] as HttpClient).call('GET', PATH)
  })
  const ended = await untilEnded(installation, PATH, PATIENCE_MS)
  for (const client of api) client.close()
  return [
    {
      name: `lateness of access end, p99, ${Math.round(perSecond(issued))} issues/s of 5 s leases, queue on ${queue}`,
      value: ended.lagP99Ms,
      unit: 'ms',
      p50Ms: ended.lagP50Ms,
      p99Ms: ended.lagP99Ms,
      aim: { text: 'under 1.5 s', met: ended.lagP99Ms < LATEST_MS },
    },
  ]
}
