import { writeFile } from 'node:fs/promises'
import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { auth } from './auth.ts'
import { consoleFigures } from './console.ts'
import { footprint } from './footprint.ts'
import { kubernetesFigures } from './kubernetes.ts'
import { lag } from './lag.ts'
import { liveAccounts } from './live-accounts.ts'
import { mysqlFigures } from './mysql.ts'
import { rates } from './rates.ts'
import { reconcile } from './reconcile.ts'
import { findRedis } from './redis.ts'
import { type Figure, table } from './report.ts'
import { storm } from './storm.ts'
import { openWorld, type World } from './world.ts'

/**
 * `npm run bench`: measures on real servers, every figure beside its limit in the same run, and prints a table and
 * JSON. Absolute numbers are this machine's; the ratios are what to trust.
 *
 *   --quick            a smoke run of under a minute, whose numbers mean little
 *   --only issue,lag   some of: issue (with renew and end), storm, lag, footprint, auth (decisions, issues, logins),
 *                      console (pages among 100,000 live leases, and what an open one costs),
 *                      live (one account among 0 to 10,000, by functions, creator roles, CREATEROLE), reconcile,
 *                      mysql and kubernetes (the engines alone)
 *   --queue postgres   or redis; both when not said and Redis is there, but in a quick run
 *   --json <file>      the JSON goes there and not after the table
 */
const MEASUREMENTS = [
  'issue',
  'storm',
  'lag',
  'footprint',
  'auth',
  'reconcile',
  'console',
  'live',
  'mysql',
  'kubernetes',
]

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: MEASUREMENTS.join(',') },
    queue: { type: 'string' },
    json: { type: 'string' },
  },
})

const FULL = {
  // Many clients and few iterations first: it takes thousands of requests until a server runs compiled code.
  clients: [32, 8, 1],
  turns: { rounds: 3, warmUpMs: 4_000, issueMs: 1_000, renewMs: 400, endMs: 800 },
  storm: { leases: 10_000, oneByOneMs: 2_000 },
  lagSeconds: 20,
  footprint: { leases: 100_000, starts: 8, rounds: 3 },
  live: { live: [0, 1_000, 10_000], turnMs: 1_500 },
  auth: { rounds: 5, warmUpMs: 4_000, turnMs: 1_000, decisions: { decisions: 50_000, warmUp: 20_000 } },
  reconcile: { accounts: 100_000 },
  console: {
    ...{ leases: 100_000, ended: 60_000, grants: 1_000, closed: 20_000, events: 300_000 },
    ...{ calls: 100, forMs: 4_000, told: 100, rounds: 6, turnMs: 1_000, clients: 8, pages: 20 },
  },
  mysql: { rounds: 10, accounts: 64 },
  kubernetes: { rounds: 3, clients: [1, 32], turnMs: 1_000 },
}
const QUICK: typeof FULL = {
  clients: [32],
  turns: { rounds: 1, warmUpMs: 300, issueMs: 400, renewMs: 200, endMs: 300 },
  storm: { leases: 1_000, oneByOneMs: 300 },
  lagSeconds: 3,
  footprint: { leases: 100_000, starts: 2, rounds: 1 },
  live: { live: [0, 1_000], turnMs: 300 },
  auth: { rounds: 1, warmUpMs: 300, turnMs: 400, decisions: { decisions: 2_000, warmUp: 2_000 } },
  reconcile: { accounts: 2_000 },
  console: {
    ...{ leases: 100_000, ended: 10_000, grants: 1_000, closed: 1_000, events: 20_000 },
    ...{ calls: 5, forMs: 500, told: 5, rounds: 1, turnMs: 500, clients: 8, pages: 20 },
  },
  mysql: { rounds: 2, accounts: 64 },
  kubernetes: { rounds: 1, clients: [1, 32], turnMs: 300 },
}

const chosen = options.only.split(',')
const unknown = chosen.filter((name) => !MEASUREMENTS.includes(name))
if (unknown.length > 0) {
  console.error(`--only knows ${MEASUREMENTS.join(', ')}; not ${unknown.join(', ')}`)
  process.exit(2)
}

const say = (text: string) => console.error(`bench: ${text}`)

async function measureRates(world: World, size: typeof FULL, figures: Figure[]): Promise<void> {
  const installation = await world.install('rates')
  for (const iterations of [1, 4_096]) {
    for (const clients of size.clients) {
      say(`issue, renew and end at ${iterations} iterations by ${clients} clients`)
      figures.push(...(await rates(world, installation, { clients, iterations, turns: size.turns })))
    }
  }
  await installation.stop()
}

async function measureEnding(
  world: World,
  size: typeof FULL,
  figures: Figure[],
  queue: string,
  queueUrl?: string,
): Promise<void> {
  const installation = await world.install(queue, { queueUrl })
  if (chosen.includes('lag')) {
    say(`lateness, queue on ${queue}`)
    figures.push(...(await lag(installation, { seconds: size.lagSeconds, queue })))
  }
  if (chosen.includes('storm')) {
    say(`storm, queue on ${queue}`)
    figures.push(...(await storm(installation, { ...size.storm, queue })))
  }
  await installation.stop()
}

/** Adds each measurement's figures as they come, so that one that fails does not take the others with it. */
async function run(figures: Figure[]): Promise<void> {
  const measureAlone = async (name: string, what: string, measure: () => Promise<Figure[]>) => {
    if (!chosen.includes(name)) return
    say(what)
    figures.push(...(await measure()))
  }
  const size = options.quick ? QUICK : FULL
  const world = await openWorld()
  const withRedis = options.queue === 'redis' || (options.queue === undefined && !options.quick)
  const redis = withRedis ? await findRedis(world.folder) : undefined
  try {
    if (chosen.includes('issue')) await measureRates(world, size, figures)
    if (chosen.includes('lag') || chosen.includes('storm')) {
      if (options.queue !== 'redis') await measureEnding(world, size, figures, 'PostgreSQL')
      if (redis) await measureEnding(world, size, figures, 'Redis', redis.url)
      else if (withRedis) say('no Redis: neither TEST_REDIS_URL nor redis-server is there')
    }
    await measureAlone('footprint', 'memory and start', () => footprint(world, size.footprint))
    await measureAlone('live', 'one account among many', () => liveAccounts(size.live))
    await measureAlone('auth', 'logins, and what they may have', () => auth(world, size.auth))
    await measureAlone('reconcile', 'a target held against the ledger', () =>
      reconcile(world, size.reconcile),
    )
    await measureAlone('console', 'pages among many leases', () => consoleFigures(world, size.console))
    await measureAlone('mysql', 'MariaDB, the engine alone', async () => {
      const found = await mysqlFigures(size.mysql)
      if (found === undefined) say('no MariaDB: neither TEST_MARIADB_URL nor mariadbd is there')
      return found ?? []
    })
    await measureAlone('kubernetes', 'Kubernetes tokens, the engine alone', () =>
      kubernetesFigures(size.kubernetes),
    )
  } finally {
    await redis?.stop()
    await world.close()
  }
}

const figures: Figure[] = []
const [loadBefore] = loadavg()
await run(figures).catch((error) => {
  console.error(error)
  process.exitCode = 1
})
const machine = {
  processors: `${cpus().length} x ${cpus()[0]?.model.trim()}`,
  node: process.version,
  // What others were doing here when we began; near zero on a machine of our own.
  loadBefore,
}
console.log(`${machine.processors}, Node ${machine.node}, load before: ${loadBefore?.toFixed(1)}\n`)
console.log(table(figures))
const json = `${JSON.stringify({ at: new Date().toISOString(), quick: options.quick, machine, figures }, null, 2)}\n`
if (options.json === undefined) console.log(`\n${json}`)
else await writeFile(options.json, json)
