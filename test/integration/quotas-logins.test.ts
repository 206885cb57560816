import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createLoginAttempts, FAILED_LOGINS } from '../../src/lease/login-attempts.ts'
import { openLedger } from '../../src/ledger/db.ts'
import { BrokerError } from '../../src/lib/errors.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'
import { faults } from '../support/oidc-issuer.ts'
import { AUDIENCE, ISSUER, type JwtWorld, openJwtWorld } from './auth-jwt-world.ts'
import { tally } from './quotas-world.ts'

describe('logins that fail', () => {
  let ledger: TestLedger
  beforeAll(async () => {
    ledger = await openTestLedger({ stopped: true })
  })
  afterAll(() => ledger.close())
  beforeEach(() => ledger.advance(3_600))

  const limits = { windowSeconds: 60, perSourceAndRole: 5, perSource: 12, perRole: 8 }
  const server = () => createLoginAttempts(ledger.another(), limits)
  const refused = async () => {
    throw new BrokerError('permission_denied', 'permission denied')
  }

  /** What becomes of a login: `ok`, or the error's code. */
  const outcome = async (
    attempts: ReturnType<typeof server>,
    logIn: () => Promise<unknown>,
    where: { source?: string; roleName?: string | undefined; mountId?: string } = {},
  ): Promise<string> => {
    const reading = { revision: 1, now: await ledger.now(), sinceMs: performance.now() }
    const isCallersFault = (error: unknown) => error instanceof BrokerError && error.code !== 'unavailable'
    const attempt = {
      source: '192.0.2.1',
      roleName: 'app',
      mountId: 'jwt',
      ...where,
      reading,
      isCallersFault,
    }
    return attempts(attempt, logIn).then(
      () => 'ok',
      (error: BrokerError) => error.code,
    )
  }
  const good = async () => {}
  const away = async () => {
    throw new BrokerError('unavailable', 'away')
  }

  test('are let through up to the limit of their source and role, on all servers together', async () => {
    const [one, other] = [server(), server()]
    for (let i = 0; i < 5; i += 1)
      expect(await outcome(i % 2 ? one : other, refused)).toBe('permission_denied')
    expect(await outcome(one, good)).toBe('too_many_requests')
    expect(await outcome(other, refused)).toBe('too_many_requests')
    await ledger.advance(59)
    expect(await outcome(one, good)).toBe('too_many_requests')
    await ledger.advance(1)
    expect(await outcome(one, good)).toBe('ok')
  })

  test('shut out nobody else: no other source, role or mount', async () => {
    const attempts = server()
    for (let i = 0; i < 5; i += 1) await outcome(attempts, refused)
    expect(await outcome(attempts, good)).toBe('too_many_requests')
    expect(await outcome(attempts, good, { source: '192.0.2.2' })).toBe('ok')
    expect(await outcome(attempts, good, { roleName: 'else' })).toBe('ok')
    expect(await outcome(attempts, good, { mountId: 'else' })).toBe('ok')
  })

  test('of one source count together too, whatever their roles and mounts, up to a higher limit', async () => {
    const attempts = server()
    for (let i = 0; i < 12; i += 1) {
      const where = { roleName: `role-${i % 4}`, mountId: `mount-${i % 2}` }
      expect(await outcome(attempts, refused, where)).toBe('permission_denied')
    }
    const run = vi.fn(good)
    expect(await outcome(attempts, run)).toBe('too_many_requests')
    expect(run).not.toHaveBeenCalled()
    expect(await outcome(attempts, run, { source: '192.0.2.2' })).toBe('ok')
  })

  test('that name nobody count by mount', async () => {
    const attempts = server()
    const nobody = { roleName: undefined }
    for (let i = 0; i < 5; i += 1) await outcome(attempts, refused, nobody)
    expect(await outcome(attempts, good, nobody)).toBe('too_many_requests')
    expect(await outcome(attempts, good, { roleName: '' })).toBe('ok')
    expect(await outcome(attempts, good, { ...nobody, mountId: 'else' })).toBe('ok')
  })

  /** Eight sources fail for the role. */
  const fillRole = async (attempts: ReturnType<typeof server>, roleName = (_: number) => 'app') => {
    for (let i = 0; i < 8; i += 1) {
      const where = { source: `192.0.2.${i}`, roleName: roleName(i) }
      expect(await outcome(attempts, refused, where)).toBe('permission_denied')
    }
  }

  test('for one role, whoever sends them, keep nobody out, but are told nothing any more', async () => {
    const attempts = server()
    await fillRole(attempts)
    const from = { source: '192.0.2.99' }
    expect(await outcome(attempts, good, from)).toBe('ok')
    expect(await outcome(attempts, refused, from)).toBe('too_many_requests')
    expect(await outcome(attempts, good, from)).toBe('ok')
    expect(await outcome(attempts, away, from)).toBe('unavailable')
    expect(await outcome(attempts, refused, { ...from, roleName: 'other' })).toBe('permission_denied')
    expect(await outcome(attempts, refused, { ...from, mountId: 'other' })).toBe('permission_denied')
    // They count as before for the source that sends them.
    for (let i = 0; i < 4; i += 1) expect(await outcome(attempts, refused, from)).toBe('too_many_requests')
    expect(await outcome(attempts, good, from)).toBe('too_many_requests')
  })

  test('are for the same role in whatever case, and with white space around it', async () => {
    const attempts = server()
    const spellings = ['app', 'APP', ' app', 'app\t', '\u00a0App\n']
    await fillRole(attempts, (i) => spellings[i % spellings.length] as string)
    expect(await outcome(attempts, refused, { source: '192.0.2.99' })).toBe('too_many_requests')

    for (const roleName of spellings) {
      expect(await outcome(attempts, refused, { source: '192.0.2.98', roleName })).toBe('too_many_requests')
    }
    expect(await outcome(attempts, good, { source: '192.0.2.98' })).toBe('too_many_requests')
  })

  test('count as before after one that succeeded', async () => {
    const attempts = server()
    for (let i = 0; i < 4; i += 1) await outcome(attempts, refused)
    expect(await outcome(attempts, good)).toBe('ok')
    expect(await outcome(attempts, refused)).toBe('permission_denied')
    expect(await outcome(attempts, good)).toBe('too_many_requests')
  })

  test('from addresses of one IPv6 network count together', async () => {
    const attempts = server()
    for (let i = 1; i <= 5; i += 1) await outcome(attempts, refused, { source: `2001:db8:0:7::${i}` })
    expect(await outcome(attempts, good, { source: '2001:db8::7:ffff:0:0:9' })).toBe('too_many_requests')
    expect(await outcome(attempts, good, { source: '2001:db8:0:8::1' })).toBe('ok')
  })

  test('do not count when it is our doing, and successes write nothing', async () => {
    const attempts = server()
    for (let i = 0; i < 10; i += 1) expect(await outcome(attempts, away)).toBe('unavailable')
    for (let i = 0; i < 10; i += 1) expect(await outcome(attempts, good)).toBe('ok')
    const { rows } = await ledger.ledger.query(
      'select from leasehold.rate_count where free_at > leasehold.ledger_now()',
    )
    expect(rows).toHaveLength(0)
  })

  test('in a burst are all counted', async () => {
    const [one, other] = [server(), server()]
    const burst = Array.from({ length: 40 }, (_, i) => outcome(i % 2 ? one : other, refused))
    const failed = (await Promise.all(burst)).filter((code) => code === 'permission_denied').length
    expect(failed).toBeGreaterThanOrEqual(5)
    const { rows } = await ledger.ledger.query<{ taken: number }>(
      `select taken::int from leasehold.rate_count
       where counter = 'failed-logins-by-source-and-role' and free_at > leasehold.ledger_now()`,
    )
    // A server that has heard that it is enough stops counting.
    expect(rows[0]?.taken).toBeGreaterThanOrEqual(5)
    expect(await outcome(server(), good)).toBe('too_many_requests')
  })

  test('when they cannot be looked up, nobody logs in', async () => {
    const cut = openLedger(ledger.url, () => {})
    const attempts = createLoginAttempts(cut, limits)
    await cut.close()
    expect(await outcome(attempts, good)).toBe('unavailable')
  })
})

describe('over the API', () => {
  let world: JwtWorld
  beforeAll(async () => {
    world = await openJwtWorld()
    await world.role('app')
  })
  afterAll(() => world.close())

  const failing = (role: string) => world.login(role, { jwt: 'no.such.token' })

  test('an issuer that is away counts against nobody', async () => {
    const counted = async () =>
      (await world.at.ledger.ledger.query('select from leasehold.rate_count')).rows.length
    await world.at.api('POST', 'sys/auth/away', { type: 'jwt' })
    world.issuer.behave(faults.fails)
    const config = { jwks_url: world.issuer.url, bound_issuer: ISSUER, skip_jwks_validation: true }
    expect((await world.at.api('POST', 'auth/away/config', config)).status).toBe(204)
    const role = { user_claim: 'sub', bound_audiences: AUDIENCE }
    expect((await world.at.api('POST', 'auth/away/role/app', role)).status).toBe(204)
    const answer = await world.login('app', {}, 'away')
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining('could not be fetched')])
    expect(await counted()).toBe(0)
    expect((await failing('app')).status).toBe(400)
    expect(await counted()).toBe(3)
    world.issuer.publish(world.key)
    await world.at.ledger.ledger.query('delete from leasehold.rate_count')
  })

  const failed = async () => {
    const { rows } = await world.at.ledger.ledger.query<{ counter: string; taken: number }>(
      `select counter, taken::int from leasehold.rate_count where free_at > leasehold.ledger_now() order by 1`,
    )
    return rows.map(({ counter, taken }) => [counter, taken])
  }
  const timesAllCounts = (n: number) => [
    ['failed-logins-by-role', n],
    ['failed-logins-by-source', n],
    ['failed-logins-by-source-and-role', n],
  ]

  test('a role is counted by the name that the method reads, however it is sent', async () => {
    await world.at.api('POST', 'sys/auth/approle', { type: 'approle' })
    await world.at.api('POST', 'auth/approle/role/app', { role_id: '4711' })
    const logIn = (fields: object) =>
      world.at.api('POST', 'auth/approle/login', fields, { 'X-Vault-Token': '' })
    const { json } = await world.at.api('POST', 'auth/approle/role/app/secret-id')
    for (const role_id of ['4711', ' 4711\n', 4711]) {
      expect((await logIn({ role_id, secret_id: json.data.secret_id })).status).toBe(200)
      expect((await logIn({ role_id, secret_id: 'guessed' })).status).toBe(400)
    }
    expect(await failed()).toEqual(timesAllCounts(3))

    await world.at.ledger.ledger.query('delete from leasehold.rate_count')
    for (const role of ['1', 1, true]) await world.login('', { role, jwt: 'no.such.token' })
    expect(await failed()).toEqual(timesAllCounts(3))
    await world.at.ledger.ledger.query('delete from leasehold.rate_count')
  })

  test('a role for which too many logins have failed is no secret any more to guess, and still open', async () => {
    expect((await failing('app')).status).toBe(400)
    await world.at.ledger.ledger.query(
      `update leasehold.rate_count set taken = $1 where counter = 'failed-logins-by-role'`,
      [FAILED_LOGINS.perRole],
    )
    const guessed = await failing('APP')
    expect(guessed.status).toBe(429)
    expect(guessed.json).toEqual({ errors: ['too many failed logins; try again later'] })
    expect((await world.login('app')).status).toBe(200)
    await world.at.ledger.ledger.query('delete from leasehold.rate_count')
  })

  const turnedAway = async () => {
    const { rows } = await world.at.ledger.ledger.query<{ body: string }>(
      `select body from leasehold.audit_event where body::jsonb -> 'outcome' ->> 'status' = '429'
       and body::jsonb -> 'details' -> 'limited_by' ->> 'limit' <> 'failed-logins-by-role'`,
    )
    return rows.map(({ body }) => JSON.parse(body))
  }

  test('too many bad tokens of one address for a role shut out that address for that role for a while', async () => {
    await world.at.ledger.ledger.query(
      `update public.test_clock set stopped_at = date_trunc('second', now())`,
    )
    await world.role('other')
    expect((await world.login('app')).status).toBe(200)
    const answers = []
    for (let i = 0; i < FAILED_LOGINS.perSourceAndRole; i += 50) {
      answers.push(...(await Promise.all(Array.from({ length: 50 }, () => failing('app')))))
    }
    expect(tally(answers)).toEqual({ 400: FAILED_LOGINS.perSourceAndRole })

    const before = await world.census()
    const shutOut = await world.login('app')
    expect(shutOut.status).toBe(429)
    expect(shutOut.json).toEqual({ errors: ['too many failed logins; try again later'] })
    expect(shutOut.headers.get('retry-after')).toBe('60')
    expect(tally(await Promise.all(Array.from({ length: 20 }, () => failing('app'))))).toEqual({ 429: 20 })
    expect(await turnedAway()).toMatchObject([
      {
        type: 'login',
        who: { source_address: '127.0.0.1' },
        what: { path: 'auth/jwt/login', parameters: { role: 'app' } },
        details: {
          limited_by: {
            limit: 'failed-logins-by-source-and-role',
            counted_by: 'ip and role',
            max: FAILED_LOGINS.perSourceAndRole,
          },
        },
      },
    ])
    expect(await world.census()).toEqual(before)
    expect((await world.login('other')).status).toBe(200)
    expect((await world.at.api('GET', 'auth/token/lookup-self')).status).toBe(200)

    await world.at.ledger.advance(FAILED_LOGINS.windowSeconds)
    expect((await world.login('app')).status).toBe(200)
  })
})
