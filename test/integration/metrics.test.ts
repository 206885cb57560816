import { createPublicKey } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readTargetGauges } from '../../src/ledger/gauges.ts'
import { claimDue, recordSteps } from '../../src/ledger/lease-ending.ts'
import { activate, insertIntents } from '../../src/ledger/lease-issue.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'
import { anIntent, type Seeded, seedRole } from '../support/ledger-rows.ts'
import { newSigningKey } from '../support/oidc-issuer.ts'
import { until } from '../support/processes.ts'
import { aTokenStore } from '../support/tokens.ts'

/** `sys/metrics` as root; its answer need not be JSON. */
async function read(at: TestBroker, query: string, headers: Record<string, string> = {}) {
  const response = await fetch(`${at.url}/v1/sys/metrics${query}`, {
    headers: { 'X-Vault-Token': at.root, ...headers },
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

/** Every sample by its name and labels, as they are printed. */
async function numbersOf(at: TestBroker): Promise<Map<string, number>> {
  const { status, text } = await read(at, '?format=prometheus')
  expect(status).toBe(200)
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    samples.map((line) => {
      const space = line.lastIndexOf(' ')
      return [line.slice(0, space), Number(line.slice(space + 1))]
    }),
  )
}

/** The samples whose names begin so, without the beginning. */
const under = (numbers: Map<string, number>, prefix: string): Record<string, number> =>
  Object.fromEntries(
    [...numbers].flatMap(([name, value]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [],
    ),
  )

const count = (name: string) => `leasehold_${name}_duration_seconds_count`
const DB = 'mount="database/",target="db"'

describe('a lease’s life, in numbers:', () => {
  let at: TestBroker
  beforeEach(async () => {
    at = await openTestBroker()
  })
  afterEach(() => at.close())

  const issue = async (): Promise<string> => (await at.api('GET', 'database/creds/app')).json.lease_id

  test('issued, renewed, revoked, and left to expire', async () => {
    const [kept, revoked] = [await issue(), await issue()]
    await issue()
    await at.api('PUT', 'sys/leases/renew', { lease_id: kept, increment: 300 })
    await at.api('PUT', 'sys/leases/revoke', { lease_id: revoked })
    await at.ledger.advance(100)
    await at.broker.sweep.once()
    const numbers = await numbersOf(at)

    expect(under(numbers, count('lease_issue'))).toEqual({ '{engine="postgres",outcome="ok"}': 3 })
    expect(under(numbers, count('lease_renew'))).toEqual({ '{engine="postgres",outcome="ok"}': 1 })
    expect(under(numbers, 'leasehold_leases_ended_total')).toEqual({
      '{engine="postgres",reason="revoked"}': 1,
      '{engine="postgres",reason="expired"}': 1,
    })
    expect(under(numbers, count('lease_end'))).toEqual({
      '{engine="postgres",outcome="access_ended"}': 1,
      '{engine="postgres",outcome="revoked"}': 2,
    })
    // One at once, one 40 s after it was due.
    expect(numbers.get('leasehold_lease_end_lag_seconds_count{engine="postgres"}')).toBe(2)
    const lag = numbers.get('leasehold_lease_end_lag_seconds_sum{engine="postgres"}')
    expect(lag).toBeGreaterThanOrEqual(39)
    expect(lag).toBeLessThan(100)
    expect(numbers.get('leasehold_sweep_rounds_total{outcome="ok"}')).toBe(1)
    expect(numbers.get('leasehold_sweep_due_targets_total')).toBe(1)
    expect(under(numbers, 'leasehold_leases_stuck')).toEqual({ [`{${DB}}`]: 0 })
    expect(under(numbers, 'leasehold_lease_overdue_seconds')).toEqual({ [`{${DB}}`]: 0 })
  })

  test('refused by us, and by a target that lacks a right', async () => {
    const lease = await issue()
    await at.api('GET', 'database/creds/nobody')
    await at.api('PUT', 'sys/leases/renew', { lease_id: 'database/creds/app/unknown' })
    await at.ledger.advance(100)
    await at.api('PUT', 'sys/leases/renew', { lease_id: lease })
    await at.target.sql(`revoke ${at.target.readers} from ${at.target.admin} cascade`)
    await at.api('GET', 'database/creds/app')
    const numbers = await numbersOf(at)

    expect(under(numbers, count('lease_issue'))).toEqual({
      '{engine="postgres",outcome="ok"}': 1,
      '{engine="unknown",outcome="refused"}': 1,
      '{engine="postgres",outcome="target_failed"}': 1,
    })
    expect(under(numbers, count('lease_renew'))).toEqual({
      '{engine="unknown",outcome="refused"}': 1,
      '{engine="postgres",outcome="refused"}': 1,
    })
  })

  test('on a target that shut us out: its end failed, and overdue', async () => {
    await issue()
    await at.target.sql(`alter role ${at.target.admin} nologin;
      select pg_terminate_backend(pid) from pg_stat_activity where usename = '${at.target.admin}'`)
    await at.ledger.advance(90)
    await at.broker.sweep.once()
    const numbers = await numbersOf(at)

    // On a slow machine it is tried again before the numbers are read.
    expect(numbers.get(`${count('lease_end')}{engine="postgres",outcome="failed"}`)).toBeGreaterThan(0)
    expect(under(numbers, 'leasehold_leases_ended_total')).toEqual({})
    const overdue = numbers.get(`leasehold_lease_overdue_seconds{${DB}}`)
    expect(overdue).toBeGreaterThanOrEqual(29)
    expect(overdue).toBeLessThan(90)
  })

  test('a target that does not answer has its breaker shown', async () => {
    await at.api('PUT', 'database/config/dark', {
      plugin_name: 'postgresql-database-plugin',
      connection_url: 'postgresql://{{username}}:{{password}}@127.0.0.1:1/dark',
      username: 'admin',
      password: 'secret',
      allowed_roles: '*',
      verify_connection: false,
    })
    await at.api('PUT', 'database/roles/dark', { db_name: 'dark', member_of: 'readers', default_ttl: '1m' })
    await issue()
    for (let ask = 0; ask < 4; ask += 1) await at.api('GET', 'database/creds/dark')
    const numbers = await numbersOf(at)

    expect(under(numbers, 'leasehold_target_breaker_open')).toEqual({
      [`{${DB}}`]: 0,
      '{mount="database/",target="dark"}': 1,
    })
    expect(numbers.get(`${count('lease_issue')}{engine="postgres",outcome="target_failed"}`)).toBe(4)
    expect(numbers.get(`leasehold_target_connections{${DB},lane="issuing",state="open"}`)).toBeGreaterThan(0)
    expect(numbers.get('leasehold_ledger_connections{state="open"}')).toBeGreaterThan(0)
    expect(numbers.get('leasehold_ledger_reachable')).toBe(1)
  })
})

test('a worker’s wake-ups are timed', async () => {
  const at = await openTestBroker({ worker: true, sweepIntervalMs: 1_000_000 })
  try {
    const { json } = await at.api('GET', 'database/creds/app')
    await at.api('PUT', 'sys/leases/revoke', { lease_id: json.lease_id, sync: false })
    await until('the wake-up has been taken', async () => {
      const numbers = await numbersOf(at)
      return (
        (numbers.get('leasehold_queue_lag_seconds_count') ?? 0) > 0 &&
        numbers.get('leasehold_leases_ended_total{engine="postgres",reason="revoked"}') === 1
      )
    })
    expect((await numbersOf(at)).get('leasehold_queue_lag_seconds_sum')).toBeLessThan(30)
  } finally {
    await at.close()
  }
})

describe('the endpoint', () => {
  let at: TestBroker
  beforeEach(async () => {
    at = await openTestBroker()
  })
  afterEach(() => at.close())

  test('is under policy', async () => {
    await at.api('PUT', 'sys/policies/acl/scrape', {
      policy: 'path "sys/metrics" { capabilities = ["read"] }',
    })
    const tokenWith = async (policy: string) =>
      (await at.api('PUT', 'auth/token/create', { policies: [policy] })).json.auth.client_token
    const [scraper, other] = [await tokenWith('scrape'), await tokenWith('default')]
    const status = async (token: string) =>
      (await at.api('GET', 'sys/metrics', undefined, { 'X-Vault-Token': token })).status

    expect([await status(scraper), await status(other), await status('')]).toEqual([200, 403, 403])
    const bearer = { 'X-Vault-Token': '', Authorization: `Bearer ${scraper}` }
    expect((await at.api('GET', 'sys/metrics', undefined, bearer)).status).toBe(200)
  })

  test.each([
    ['format=prometheus', '', 'text/plain'],
    [
      '',
      'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1',
      'text/plain',
    ],
    ['', 'prometheus/telemetry', 'text/plain'],
    ['', '*/*', 'application/json'],
    ['format=', 'text/html', 'application/json'],
  ])('asked with "%s", accepting "%s", answers %s', async (query, accept, type) => {
    const { status, headers, text } = await read(at, `?${query}`, { Accept: accept })

    expect(status).toBe(200)
    expect(headers.get('cache-control')).toBe('no-store')
    if (type === 'application/json') {
      expect(headers.get('content-type')).toBe('application/json')
      const names = JSON.parse(text).Gauges.map(({ Name }: { Name: string }) => Name)
      expect(names).toContain('leasehold_ledger_reachable')
    } else {
      expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
      expect(text).toContain('# TYPE leasehold_lease_issue_duration_seconds histogram\n')
    }
  })

  test('refuses a format it does not have', async () => {
    const { status, headers, text } = await read(at, '?format=xml', { Accept: 'prometheus/telemetry' })

    expect([status, headers.get('content-type'), text]).toEqual([
      400,
      'text/plain',
      'metric response format "xml" unknown',
    ])
  })

  test('counts requests, decisions and logins, and names nobody', async () => {
    const key = await newSigningKey('k', 'ES256')
    const now = Math.floor(Date.now() / 1_000)
    const pem = createPublicKey({ key: key.jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
    const claims = {
      iss: 'https://ci.example',
      sub: 'secret-subject',
      aud: 'broker',
      iat: now,
      exp: now + 300,
    }
    await at.api('POST', 'sys/auth/jwt', { type: 'jwt' })
    await at.api('PUT', 'auth/jwt/config', { jwt_validation_pubkeys: pem, bound_issuer: claims.iss })
    await at.api('PUT', 'auth/jwt/role/ci', {
      user_claim: 'sub',
      bound_audiences: 'broker',
      role_type: 'jwt',
    })
    const logIn = (jwt: string) => at.api('POST', 'auth/jwt/login', { role: 'ci', jwt })
    const good = await logIn(await key.sign(claims))
    await logIn(await key.sign({ ...claims, aud: 'elsewhere' }))
    await at.api('GET', 'database/creds/app', undefined, { 'X-Vault-Token': good.json.auth.client_token })
    await at.api('GET', 'no/such/mount')
    await at.api('PURGE', 'sys/metrics')
    const { text } = await read(at, '?format=prometheus')
    const numbers = await numbersOf(at)
    const requests = (labels: string) => numbers.get(`${count('request')}{${labels}}`)

    expect(under(numbers, 'leasehold_logins_total')).toEqual({
      '{method="jwt",outcome="ok"}': 1,
      '{method="jwt",outcome="refused"}': 1,
    })
    expect(requests('operation="update",mount_type="jwt",status="4xx"')).toBe(1)
    expect(requests('operation="read",mount_type="database",status="4xx"')).toBe(1)
    expect(requests('operation="read",mount_type="none",status="4xx"')).toBe(1)
    expect(requests('operation="none",mount_type="none",status="4xx"')).toBe(1)
    expect(numbers.get(`${count('policy_decision')}{outcome="denied"}`)).toBe(1)
    expect(numbers.get(`${count('policy_decision')}{outcome="allowed"}`)).toBeGreaterThan(5)
    expect(text).not.toMatch(/secret-subject|creds\/app|no\/such/)
  })
})

describe('what the ledger tells', () => {
  let test_: TestLedger
  let seeded: Seeded
  let tokenId: string
  beforeEach(async () => {
    test_ = await openTestLedger({ stopped: true })
    seeded = await seedRole(test_.ledger)
    tokenId = (await aTokenStore(test_.ledger)).root.tokenId
  })
  afterEach(() => test_.close())

  /** A lease of an hour, as it stands after `change`. */
  async function lease(change = ''): Promise<string> {
    const intent = anIntent(seeded, tokenId, await test_.now())
    await insertIntents(test_.ledger, [intent])
    await activate(test_.ledger, [{ id: intent.id, targetRef: '1', expiresAt: null }])
    if (change) await test_.ledger.query(`update leasehold.lease set ${change} where id = '${intent.id}'`)
    return intent.id
  }
  const gauges = () => readTargetGauges(test_.ledger)
  const NOW = 'leasehold.ledger_now()'
  const HOUR = 3_600

  test('nothing is due on a target whose leases live', async () => {
    await lease()

    expect(await gauges()).toEqual([
      { mount: 'database/', target: 'shop', ids: [seeded.targetId], overdueSeconds: 0, stuck: 0 },
    ])
  })

  test.each([
    ['expired and not yet looked at', '', HOUR + 50, 50],
    ['told to end', `state = 'revoking', end_reason = 'revoked', next_action_at = ${NOW}`, 20, 20],
    [
      'tried since it expired, and waiting',
      `state = 'revoking', attempts = 3, expires_at = ${NOW},
        next_action_at = ${NOW} + interval '70 seconds'`,
      60,
      60,
    ],
    [
      'stuck',
      `state = 'revoking', attempts = 9, expires_at = ${NOW}, next_action_at = ${NOW} + interval '15 minutes'`,
      60,
      60,
    ],
    [
      'due again after tries',
      `state = 'revoking', attempts = 2, expires_at = ${NOW}, next_action_at = ${NOW} + interval '8 seconds'`,
      60,
      60,
    ],
    [
      'told to end early, tried and waiting',
      `state = 'revoking', attempts = 2,
        next_action_at = ${NOW} + interval '70 seconds'`,
      60,
      0,
    ],
    [
      'out of everybody’s reach, and only its account is left',
      `state = 'revoking', attempts = 7, expires_at = ${NOW},
        next_action_at = ${NOW}, access_ended_at = ${NOW}`,
      60,
      0,
    ],
  ])('a lease %s', async (_, change, seconds, overdue) => {
    await lease()
    await lease(change)
    await test_.advance(seconds)

    expect(await gauges()).toMatchObject([{ overdueSeconds: overdue }])
  })

  test('the longest due counts, and the stuck are counted', async () => {
    for (const seconds of [10, 300, 20]) {
      await lease(`state = 'revoking', attempts = 6, expires_at = ${NOW} - ${seconds} * interval '1 second',
        next_action_at = ${NOW} + interval '10 minutes'`)
    }
    await lease(
      `state = 'revoking', attempts = 5, expires_at = ${NOW}, next_action_at = ${NOW} + interval '9 seconds'`,
    )

    expect(await gauges()).toMatchObject([{ overdueSeconds: 300, stuck: 3 }])
  })

  test('a claim knows how late it is, and one whose access has ended is no longer overdue', async () => {
    await lease()
    await test_.advance(HOUR + 40)
    const [claimed] = await claimDue(test_.ledger, {
      targetId: seeded.targetId,
      access: 'stands',
      worker: 'w',
      limit: 10,
    })
    expect(claimed).toMatchObject({ lateMs: 40_000, engine: 'postgres' })
    // In a worker's hands: access stands still.
    expect(await gauges()).toMatchObject([{ overdueSeconds: 40 }])

    const step = { step: 'disconnect', evidence: {}, endsAccess: true, afresh: false }
    await recordSteps(test_.ledger, [{ id: claimed?.id ?? '', fence: claimed?.fence ?? 0, ...step }])
    expect(await gauges()).toMatchObject([{ overdueSeconds: 0 }])
  })

  test('is read by index, however many leases live', async () => {
    await lease()
    const db = test_.ledger
    const plans: string[] = []
    await db.transaction(async (tx) => {
      await readTargetGauges({
        async query(sql, values) {
          const { rows } = await tx.query<{ 'QUERY PLAN': string }>(`explain ${sql}`)
          plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'))
          return tx.query(sql, values)
        },
      })
    })

    expect(plans).toHaveLength(1)
    expect(plans[0]).not.toMatch(/Seq Scan on lease\b/)
    expect(plans[0]).toMatch(/lease_due/)
    expect(plans[0]).toMatch(/lease_stuck/)
  })
})
