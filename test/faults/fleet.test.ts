import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Installation, openInstallation, request } from '../support/installation.ts'
import { STATEMENT } from '../support/kills.ts'
import { type Process, until } from '../support/processes.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'

// Two servers and two workers, all on the same rows.

let postgres: TestPostgres
let at: Installation
let servers: [Process, Process]
let workers: [Process, Process]
beforeAll(async () => {
  postgres = await startTestPostgres()
  at = await openInstallation({ targets: { app: postgres }, ledgerServer: postgres, ttlSeconds: 500 })
  servers = await Promise.all([at.server(), at.server()])
  workers = await Promise.all([at.worker(), at.worker()])
})
afterAll(async () => {
  await at.close()
  await postgres.remove()
})

const WARNING = 40

const untilAllEnded = () =>
  until(
    'every lease has ended',
    async () => (await at.leases()).every(({ state }) => state === 'revoked'),
    async () => (await at.leases()).filter(({ state }) => state !== 'revoked'),
  )

async function deadlocks(): Promise<number> {
  const { rows } = await at.test.ledger.query<{ count: number }>(
    'select sum(deadlocks)::int as count from pg_stat_database',
  )
  return rows[0]?.count ?? 0
}

/** Ended once: each step once and in order, one receipt. */
async function expectEndedOnce(): Promise<void> {
  expect(await at.accounts()).toEqual([])
  for (const lease of await at.leases()) {
    expect(lease).toMatchObject({ state: 'revoked', receipts: 1, claimedBy: null })
    expect(lease.steps).toEqual(['disable', 'disconnect', 'remove', 'verify'])
  }
}

/** What any of the processes had to complain of. */
const complaints = () =>
  [...servers, ...workers].flatMap((process) =>
    process.log().filter(({ level }) => level === undefined || level >= WARNING),
  )

test('the same leases renewed, given back and expiring from every side at once end once each', async () => {
  const [one, other] = servers
  for (let round = 0; round < 4; round += 1) {
    const given = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        request(i % 2 ? one : other, at.token, 'GET', 'database/creds/app'),
      ),
    )
    const ids = given.map((answer) => String(answer?.body.lease_id))
    expect(given.map((answer) => answer?.status)).toEqual(ids.map(() => 200))

    const onBoth = (lease_id: string, path: string, body: object) =>
      servers.map((server) => request(server, at.token, 'POST', path, { lease_id, ...body }))
    const answers = await Promise.all([
      ...ids.flatMap((id, i) => onBoth(id, 'sys/leases/renew', { increment: 100 + i })),
      ...ids.slice(0, 20).flatMap((id) => onBoth(id, 'sys/leases/revoke', { sync: true })),
      ...ids.slice(10, 30).flatMap((id) => onBoth(id, 'sys/leases/revoke', { sync: false })),
      at.test.advance(50).then(() => undefined),
    ])
    for (const answer of answers) if (answer) expect(answer.status).toBeLessThan(500)
    await at.test.advance(1_000)
    await untilAllEnded()
    await expectEndedOnce()
  }
  expect(await deadlocks()).toBe(0)
  expect(complaints()).toEqual([])
}, 420_000)

test('a token given back on one server while the other issues with it leaves no lease behind', async () => {
  const [one, other] = servers
  const before = new Set((await at.leases()).map(({ id }) => id))
  for (let round = 0; round < 3; round += 1) {
    const made = await request(one, at.token, 'POST', 'auth/token/create', { policies: ['root'] })
    const child = String(made?.body.auth?.client_token)
    const ask = (i: number) => request(i % 2 ? one : other, child, 'GET', 'database/creds/app')
    expect((await ask(round))?.status).toBe(200)
    await Promise.all([
      ...Array.from({ length: 20 }, (_, i) => ask(i)),
      request(one, at.token, 'POST', 'auth/token/revoke', { token: child }),
    ])
    // Past every create deadline, before which nothing can be proved, and well before any lease's own end.
    await until('the leases of the token have ended', async () => {
      await at.test.advance(1)
      return (await at.leases()).every(({ state }) => state === 'revoked')
    })
  }
  await expectEndedOnce()
  const ended = (await at.leases()).filter(({ id }) => !before.has(id))
  expect(ended.filter(({ reason }) => reason === 'expired')).toEqual([])
  expect(await deadlocks()).toBe(0)
}, 420_000)

test('a worker that was slow writes nothing about a lease that another has taken over', async () => {
  const slow = await at.worker({ plan: { at: 1, what: 'hold', only: STATEMENT.remove } })
  for (const worker of workers) await worker.gate({ at: 1, what: 'hold', only: STATEMENT.claim })
  await request(servers[0], at.token, 'GET', 'database/creds/app')
  await at.test.advance(1_000)
  await slow.held()
  const held = (await at.leases()).find(({ state }) => state === 'revoking')
  expect(held?.claimedBy).toContain(`/${slow.pid}/`)

  // Its claim lapses; another takes the lease as far as it got itself, and it may go on.
  const [heir] = workers
  await at.test.advance(100)
  await heir.held()
  await heir.gate({ at: 1, what: 'hold', only: STATEMENT.remove })
  await heir.release(1)
  await heir.held()
  await slow.release(1)
  expect((await slow.terminate()).code).toBe(0)
  const [lease] = (await at.leases()).filter(({ id }) => id === held?.id)
  expect(lease).toMatchObject({ state: 'revoking', steps: ['disable', 'disconnect'], receipts: 0 })
  expect(lease?.claimedBy).toContain(`/${heir.pid}/`)

  for (const worker of workers) {
    await worker.release(1)
    await worker.gate(null)
  }
  await untilAllEnded()
  await expectEndedOnce()
}, 420_000)

test('a worker killed in the midst of a batch: the other ends what it held', async () => {
  const [one] = servers
  const [victim, heir] = workers
  await Promise.all(Array.from({ length: 30 }, () => request(one, at.token, 'GET', 'database/creds/app')))
  await victim.gate({ at: 1, what: 'die before', only: 'DROP ROLE' })
  for (;;) {
    await at.test.advance(1_000)
    // Whoever is first takes the whole batch; it has to be the one that dies.
    if (await Promise.race([victim.exited.then(() => true), untilAllEnded().then(() => false)])) break
    await Promise.all(Array.from({ length: 30 }, () => request(one, at.token, 'GET', 'database/creds/app')))
  }
  expect(await at.nameless()).toEqual([])
  expect((await at.leases()).some(({ claimedBy }) => claimedBy?.includes(`/${victim.pid}/`))).toBe(true)
  await at.test.advance(100)
  await untilAllEnded()

  await expectEndedOnce()
  expect(heir.isRunning()).toBe(true)
}, 420_000)
