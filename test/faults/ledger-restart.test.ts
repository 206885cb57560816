import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Installation, openInstallation, request } from '../support/installation.ts'
import { type LogLine, type Process, until } from '../support/processes.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'

// The ledger's server is stopped as by a crash and started again. It is the queue's server too, so both are lost.

let ledgerServer: TestPostgres
let targetServer: TestPostgres
let at: Installation
beforeAll(async () => {
  ;[ledgerServer, targetServer] = await Promise.all([startTestPostgres(), startTestPostgres()])
  at = await openInstallation({
    targets: { app: targetServer },
    ledgerServer,
    queueUrl: ledgerServer.url(),
  })
})
afterEach(async () => {
  expect(await at.nameless()).toEqual([])
})
afterAll(async () => {
  await at.close()
  await Promise.all([ledgerServer.remove(), targetServer.remove()])
})

async function crashLedger(): Promise<void> {
  await ledgerServer.stop('immediate')
  await ledgerServer.restart()
}

type Traffic = {
  /** Lease ids that callers were given. */
  issued: Set<string>
  /** The ids of renewed leases, once for each renewal that was answered. */
  renewed: string[]
  revoked: Set<string>
  refused: number
  stop(): Promise<void>
}

/** Callers who ask, renew and give back, one thing after the other, whatever they are told. */
function callers(server: Process, count: number): Traffic {
  let stopped = false
  const traffic: Traffic = {
    issued: new Set(),
    renewed: [],
    revoked: new Set(),
    refused: 0,
    async stop() {
      stopped = true
      await Promise.all(running)
    },
  }
  const ask = async (method: string, path: string, body?: object) => {
    const answer = await request(server, at.token, method, path, body)
    expect(answer, 'a server that lost its ledger still answers').toBeDefined()
    const granted = answer !== undefined && answer.status < 300
    if (!granted) traffic.refused += 1
    return granted ? answer : undefined
  }
  const call = async () => {
    while (!stopped) {
      const issued = await ask('GET', 'database/creds/app')
      if (!issued) continue
      const lease_id = String(issued.body.lease_id)
      traffic.issued.add(idOf(lease_id))
      if (await ask('POST', 'sys/leases/renew', { lease_id, increment: 100 })) {
        traffic.renewed.push(idOf(lease_id))
      }
      if (traffic.issued.size % 2 === 0) continue
      if (await ask('POST', 'sys/leases/revoke', { lease_id })) traffic.revoked.add(idOf(lease_id))
    }
  }
  const running = Array.from({ length: count }, call)
  return traffic
}

const idOf = (leaseId: string): string => leaseId.slice(leaseId.lastIndexOf('/') + 1)

const crashes = (log: LogLine[]) => log.filter(({ level, msg }) => level === undefined && msg !== undefined)

test('nothing that was answered is lost, and no process dies, when the ledger crashes under traffic', async () => {
  const [server, worker] = await Promise.all([at.server(), at.worker()])
  const traffic = callers(server, 6)
  for (let crash = 0; crash < 3; crash += 1) {
    const before = traffic.issued.size
    await until('callers are served', () => traffic.issued.size >= before + 15)
    await crashLedger()
  }
  const before = traffic.issued.size
  await until('callers are served again', () => traffic.issued.size >= before + 15)
  await traffic.stop()

  expect(traffic.refused, 'the crash was felt').toBeGreaterThan(0)
  for (const process of [server, worker]) {
    expect(process.isRunning()).toBe(true)
    expect(crashes(process.log())).toEqual([])
  }
  const leases = new Map((await at.leases()).map((lease) => [lease.id, lease]))
  for (const id of traffic.issued) expect(leases.get(id), 'a lease that was answered').toBeDefined()
  for (const id of new Set(traffic.renewed)) expect(leases.get(id)?.renewals).toBeGreaterThan(0)
  for (const id of traffic.revoked) expect(leases.get(id)?.state).toBe('revoked')

  // What nobody was given does not live on until its expiry.
  await until(
    'only leases that somebody holds are active',
    async () => (await at.leases()).every(({ id, state }) => state !== 'active' || traffic.issued.has(id)),
    async () => (await at.leases()).filter(({ id, state }) => state === 'active' && !traffic.issued.has(id)),
  )
  await at.test.advance(1_000)
  await until(
    'the worker that lived through it has ended all of them',
    async () => (await at.leases()).every(({ state }) => state === 'revoked'),
    () => at.leases(),
  )
  expect(await at.accounts()).toEqual([])
  for (const { receipts } of await at.leases()) expect(receipts).toBe(1)
  expect((await server.terminate()).code).toBe(0)
  expect((await worker.terminate()).code).toBe(0)
}, 420_000)

test('a process in the midst of a transaction survives the crash', async () => {
  // Its transaction waits, between two statements, when its connection breaks.
  const worker = await at.worker({
    plan: { at: 1, what: 'hold', only: 'leasehold.token[\\s\\S]*for update skip locked' },
  })
  await worker.held()
  await crashLedger()
  await worker.release(1)
  await worker.gate(null)

  const server = await at.server()
  expect((await request(server, at.token, 'GET', 'database/creds/app'))?.status).toBe(200)
  await at.test.advance(1_000)
  await until('the worker has ended the lease', async () => {
    expect(worker.isRunning(), JSON.stringify(worker.log().slice(-3))).toBe(true)
    return (await at.leases()).every(({ state }) => state === 'revoked')
  })
  expect(crashes(worker.log())).toEqual([])
}, 420_000)
