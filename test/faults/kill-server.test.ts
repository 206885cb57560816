import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, type Installation, openInstallation, request } from '../support/installation.ts'
import { expectAllEnded, KILLS, statements, untilLanded, visitChanges } from '../support/kills.ts'
import type { GatePlan, Process } from '../support/processes.ts'
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

type Work = {
  /** What is there before the gate counts. Answers what `act` needs. */
  before?: (server: Process) => Promise<string>
  /** Undefined when no answer came. */
  act: (server: Process, given: string) => Promise<Answer | undefined>
  /** What must hold right after the kill, before anything is restarted. */
  after?: () => Promise<void>
}

/** Has a server do the work, and die where the plan says. Answers where; undefined: it lived. */
async function killAt({ before, act, after }: Work, plan: GatePlan): Promise<string | undefined> {
  const server = await at.server()
  const given = (await before?.(server)) ?? ''
  await server.gate(plan)
  const answer = await act(server, given)
  if (answer) {
    expect(answer.status).toBeLessThan(300)
    await server.kill()
    await at.settle()
    await expectAllEnded(at)
    return undefined
  }
  await server.exited
  const label = server.death()?.label ?? 'it died elsewhere'
  await untilLanded(at, server.death())
  expect(await at.nameless(), `after ${label}`).toEqual([])
  await after?.()
  await at.settle()
  await expectAllEnded(at)
  return label
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
    const work = { act: issue }

    await visitChanges(
      (where) => killAt(work, { what, ...where }),
      statements('intent', 'create', 'activate'),
    )
  }, 420_000)

  test('every change of a renewal', async () => {
    const work: Work = {
      before: async (server) => leaseIdOf(await issue(server)),
      act: (server, lease_id) =>
        request(server, at.token, 'POST', 'sys/leases/renew', { lease_id, increment: 300 }),
      after: expectTargetOutlastsLedger,
    }

    await visitChanges((where) => killAt(work, { what, ...where }), statements('extend', 'renew'))
  }, 420_000)

  test('every change of a revocation', async () => {
    const work: Work = {
      before: async (server) => leaseIdOf(await issue(server)),
      act: (server, lease_id) => request(server, at.token, 'POST', 'sys/leases/revoke', { lease_id }),
    }
    const steps = statements('claim', 'disable', 'disconnect', 'remove', 'finish')

    await visitChanges((where) => killAt(work, { what, ...where }), steps)
  }, 420_000)
})
