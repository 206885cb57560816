import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openQuotaWorld, type QuotaWorld, tally } from './quotas-world.ts'

let world: QuotaWorld

/** The clock moves by `advance` alone, so no window ends because the machine is slow. */
beforeAll(async () => {
  world = await openQuotaWorld()
  await world.ledger.ledger.query(`update public.test_clock set stopped_at = date_trunc('second', now())`)
})
afterAll(() => world.close())
beforeEach(() => world.ledger.advance(3_600))
afterEach(() => world.dropQuotas())

const roles = (token = world.root, api = world.api) =>
  api('GET', 'database/roles/app', undefined, { 'X-Vault-Token': token })
const times = <T>(n: number, ask: (i: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: n }, (_, i) => ask(i)))

describe('a rate limit', () => {
  test('lets so many through in each interval, on both servers together', async () => {
    await world.quota('rate-limit', 'few', { path: 'database', rate: 5, interval: '10s' })
    const at = (i: number) => roles(world.root, i % 2 ? world.second : world.api)
    expect(tally(await times(40, at))).toEqual({ 200: 5, 429: 35 })

    const refused = await roles()
    expect(refused.json).toEqual({
      errors: ['request path "database/roles/app": rate limit quota exceeded'],
    })
    expect(refused.headers.get('retry-after')).toBe('10')
    await world.ledger.advance(9)
    expect((await roles()).headers.get('retry-after')).toBe('1')
    await world.ledger.advance(1)
    expect(tally(await times(12, at))).toEqual({ 200: 5, 429: 7 })
  })

  test('is by the second where no interval is given', async () => {
    await world.quota('rate-limit', 'second', { path: 'database', rate: 2 })
    for (let second = 0; second < 3; second += 1) {
      expect(tally(await times(4, () => roles()))).toEqual({ 200: 2, 429: 2 })
      await world.ledger.advance(1)
    }
  })

  test('below one is one in a longer interval', async () => {
    await world.quota('rate-limit', 'slow', { path: 'database', rate: 0.25 })
    expect([(await roles()).status, (await roles()).status]).toEqual([200, 429])
    await world.ledger.advance(3)
    expect((await roles()).status).toBe(429)
    await world.ledger.advance(1)
    expect((await roles()).status).toBe(200)
  })

  test('refuses for its block interval once it was too much', async () => {
    await world.quota('rate-limit', 'block', { path: 'database', rate: 2, interval: 5, block_interval: 60 })
    expect(tally(await times(2, () => roles()))).toEqual({ 200: 2 })
    expect((await roles()).headers.get('retry-after')).toBe('60')
    await world.ledger.advance(59)
    expect((await roles(world.root, world.second)).status).toBe(429)
    await world.ledger.advance(1)
    expect((await roles(world.root, world.second)).status).toBe(200)
  })

  test('a block that began does not grow by asking on', async () => {
    await world.quota('rate-limit', 'block', { path: 'database', rate: 1, block_interval: 10 })
    await times(20, (i) => roles(world.root, i % 2 ? world.second : world.api))
    await world.ledger.advance(5)
    await roles()
    await roles(world.root, world.second)
    await world.ledger.advance(5)
    expect((await roles()).status).toBe(200)
  })

  test('the most specific one alone holds', async () => {
    await world.quota('rate-limit', 'mount', { path: 'database', rate: 2, interval: 60 })
    await world.quota('rate-limit', 'begin', { path: 'database/roles/a*', rate: 3, interval: 60 })
    await world.quota('rate-limit', 'exact', { path: 'database/roles/app', rate: 4, interval: 60 })
    // Last: it holds for the writing of quotas too.
    await world.quota('rate-limit', 'all', { rate: 1, interval: 60 })
    const allowed = async (path: string) => tally(await times(6, () => world.api('GET', path)))[429]
    expect(await allowed('database/roles/app')).toBe(2)
    expect(await allowed('database/roles/another')).toBe(3)
    expect(await allowed('database/roles/other')).toBe(4)
    expect(await allowed('auth/token/lookup-self')).toBe(5)
  })

  test('asks nobody who may see the state of the server, and everybody else, proven or not', async () => {
    await world.quota('rate-limit', 'all', { rate: 1, interval: 60 })
    await world.api('GET', 'sys/mounts')
    const open = ['sys/health', 'sys/seal-status', 'sys/init', 'sys/leader', 'sys/leasehold/jwks']
    const limited = ['sys/mounts', 'sys/internal/ui/mounts', 'nowhere/at/all', 'sys/wrapping/lookup']
    for (const path of open)
      expect((await world.api('GET', path, undefined, { 'X-Vault-Token': '' })).status).toBe(200)
    for (const path of limited) {
      expect((await world.api('GET', path, undefined, { 'X-Vault-Token': '' })).status).toBe(429)
    }
    expect((await world.api('POST', 'sys/wrapping/unwrap', { token: 'x' })).status).toBe(429)
    expect((await world.api('LIST', 'database/roles')).status).toBe(429)
  })

  test('by principal counts each alone, and who is not proven by address', async () => {
    await world.quota('rate-limit', 'each', {
      path: 'database',
      rate: 2,
      interval: 60,
      group_by: 'principal',
    })
    const [one, other] = [await world.holder(), await world.holder()]
    const asks = async (token: string) => tally(await times(5, () => roles(token)))
    // Policy refuses both, within the limit.
    expect(await asks(one.token)).toEqual({ 403: 2, 429: 3 })
    expect(await asks(other.token)).toEqual({ 403: 2, 429: 3 })
    expect(await asks('guessed')).toEqual({ 403: 2, 429: 3 })
    expect(await asks('guessed-again')).toEqual({ 429: 5 })
  })

  test('for everybody together does not ask who', async () => {
    await world.quota('rate-limit', 'sum', { path: 'database', rate: 3, interval: 60, group_by: 'none' })
    const one = await world.holder()
    expect(tally(await times(4, (i) => roles(i % 2 ? one.token : world.root)))[429]).toBe(1)
  })

  test('spends no use of a token, and makes nothing, where it refuses', async () => {
    await world.quota('rate-limit', 'one', { path: 'database', rate: 1, interval: 60 })
    const { json } = await world.api('POST', 'auth/token/create', { policies: ['taker'], num_uses: 3 })
    await roles()
    const answer = await world.take({ token: json.auth.client_token, accessor: '' })
    expect(answer.status).toBe(429)
    const { json: found } = await world.api('POST', 'auth/token/lookup', { token: json.auth.client_token })
    expect(found.data.num_uses).toBe(3)
    expect(await world.live()).toBe(0)
  })

  test('a higher one counts from the next request on, a removed one not at all', async () => {
    await world.quota('rate-limit', 'one', { path: 'database', rate: 1, interval: 60 })
    expect(tally(await times(3, () => roles()))).toEqual({ 200: 1, 429: 2 })
    await world.quota('rate-limit', 'one', { path: 'database', rate: 100, interval: 60 })
    expect(tally(await times(3, () => roles()))).toEqual({ 200: 3 })
    await world.api('DELETE', 'sys/quotas/rate-limit/one')
    expect(tally(await times(3, () => roles(world.root, world.second)))).toEqual({ 200: 3 })
  })

  test('keeps one row a caller, and the sweep takes it away when its time is over', async () => {
    await world.quota('rate-limit', 'rows', {
      path: 'database',
      rate: 1_000,
      interval: 60,
      group_by: 'principal',
    })
    await times(20, () => roles())
    await roles((await world.holder()).token)
    await world.broker.sweep.once()
    expect(await world.count('from leasehold.rate_count where free_at > leasehold.ledger_now()')).toBe(2)
    await world.ledger.advance(60)
    await world.broker.sweep.once()
    expect(await world.count('from leasehold.rate_count')).toBe(0)
  })
})

describe('a rate limit on a connection', () => {
  const LIMIT = { path: 'database', target: 'db', rate: 3, interval: 60 }
  const other = async () => {
    const { data } = (await world.api('GET', 'database/config/db')).json
    const { connection_details, verify_connection: _, ...rest } = data
    const { admin: username, password } = world.target
    const fields = { ...rest, ...connection_details, username, password, allowed_roles: '*' }
    await world.api('POST', 'database/config/other', fields)
    await world.api('POST', 'database/roles/other', { db_name: 'other', member_of: world.target.readers })
    await world.api('POST', 'database/roles/second', { db_name: 'db', member_of: world.target.readers })
  }

  test('counts what is asked of its roles by all together, on both servers, and nothing else', async () => {
    await other()
    await world.quota('rate-limit', 'spared', LIMIT)
    const [one, two] = [await world.holder(), await world.holder()]
    const asked = await times(10, (i) =>
      world.take(i % 2 ? one : two, { role: i % 3 ? 'app' : 'second', second: i % 4 > 1 }),
    )
    expect(tally(asked)).toEqual({ 200: 3, 429: 7 })
    const refused = await world.take(one)
    expect(refused.json).toEqual({
      errors: ['request path "database/creds/app": rate limit quota exceeded'],
    })
    expect(refused.headers.get('retry-after')).toBe('60')
    expect((await world.take(one, { role: 'other' })).status).toBe(200)
    expect((await roles()).status).toBe(200)
    await world.ledger.advance(60)
    expect((await world.take(one)).status).toBe(200)
  })

  test('is not used up by those whom policy refuses, or whom nobody knows', async () => {
    await world.quota('rate-limit', 'spared', LIMIT)
    const { json } = await world.api('POST', 'auth/token/create', { policies: ['none'] })
    const strangers = await times(6, (i) =>
      world.take({ token: i % 2 ? json.auth.client_token : 'guessed', accessor: '' }),
    )
    expect(tally(strangers)).toEqual({ 403: 6 })
    const holder = await world.holder()
    expect(tally(await times(4, () => world.take(holder)))).toEqual({ 200: 3, 429: 1 })
  })

  test('holds beside one without a connection, and its caller has to fit into both', async () => {
    await world.quota('rate-limit', 'spared', LIMIT)
    await world.quota('rate-limit', 'path', { path: 'database/creds/app', rate: 2, interval: 60 })
    const holder = await world.holder()
    expect(tally(await times(4, () => world.take(holder)))).toEqual({ 200: 2, 429: 2 })
    expect((await world.take(holder, { role: 'second' })).status).toBe(200)
    expect((await world.take(holder, { role: 'second' })).status).toBe(429)
  })

  test('may count each principal by itself, and a closer one comes first', async () => {
    await world.quota('rate-limit', 'spared', LIMIT)
    const close = { ...LIMIT, path: 'database/creds/app', rate: 1, group_by: 'principal' }
    await world.quota('rate-limit', 'close', close)
    for (const holder of [await world.holder(), await world.holder()]) {
      expect(tally(await times(3, () => world.take(holder)))).toEqual({ 200: 1, 429: 2 })
    }
  })

  test('is shown with it, and counts everybody together unless told otherwise', async () => {
    await world.quota('rate-limit', 'spared', LIMIT)
    expect((await world.api('GET', 'sys/quotas/rate-limit/spared')).json.data).toMatchObject({
      path: 'database/',
      target: 'db',
      group_by: 'none',
    })
    const twice = await world.api('POST', 'sys/quotas/rate-limit/again', { ...LIMIT, rate: 9 })
    expect(twice.text).toContain('quota rule with similar properties exists under the name')
  })
})

describe('what a rate limit refuses is on record', () => {
  const LIMIT = { path: 'database', rate: 2, interval: 60 }
  type Event = { who: object; what: object; outcome: { status: number }; details?: object }
  /** What was put on record since it was asked last, oldest first. */
  const recorded = async (): Promise<Event[]> => {
    const { rows } = await world.ledger.ledger.query<{ body: string }>(
      `select body from leasehold.audit_event where body::jsonb -> 'outcome' ->> 'status' = '429'
       order by at_time, writer, seq`,
    )
    const events = rows.slice(seen).map(({ body }) => JSON.parse(body) as Event)
    seen = rows.length
    return events
  }
  let seen = 0
  beforeEach(() => recorded().then(() => {}))

  test('once for each window, whichever server it came to, with the quota and what is known of the caller', async () => {
    await world.quota('rate-limit', 'few', LIMIT)
    const ask = (i: number) => roles('lh.guessed-token', i % 2 ? world.second : world.api)
    for (const _ of [1, 2]) {
      expect(tally(await times(40, ask))).toEqual({ 403: 2, 429: 38 })
      expect(tally(await times(40, ask))).toEqual({ 429: 40 })
      const events = await recorded()
      expect(events).toMatchObject([
        {
          type: 'request',
          who: { source_address: '127.0.0.1' },
          what: { operation: 'read', path: 'database/roles/app' },
          outcome: { status: 429, error: 'too_many_requests' },
          details: {
            limited_by: {
              limit: 'rate-limit',
              quota: 'few',
              counted_by: 'ip',
              max: 2,
              window_seconds: 60,
            },
          },
        },
      ])
      expect(Object.keys(events[0]?.who ?? {})).toEqual(['source_address'])
      await world.ledger.advance(60)
    }
  })

  test('once for each principal, who is named', async () => {
    await world.quota('rate-limit', 'each', { ...LIMIT, group_by: 'principal' })
    const holders = [await world.holder(), await world.holder()]
    for (const { token } of holders) {
      await times(10, (i) => roles(token, i % 2 ? world.second : world.api))
    }
    const events = await recorded()
    expect(events.length).toBe(2)
    // In either order: each server dates its own by its own reckoning of the ledger's time.
    for (const { accessor } of holders) {
      expect(events).toContainEqual(
        expect.objectContaining({
          who: expect.objectContaining({ accessor, source_address: '127.0.0.1' }),
          details: {
            limited_by: expect.objectContaining({ quota: 'each', counted_by: 'principal' }),
          },
        }),
      )
    }
  })

  test('also where the limit is lowered below what was let through', async () => {
    await world.quota('rate-limit', 'few', { ...LIMIT, rate: 20 })
    expect(tally(await times(10, () => roles()))).toEqual({ 200: 10 })
    await world.quota('rate-limit', 'few', { ...LIMIT, rate: 1 })
    await times(10, () => roles())
    expect((await recorded()).length).toBe(1)
  })

  test('of a connection too, though policy had let them in', async () => {
    await world.quota('rate-limit', 'spared', { ...LIMIT, target: 'db' })
    const holder = await world.holder()
    expect(tally(await times(10, (i) => world.take(holder, { second: i % 2 > 0 })))).toEqual({
      200: 2,
      429: 8,
    })
    expect(await recorded()).toMatchObject([
      {
        who: { accessor: holder.accessor },
        decision: { allowed: true, policy: 'taker' },
        details: { limited_by: { quota: 'spared', counted_by: 'none' } },
      },
    ])
  })

  test('and takes little room, whatever was sent', async () => {
    await world.quota('rate-limit', 'few', { ...LIMIT, rate: 1 })
    const path = `database/roles/"${'z'.repeat(4_000)}`
    await times(2, () => world.api('POST', path, { a: 'x'.repeat(9_000) }, { 'X-Vault-Token': '' }))
    const [event] = await recorded()
    expect(JSON.stringify(event).length).toBeLessThan(1_500)
  })
})

describe('what a quota may be', () => {
  const stored = () => world.count('from leasehold.quota')

  test.each<[string, object, string]>([
    ['rate-limit', {}, `'rate' is invalid`],
    ['rate-limit', { rate: 0 }, `'rate' is invalid`],
    ['rate-limit', { rate: -1 }, `'rate' is invalid`],
    ['rate-limit', { rate: 1e300 }, `'rate' is invalid`],
    ['rate-limit', { rate: 1e-12 }, `'rate' is invalid`],
    ['rate-limit', { rate: 'many' }, 'Field validation failed: error converting input for field "rate"'],
    [
      'rate-limit',
      { rate: 1, interval: -1 },
      'Field validation failed: error converting input for field "interval"',
    ],
    ['rate-limit', { rate: 1, interval: '99999h' }, `'rate' is invalid`],
    ['rate-limit', { rate: 1, block_interval: '99999h' }, `'block' is invalid`],
    ['rate-limit', { rate: 1, group_by: 'colour' }, `'group_by' is invalid`],
    ['rate-limit', { rate: 1, secondary_rate: 5 }, `'secondary_rate' is not supported`],
    ['rate-limit', { rate: 1, role: 'app' }, 'role: quotas on login roles'],
    ['rate-limit', { rate: 1, path: 'nowhere/x' }, 'invalid mount path "nowhere/x/"'],
    ['rate-limit', { rate: 1, target: 'db' }, `'target' is invalid`],
    ['rate-limit', { rate: 1, path: 'database', target: 'none' }, 'failed to find entry for connection'],
    ['rate-limit', { rate: 1, path: 'auth/token', target: 'db' }, 'failed to find entry for connection'],
    ['lease-count', {}, `'max_leases' is invalid`],
    ['lease-count', { max_leases: 0 }, `'max_leases' is invalid`],
    ['lease-count', { max_leases: -5 }, `'max_leases' is invalid`],
    [
      'lease-count',
      { max_leases: 1.5 },
      'Field validation failed: error converting input for field "max_leases"',
    ],
    ['lease-count', { max_leases: 1e15 }, `'max_leases' is invalid`],
    ['lease-count', { max_leases: 1, path: 'auth/token' }, 'invalid mount path "auth/token/": no leases'],
    ['lease-count', { max_leases: 1, path: 'sys' }, 'invalid mount path "sys/": no leases'],
    ['lease-count', { max_leases: 1, path: 'none' }, 'invalid mount path "none/"'],
    ['lease-count', { max_leases: 1, principal: 'Bob %' }, `'principal' is invalid`],
    ['lease-count', { max_leases: 1, target: 'db' }, `'target' is invalid`],
    [
      'lease-count',
      { max_leases: 1, path: 'database', target: 'none' },
      'failed to find entry for connection',
    ],
    ['lease-count', { max_leases: 1, role: 'x' }, 'role: quotas on login roles'],
  ])('refuses %s %j', async (kind, fields, text) => {
    const answer = await world.api('POST', `sys/quotas/${kind}/bad`, fields)
    expect(answer.status).toBe(400)
    expect(answer.json.errors[0].slice(0, text.length)).toBe(text)
    expect(await stored()).toBe(0)
  })

  test('a bad write leaves the quota as it was', async () => {
    await world.quota('rate-limit', 'kept', { rate: 1_000 })
    expect((await world.api('POST', 'sys/quotas/rate-limit/kept', { rate: 0 })).status).toBe(400)
    expect((await world.api('GET', 'sys/quotas/rate-limit/kept')).json.data.rate).toBe(1_000)
  })

  test('is shown as the dialect shows it', async () => {
    await world.quota('rate-limit', 'shown', {
      path: '/database/creds/app/',
      rate: '897.3',
      interval: '2m',
      block_interval: '5m',
    })
    expect((await world.api('GET', 'sys/quotas/rate-limit/shown')).json.data).toEqual({
      type: 'rate-limit',
      name: 'shown',
      path: 'database/creds/app',
      role: '',
      target: '',
      rate: 897.3,
      interval: 120,
      block_interval: 300,
      group_by: 'ip',
      inheritable: false,
    })
    await world.quota('lease-count', 'shown', { max_leases: 5 })
    await world.quota('lease-count', 'another', { path: 'database', max_leases: 5, target: 'db' })
    expect((await world.api('GET', 'sys/quotas/lease-count/shown')).json.data).toEqual({
      type: 'lease-count',
      name: 'shown',
      path: '',
      role: '',
      max_leases: 5,
      principal: '',
      target: '',
      inheritable: true,
    })
    expect((await world.api('LIST', 'sys/quotas/lease-count')).json.data.keys).toEqual(['another', 'shown'])
    expect((await world.api('LIST', 'sys/quotas/rate-limit')).json.data.keys).toEqual(['shown'])
    expect((await world.api('DELETE', 'sys/quotas/rate-limit/none')).status).toBe(204)
  })

  test('is one for each path and principal, of two who write at once as well', async () => {
    const write = (name: string, fields: object, api = world.api) =>
      api('POST', `sys/quotas/lease-count/${name}`, fields)
    const answers = await times(10, (i) =>
      write(`same-${i}`, { path: 'database', max_leases: 1 }, i % 2 ? world.second : world.api),
    )
    expect(tally(answers)).toEqual({ 204: 1, 400: 9 })
    expect(answers.find(({ status }) => status === 400)?.text).toContain(
      'quota rule with similar properties exists under the name',
    )
    expect((await write('else', { path: 'database', max_leases: 1, principal: '*' })).status).toBe(204)
  })

  test('takes a policy to write', async () => {
    const { token } = await world.holder()
    const headers = { 'X-Vault-Token': token }
    expect((await world.api('POST', 'sys/quotas/rate-limit/x', { rate: 1 }, headers)).status).toBe(403)
    expect((await world.api('LIST', 'sys/quotas/rate-limit', undefined, headers)).status).toBe(403)
    expect(await stored()).toBe(0)
  })
})
