import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { type PostgresServer, startPostgres } from '../src/dev/embedded-postgres.ts'
import { type Account, END_STEPS, type Engine, type Spec } from '../src/engine/engine.ts'
import { postgres } from '../src/engine/postgres/postgres.ts'
import { newId } from '../src/lib/ids.ts'
import { sensitive } from '../src/lib/sensitive.ts'
import { emptySample, loop, percentile, perSecond, type Sample } from './load.ts'
import { type Figure, rateFigure } from './report.ts'

/** What making, extending and ending one account costs with so many alive, by whose rights. */
export type LiveAccounts = { live: readonly number[]; turnMs: number }

const KINDS = ['functions', 'CREATEROLE', 'creators'] as const
type Kind = (typeof KINDS)[number]
/**
 * Since 16 a GRANT or REVOKE reads all members of its group, whoever runs it. That is the group's size and not the number
 * of accounts, so the accounts that are alive are spread.
 */
const GROUPS = 20
const GROUP = 'live_group_0'
/** So many accounts the engine makes as one creator before it takes another. */
const PER_CREATOR = 150
const CREATORS = 64
/** Rates that do not depend on how many live, with room for what a busy machine does to a short turn. */
const FLAT = 0.5

type World = {
  server: PostgresServer
  client: pg.Client
  engines: Record<Kind, Engine>
  role: Spec
  spec: Spec
}
type Rates = { create: Sample; extend: Sample; end: Sample }

/** On a server of its own, since what is measured is how it slows. */
export async function liveAccounts({ live, turnMs }: LiveAccounts): Promise<Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-live-'))
  await chmod(folder, 0o711)
  const server = await startPostgres({ dataDir: join(folder, 'pg') })
  const world = await prepare(server)
  const rates = new Map<string, Rates>()
  try {
    let filled = 0
    for (const count of live) {
      await fill(world, filled, count)
      filled = count
      for (const kind of KINDS) rates.set(`${kind} ${count}`, await turn(world, world.engines[kind], turnMs))
    }
  } finally {
    await Promise.all(KINDS.map((kind) => world.engines[kind].close()))
    await world.client.end()
    await server.stop('immediate')
    await rm(server.home, { recursive: true, force: true })
    await rm(folder, { recursive: true, force: true })
  }
  return live.flatMap((count) =>
    (['create', 'extend', 'end'] as const).flatMap((what) => [
      figure(rates, what, count, live[0] ?? 0),
      spreadFigure(rates, what, count),
    ]),
  )
}

async function prepare(server: PostgresServer): Promise<World> {
  const client = new pg.Client({ connectionString: server.url() })
  await client.connect()
  const password = randomBytes(18).toString('base64url')
  for (let i = 0; i < GROUPS; i += 1) await client.query(`CREATE ROLE live_group_${i}`)
  await client.query(`CREATE ROLE least LOGIN PASSWORD '${password}';
    CREATE ROLE maker LOGIN CREATEROLE PASSWORD '${password}'; CREATE ROLE spread LOGIN CREATEROLE PASSWORD '${password}';
    GRANT ${GROUP} TO maker, spread WITH ADMIN OPTION; GRANT pg_signal_backend TO maker, spread`)
  const database = (await client.query('SELECT current_database() AS name')).rows[0].name
  const role = postgres.checkRole({ member_of: [GROUP], scram_iterations: 1 }).spec
  const specFor = (username: string) =>
    postgres.checkTarget({
      creator_roles: username === 'spread' ? CREATORS : 0,
      connection_url: `postgresql://{{username}}:{{password}}@${encodeURIComponent(server.socketDir)}:${server.port}/${database}`,
      username,
    }).spec
  const spec = specFor('least')
  for (const { sql } of postgres.enrolmentSql?.({ target: spec, roles: [role], maxLeaseSeconds: 3_600 }) ??
    []) {
    await client.query(sql)
  }
  const open = (username: string) =>
    postgres.open(specFor(username), async () => ({
      username,
      password: sensitive(password),
      accountKey: sensitive('of the bench'),
    }))
  return {
    server,
    client,
    engines: { functions: open('least'), CREATEROLE: open('maker'), creators: open('spread') },
    role,
    spec,
  }
}

/** As CREATEROLE leaves them: its holder is a member of each, or the creator is that it became. */
async function fill({ client }: World, from: number, to: number): Promise<void> {
  const creators = Math.min(CREATORS, Math.ceil(to / PER_CREATOR))
  for (let i = 1; i <= creators; i += 1) {
    const name = `leasehold_creator_${i}_spread`
    if ((await client.query(`SELECT FROM pg_roles WHERE rolname = '${name}'`)).rows.length > 0) continue
    await client.query(`SET ROLE spread; CREATE ROLE ${name} NOLOGIN CREATEROLE;
      GRANT ${name} TO spread WITH INHERIT FALSE, SET TRUE;
      GRANT ${GROUP} TO ${name} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE; RESET ROLE`)
  }
  for (let at = from; at < to; at += 500) {
    await client.query(
      `DO $$ BEGIN FOR i IN ${at} .. ${Math.min(at + 500, to) - 1} LOOP
         EXECUTE format('CREATE ROLE live_%s IN ROLE live_group_%s', i, i % ${GROUPS});
         EXECUTE format('GRANT live_%s TO maker, leasehold_creator_%s_spread WITH ADMIN TRUE, INHERIT FALSE, SET FALSE',
           i, 1 + i / ${PER_CREATOR} % ${CREATORS});
       END LOOP; END $$`,
    )
  }
}

async function turn({ spec, role }: World, engine: Engine, turnMs: number): Promise<Rates> {
  const made: Account[] = []
  const create = await loop(1, { forMs: turnMs }, async () => {
    const leaseId = newId()
    const ask = { target: spec, role, asked: {}, roleName: 'live', leaseId, displayName: '' }
    const account = { leaseId, name: postgres.accountName(ask), targetRef: null }
    const [result] = await engine.create([
      { account, role, asked: {}, lifetimeMs: 600_000, createWithinMs: 20_000 },
    ])
    if (!result?.ok) throw result?.error ?? new Error('no answer')
    made.push({ ...account, targetRef: result.value.targetRef })
  })
  let next = 0
  const extend = await loop(1, { forMs: turnMs }, async () => {
    const account = made[next++ % made.length] as Account
    const [result] = await engine.extend([{ account, role, lifetimeMs: 900_000 }])
    if (!result?.ok) throw result?.error ?? new Error('no answer')
  })
  const endOne = async (accounts: Account[]) => {
    for (const step of END_STEPS) {
      const results = await engine.end(
        step,
        accounts.map((account) => ({ account, role, createWithinMs: 0 })),
      )
      for (const result of results) if (!result.ok) throw result.error
    }
  }
  const end = await loop(1, { forMs: turnMs, calls: made.length }, () => endOne([made.pop() as Account]))
  await endOne(made)
  return { create, extend, end }
}

function figure(rates: Map<string, Rates>, what: keyof Rates, count: number, fewest: number): Figure {
  const sample = (kind: Kind, at: number): Sample => rates.get(`${kind} ${at}`)?.[what] ?? emptySample()
  const ours = sample('functions', count)
  const [value, plain, first] = [ours, sample('CREATEROLE', count), sample('functions', fewest)].map(
    perSecond,
  ) as [number, number, number]
  return {
    name: `${what} one account by functions, ${count} others live`,
    value,
    unit: '/s',
    p50Ms: percentile(ours.latenciesMs, 0.5),
    p99Ms: percentile(ours.latenciesMs, 0.99),
    limit: { name: 'by CREATEROLE', value: plain },
    ratio: value / plain,
    ...(count === fewest
      ? {}
      : { aim: { text: `at least ${FLAT} of the rate with ${fewest}`, met: value / first >= FLAT } }),
  }
}

/** The same by CREATEROLE alone, against CREATEROLE by turns as several creator roles. */
function spreadFigure(rates: Map<string, Rates>, what: keyof Rates, count: number): Figure {
  const sample = (kind: Kind): Sample => rates.get(`${kind} ${count}`)?.[what] ?? emptySample()
  const name = `${what} one account by CREATEROLE and creator roles, ${count} others live`
  return rateFigure(name, sample('creators'), 'by CREATEROLE alone', sample('CREATEROLE'))
}
