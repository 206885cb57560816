import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Installation, openInstallation, request } from '../support/installation.ts'
import { expectAllEnded, KILLS, STATEMENT, statements, untilLanded, visitChanges } from '../support/kills.ts'
import { type GatePlan, type Process, until } from '../support/processes.ts'
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

const STEPS = statements('claim', 'disable', 'disconnect', 'remove', 'finish')

/** Two leases come due under a worker that dies where the plan says. Answers where; undefined: it lived. */
async function killAt(server: Process, plan: Omit<GatePlan, 'from'>): Promise<string | undefined> {
  await Promise.all([issue(server), issue(server)])
  await at.test.advance(100)
  const worker = await at.worker({ plan: { ...plan, from: STATEMENT.claim } })
  await until('it died, or all is ended', async () => {
    return !worker.isRunning() || (await at.leases()).every(({ state }) => state === 'revoked')
  })
  const lived = await worker.gate(null).then(
    () => true,
    () => false,
  )
  if (lived) {
    await worker.kill()
    await expectAllEnded(at)
    return undefined
  }
  await worker.exited
  await untilLanded(at, worker.death())
  const label = worker.death()?.label ?? 'it died elsewhere'
  expect(await at.nameless(), `after ${label}`).toEqual([])
  await at.settle()
  await expectAllEnded(at)
  return label
}

describe.each(KILLS)('kill -9 of a worker, to %s', (what) => {
  test('every change of an expiry', async () => {
    const server = await at.server()

    await visitChanges((where) => killAt(server, { what, ...where }), STEPS)
  }, 420_000)
})
