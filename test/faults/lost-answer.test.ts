import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, type Installation, openInstallation, request } from '../support/installation.ts'
import { CHANGES, expectAllEnded, STATEMENT } from '../support/kills.ts'
import { type Process, until } from '../support/processes.ts'
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

const issue = (server: Process) => request(server, at.token, 'GET', 'database/creds/app')
const leaseIdOf = (answer: Answer | undefined): string => answer?.body.lease_id ?? 'none was issued'

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
      await server.gate({ at: n, what: 'lose the answer', only: CHANGES })
      const answer = await act(given)
      expect(answer, 'the server answers all the same').toBeDefined()
      await server.gate(null)
      expect(await at.nameless()).toEqual([])
      await at.settle()
      await expectAllEnded(at)
      if ((answer?.status ?? 0) < 300 && n > 10) return
    }
  }
  const nothing = async () => ''

  test('of the ledger or the target to the server, at every change of an issue', async () => {
    await loseEachAnswer(nothing, () => issue(server))
  }, 420_000)

  test('of the ledger or the target to the server, at every change of a revocation', async () => {
    await loseEachAnswer(
      async () => leaseIdOf(await issue(server)),
      (lease_id) => request(server, at.token, 'POST', 'sys/leases/revoke', { lease_id }),
    )
  }, 420_000)

  test('of the ledger to the server: a credential that nobody got does not wait for its expiry', async () => {
    await server.gate({ at: 1, what: 'lose the answer', only: STATEMENT.activate })
    expect((await issue(server))?.status).toBeGreaterThanOrEqual(500)
    await server.gate(null)

    const broker = await at.broker()
    await broker.sweep.once()
    await broker.close()
    await expectAllEnded(at)
    expect((await at.leases()).filter(({ reason }) => reason === 'issue_failed')).not.toEqual([])
  })

  test.each(['intent', 'create', 'activate'] as const)(
    'of the server to its caller, who left before the %s: the lease ends at once',
    async (statement) => {
      await server.gate({ at: 1, what: 'hold', only: STATEMENT[statement] })
      const { hostname, port } = new URL(server.url)
      const socket = connect(Number(port), hostname)
      socket.write(`GET /v1/database/creds/app HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${at.token}\r\n\r\n`)
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
      await expectAllEnded(at)
    },
  )
})
