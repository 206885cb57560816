import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Installation, openInstallation, request } from '../support/installation.ts'
import { CHANGES, expectAllEnded, expectVisited, KILLS, STATEMENT, untilLanded } from '../support/kills.ts'
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

describe.each(KILLS)('kill -9 of a worker, to %s', (what) => {
  test('every change of an expiry', async () => {
    const server = await at.server()
    const visited: string[] = []
    for (let n = 1; ; n += 1) {
      await Promise.all([issue(server), issue(server)])
      await at.test.advance(100)
      const worker = await at.worker({ plan: { at: n, what, from: STATEMENT.claim, only: CHANGES } })
      await until('it died, or all is ended', async () => {
        return !worker.isRunning() || (await at.leases()).every(({ state }) => state === 'revoked')
      })
      const lived = await worker.gate(null).then(
        () => true,
        () => false,
      )
      if (lived) {
        await worker.kill()
        break
      }
      await worker.exited
      visited.push(worker.death()?.label ?? 'it died elsewhere')
      await untilLanded(at, worker.death())
      expect(await at.nameless(), `after ${visited.at(-1)}`).toEqual([])
      await at.settle()
      await expectAllEnded(at)
    }
    await expectAllEnded(at)

    expectVisited(visited, 'claim', 'disable', 'disconnect', 'remove', 'finish')
  }, 180_000)
})
