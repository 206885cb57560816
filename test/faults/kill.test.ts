import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, type Installation, openInstallation, request } from '../support/installation.ts'
import { type Death, type GatePlan, type Process, until } from '../support/processes.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'

// A process that is killed leaves what its statements did. So it is killed before, and right after sending, each
// statement that changes something in the ledger or on the target; between those there is no other state to leave.

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

/** Not the one that brings waiting leases forward: it runs beside the others, and there are none. */
const only = String.raw`^(?!with waiting)[\s\S]*\b(insert into|update|delete from|CREATE|ALTER|DROP|GRANT|REVOKE|pg_terminate_backend)\b`
const KILLS = ['die before', 'die after sending'] as const

const issue = (server: Process) => request(server, at.token, 'GET', 'database/creds/app')
const leaseIdOf = (answer: Answer | undefined): string => answer?.body.lease_id ?? 'none was issued'

/** A statement that was on its way when its sender died may still take effect; this waits until it has or cannot. */
const untilLanded = (death: Death | undefined) =>
  until('the dead process has no session left', async () => {
    const { rowCount } = await at.test.ledger.query('select from pg_stat_activity where pid = $1', [
      death?.backend,
    ])
    return rowCount === 0
  })

async function expectAllEnded(): Promise<void> {
  expect(await at.accounts()).toEqual([])
  for (const lease of await at.leases()) {
    expect(lease).toMatchObject({ state: 'revoked', accessEnded: true, receipts: 1, claimedBy: null })
    expect(lease.steps).toEqual(['disable', 'disconnect', 'remove', 'verify'])
  }
}

type Visit = {
  what: GatePlan['what']
  /** What is there before the gate counts. Answers what `act` needs. */
  before?: (server: Process) => Promise<string>
  /** Undefined when no answer came. */
  act: (server: Process, given: string) => Promise<Answer | undefined>
  /** What must hold right after the kill, before anything is restarted. */
  after?: () => Promise<void>
}

/** Kills a server at its first change, the next one at its second, until one lives through it. Answers where. */
async function visit({ what, before, act, after }: Visit): Promise<string[]> {
  const visited: string[] = []
  for (let n = 1; ; n += 1) {
    const server = await at.server()
    const given = (await before?.(server)) ?? ''
    await server.gate({ at: n, what, only })
    const answer = await act(server, given)
    if (answer) {
      expect(answer.status).toBeLessThan(300)
      await server.kill()
      await at.settle()
      await expectAllEnded()
      return visited
    }
    await server.exited
    visited.push(server.death()?.label ?? 'it died elsewhere')
    await untilLanded(server.death())
    expect(await at.nameless(), `after ${visited.at(-1)}`).toEqual([])
    await after?.()
    await at.settle()
    await expectAllEnded()
  }
}

/** The target must never shut an account out before its lease ends. */
async function expectTargetOutlastsLedger(): Promise<void> {
  const { rows } = await at.test.ledger.query<{ account: string; seconds: number }>(
    `select account, extract(epoch from expires_at - leasehold.ledger_now())::float8 as seconds
     from leasehold.lease where state = 'active'`,
  )
  for (const { account, seconds } of rows) {
    const [role] =
      (await at.targets.app?.sql(`SELECT extract(epoch FROM rolvaliduntil - now())::float8 AS seconds
        FROM pg_roles WHERE rolname = '${account}'`)) ?? []
    expect(role?.seconds).toBeGreaterThan(seconds)
  }
}

describe.each(KILLS)('kill -9 of the server, to %s', (what) => {
  test('every change of an issue', async () => {
    const visited = await visit({ what, act: issue })

    expect(visited.join('\n')).toMatch(/live_token[\s\S]*CREATE ROLE[\s\S]*made as/)
  }, 120_000)

  test('every change of a renewal', async () => {
    const visited = await visit({
      what,
      before: async (server) => leaseIdOf(await issue(server)),
      act: (server, lease_id) =>
        request(server, at.token, 'POST', 'sys/leases/renew', { lease_id, increment: 300 }),
      after: expectTargetOutlastsLedger,
    })

    expect(visited.join('\n')).toMatch(/ALTER ROLE[\s\S]*asked as/)
  }, 120_000)

  test('every change of a revocation', async () => {
    const visited = await visit({
      what,
      before: async (server) => leaseIdOf(await issue(server)),
      act: (server, lease_id) => request(server, at.token, 'POST', 'sys/leases/revoke', { lease_id }),
    })

    expect(visited.join('\n')).toMatch(/NOLOGIN[\s\S]*pg_terminate_backend[\s\S]*DROP[\s\S]*ended as/)
  }, 180_000)
})

describe.each(KILLS)('kill -9 of a worker, to %s', (what) => {
  test('every change of an expiry', async () => {
    const server = await at.server()
    const visited: string[] = []
    for (let n = 1; ; n += 1) {
      await Promise.all([issue(server), issue(server)])
      await at.test.advance(100)
      const worker = await at.worker({ plan: { at: n, what, from: 'with due as', only } })
      await until('it died, or all is ended', async () => {
        return !worker.isRunning() || (await at.leases()).every(({ state }) => state === 'revoked')
      })
      const lived = await worker.gate(null).then(
        () => true,
        () => false,
      )
      if (lived) break
      await worker.exited
      visited.push(worker.death()?.label ?? 'it died elsewhere')
      await untilLanded(worker.death())
      expect(await at.nameless(), `after ${visited.at(-1)}`).toEqual([])
      await at.settle()
      await expectAllEnded()
    }
    await expectAllEnded()

    expect(visited.join('\n')).toMatch(/due as[\s\S]*NOLOGIN[\s\S]*pg_terminate_backend[\s\S]*DROP[\s\S]*ended as/)
  }, 180_000)
})

describe('an answer that does not arrive', () => {
  let server: Process
  beforeAll(async () => {
    server = await at.server()
  })

  /** Does it again and again, each time with the answer to the next change lost, until none is. */
  async function loseEachAnswer(
    before: () => Promise<string>,
    act: (given: string) => Promise<Answer | undefined>,
  ): Promise<void> {
    for (let n = 1; ; n += 1) {
      const given = await before()
      await server.gate({ at: n, what: 'lose the answer', only })
      const answer = await act(given)
      expect(answer, 'the server answers all the same').toBeDefined()
      await server.gate(null)
      expect(await at.nameless()).toEqual([])
      await at.settle()
      await expectAllEnded()
      if ((answer?.status ?? 0) < 300 && n > 10) return
    }
  }
  const nothing = async () => ''

  test('of the ledger or the target to the server, at every change of an issue', async () => {
    await loseEachAnswer(nothing, () => issue(server))
  }, 120_000)

  test('of the ledger or the target to the server, at every change of a revocation', async () => {
    await loseEachAnswer(
      async () => leaseIdOf(await issue(server)),
      (lease_id) => request(server, at.token, 'POST', 'sys/leases/revoke', { lease_id }),
    )
  }, 120_000)

  test('of the ledger to the server: a credential that nobody got does not wait for its expiry', async () => {
    await server.gate({ at: 1, what: 'lose the answer', only: 'made as' })
    expect((await issue(server))?.status).toBeGreaterThanOrEqual(500)
    await server.gate(null)

    const broker = await at.broker()
    await broker.sweep.once()
    await broker.close()
    await expectAllEnded()
    expect((await at.leases()).filter(({ reason }) => reason === 'issue_failed')).not.toEqual([])
  })

  test.each(['live_token', 'CREATE ROLE', 'made as'])(
    'of the server to its caller, who left at "%s": the lease ends at once',
    async (statement) => {
      await server.gate({ at: 1, what: 'hold', only: statement })
      const { hostname, port } = new URL(server.url)
      const socket = connect(Number(port), hostname)
      socket.write(
        `GET /v1/database/creds/app HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${at.token}\r\n\r\n`,
      )
      await server.held()
      socket.resetAndDestroy()
      await once(socket, 'close')
      await server.release(1)
      await server.gate(null)
      await until('the lease is on its way out', async () =>
        (await at.leases()).some(({ state, reason }) => state === 'revoking' && reason === 'undelivered'),
      )

      const broker = await at.broker()
      await broker.sweep.once()
      await broker.close()
      await expectAllEnded()
    },
  )
})
