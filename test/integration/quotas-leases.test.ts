import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openQuotaWorld, type QuotaWorld, tally } from './quotas-world.ts'

let world: QuotaWorld

beforeAll(async () => {
  world = await openQuotaWorld()
  await world.api('POST', 'database/roles/more', {
    db_name: 'db',
    member_of: world.target.readers,
    default_ttl: '1m',
    max_ttl: '10m',
  })
})
afterAll(() => world.close())
afterEach(async () => {
  await world.dropQuotas()
  await world.api('PUT', 'sys/leases/revoke-prefix/database')
  expect(await world.live()).toBe(0)
})

const EXCEEDED = (role: string) => [
  `1 error occurred:\n\t* request path "database/creds/${role}": lease count quota exceeded\n\n`,
]

describe('a quota on live leases', () => {
  test('refuses the lease above it with 429, and makes no account', async () => {
    await world.quota('lease-count', 'two', { path: 'database', max_leases: 2 })
    const holder = await world.holder()
    const taken = [await world.take(holder), await world.take(holder)]
    const rows = await world.count('from leasehold.lease')

    const refused = await world.take(holder)
    expect(refused.status).toBe(429)
    expect(refused.json).toEqual({ errors: EXCEEDED('app') })
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(taken.map(({ status }) => status)).toEqual([200, 200])
    expect(await world.count('from leasehold.lease')).toBe(rows)

    await world.revoke(taken[0]?.json.lease_id)
    expect((await world.take(holder)).status).toBe(200)
    expect((await world.take(holder)).status).toBe(429)
  })

  test('an expired lease gives its room back when it has ended', async () => {
    await world.quota('lease-count', 'one', { path: 'database/creds/app', max_leases: 1 })
    const holder = await world.holder()
    expect((await world.take(holder)).status).toBe(200)
    await world.ledger.advance(61)
    expect((await world.take(holder)).status).toBe(429)
    await world.broker.sweep.once()
    expect((await world.take(holder)).status).toBe(200)
  })

  test.each([1, 7])('40 who ask at once, at two servers, get %i leases', async (max) => {
    await world.quota('lease-count', 'few', { max_leases: max })
    const holders = await Promise.all(Array.from({ length: 4 }, () => world.holder()))
    const asks = Array.from({ length: 40 }, (_, i) => {
      const role = i % 3 ? 'app' : 'more'
      return world.take(holders[i % 4] as never, { role, second: i % 2 === 0 })
    })
    expect(tally(await Promise.all(asks))).toEqual({ 200: max, 429: 40 - max })
    expect(await world.live()).toBe(max)
  })

  test('the last place goes to one of two servers, again and again', async () => {
    const holder = await world.holder()
    await world.quota('lease-count', 'two', { max_leases: 2 })
    const kept = await world.take(holder)
    expect(kept.status).toBe(200)
    for (let round = 0; round < 8; round += 1) {
      const answers = await Promise.all([world.take(holder), world.take(holder, { second: true })])
      expect(tally(answers)).toEqual({ 200: 1, 429: 1 })
      await world.revoke(answers.find(({ status }) => status === 200)?.json.lease_id)
    }
  })

  test('does not hold for root, as in the dialect', async () => {
    await world.quota('lease-count', 'one', { max_leases: 1 })
    const root = { token: world.root, accessor: '' }
    expect(tally([await world.take(root), await world.take(root)])).toEqual({ 200: 2 })
    expect((await world.take(await world.holder())).status).toBe(429)
  })

  test('the most specific one counts a lease, and no other', async () => {
    await world.quota('lease-count', 'everywhere', { max_leases: 1 })
    await world.quota('lease-count', 'mount', { path: 'database/', max_leases: 2 })
    await world.quota('lease-count', 'role', { path: 'database/creds/app', max_leases: 3 })
    const holder = await world.holder()
    const take = (role: string) => world.take(holder, { role })
    const answers = []
    for (const role of ['app', 'app', 'app', 'app', 'more', 'more', 'more'])
      answers.push((await take(role)).status)
    expect(answers).toEqual([200, 200, 200, 429, 200, 200, 429])
  })

  test('on a path that nothing is asked for at hides nothing from one on the mount', async () => {
    await world.quota('lease-count', 'mount', { path: 'database', max_leases: 2 })
    await world.quota('lease-count', 'folder', { path: 'database/creds', max_leases: 9 })
    const holder = await world.holder()
    const answers = [await world.take(holder), await world.take(holder), await world.take(holder)]
    expect(tally(answers)).toEqual({ 200: 2, 429: 1 })
  })

  test('on all paths that begin alike', async () => {
    await world.quota('lease-count', 'glob', { path: 'database/creds/m*', max_leases: 1 })
    const holder = await world.holder()
    const take = async (role: string) => (await world.take(holder, { role })).status
    expect([await take('more'), await take('more'), await take('app'), await take('app')]).toEqual([
      200, 429, 200, 200,
    ])
  })

  test('on each principal by itself, and on one of them', async () => {
    const [anyone, another, favoured] = [await world.holder(), await world.holder(), await world.holder()]
    await world.quota('lease-count', 'each', { principal: '*', max_leases: 1 })
    await world.quota('lease-count', 'favoured', { principal: favoured.accessor, max_leases: 2 })
    const statuses = []
    for (const who of [anyone, anyone, another, another, favoured, favoured, favoured]) {
      statuses.push((await world.take(who)).status)
    }
    expect(statuses).toEqual([200, 429, 200, 429, 200, 200, 429])
  })

  test('on a connection, beside one on everybody', async () => {
    await world.quota('lease-count', 'all', { max_leases: 3 })
    await world.quota('lease-count', 'server', { path: 'database', target: 'db', max_leases: 2 })
    const holder = await world.holder()
    const statuses = []
    for (const role of ['app', 'more', 'app']) statuses.push((await world.take(holder, { role })).status)
    expect(statuses).toEqual([200, 200, 429])
    await world.api('DELETE', 'sys/quotas/lease-count/server')
    expect(tally([await world.take(holder), await world.take(holder)])).toEqual({ 200: 1, 429: 1 })
  })

  test('of a principal that asks 40 times at once', async () => {
    await world.quota('lease-count', 'each', { principal: '*', path: 'database', max_leases: 3 })
    const [one, other] = [await world.holder(), await world.holder()]
    const asks = Array.from({ length: 20 }, (_, i) => [
      world.take(one, { second: i % 2 === 0 }),
      world.take(other, { second: i % 2 === 1 }),
    ])
    expect(tally(await Promise.all(asks.flat()))).toEqual({ 200: 6, 429: 34 })
  })

  test('holds from the next request on, and no longer once it is gone', async () => {
    const holder = await world.holder()
    expect((await world.take(holder)).status).toBe(200)
    await world.quota('lease-count', 'one', { max_leases: 1 })
    expect((await world.take(holder, { second: true })).status).toBe(429)
    await world.quota('lease-count', 'one', { max_leases: 2 })
    expect((await world.take(holder, { second: true })).status).toBe(200)
    await world.api('DELETE', 'sys/quotas/lease-count/one')
    expect((await world.take(holder)).status).toBe(200)
  })
})

describe('an idempotency key', () => {
  test('asked with again names the live lease, and makes none', async () => {
    const holder = await world.holder()
    const first = await world.take(holder, { key: 'job-1' })
    expect(first.status).toBe(200)
    for (const second of [false, true]) {
      const again = await world.take(holder, { key: 'job-1', second })
      expect(again.status).toBe(409)
      expect(again.json).toEqual({
        errors: [`the lease of this Leasehold-Idempotency-Key is live: ${first.json.lease_id}`],
        data: { lease_id: first.json.lease_id, state: 'active' },
      })
    }
    expect(await world.live()).toBe(1)
  })

  test('is its principal’s and its path’s own', async () => {
    const [one, other] = [await world.holder(), await world.holder()]
    const answers = [
      await world.take(one, { key: 'k' }),
      await world.take(other, { key: 'k' }),
      await world.take(one, { key: 'k', role: 'more' }),
      await world.take(one, { key: 'K' }),
      await world.take(one),
    ]
    expect(tally(answers)).toEqual({ 200: 5 })
  })

  test('is free again when its lease has ended', async () => {
    const holder = await world.holder()
    const first = await world.take(holder, { key: 'again' })
    await world.revoke(first.json.lease_id)
    const second = await world.take(holder, { key: 'again' })
    expect(second.status).toBe(200)
    expect(second.json.lease_id).not.toBe(first.json.lease_id)
    await world.ledger.advance(61)
    await world.broker.sweep.once()
    expect((await world.take(holder, { key: 'again' })).status).toBe(200)
  })

  test('of 40 who ask with it at once at two servers one gets a lease, and the others in the flight theirs', async () => {
    const holder = await world.holder()
    const asks = Array.from({ length: 40 }, (_, i) =>
      world.take(holder, { second: i % 2 === 0, ...(i % 4 !== 3 && { key: 'race' }) }),
    )
    const answers = await Promise.all(asks)
    expect(tally(answers)).toEqual({ 200: 11, 409: 29 })
    const [{ lease_id: named }, ...rest] = answers.flatMap(({ status, json }) =>
      status === 409 ? [json.data] : [],
    )
    expect(new Set(rest.map(({ lease_id }: { lease_id: string }) => lease_id))).toEqual(new Set([named]))
    expect(answers.filter(({ json }) => json.lease_id === named)).toHaveLength(1)
    expect(await world.live()).toBe(11)
  })

  test('is refused as such also where the quota is full, and holds no place in it', async () => {
    await world.quota('lease-count', 'three', { max_leases: 3 })
    const holder = await world.holder()
    expect((await world.take(holder, { key: 'q' })).status).toBe(200)
    const asks = [
      ...Array.from({ length: 6 }, () => world.take(holder, { key: 'q' })),
      ...Array.from({ length: 2 }, () => world.take(holder)),
    ]
    expect(tally(await Promise.all(asks))).toEqual({ 200: 2, 409: 6 })
    expect((await world.take(holder, { key: 'q' })).status).toBe(409)
    expect((await world.take(holder, { key: 'another' })).status).toBe(429)
  })

  test('while the lease is being issued, refuses and makes no second account', async () => {
    const holder = await world.holder()
    const first = await world.take(holder, { key: 'slow' })
    const id = first.json.lease_id.split('/').at(-1)
    await world.ledger.ledger.query(
      `update leasehold.lease set state = 'issuing', next_action_at = create_deadline where id = '${id}'`,
    )
    const again = await world.take(holder, { key: 'slow' })
    expect(again.status).toBe(409)
    expect(again.json.data).toEqual({ lease_id: first.json.lease_id, state: 'issuing' })
    expect(again.json.errors[0]).toContain('just being issued')
    expect(await world.live()).toBe(1)
  })

  test.each(['', 'x'.repeat(129), 'tab\there'])('that cannot be is refused: %j', async (key) => {
    expect((await world.take(await world.holder(), { key })).status).toBe(400)
    expect(await world.live()).toBe(0)
  })

  test('is kept as its hash only', async () => {
    await world.take(await world.holder(), { key: 'my-secret-key' })
    expect(
      await world.count(`from leasehold.lease where idempotency_key = sha256('my-secret-key'::bytea)`),
    ).toBe(1)
  })
})
