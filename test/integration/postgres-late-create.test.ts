import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Account, END_STEPS, type EndStep, type Engine } from '../../src/engine/engine.ts'
import { lockKey } from '../../src/engine/postgres/sql.ts'
import { MAJORS, startTestPostgres, type TestPostgres } from '../support/postgres.ts'
import {
  endingOf,
  lease,
  newAccount,
  openPostgresTarget,
  type PostgresTarget,
  ticketFor,
} from '../support/postgres-target.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'

const CREATE_WITHIN_MS = 200

/** A create whose packets are slow must not leave an account behind the back of an ending that was proved. */
describe.each(MAJORS)('a late create on PostgreSQL %s', (major) => {
  let server: TestPostgres
  let target: PostgresTarget
  let proxy: TcpProxy
  let slow: Engine
  let direct: Engine
  let account: Account
  let startedMs: number

  beforeAll(async () => {
    server = await startTestPostgres({ major })
    target = await openPostgresTarget(server, 'CREATEROLE')
    proxy = await startTcpProxy(`${server.socketDir}/.s.PGSQL.${server.port}`)
    slow = target.open({ place: proxy.place })
    direct = target.open()
    await slow.ping()
  })
  afterAll(async () => {
    await target?.close()
    await proxy?.stop()
    await server?.remove()
  })
  beforeEach(() => {
    account = newAccount(target)
    startedMs = performance.now()
  })

  const create = () => slow.create([ticketFor(account, target.role, { createWithinMs: CREATE_WITHIN_MS })])
  const end = async (step: EndStep) => (await direct.end(step, [endingOf(account, target.role)]))[0]
  const pastDeadline = () =>
    vi.waitUntil(() => performance.now() > startedMs + CREATE_WITHIN_MS, { timeout: 10_000 })
  const exists = async () =>
    (await target.sql(`SELECT FROM pg_roles WHERE rolname = '${account.name}'`)).length > 0

  test('that reaches the target only after the proof makes nothing', async () => {
    const hold = proxy.holdAt('pg_advisory_xact_lock')
    const created = create()
    await hold.held
    await pastDeadline()
    for (const step of END_STEPS) expect(await end(step)).toMatchObject({ ok: true })
    hold.release()
    expect((await created)[0]).toMatchObject({ ok: false, error: { kind: 'late' } })
    expect(await exists()).toBe(false)
  })

  test('that has begun keeps the proof waiting until it is done', async () => {
    const hold = proxy.holdAt('CREATE ROLE')
    const created = create()
    await hold.held
    await pastDeadline()
    for (const step of ['disable', 'disconnect', 'remove'] as const) {
      expect(await end(step)).toMatchObject({ ok: true })
    }
    expect(await end('verify')).toMatchObject({ ok: false, error: { kind: 'pending' } })
    hold.release()
    expect((await created)[0]).toMatchObject({ ok: true })
    expect(await end('verify')).toMatchObject({ ok: false, error: { kind: 'blocked' } })
    for (const step of END_STEPS) expect(await end(step)).toMatchObject({ ok: true })
    expect(await exists()).toBe(false)
  })

  test('whose client dies halfway is over with its connection', async () => {
    const hold = proxy.holdAt('CREATE ROLE')
    const created = create()
    await hold.held
    await pastDeadline()
    hold.cut()
    expect((await created)[0]).toMatchObject({ ok: false, error: { kind: 'unreachable' } })
    await vi.waitUntil(async () => (await end('verify'))?.ok, { timeout: 10_000 })
    expect(await exists()).toBe(false)
  })

  test('by SQL of its role keeps to the same', async () => {
    const role = { creation_statements: [`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}'`] }
    const hold = proxy.holdAt('pg_advisory_xact_lock')
    const created = slow.create([ticketFor(account, role, { createWithinMs: CREATE_WITHIN_MS })])
    await hold.held
    await pastDeadline()
    expect(await end('verify')).toMatchObject({ ok: true })
    hold.release()
    expect((await created)[0]).toMatchObject({ ok: false, error: { kind: 'late' } })
    expect(await exists()).toBe(false)
  })

  test('is not taken for under way when somebody else holds its lock', async () => {
    const neighbour = await lease(direct, target)
    const guest = await target.logIn(neighbour.secret)
    await guest.query(`SELECT pg_advisory_lock(${lockKey(account.name)})`)
    for (const step of END_STEPS) expect(await end(step)).toMatchObject({ ok: true })
    // Nor may a stranger hide the account that is there.
    await guest.query(`SELECT pg_advisory_lock(${lockKey(neighbour.account.name)})`)
    const endings = [endingOf(neighbour.account, target.role)]
    expect((await direct.end('verify', endings))[0]).toMatchObject({ ok: false, error: { kind: 'blocked' } })
    await guest.end()
    for (const step of END_STEPS) expect((await direct.end(step, endings))[0]).toMatchObject({ ok: true })
  })
})
