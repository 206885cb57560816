import { mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { many } from '../../src/ledger/db.ts'
import { taken } from '../integration/audit-sinks-world.ts'
import { type Installation, openInstallation, request } from '../support/installation.ts'
import { KILLS } from '../support/kills.ts'
import { type Process, until } from '../support/processes.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'

// Real processes that ship to sinks: killed in the middle, and told that their file has been moved away.

let postgres: TestPostgres
let at: Installation
let folder: string
beforeEach(async () => {
  postgres = await startTestPostgres()
  at = await openInstallation({ targets: { app: postgres }, ledgerServer: postgres })
  folder = await mkdtemp(join(tmpdir(), 'audit-sinks-'))
})
afterEach(async () => {
  await at.close()
  await postgres.remove()
  await rm(folder, { recursive: true })
})

const log = (name = 'audit.log') => join(folder, name)
const lines = async (name?: string) => taken(await readFile(log(name), 'utf8').catch(() => ''))
const enable = (server: Process, options: object) =>
  request(server, at.token, 'POST', 'sys/audit/sink', { type: 'file', options })
const ask = async (server: Process, times: number) => {
  for (let i = 0; i < times; i += 1) await request(server, at.token, 'GET', 'auth/token/lookup-self')
}
/** `writer:seq` of all that the sink was to get, in order. */
const order = async () =>
  (
    await many<{ writer: string; seq: number }>(
      at.test.ledger,
      `select writer, seq from leasehold.audit_event
       where written_by >= (select min(written_by) from leasehold.audit_event where body like '%"sys/audit/sink"%')
       order by written_by, writer, seq`,
    )
  ).map(({ writer, seq }) => `${writer}:${seq}`)
const untilShipped = (count: number, name?: string) =>
  until(
    'the file has its events',
    async () => (await lines(name)).length >= count,
    () => lines(name),
  )

describe('a process that is killed', () => {
  test.each(KILLS)('as the position is about to move (%s): nothing is missing', async (what) => {
    const first = await at.server({ plan: { at: 1, what, only: 'set taken_xid' } })
    await enable(first, { file_path: log() })
    await until('the first has died', () => first.death())
    const before = await lines()
    expect(before).not.toEqual([])

    await at.test.advance(61)
    const second = await at.server()
    await ask(second, 3)
    const all = await order()
    await until('all have come', async () => {
      const have = new Set(await lines())
      return all.every((event) => have.has(event))
    })
    const again = (await lines()).slice(before.length)
    expect([...new Set([...before, ...again])]).toEqual(all)
  })
})

describe('SIGHUP', () => {
  test('has a server open its file anew, and ends no process', async () => {
    const server = await at.server()
    const worker = await at.worker()
    await enable(server, { file_path: log() })
    await ask(server, 3)
    await untilShipped(4)
    await rename(log(), log('audit.log.1'))
    for (const { pid } of [server, worker]) process.kill(pid, 'SIGHUP')
    await ask(server, 3)
    await untilShipped(3)

    expect([...(await lines('audit.log.1')), ...(await lines())]).toEqual(await order())
    expect([server.isRunning(), worker.isRunning()]).toEqual([true, true])
  })
})

describe('stdout', () => {
  test('is a sink too', async () => {
    const server = await at.server()
    await enable(server, { file_path: 'stdout' })
    await ask(server, 3)
    await until('stdout has them', async () => taken(server.stdout()).length >= 4)
    expect(taken(server.stdout())).toEqual(await order())
  })
})
