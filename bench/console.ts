import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { fillLeases } from './footprint.ts'
import type { HttpClient } from './http-client.ts'
import { emptySample, join, loop, percentile, type Sample } from './load.ts'
import { type Figure, rateFigure } from './report.ts'
import type { Installation, World } from './world.ts'

/** How the operators' pages are answered among many live leases, and what an open one costs those who ask for leases. */
export type ConsoleSize = {
  leases: number
  grants: number
  turnMs: number
  events: number
  rounds: number
  clients: number
}

const OPEN_MS = 1_000

const PAGES = {
  'the lease table': 'sys/leasehold/leases?limit=50',
  'the lease table, of one role': 'sys/leasehold/leases?limit=50&prefix=database/creds/issue-4096',
  'the lease table, of one target and state': 'sys/leasehold/leases?limit=50&target=target&state=active',
  'the lease table, of a principal without leases': 'sys/leasehold/leases?limit=50&principal=nobody',
  'the targets': 'sys/leasehold/targets',
  'the inbox': 'break-glass/requests?view=inbox',
} as const

export async function consoleFigures(world: World, size: ConsoleSize): Promise<Figure[]> {
  const installation = await world.install('console')
  await fillLeases(installation, size.leases)
  await fillGrants(installation, size.grants)
  const clients = await installation.clients(size.clients)
  const [first] = clients as [HttpClient]
  const figures: Figure[] = []
  for (const [name, path] of Object.entries(PAGES)) {
    const sample = await loop(1, { forMs: size.turnMs }, () => first.call('GET', path))
    figures.push(openFigure(`open ${name}, ${size.leases} live leases`, sample))
  }
  const summary = await loop(1, { calls: 1 }, () => first.call('GET', 'sys/leasehold/summary?window=day'))
  figures.push(openFigure(`open the chart of a day, ${size.leases} live leases, nothing kept`, summary))
  figures.push(await eventFigure(installation, first, size.events))
  figures.push(await costFigure(installation, clients, size))
  await installation.stop()
  return figures
}

function openFigure(name: string, sample: Sample): Figure {
  const p99Ms = percentile(sample.latenciesMs, 0.99)
  return {
    name,
    value: p99Ms,
    unit: 'ms',
    p50Ms: percentile(sample.latenciesMs, 0.5),
    p99Ms,
    limit: { name: 'allowed', value: OPEN_MS },
    ratio: p99Ms / OPEN_MS,
    aim: { text: 'under a second', met: p99Ms < OPEN_MS },
  }
}

/** Requests as they rest when they wait for votes. */
async function fillGrants({ ledger }: Installation, grants: number): Promise<void> {
  await ledger.query(
    `insert into leasehold.break_glass_policy (id, name, version, spec)
     values ('bench', 'bench', 1, $1::jsonb)`,
    [JSON.stringify(POLICY)],
  )
  await ledger.query(
    `insert into leasehold.access_grant (id, policy_id, lane, state, requester_id, requester, plan, plan_hash, reason,
       duration_seconds, requested_at, pending_expires_at)
     select lpad(i::text, 24, '0'), 'bench', 'break_glass', 'pending', 'r' || i, $2::jsonb, $3::jsonb, lpad(i::text, 64, '0'),
       'the queue is stuck', 3600, now() - i * interval '1 second', now() + interval '1 day'
     from generate_series(1, $1::integer) i`,
    [grants, JSON.stringify(REQUESTER), JSON.stringify(PLAN)],
  )
}

const POLICY = {
  roles: ['database/creds/*'],
  sets: { oncall: { groups: ['oncall'] } },
  approvals: { set: 'oncall', count: 1 },
}
const REQUESTER = { subject: 'alice', display_name: 'alice', person: 'issuer alice', groups: [] }
const PLAN = {
  policy: { name: 'bench', version: 1 },
  lane: 'break_glass',
  roles: [
    {
      path: 'database/creds/issue-1',
      mount: 'database/',
      name: 'issue-1',
      version: 1,
      target: 'target',
      engine: 'postgres',
      environment: '',
      privileges: ['read'],
      revocability: 'immediate',
      role_id: 'r',
      target_id: 't',
      target_digest: '0',
    },
  ],
  duration_seconds: 3_600,
  reason: 'the queue is stuck',
  ticket: '',
}

/** From the answer that gives a lease to the open page that hears of it. */
async function eventFigure(installation: Installation, client: HttpClient, events: number): Promise<Figure> {
  const page = await openPage(installation)
  const latenciesMs: number[] = []
  for (let i = 0; i < events; i += 1) {
    const { lease_id } = (await client.call('GET', 'database/creds/issue-1')) as { lease_id: string }
    const answeredAt = performance.now()
    await page.hears(lease_id.slice(lease_id.lastIndexOf('/') + 1))
    latenciesMs.push(performance.now() - answeredAt)
  }
  page.close()
  return openFigure('a new lease reaches an open page', { ms: 0, latenciesMs })
}

/** Turn by turn, so that whatever else the machine does meets both. */
async function costFigure(
  installation: Installation,
  clients: HttpClient[],
  size: ConsoleSize,
): Promise<Figure> {
  const [alone, watched] = [emptySample(), emptySample()]
  const issue = () =>
    loop(clients.length, { forMs: size.turnMs }, (i) =>
      (clients[i] as HttpClient).call('GET', 'database/creds/issue-1'),
    )
  await issue()
  for (let round = 0; round < size.rounds; round += 1) {
    join(alone, await issue())
    const page = await openPage(installation)
    join(watched, await issue())
    page.close()
  }
  return rateFigure(
    `issue by ${clients.length} clients while a page is open`,
    watched,
    'while none is',
    alone,
  )
}

type Page = { hears(id: string): Promise<void>; close(): void }

async function openPage({ url, token }: Installation): Promise<Page> {
  const headers = { 'Leasehold-Console': '1', Origin: url, 'Content-Type': 'application/json' }
  const signedIn = await fetch(`${url}/ui/session`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ token }),
  })
  const cookie = (signedIn.headers.get('set-cookie') ?? '').split(';', 1)[0] ?? ''
  const sent = request(`${url}/ui/events`, { agent: false, headers: { Cookie: cookie } }).end()
  const [stream] = (await once(sent, 'response')) as [IncomingMessage]
  if (stream.statusCode !== 200) throw new Error(`the stream of events answered ${stream.statusCode}`)
  let heard = ''
  stream.setEncoding('utf8').on('data', (text: string) => {
    heard += text
  })
  const until = async (text: string): Promise<void> => {
    while (!heard.includes(text)) await once(stream, 'data')
    heard = ''
  }
  stream.on('error', () => {})
  await until('event: hello')
  return { hears: until, close: () => sent.destroy() }
}
