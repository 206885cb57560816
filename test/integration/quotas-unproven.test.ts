import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { UNPROVEN } from '../../src/http/limits.ts'
import type { TestBroker } from '../support/broker.ts'
import { openQuotaWorld, type QuotaWorld, tally } from './quotas-world.ts'

// Requests that nobody has proven to be theirs: how many one source may send, and how much they leave behind.

let world: QuotaWorld

beforeAll(async () => {
  world = await openQuotaWorld()
  await world.api('POST', 'sys/auth/jwt', { type: 'jwt' })
  await world.ledger.ledger.query(`update public.test_clock set stopped_at = date_trunc('second', now())`)
})
afterAll(() => world.close())
beforeEach(() => world.ledger.advance(3_600))

type Ask = Parameters<TestBroker['api']>
const as = (token: string) => ({ 'X-Vault-Token': token })
const guess = (api = world.api) => api('GET', 'database/creds/app', undefined, as('lh.guessed-token'))
const events = () => world.count('from leasehold.audit_event')
/** Of those that were turned away, what is on record. */
const refusals = async () => {
  const { rows } = await world.ledger.ledger.query<{ body: string }>(
    `select body from leasehold.audit_event where body::jsonb -> 'outcome' ->> 'status' = '429'`,
  )
  return rows.map(({ body }) => JSON.parse(body))
}
const counted = async (): Promise<number> => {
  const { rows } = await world.ledger.ledger.query<{ taken: number }>(
    `select taken::int from leasehold.rate_count
     where counter = 'unproven-requests' and free_at > leasehold.ledger_now()`,
  )
  return rows[0]?.taken ?? 0
}
/** As if so many had been sent. */
const countUpTo = async (taken: number) => {
  await guess()
  await world.ledger.ledger.query(
    `update leasehold.rate_count set taken = $1 where counter = 'unproven-requests'`,
    [taken],
  )
}

test('so many with a bad token or none are answered, on both servers together, and the rest cost little', async () => {
  const answers = []
  for (let i = 0; i < UNPROVEN.max; i += 50) {
    const asked = Array.from({ length: 50 }, (_, j) => guess(j % 2 ? world.second : world.api))
    answers.push(...(await Promise.all(asked)))
  }
  expect(tally(answers)).toEqual({ 403: UNPROVEN.max })

  const refused = await guess()
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '60'])
  expect(refused.json).toEqual({ errors: ['too many requests without a good token; try again later'] })
  expect((await guess(world.second)).status).toBe(429)
  expect(await refusals()).toMatchObject([
    {
      who: { source_address: '127.0.0.1' },
      what: { path: 'database/creds/app' },
      details: { limited_by: { limit: 'unproven-requests', counted_by: 'ip', max: UNPROVEN.max } },
    },
  ])

  // Neither an event nor a count is written for those that come after.
  const before = [await events(), await counted()]
  const more = await Promise.all(
    Array.from({ length: 40 }, (_, j) => guess(j % 2 ? world.second : world.api)),
  )
  expect(tally(more)).toEqual({ 429: 40 })
  expect([await events(), await counted()]).toEqual(before)

  // Who is proven asks on as before.
  const holder = await world.holder()
  expect((await world.api('GET', 'sys/mounts')).status).toBe(200)
  expect((await world.api('GET', 'sys/mounts', undefined, as(holder.token))).status).toBe(403)
  expect((await world.api('GET', 'sys/health', undefined, as('lh.guessed-token'))).status).toBe(200)

  await world.ledger.advance(UNPROVEN.windowSeconds)
  expect((await guess()).status).toBe(403)
})

describe('over the limit', () => {
  test.each<[string, ...Ask]>([
    ['no token', 'GET', 'database/creds/app', undefined, as('')],
    ['no token, on a path that is not there', 'GET', 'nowhere/at/all', undefined, as('')],
    ['no token, on a path that needs none but for that', 'POST', 'sys/health', {}, as('')],
    ['a bad token', 'POST', 'database/roles/app', { db_name: 'db' }, as('lh.guessed-token')],
    ['a bad wrapping token', 'POST', 'sys/wrapping/unwrap', {}, as('lh.guessed-token')],
    ['a bad wrapping token to look up', 'POST', 'sys/wrapping/lookup', { token: 'lh.guessed' }, as('')],
    ['a login of no form', 'POST', 'auth/jwt/login', { role: { a: 1 } }, as('')],
  ])('%s counts, and is refused with one event for all', async (_, ...ask) => {
    await countUpTo(UNPROVEN.max - 1)
    const last = await world.api(...ask)
    expect(last.status).toBeGreaterThanOrEqual(400)
    expect(last.status).toBeLessThan(429)
    expect(await counted()).toBe(UNPROVEN.max)
    const before = await events()
    for (let i = 0; i < 5; i += 1) {
      expect((await (i % 2 ? world.second : world.api)(...ask)).status).toBe(429)
    }
    expect(await events()).toBe(before + 1)
  })

  test('a good wrapping token opens what it is for, and logins are heard', async () => {
    const wrapped = await world.api(
      'POST',
      'sys/wrapping/wrap',
      { note: 'kept' },
      { 'X-Vault-Wrap-TTL': '60' },
    )
    await countUpTo(UNPROVEN.max + 1)
    const token = wrapped.json.wrap_info.token
    expect((await world.api('POST', 'sys/wrapping/lookup', { token }, as(''))).status).toBe(200)
    const opened = await world.api('POST', 'sys/wrapping/unwrap', {}, as(token))
    expect([opened.status, opened.json.data]).toEqual([200, { note: 'kept' }])
    const login = { role: 'app', jwt: 'no.such.token' }
    expect((await world.api('POST', 'auth/jwt/login', login, as(''))).status).toBe(400)
  })

  test('of one address, others of another network are heard', async () => {
    await countUpTo(UNPROVEN.max + 1)
    expect((await guess()).status).toBe(429)
    await world.ledger.ledger.query(
      `update leasehold.rate_count set key = '192.0.2.1' where counter = 'unproven-requests'`,
    )
    expect((await guess(world.second)).status).toBe(403)
  })
})

describe('on record', () => {
  const recorded = async (...ask: Ask): Promise<{ text: string; event: { what: object } }> => {
    const answer = await world.api(...ask)
    const { rows } = await world.ledger.ledger.query<{ body: string }>(
      `select body from leasehold.audit_event where body::jsonb->>'request_id' = $1`,
      [answer.headers.get('leasehold-request-id')],
    )
    const [row] = rows
    if (rows.length !== 1 || !row) throw new Error(`${rows.length} events for ${answer.status}`)
    return { text: row.body, event: JSON.parse(row.body) }
  }
  const many = Object.fromEntries(
    Array.from({ length: 200 }, (_, i) => [`name-${i}-${'x'.repeat(200)}`, 'y'.repeat(200)]),
  )

  test('a bad token leaves names, few and short, and a short path', async () => {
    const fields = { db_name: 'db', password: 'guessed', ...many }
    const path = `database/roles/${'z'.repeat(4_000)}`
    const { text, event } = await recorded('POST', path, fields, as('lh.guessed-token'))
    expect(event.what).toMatchObject({ parameters: { db_name: '[cut]', password: '[cut]', '[cut]': true } })
    expect(text.length).toBeLessThan(1_500)
  })

  test('a refused login leaves what it takes, and as little of anything else', async () => {
    const fields = { role: 'app', jwt: 'no.such.token', ...many, deep: { a: [1] } }
    const { text, event } = await recorded('POST', 'auth/jwt/login', fields, as(''))
    expect(event.what).toMatchObject({
      parameters: { role: 'app', jwt: expect.stringMatching(/^hmac-sha256:/), '[cut]': true },
    })
    expect(text.length).toBeLessThan(1_500)
    const nested = await recorded('POST', 'auth/jwt/login', { role: Object.keys(many), jwt: many }, as(''))
    expect(nested.event.what).toMatchObject({ parameters: { role: '[cut]', jwt: '[cut]' } })
    expect(nested.text.length).toBeLessThan(1_500)
  })

  test('who is proven has everything on record, as ever', async () => {
    const { event } = await recorded('GET', 'sys/mounts?list=false&other=x')
    expect(event.what).toMatchObject({ parameters: { other: expect.stringMatching(/^hmac-sha256:/) } })
  })
})
