import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Installation, openInstallation, request } from '../support/installation.ts'
import { STATEMENT } from '../support/kills.ts'
import { type Process, until } from '../support/processes.ts'
import { type RedisServer, startRedis, startTestPostgres, type TestPostgres } from '../support/servers.ts'

// Redis is flushed, killed or frozen while a lease stands at each change of its life. Meanwhile one worker sweeps every
// second; another, which lives through it all, sweeps so rarely that only a wake-up makes it act.

let postgres: TestPostgres
let redis: RedisServer
let at: Installation
let server: Process
let sweeping: Process
let woken: Process
beforeAll(async () => {
  ;[postgres, redis] = await Promise.all([startTestPostgres(), startRedis()])
  at = await openInstallation({ targets: { app: postgres }, ledgerServer: postgres, queueUrl: redis.url })
  woken = await at.worker({ settings: { LEASEHOLD_SWEEP_INTERVAL: '300s' } })
  ;[server, sweeping] = await Promise.all([at.server(), at.worker()])
})
afterAll(async () => {
  redis.resume()
  await at.close()
  await Promise.all([postgres.remove(), redis.stop()])
})

const issue = () => request(server, at.token, 'GET', 'database/creds/app')
const renew = (lease_id: string) =>
  request(server, at.token, 'POST', 'sys/leases/renew', { lease_id, increment: 100 })

type Fault = { name: string; strike: () => Promise<void>; mend: () => Promise<void> }

const FAULTS: Fault[] = [
  { name: 'flushed', strike: () => redis.flush(), mend: async () => {} },
  { name: 'killed', strike: () => redis.kill(), mend: () => redis.start() },
  { name: 'frozen', strike: async () => redis.pause(), mend: async () => redis.resume() },
]

type Change = keyof typeof STATEMENT
const CHANGES_OF_ISSUE: Change[] = ['intent', 'create', 'activate']
const CHANGES_OF_RENEWAL: Change[] = ['extend', 'renew']
const CHANGES_OF_ENDING: Change[] = ['claim', 'disable', 'disconnect', 'remove', 'finish']

/** Runs `act` and strikes when the process comes to that statement; the fault lasts until it is mended. */
async function strikeAt<T>(
  process: Process,
  change: Change,
  fault: Fault,
  act: () => Promise<T>,
): Promise<T> {
  await process.gate({ at: 1, what: 'hold', only: STATEMENT[change] })
  const acting = act()
  await process.held()
  await fault.strike()
  await process.release(1)
  await process.gate(null)
  return acting
}

const untilAllEnded = () =>
  until(
    'every lease has ended',
    async () => (await at.leases()).every(({ state }) => state === 'revoked'),
    () => at.leases(),
  )

describe.each(FAULTS)('Redis is $name', (fault) => {
  test('while leases are given and renewed: nobody waits for it, and they end by the sweep', async () => {
    for (const change of CHANGES_OF_ISSUE) {
      expect((await strikeAt(server, change, fault, () => issue()))?.status, change).toBe(200)
      await fault.mend()
    }
    const lease_id = String((await issue())?.body.lease_id)
    for (const change of CHANGES_OF_RENEWAL) {
      expect((await strikeAt(server, change, fault, () => renew(lease_id)))?.status, change).toBe(200)
      await fault.mend()
    }
    await fault.strike()
    await at.test.advance(1_000)
    await untilAllEnded()
    expect(await at.accounts()).toEqual([])
    await fault.mend()
  }, 420_000)

  test('while leases end: they end all the same', async () => {
    for (const change of CHANGES_OF_ENDING) {
      expect((await issue())?.status).toBe(200)
      await strikeAt(sweeping, change, fault, () => at.test.advance(1_000))
      await untilAllEnded()
      expect(await at.accounts(), change).toEqual([])
      await fault.mend()
    }
  }, 420_000)

  test('while a server and a worker are told to stop: they come to their end', async () => {
    const [leaving, last] = await Promise.all([at.server(), at.worker()])
    await fault.strike()
    // Longer than that, and what cannot connect waits most of the time, and tries only now and then.
    await sleep(5_000)
    expect(await Promise.all([leaving.terminate(), last.terminate()])).toMatchObject([
      { code: 0 },
      { code: 0 },
    ])
    await fault.mend()
  }, 420_000)
})

test('after all of that wake-ups work as before, at once and at a given time', async () => {
  expect((await sweeping.terminate()).code).toBe(0)
  const now = String((await issue())?.body.lease_id)
  await request(server, at.token, 'POST', 'sys/leases/revoke', { lease_id: now, sync: false })
  await untilAllEnded()

  const soon = String((await issue())?.body.lease_id)
  await request(server, at.token, 'POST', 'sys/leases/renew', { lease_id: soon, increment: 1 })
  await untilAllEnded()
  expect((await at.leases()).find(({ id }) => soon.endsWith(id))?.reason).toBe('expired')
  for (const process of [server, woken]) expect(process.isRunning()).toBe(true)
  expect(await at.accounts()).toEqual([])
}, 420_000)
