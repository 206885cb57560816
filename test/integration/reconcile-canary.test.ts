import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'

/** Throwaway leases, and which worker makes them when. */

let server: TestPostgres
let at: TestBroker
beforeAll(async () => {
  server = await startTestPostgres()
})
beforeEach(async () => {
  at = await openTestBroker({ reconcileIntervalMs: 3_600_000, targetServer: server.url() })
})
afterEach(() => at.close())
afterAll(() => server?.remove())

const status = async () => (await at.api('GET', 'database/config/db/status')).json.data
const canaries = async () =>
  (
    await at.ledger.ledger.query(
      `select id, account, state, end_reason as reason, role_id as role from leasehold.lease where kind = 'canary' order by issued_at`,
    )
  ).rows
const metric = async (name: string) =>
  (await at.api('GET', 'sys/metrics')).json.Gauges.filter(({ Name }: { Name: string }) => Name === name)
const withoutRights = async (work: () => Promise<unknown>) => {
  await at.target.setCreateRole(false)
  await work()
  await at.target.setCreateRole(true)
}

test('every hour each target is tried with an account that gives nothing, and the account is ended', async () => {
  expect(await status()).toEqual({ revocable: null, canary: null, reconcile: null, warnings: [] })
  await at.broker.sweep.once()
  expect(await canaries()).toEqual([])
  await at.ledger.advance(3_700)
  await at.broker.sweep.once()

  const [canary, ...more] = await canaries()
  expect(more).toEqual([])
  expect(canary).toMatchObject({ state: 'revoked', reason: 'canary' })
  expect(await at.target.account(canary?.account)).toBe('absent')
  expect(await status()).toMatchObject({
    revocable: true,
    canary: { state: 'ended', lease_id: `database/canary/db/${canary?.id}`, seconds: expect.any(Number) },
    reconcile: { accounts: expect.any(Number), running: false },
  })
  // Not again within the hour, and again in the next, by the same role.
  await at.broker.sweep.once()
  expect(await canaries()).toHaveLength(1)
  await at.ledger.advance(4_000)
  await at.broker.sweep.once()
  expect((await canaries()).map(({ role }) => role)).toEqual([canary?.role, canary?.role])
  expect((await at.api('LIST', 'database/roles')).json.data.keys).toEqual(['app'])
})

test('of two workers, one does it', async () => {
  const second = await at.another()
  await at.ledger.advance(3_700)
  await Promise.all([at.broker.sweep.once(), second.sweep.once(), at.broker.sweep.once()])

  expect(await canaries()).toHaveLength(1)
})

test('a target on which nothing can be made says so, and leaves nothing behind', async () => {
  await withoutRights(async () => {
    await at.api('POST', 'database/config/db/reconcile')
    expect(await status()).toMatchObject({
      revocable: false,
      canary: { state: 'failed', failed_at: 'issue', error: expect.stringContaining('permission denied') },
      warnings: [expect.stringContaining('CREATEROLE')],
    })
  })
  await at.ledger.advance(60)
  await at.broker.sweep.once()

  expect(await canaries()).toMatchObject([{ state: 'revoked' }])
  await at.api('POST', 'database/config/db/reconcile')
  expect((await status()).revocable).toBe(true)
})

test('what came of it is in the metrics of every server', async () => {
  await at.api('POST', 'database/config/db/reconcile')
  const Labels = { mount: 'database/', target: 'db' }
  expect(await metric('leasehold_target_revocable')).toEqual([expect.objectContaining({ Value: 1, Labels })])
  expect(await metric('leasehold_target_reconcile_found')).toHaveLength(5)
  expect(await metric('leasehold_target_reconcile_age_seconds')).toEqual([
    expect.objectContaining({ Labels }),
  ])
  expect(await metric('leasehold_target_limit_used')).toHaveLength(3)
  expect(await metric('leasehold_target_limit_max')).toHaveLength(2)
  expect(await metric('leasehold_target_clock_skew_seconds')).toHaveLength(1)
})

test('a quota does not count what nobody asked for', async () => {
  await at.api('POST', 'sys/quotas/lease-count/one', { path: 'database/', max_leases: 1 })
  await at.api('POST', 'sys/policies/acl/reader', {
    policy: 'path "database/creds/app" { capabilities = ["read"] }',
  })
  const { auth } = (await at.api('POST', 'auth/token/create', { policies: ['reader'] })).json
  await at.ledger.ledger.query(`create function public.refuse() returns trigger language plpgsql as
    $$ begin if new.kind = 'canary' and new.state = 'revoked' then raise exception 'planted'; end if; return new; end $$;
    create trigger refuse before update on leasehold.lease for each row execute function public.refuse()`)
  await at.api('POST', 'database/config/db/reconcile')
  expect(await canaries()).toMatchObject([{ state: 'revoking' }])
  const take = () => at.api('GET', 'database/creds/app', undefined, { 'X-Vault-Token': auth.client_token })

  expect((await take()).status).toBe(200)
  expect((await take()).status).toBe(429)
  await at.ledger.ledger.query('drop function public.refuse cascade')
})
