import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Broker } from '../../src/compose.ts'
import type { TestBroker } from '../support/broker.ts'
import { openPeople, type People } from '../support/glass-people.ts'
import { type Installation, openInstallation, request } from '../support/installation.ts'
import { untilLanded } from '../support/kills.ts'
import { type GatePlan, type Process, until } from '../support/processes.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'

/**
 * A server is killed at the statements by which a grant comes into force, and by which it ends. Whatever it leaves, a
 * worker finds: no account but under a grant in force, and every end is proved.
 */

let postgres: TestPostgres
let at: Installation
let server: Process
let people: People
/** Who looks after each kill. */
let onlooker: Broker

beforeAll(async () => {
  postgres = await startTestPostgres()
  at = await openInstallation({ targets: { app: postgres }, ledgerServer: postgres })
  onlooker = await at.broker()
  server = await at.server()
  people = await openPeople({ api, ledger: at.test } as unknown as TestBroker)
  await api('POST', 'break-glass/policies/db', {
    roles: ['database/creds/*'],
    sets: { oncall: { groups: ['oncall'] }, audit: { groups: ['audit'] } },
    approvals: { set: 'oncall', count: 2 },
    security_officers: ['oncall'],
    reviewers: ['audit'],
    ticket_required: false,
    max_live: 100,
  })
}, 420_000)
afterAll(async () => {
  await onlooker.close()
  await at.close()
  await postgres.remove()
})

const api: TestBroker['api'] = async (method, path, body, headers = {}) => {
  const answer = await request(server, headers['X-Vault-Token'] ?? at.token, method, path, body as object)
  return { status: answer?.status ?? 0, headers: new Headers(), text: '', json: answer?.body }
}

const GRANT = String.raw`update leasehold\.access_grant g set version`
const LEASE_ACTIVE = "set state = 'active'"
const sent = (only: string): GatePlan => ({ at: 1, what: 'die after sending', only })
/** The nth commit from a statement on: what is there before one is what the one before it left. */
const committed = (from: string, at = 1): GatePlan => ({ ...sent('^commit'), from, at })

const ACTIVATING: Record<string, GatePlan> = {
  'the grant is taken': committed(GRANT),
  'the lease is named': sent(String.raw`insert into leasehold\.lease\b`),
  'the account is made': sent('CREATE ROLE'),
  'the lease is active': committed(LEASE_ACTIVE),
  'the grant is in force': committed(LEASE_ACTIVE, 2),
}

const ENDING: Record<string, GatePlan> = {
  'the grant is taken and its leases are doomed': committed(GRANT),
  'the account is removed': sent('DROP ROLE'),
  'the lease is proved gone': committed(String.raw`insert into leasehold\.receipt`),
}

/** Asked for and approved, by the server that lives; `as` for whom it is. */
async function approvedOne() {
  const rita = await people.person('rita')
  const { json } = await rita.api('POST', 'break-glass/requests', {
    policy: 'db',
    roles: ['database/creds/app'],
    reason: 'orders are stuck in the queue since 02:40',
  })
  const { id, plan_hash } = json.data as { id: string; plan_hash: string }
  for (const name of ['ann', 'olga']) {
    const person = await people.person(name, { groups: ['oncall'] })
    expect((await person.api('POST', `break-glass/requests/${id}/approve`, { plan_hash })).status).toBe(200)
  }
  return { id, token: rita.token }
}

const stateOf = async (id: string): Promise<string> => {
  const sql = 'select state from leasehold.access_grant where id = $1'
  return (await at.test.ledger.query<{ state: string }>(sql, [id])).rows[0]?.state ?? 'none'
}

/** Sends a request to a server that dies of it. */
async function dieAt(plan: GatePlan, token: string, path: string): Promise<void> {
  const doomed = await at.server({ plan })
  await request(doomed, token, 'POST', path, {}).catch(() => undefined)
  await doomed.exited
  await untilLanded(at, doomed.death())
}

async function expectHealed(id: string): Promise<void> {
  await until(
    'the grant has come to rest',
    async () => {
      await onlooker.sweep.once()
      await at.test.advance(20)
      const state = await stateOf(id)
      return ['approved', 'expired', 'active', 'review_due', 'activation_failed'].includes(state)
    },
    () => stateOf(id),
  )
  const state = await stateOf(id)
  const { rows } = await at.test.ledger.query<{ state: string }>(
    `select state from leasehold.lease where grant_id = $1 and state <> 'revoked'`,
    [id],
  )
  if (state !== 'active') expect(rows).toEqual([])
  expect(await at.nameless()).toEqual([])
}

test.each(Object.entries(ACTIVATING))(
  'kill -9 of a server that activates, when %s',
  async (_, plan) => {
    const { id, token } = await approvedOne()
    await dieAt(plan, token, `break-glass/requests/${id}/activate`)
    await expectHealed(id)
    // Nobody has got the secret; in force or not, it goes.
    await at.test.advance(1_900)
    await expectHealed(id)
    expect(await at.accounts()).toEqual([])
  },
  120_000,
)

test.each(Object.entries(ENDING))(
  'kill -9 of a server that ends, when %s',
  async (_, plan) => {
    const { id, token } = await approvedOne()
    const activated = await request(server, token, 'POST', `break-glass/requests/${id}/activate`, {})
    expect(activated?.status).toBe(200)
    await dieAt(plan, token, `break-glass/requests/${id}/end`)
    await expectHealed(id)
    expect(await stateOf(id)).toBe('review_due')
    expect(await at.accounts()).toEqual([])
  },
  120_000,
)
