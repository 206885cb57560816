import { createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openLedger } from '../../src/ledger/db.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type Installation, openInstallation, request } from '../support/installation.ts'
import { type Settings, until } from '../support/processes.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'

let postgres: TestPostgres
let at: Installation
beforeAll(async () => {
  postgres = await startTestPostgres()
  at = await openInstallation({ targets: { app: postgres }, ledgerServer: postgres })
})
afterAll(async () => {
  await at.close()
  await postgres.remove()
})

/** Every row of the ledger, as text. */
async function contents(): Promise<string> {
  const { rows } = await at.test.ledger.query<{ text: string }>(
    `select string_agg(table_name || query_to_xml(format('select * from leasehold.%I t order by t::text', table_name),
       true, false, '')::text, '' order by table_name) as text
     from information_schema.tables where table_schema = 'leasehold'`,
  )
  return rows[0]?.text ?? ''
}

describe.each([['server'], ['worker'], ['init']])('a start that cannot work: leasehold %s', (command) => {
  const listen: Settings = command === 'server' ? { LEASEHOLD_LISTEN: '127.0.0.1:0' } : {}

  /** What it said, in one line and to stderr, before it ended with 1. */
  async function refusal(settings: Settings): Promise<string> {
    const before = await contents()
    const process = at.launch([command], { ...listen, ...settings })
    expect(await process.exited).toEqual({ code: 1, signal: null })
    expect(await contents()).toBe(before)
    expect(process.stdout()).toBe('')
    const said = process.log().filter(({ level }) => level === undefined)
    expect(said, 'one sentence and no stack').toHaveLength(1)
    expect(process.log().filter(({ level }) => level !== undefined && level >= 50)).toEqual([])
    return said[0]?.msg ?? ''
  }

  test('with a wrong master key', async () => {
    const wrong = Buffer.alloc(32, 8).toString('base64')
    const said = await refusal({ LEASEHOLD_MASTER_KEY: wrong })

    expect(said).toMatch(/master key/i)
    expect(said).not.toContain(wrong)
  })

  test('on the ledger of a newer version', async () => {
    await at.test.ledger.query(`insert into leasehold.migration (number, name) values (9999, 'future')`)
    try {
      expect(await refusal({})).toMatch(/migration 9999, newer than this version of Leasehold/)
    } finally {
      await at.test.ledger.query('delete from leasehold.migration where number = 9999')
    }
  })

  test('on a ledger that is not there', async () => {
    const url = new URL(at.test.url)
    url.pathname = '/no_such_database'

    expect(await refusal({ LEASEHOLD_LEDGER_URL: url.href })).toMatch(/ledger|no_such_database/)
  })
})

describe('a ledger that was not set up', () => {
  let empty: TestDatabase
  beforeAll(async () => {
    empty = await createDatabase(postgres.url())
  })
  afterAll(() => empty.drop())

  test.each(['server', 'worker'])('leasehold %s says so, and does not set it up', async (command) => {
    const process = at.launch([command], {
      LEASEHOLD_LEDGER_URL: empty.url,
      ...(command === 'server' && { LEASEHOLD_LISTEN: '127.0.0.1:0' }),
    })
    expect((await process.exited).code).toBe(1)
    expect(process.log().map(({ msg }) => msg)).toEqual([expect.stringContaining('run `leasehold init`')])

    const ledger = openLedger(empty.url, () => {})
    const { rows } = await ledger.query('select from pg_namespace where nspname in ($1, $2)', [
      'leasehold',
      'bullmq',
    ])
    await ledger.close()
    expect(rows).toEqual([])
  })
})

test('a server whose address is taken says which, and how to name another', async () => {
  const squatter = createServer()
  await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve))
  const { port } = squatter.address() as { port: number }
  try {
    const before = await contents()
    const process = at.launch(['server'], { LEASEHOLD_LISTEN: `127.0.0.1:${port}` })

    expect(await process.exited).toEqual({ code: 1, signal: null })
    const said = process.log().map(({ msg }) => msg)
    expect(said).toEqual([expect.stringContaining(`127.0.0.1:${port} is in use; LEASEHOLD_LISTEN`)])
    expect(await contents()).toBe(before)
  } finally {
    squatter.close()
  }
})

describe('SIGTERM', () => {
  test('a server answers the requests in hand, takes no more, and exits with 0', async () => {
    const server = await at.server()
    await server.gate({ at: 1, what: 'hold', only: 'CREATE ROLE' })
    const asked = request(server, at.token, 'GET', 'database/creds/app')
    await server.held()
    const ended = server.terminate()
    await until('it takes no more', async () => {
      return (await request(server, at.token, 'GET', 'sys/health')) === undefined
    })
    expect(server.isRunning()).toBe(true)
    await server.release(1)

    expect((await asked)?.status).toBe(200)
    expect(await ended).toEqual({ code: 0, signal: null })
    const id = String((await asked)?.body.lease_id)
    expect((await at.leases()).find((lease) => id.endsWith(lease.id))?.state).toBe('active')
  })

  test('a worker finishes the endings in hand, and exits with 0', async () => {
    const server = await at.server()
    await request(server, at.token, 'GET', 'database/creds/app')
    await at.test.advance(1_000)
    const worker = await at.worker({ plan: { at: 1, what: 'hold', only: 'DROP ROLE' } })
    await worker.held()
    const ended = worker.terminate()
    await worker.release(1)

    expect(await ended).toEqual({ code: 0, signal: null })
    expect((await at.leases()).map(({ state }) => state)).not.toContain('revoking')
    expect(await at.accounts()).toEqual([])
    expect((await server.terminate()).code).toBe(0)
  })

  test('a second one does not wait', async () => {
    const server = await at.server()
    await server.gate({ at: 1, what: 'hold', only: 'CREATE ROLE' })
    const asked = request(server, at.token, 'GET', 'database/creds/app')
    await server.held()
    void server.terminate()
    await until('it takes no more', async () => {
      return (await request(server, at.token, 'GET', 'sys/health')) === undefined
    })

    expect(await server.terminate()).toEqual({ code: 143, signal: null })
    expect(await asked).toBeUndefined()
    await at.settle()
    expect(await at.accounts()).toEqual([])
  })
})
