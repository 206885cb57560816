import { createLeaseSummary } from '../src/lease/summary.ts'
import { type Ledger, openLedger } from '../src/ledger/db.ts'
import { openPage } from './console-page.ts'
import {
  type ConsoleRows,
  FEW,
  fillRows,
  GRANT,
  logInVoter,
  PRINCIPAL,
  RETIRED,
  ROLE,
} from './console-rows.ts'
import { type HttpClient, openHttp } from './http-client.ts'
import { emptySample, join, loop, median, percentile, perSecond, type Sample } from './load.ts'
import type { Figure } from './report.ts'
import type { Installation, World } from './world.ts'

/** How the operators' pages are answered among many live leases, and what open ones cost those who ask for leases. */
export type ConsoleSize = ConsoleRows & {
  /** A page is asked for so often, and for no longer than this. */
  calls: number
  forMs: number
  /** So many new leases an open page is told of. */
  told: number
  rounds: number
  turnMs: number
  clients: number
  /** So many pages are open while leases are issued. */
  pages: number
}

const OPEN_MS = 1_000
const WARM_UP = 3
const ISSUE = 'database/creds/issue-1'
const MIDDLE = '<middle>'

const LEASES = 'sys/leasehold/leases?limit=50'
const AUDIT = 'sys/leasehold/audit?newest=true&limit=50'

/** As root, who sees everything. */
const PAGES: Readonly<Record<string, string>> = {
  'the lease table': LEASES,
  'the lease table, a page in its middle': `${LEASES}&cursor=${MIDDLE}`,
  'leases of the role that has all': `${LEASES}&prefix=${ROLE}`,
  'leases of a role with a few': `${LEASES}&prefix=${FEW.role}`,
  'leases of the principal that has all': `${LEASES}&principal=${PRINCIPAL}`,
  'leases of a principal with a few': `${LEASES}&principal=${FEW.principal}`,
  'leases of a principal with none': `${LEASES}&principal=nobody`,
  'leases of one target and state': `${LEASES}&target=target&state=active`,
  'leases that are ending, of which there are none': `${LEASES}&state=revoking`,
  'leases that have ended': `${LEASES}&state=revoked`,
  'leases that have ended, of a principal with none': `${LEASES}&state=revoked&principal=nobody`,
  'one lease': `sys/leasehold/leases/${'5'.padStart(24, '0')}`,
  'the targets': 'sys/leasehold/targets',
  'the audit log': AUDIT,
  'audit by a path that a quarter have': `${AUDIT}&path=${ROLE}`,
  'audit by a path of long ago': `${AUDIT}&path=${RETIRED}`,
  'audit by the beginning of paths': `${AUDIT}&path=break-glass/`,
  'audit by a path that nobody asked': `${AUDIT}&path=transit/`,
  'audit by a grant': `${AUDIT}&grant=${GRANT}`,
  'audit by a grant that there is not': `${AUDIT}&grant=none`,
}

/** As somebody who may vote on all that waits. */
const VOTERS_PAGES: Readonly<Record<string, string>> = {
  'the inbox with its counts': 'break-glass/requests?view=inbox',
  'all requests': 'break-glass/requests?view=all',
  'my requests': 'break-glass/requests?view=mine',
}

export async function consoleFigures(world: World, size: ConsoleSize): Promise<Figure[]> {
  const installation = await world.install('console')
  const ledger = openLedger(installation.settings.LEASEHOLD_LEDGER_URL ?? '', () => {})
  try {
    await fillRows(installation, size)
    const voter = await logInVoter(installation, ledger)
    return [
      ...(await openFigures(installation, PAGES, size)),
      ...(await openFigures({ ...installation, token: voter }, VOTERS_PAGES, size)),
      await chartFigure(installation, ledger, size),
      await eventFigure(installation, size),
      await costFigure('are open', installation, size),
      await costFigure('show the lease table', installation, size, LEASES),
    ]
  } finally {
    await ledger.close()
    await installation.stop()
  }
}

async function openFigures(
  installation: Installation,
  pages: Readonly<Record<string, string>>,
  size: ConsoleSize,
): Promise<Figure[]> {
  const client = await openHttp(installation.url, installation.token)
  const figures: Figure[] = []
  for (const [name, path] of Object.entries(pages)) {
    const asked = path.includes(MIDDLE) ? path.replace(MIDDLE, await middleOf(installation)) : path
    figures.push(await openFigure(`open ${name}`, installation, size, () => client.call('GET', asked)))
  }
  client.close()
  return figures
}

/** Where a page in the middle of the lease table begins, as its cursor says it. */
async function middleOf({ ledger }: Installation): Promise<string> {
  const { rows } = await ledger.query(
    `select to_char(next_action_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at, id
     from leasehold.lease where next_action_at is not null order by next_action_at, id
     offset (select count(*) / 2 from leasehold.lease where next_action_at is not null) limit 1`,
  )
  return Buffer.from(JSON.stringify([rows[0].at, rows[0].id])).toString('base64url')
}

/** In turns with what no page can do without: so many rows, by their primary key. */
async function openFigure(
  name: string,
  { ledger }: Installation,
  { calls, forMs }: ConsoleSize,
  ask: () => Promise<unknown>,
): Promise<Figure> {
  const [ours, bare] = [emptySample(), emptySample()]
  // What a first call alone costs, such as a plan, is paid once for each connection of the server's.
  await loop(1, { calls: WARM_UP }, ask)
  while (ours.latenciesMs.length < calls && ours.ms < forMs) {
    join(ours, await loop(1, { calls: 1 }, ask))
    join(
      bare,
      await loop(1, { calls: 1 }, () =>
        ledger.query('select * from leasehold.lease where id >= $1 order by id limit 50', ['0']),
      ),
    )
  }
  return latencyFigure(name, ours, { name: '50 rows by primary key', p50Ms: median(bare.latenciesMs) })
}

function latencyFigure(
  name: string,
  { latenciesMs }: Sample,
  limit: { name: string; p50Ms: number } | undefined,
): Figure {
  const [p50Ms, p99Ms] = [median(latenciesMs), percentile(latenciesMs, 0.99)]
  return {
    name,
    value: p50Ms,
    unit: 'ms',
    p50Ms,
    p99Ms,
    ...(limit && { limit: { name: limit.name, value: limit.p50Ms }, ratio: p50Ms / limit.p50Ms }),
    aim: { text: 'under a second at p99', met: p99Ms < OPEN_MS },
  }
}

/** Asked of the ledger itself, as a server keeps what it has told for a few seconds. */
const chartFigure = (installation: Installation, ledger: Ledger, size: ConsoleSize): Promise<Figure> =>
  openFigure('the chart of a day, nothing kept', installation, size, () => createLeaseSummary(ledger)('day'))

/** From the answer that gives a lease to the open page that hears of it. */
async function eventFigure(installation: Installation, { told }: ConsoleSize): Promise<Figure> {
  const [client] = (await installation.clients(1)) as [HttpClient]
  const page = await openPage(installation)
  const latenciesMs: number[] = []
  for (let i = 0; i < told; i += 1) {
    const { lease_id } = (await client.call('GET', ISSUE)) as { lease_id: string }
    const answeredAt = performance.now()
    await page.hears(lease_id.slice(lease_id.lastIndexOf('/') + 1))
    latenciesMs.push(performance.now() - answeredAt)
  }
  page.close()
  return latencyFigure('a new lease reaches an open page', { ms: 0, latenciesMs }, undefined)
}

/** Turn by turn, so that whatever else the machine does meets both; one ratio for each pair of turns. */
async function costFigure(
  what: string,
  installation: Installation,
  { clients: count, pages, rounds, turnMs }: ConsoleSize,
  shows?: string,
): Promise<Figure> {
  const clients = await installation.clients(count)
  const [alone, watched] = [emptySample(), emptySample()]
  const ratios: number[] = []
  const issue = () =>
    loop(clients.length, { forMs: turnMs }, (i) => (clients[i] as HttpClient).call('GET', ISSUE))
  const issueWatched = async () => {
    const open = await Promise.all(Array.from({ length: pages }, () => openPage(installation, shows)))
    const sample = await issue()
    for (const page of open) page.close()
    return sample
  }
  await issue()
  for (let round = 0; round < rounds; round += 1) {
    // Neither is always the one that comes after the other.
    const first = round % 2 === 0 ? await issue() : undefined
    const with_ = await issueWatched()
    const without = first ?? (await issue())
    join(alone, without)
    join(watched, with_)
    ratios.push(perSecond(with_) / perSecond(without))
  }
  const [low, high] = [percentile(ratios, 0.1), percentile(ratios, 0.9)]
  return {
    name: `issue by ${clients.length} clients while ${pages} pages ${what} (pairs: ${low.toFixed(2)} to ${high.toFixed(2)})`,
    value: perSecond(watched),
    unit: '/s',
    p50Ms: median(watched.latenciesMs),
    p99Ms: percentile(watched.latenciesMs, 0.99),
    limit: { name: 'while none is', value: perSecond(alone) },
    ratio: median(ratios),
  }
}
