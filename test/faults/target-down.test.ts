import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { freeze } from '../support/frozen.ts'
import { type Installation, type LeaseRow, openInstallation, request } from '../support/installation.ts'
import { type Process, until } from '../support/processes.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'

// Two targets on two servers; the one of `app` goes away. The ledger's clock stands still unless a test moves it, so
// what waits for its next try never comes due by itself: if it ends, something brought it forward.

let failing: TestPostgres
let steady: TestPostgres
let at: Installation
let server: Process
beforeAll(async () => {
  ;[failing, steady] = await Promise.all([startTestPostgres(), startTestPostgres()])
})
beforeEach(async () => {
  at = await openInstallation({
    targets: { app: failing, other: steady },
    ledgerServer: steady,
    stopped: true,
  })
  server = await at.server()
})
afterEach(async () => {
  try {
    await at.settle()
    expect(await at.accounts()).toEqual([])
  } finally {
    await at.close()
  }
})
afterAll(() => Promise.all([failing.remove(), steady.remove()]))

const issue = (role: string) => request(server, at.token, 'GET', `database/creds/${role}`)

async function issued(role: string): Promise<string> {
  const answer = await issue(role)
  expect(answer?.status).toBe(200)
  return String(answer?.body.lease_id)
}

const leaseOf = async (leaseId: string): Promise<LeaseRow | undefined> =>
  (await at.leases()).find(({ id }) => leaseId.endsWith(id))

const untilEnded = (...leaseIds: string[]) =>
  until(
    'the leases have ended',
    async () => {
      const leases = await Promise.all(leaseIds.map(leaseOf))
      return leases.every((lease) => lease?.state === 'revoked')
    },
    () => at.leases(),
  )

/** The whole life of leases on the other target: given, renewed, given back, and expired. */
async function expectOthersUnharmed(): Promise<void> {
  const lease_id = await issued('other')
  expect((await request(server, at.token, 'POST', 'sys/leases/renew', { lease_id }))?.status).toBe(200)
  expect((await request(server, at.token, 'POST', 'sys/leases/revoke', { lease_id }))?.status).toBe(204)
  expect((await leaseOf(lease_id))?.state).toBe('revoked')
  const expiring = await issued('other')
  await at.test.advance(100)
  await untilEnded(expiring)
}

describe('a target that is stopped', () => {
  test('others live on, issuing on it pauses, and what waits ends as soon as it answers', async () => {
    const waiting = await issued('app')
    const worker = await at.worker()
    await failing.stop('immediate')
    await at.test.advance(100)
    await until('an ending has failed', async () => (await leaseOf(waiting))?.attempts === 1, at.leases)

    for (let failures = 0; failures < 3; failures += 1) expect((await issue('app'))?.status).toBe(500)
    expect((await issue('app'))?.body.errors?.join()).toContain('issuing on it is paused')
    await expectOthersUnharmed()

    // The same lease, tried a few more times: the next try is then far away.
    for (let attempt = 2; attempt <= 4; attempt += 1) {
      await at.test.advance(1_000)
      await until('it was tried again', async () => (await leaseOf(waiting))?.attempts === attempt, at.leases)
    }
    expect((await leaseOf(waiting))?.secondsToAction).toBeGreaterThan(1)
    await failing.restart()
    await untilEnded(waiting)
    await until('issuing on it works again', async () => (await issue('app'))?.status === 200)
    expect(worker.isRunning()).toBe(true)
  }, 420_000)

  test('a worker that starts anew remembers the tries, and what waits ends when the target is back', async () => {
    const waiting = await issued('app')
    const first = await at.worker()
    await failing.stop('immediate')
    await at.test.advance(100)
    await until('an ending has failed', async () => (await leaseOf(waiting))?.attempts === 1, at.leases)
    await first.kill()
    await at.worker()
    await at.test.advance(1_000)
    await until('it was tried again', async () => (await leaseOf(waiting))?.attempts === 2, at.leases)

    await failing.restart()
    await untilEnded(waiting)
    expect((await leaseOf(waiting))?.attempts).toBe(2)
  }, 420_000)

  test('while it is down a worker that starts anew does not end anything on its word', async () => {
    const waiting = await issued('app')
    await failing.stop('immediate')
    expect(
      (await request(server, at.token, 'POST', 'sys/leases/revoke', { lease_id: waiting }))?.status,
    ).toBe(400)
    await at.worker()
    await at.test.advance(1_000)
    await until('the worker has tried', async () => ((await leaseOf(waiting))?.attempts ?? 0) >= 2, at.leases)

    expect(await leaseOf(waiting)).toMatchObject({ state: 'revoking', accessEnded: false, receipts: 0 })
    await failing.restart()
    await untilEnded(waiting)
  }, 420_000)
})

describe('a target that hangs', () => {
  test('others live on, on the same server and worker, and all of its own leases end when it wakes', async () => {
    await at.worker()
    const first = await issued('app')
    await at.test.advance(100)
    // The worker has a connection there now, which will hang for far longer than one that cannot be opened.
    await untilEnded(first)
    const [held, expiring] = [await issued('app'), await issued('app')]
    const thaw = freeze(failing)
    try {
      // Each of these hangs; none is waited for here.
      const hanging = Promise.all([
        ...Array.from({ length: 10 }, () => issue('app')),
        request(server, at.token, 'POST', 'sys/leases/renew', { lease_id: held }),
        request(server, at.token, 'POST', 'sys/leases/revoke', { lease_id: held }),
      ])
      await at.test.advance(100)
      await until('a worker has taken what is due there', async () => (await leaseOf(expiring))?.claimedBy)
      await expectOthersUnharmed()
      // All of that while the worker's first try still hung.
      expect(await leaseOf(expiring)).toMatchObject({ state: 'revoking', attempts: 0, fence: 1 })

      thaw()
      for (const answer of await hanging) expect(answer).toBeDefined()
      await untilEnded(held, expiring)
    } finally {
      thaw()
    }
  }, 420_000)

  test('a worker that is stopped meanwhile leaves its claims to the next', async () => {
    const expiring = await issued('app')
    const first = await at.worker()
    const thaw = freeze(failing)
    try {
      await at.test.advance(100)
      await until('a worker has taken it', async () => (await leaseOf(expiring))?.claimedBy)
      await first.kill()
    } finally {
      thaw()
    }
    await at.worker()
    await at.test.advance(100)
    await untilEnded(expiring)
    expect((await leaseOf(expiring))?.fence).toBeGreaterThan(1)
  }, 420_000)
})
