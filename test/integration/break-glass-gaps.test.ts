import { request as httpRequest } from 'node:http'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { until } from '../support/processes.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'
import { type AccessWorld, expectOnRecord, openAccessWorld } from './break-glass-access-world.ts'

let at: AccessWorld

describe('a broker as it is', () => {
  beforeEach(async () => {
    at = await openAccessWorld()
  })
  afterEach(() => at.close())

  /** Written anew for everybody who has it; it begins with a rule about nothing. */
  const rule = (policy: string) => at.api('PUT', 'sys/policies/acl/later', { policy })
  const renew = (as: AccessWorld['rita'], lease_id?: string) =>
    as.api('POST', 'sys/leases/renew', { lease_id, increment: '4h' })

  test('whoever was given a lease by people renews it without a rule of their own, to no later than that', async () => {
    await rule('path "secret/x" { capabilities = ["read"] }')
    const rita = await at.people.person('rita', { policies: ['later'] })
    const { id } = await at.approved()
    const { request, credentials } = (await at.act(rita, id, 'activate')).json.data
    const [{ lease_id }] = credentials
    const renewed = await renew(rita, lease_id)
    expect([renewed.status, renewed.text]).toEqual([200, expect.stringContaining('limited_by')])
    const [lease] = await at.leases(id)
    expect(lease?.expires_at.getTime()).toBeLessThanOrEqual(new Date(request.expires_at).getTime())

    await rule('path "database/creds/*" { capabilities = ["deny"] }')
    expect((await renew(rita, lease_id)).status).toBe(403)
    await rule('path "secret/x" { capabilities = ["read"] }')
    expect((await renew(rita, lease_id)).status).toBe(200)

    await at.act(at.sam, id, 'end')
    expect((await renew(rita, lease_id)).status).toBe(400)
  })

  test('the condition of a role sees the grant when its lease is renewed, and refuses without the rest', async () => {
    const role = (condition: string) =>
      at.api('POST', 'database/roles/app', {
        db_name: 'db',
        member_of: at.target.readers,
        max_ttl: '10h',
        condition,
      })
    await role('approval.live && approval.policy == "db" && size(approval.approvers) == 2')
    const { credentials } = await at.active()
    const lease_id = credentials[0]?.lease_id
    expect((await renew(at.rita, lease_id)).status).toBe(200)
    await role('approval.live && approval.policy == "other"')
    expect((await renew(at.rita, lease_id)).status).toBe(403)
  })

  test('without the grant in force policy is asked as for anybody: a suspension stops renewals', async () => {
    const { request, credentials } = await at.active()
    await at.act(at.sam, request.id, 'suspend', { reason: 'odd queries' })
    expect((await renew(at.rita, credentials[0]?.lease_id)).status).toBe(400)
  })

  test('row 27: a target that is removed takes the access there with it', async () => {
    const { request, credentials } = await at.active()
    const removed = await at.api('DELETE', 'database/config/db?force=true')
    expect(removed.status, removed.text).toBeLessThan(300)
    await at.sweep()
    const ended = await at.comesTo(request.id, 'review_due')
    expect(ended).toMatchObject({ end_reason: 'target_retired' })
    expect(ended.events).toContainEqual(
      expect.objectContaining({
        event: 'target_retired',
        to: 'ending',
        detail: expect.objectContaining({ target: 'db', reason: 'target_retired' }),
      }),
    )
    expect(await at.target.account(credentials[0]?.data.username ?? '')).toBe('absent')
    await expectOnRecord(at, request.id)
  })

  test('row 29: an account of a grant that somebody altered or removed ends all of it, and people are told', async () => {
    const hook = { name: 'hook', type: 'webhook', url: 'https://127.0.0.1:1/', secret: 'of the hook' }
    await at.close()
    at = await openAccessWorld({ notify: [hook] })
    await at.api('POST', 'database/roles/other', {
      db_name: 'db',
      member_of: at.target.readers,
      max_ttl: '9h',
    })
    const meddling = [
      ['foreign_change', (name: string) => `alter role "${name}" createdb`],
      ['account_gone', (name: string) => `drop role "${name}"`],
    ] as const
    for (const [found, statement] of meddling) {
      const roles = ['database/creds/app', 'database/creds/other']
      const { request, credentials } = await at.active({ roles })
      const [changed, untouched] = credentials.map(({ data }) => data.username)
      await at.target.sql(statement(changed ?? ''))
      const reconciled = await at.api('POST', 'database/config/db/reconcile')
      expect(reconciled.json.data.reconcile.found[found].count, reconciled.text).toBe(1)
      await at.sweep()
      await at.ledger.advance(25)
      const ended = await at.comesTo(request.id, 'review_due')
      expect(ended).toMatchObject({ end_reason: 'externally_modified' })
      expect(ended.events).toContainEqual(
        expect.objectContaining({
          event: 'foreign_change',
          to: 'ending',
          detail: expect.objectContaining({
            lease_id: credentials[0]?.lease_id,
            found,
            reason: 'externally_modified',
          }),
        }),
      )
      expect(ended.deliveries).toContainEqual(
        expect.objectContaining({ destination: 'hook', event: 'foreign_change' }),
      )
      expect(await at.target.account(changed ?? '')).toBe('absent')
      expect(await at.target.account(untouched ?? '')).toBe('absent')
      await at.logInAgain()
    }
  })

  test('a drill goes from the ask to access with the time of each step, and opens nothing', async () => {
    const before = await at.api('GET', 'break-glass/drills')
    expect(before.json.data).toMatchObject({ drills: [], gaps: [{ policy: 'db' }] })
    const { id, plan_hash } = await at.ask(at.rita, { lane: 'drill' })
    await at.ledger.advance(10)
    await at.act(at.ann, id, 'approve', { plan_hash })
    await at.ledger.advance(10)
    await at.act(at.olga, id, 'approve', { plan_hash })
    await at.ledger.advance(10)
    const { request, credentials } = (await at.act(at.rita, id, 'activate')).json.data
    expect(request).toMatchObject({ state: 'active', lane: 'drill' })
    expect(credentials).toEqual([])
    expect((await at.act(at.rita, id, 'collect')).json.data.credentials).toEqual([])
    expect((await at.rita.api('GET', 'database/creds/app')).status).toBe(403)
    expect((await at.act(at.rita, id, 'end')).json.data).toMatchObject({ state: 'review_due' })
    expect(await at.leases(id)).toEqual([])

    const { drills, gaps } = (await at.api('GET', 'break-glass/drills')).json.data
    expect(gaps).toEqual([])
    const [drill] = drills
    expect(drill).toMatchObject({ id, policy: 'db', state: 'review_due' })
    expect(drill.seconds_to_first_vote).toBeGreaterThanOrEqual(10)
    expect(drill.seconds_to_approval).toBeGreaterThanOrEqual(20)
    expect(drill.seconds_to_access).toBeGreaterThanOrEqual(30)
    expect(drill.seconds_to_proved_gone).toBeGreaterThanOrEqual(0)
    const { steps } = (await at.look(id)).drill
    expect(steps.map(({ event }: { event: string }) => event)).toEqual(
      expect.arrayContaining(['submit', 'approve', 'activate', 'activated', 'return', 'proved_gone']),
    )
    await expectOnRecord(at, id)
  })

  /** A role whose accounts are made only once `release` is called, and a request for it that waits for its requester. */
  async function gated() {
    await at.api('POST', 'database/roles/gated', {
      db_name: 'db',
      creation_statements: [
        `create role "{{name}}" login password '{{password}}'`,
        'select pg_advisory_xact_lock(42)',
      ],
      max_ttl: '9h',
    })
    const { id } = await at.approved({ roles: ['database/creds/gated'] })
    await at.target.sql('select pg_advisory_lock(42)')
    return {
      id,
      release: () => at.target.sql('select pg_advisory_unlock(42)'),
      untilMaking: () =>
        until('an account is being made', async () => {
          const waiting = await at.target.sql(
            `select from pg_locks where locktype = 'advisory' and objid = 42 and not granted`,
          )
          return waiting.length > 0
        }),
    }
  }

  test('row 18: cancelled while its account is being made, the access is none and the account goes', async () => {
    const { id, release, untilMaking } = await gated()
    const activating = at.act(at.rita, id, 'activate')
    await untilMaking()
    expect((await at.look(id)).state).toBe('activating')
    expect((await at.look(id)).leases).toMatchObject([{ state: 'issuing' }])
    const cancelled = await at.act(at.rita, id, 'cancel')
    expect(cancelled.json.data).toMatchObject({ state: 'ending', end_reason: 'cancelled' })
    await release()
    const activated = await activating
    expect(activated.status).toBeGreaterThanOrEqual(400)
    expect(activated.text).not.toContain('password')
    await at.ledger.advance(25)
    expect(await at.comesTo(id, 'review_due')).toMatchObject({ end_reason: 'cancelled', started_at: null })
    const [lease] = await at.leases(id)
    expect(lease?.state).toBe('revoked')
    expect(await at.target.account(lease?.account ?? '')).toBe('absent')
    await expectOnRecord(at, id)
  }, 60_000)

  test('an answer with credentials that nobody received: they end, and others are collected', async () => {
    const { id, release, untilMaking } = await gated()
    const asking = httpRequest(`${at.url}/v1/break-glass/requests/${id}/activate`, {
      method: 'POST',
      headers: { 'X-Vault-Token': at.rita.token },
    })
    asking.on('error', () => {})
    asking.end('{}')
    await untilMaking()
    asking.destroy()
    await release()
    await until('what was made has ended', async () => {
      await at.sweep()
      const leases = await at.leases(id)
      return leases.length === 1 && leases.every(({ state }) => state === 'revoked')
    })
    const [lost] = await at.leases(id)
    expect(lost?.end_reason).toBe('undelivered')
    expect(await at.target.account(lost?.account ?? '')).toBe('absent')
    expect(await at.look(id)).toMatchObject({ state: 'active' })
    const collected = (await at.act(at.rita, id, 'collect')).json.data.credentials[0].data
    expect(collected.username).not.toBe(lost?.account)
    await (await at.target.logIn(collected)).end()
    await expectOnRecord(at, id)
  })
})

describe('with the queue gone', () => {
  beforeEach(async () => {
    at = await openAccessWorld({}, { queueUrl: 'redis://127.0.0.1:1', worker: true, sweepIntervalMs: 200 })
  })
  afterEach(() => at.close())

  test('everything still ends, by the sweep', async () => {
    const waiting = await at.ask()
    const approved = await at.approved()
    const { request, credentials } = await at.active()
    await at.ledger.advance(30 * 60 + 1)
    expect(await at.comesTo(request.id, 'review_due')).toMatchObject({ end_reason: 'expired' })
    expect(await at.target.account(credentials[0]?.data.username ?? '')).toBe('absent')
    await at.comesTo(waiting.id, 'expired')
    await at.comesTo(approved.id, 'expired')
    for (const { id } of [waiting, approved, request]) await expectOnRecord(at, id)
  }, 60_000)
})

describe('a target that has gone away', () => {
  let postgres: TestPostgres
  beforeEach(async () => {
    postgres = await startTestPostgres()
    at = await openAccessWorld({}, { targetServer: postgres.url() })
  })
  afterEach(async () => {
    await at.close()
    await postgres.remove()
  })

  test('nobody can ask for more there while the end of an access is stuck', async () => {
    const { request } = await at.active()
    await postgres.stop('immediate')
    await at.act(at.sam, request.id, 'end')
    await at.ledger.advance(61)
    await at.comesTo(request.id, 'ending_stuck')
    const again = { policy: 'db', roles: ['database/creds/app'], reason: 'and now the other half of it' }
    const rosa = await at.people.person('rosa')
    const refused = await rosa.api('POST', 'break-glass/requests', again)
    expect([refused.status, refused.text]).toEqual([409, expect.stringMatching(/an earlier access to db /)])
    await postgres.restart()
    await at.ledger.advance(16)
    await at.comesTo(request.id, 'review_due')
    expect((await rosa.api('POST', 'break-glass/requests', again)).status).toBe(200)
  }, 60_000)
})
