import { randomBytes } from 'node:crypto'
import { type Connection, createConnection } from 'mysql2/promise'
import { type Account, END_STEPS, type Engine } from '../src/engine/engine.ts'
import { nativeHash } from '../src/engine/mysql/hash.ts'
import { batcher } from '../src/lib/batcher.ts'
import type { Result } from '../src/lib/result.ts'
import { startTestMariadb } from '../test/support/mariadb.ts'
import {
  type MysqlTarget,
  mysqlEnding,
  mysqlTicket,
  newMysqlAccount,
  openMysqlTarget,
} from '../test/support/mysql-target.ts'
import { givenPart, isOnPath } from '../test/support/provision.ts'
import { clearTestRoot, openTestRoot } from '../test/support/test-root.ts'
import { emptySample, join, loop, type Sample } from './load.ts'
import { type Figure, rateFigure } from './report.ts'

/** How often each side has its turn, and how many accounts it makes and ends in it: few, since these servers slow with users. */
export type MysqlSize = { rounds: number; accounts: number }

const TOGETHER = 32
const RAW_TOGETHER = `the same raw, ${TOGETHER} accounts in a message`
/** As the broker has its batches of creates; see src/lease/targets.ts. */
const BATCHES = { max: 64, inFlight: 2 }
/** The tests' server without what makes it careless: both sides wait for the disk. */
const DURABLE = ['--innodb-flush-log-at-trx-commit=1', '--innodb-doublewrite=1']

type Rates = { issue: Sample; end: Sample }
const newRates = (): Rates => ({ issue: emptySample(), end: emptySample() })

type Raw = { client: Connection; group: string; hash: string }

/**
 * The engine alone, without API, ledger and audit log, against the statements that make the same account. Undefined
 * where there is no MariaDB: neither TEST_MARIADB_URL nor the program.
 */
export async function mysqlFigures({ rounds, accounts }: MysqlSize): Promise<Figure[] | undefined> {
  const given = givenPart('mariadb')
  if (given === undefined && !(await isOnPath('mariadb'))) return undefined
  const root = openTestRoot()
  try {
    const server = given === undefined ? await startTestMariadb({ settings: DURABLE }) : undefined
    const url = given ?? String(server?.url)
    const target = await openMysqlTarget(url, 'few rights')
    const client = await createConnection({ uri: url, multipleStatements: true })
    const raw: Raw = {
      client,
      group: target.readers,
      hash: nativeHash(randomBytes(24).toString('base64')),
    }
    try {
      return await measure(target, raw, { rounds, accounts })
    } finally {
      await client.end()
      await target.close()
      await server?.remove()
    }
  } finally {
    clearTestRoot(root)
  }
}

/** Ours and raw in turns, so that whatever else the machine does falls on both. The first round only warms up. */
async function measure(target: MysqlTarget, sql: Raw, { rounds, accounts }: MysqlSize): Promise<Figure[]> {
  const engine = target.open()
  const rates = allRates()
  for (let round = 0; round <= rounds; round += 1) {
    const into = round > 0 ? rates : allRates()
    await singlyByEngine(engine, target, accounts, into.ours)
    await rawTurn(sql, accounts, 1, into.raw)
    await togetherByEngine(engine, target, accounts, into.oursTogether)
    await rawTurn(sql, accounts, TOGETHER, into.rawTogether)
  }
  const { ours, raw, oursTogether, rawTogether } = rates
  const where = 'on MariaDB, the engine alone'
  return [
    rateFigure(
      `issue ${where}, 1 client`,
      ours.issue,
      'raw CREATE, GRANT, SET DEFAULT ROLE, one by one',
      raw.issue,
    ),
    rateFigure(`issue ${where}, ${TOGETHER} clients`, oursTogether.issue, RAW_TOGETHER, rawTogether.issue),
    rateFigure(`end ${where}, one by one`, ours.end, 'raw ACCOUNT LOCK, KILL, DROP, one by one', raw.end),
    rateFigure(`end ${where}, ${TOGETHER} at a time`, oursTogether.end, RAW_TOGETHER, rawTogether.end),
  ]
}

const allRates = () => ({
  ours: newRates(),
  raw: newRates(),
  oursTogether: newRates(),
  rawTogether: newRates(),
})

async function singlyByEngine(
  engine: Engine,
  target: MysqlTarget,
  count: number,
  into: Rates,
): Promise<void> {
  const made: Account[] = []
  join(
    into.issue,
    await loop(1, { calls: count }, async () => {
      const account = newMysqlAccount(target)
      const [result] = await engine.create([mysqlTicket(account, target.role)])
      must(result)
      made.push({ ...account, targetRef: account.name })
    }),
  )
  join(into.end, await loop(1, { calls: count }, () => endOurs(engine, target, [made.pop() as Account])))
}

async function togetherByEngine(
  engine: Engine,
  target: MysqlTarget,
  count: number,
  into: Rates,
): Promise<void> {
  const made: Account[] = []
  const create = batcher(
    (accounts: Account[]) => engine.create(accounts.map((account) => mysqlTicket(account, target.role))),
    BATCHES,
  )
  join(
    into.issue,
    await loop(TOGETHER, { calls: count }, async () => {
      const account = newMysqlAccount(target)
      await create(account)
      made.push({ ...account, targetRef: account.name })
    }),
  )
  join(into.end, await inBatches(made, (some) => endOurs(engine, target, some)))
}

async function endOurs(engine: Engine, { role }: MysqlTarget, accounts: Account[]): Promise<void> {
  for (const step of END_STEPS) {
    const results = await engine.end(
      step,
      accounts.map((account) => mysqlEnding(account, role)),
    )
    results.forEach(must)
  }
}

function must(result: Result<unknown> | undefined): void {
  if (!result?.ok) throw result?.error ?? new Error('no answer')
}

/** Each batch counts as often as it has accounts, and each of them waits for all. */
async function inBatches<T>(items: T[], run: (some: T[]) => Promise<unknown>): Promise<Sample> {
  const { ms, latenciesMs } = await loop(1, { calls: Math.ceil(items.length / TOGETHER) }, () =>
    run(items.splice(0, TOGETHER)),
  )
  return { ms, latenciesMs: latenciesMs.flatMap((latency) => Array<number>(TOGETHER).fill(latency)) }
}

let named = 0

/** One by one each statement is a message of its own; together, one message holds all statements for all accounts. */
async function rawTurn({ client, group, hash }: Raw, count: number, at: number, into: Rates): Promise<void> {
  const names = Array.from({ length: count }, () => `raw_${(named++).toString(36).padStart(20, '0')}`)
  const send = async (texts: string[]): Promise<void> => {
    if (at > 1) await client.query(texts.join('; '))
    else for (const text of texts) await client.query(text)
  }
  const turn = async (run: (some: string[]) => Promise<void>): Promise<Sample> => {
    const left = [...names]
    return at > 1 ? inBatches(left, run) : loop(1, { calls: left.length }, () => run(left.splice(0, 1)))
  }
  join(
    into.issue,
    await turn((some) =>
      send([
        `CREATE USER ${some.map((name) => `${name} IDENTIFIED VIA mysql_native_password USING '${hash}'`).join(', ')}
         WITH MAX_USER_CONNECTIONS 10 PASSWORD EXPIRE NEVER`,
        `GRANT ${group} TO ${some.join(', ')}`,
        ...some.map((name) => `SET DEFAULT ROLE ${group} FOR ${name}`),
      ]),
    ),
  )
  join(
    into.end,
    await turn((some) =>
      send([
        `ALTER USER ${some.join(', ')} ACCOUNT LOCK`,
        ...some.map((name) => `KILL USER ${name}`),
        `DROP USER ${some.join(', ')}`,
      ]),
    ),
  )
}
