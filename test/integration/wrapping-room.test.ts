import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { newSigningKey, startJwksServer } from '../support/oidc-issuer.ts'

// How much may wait wrapped: of one principal 8 MiB, and not a byte more.

let at: TestBroker
beforeAll(async () => {
  at = await openTestBroker()
  const policy = `path "database/creds/*" { capabilities = ["read"] }
    path "auth/token/create" { capabilities = ["update"] }`
  await at.api('PUT', 'sys/policies/acl/taker', { policy })
})
afterAll(() => at.close())
afterEach(async () => {
  await at.ledger.ledger.query('delete from leasehold.wrapped')
})

const ROOM = 8 * 1_024 * 1_024
const WRAP = { 'X-Vault-Wrap-TTL': '60' }
const REFUSED = [
  429,
  {
    errors: [
      'too much waits wrapped: at most 8 MiB of one principal, each answer counting as 1 KiB at least; unwrap some of it, or wrap for a shorter time',
    ],
  },
]

async function made(by = at.root, fields: object = { policies: ['taker', 'default'] }): Promise<string> {
  const { json } = await at.api('POST', 'auth/token/create', fields, { 'X-Vault-Token': by })
  return json.auth.client_token
}
const wrap = (token: string, fields: object = {}, ttl = '60') =>
  at.api('POST', 'sys/wrapping/wrap', fields, { 'X-Vault-Token': token, 'X-Vault-Wrap-TTL': ttl })
const unwrap = (token: string, headers = {}) =>
  at.api('POST', 'sys/wrapping/unwrap', undefined, { 'X-Vault-Token': token, ...headers })
/** Near the megabyte that a body may have: nine fit, and a tenth does not. */
const BIG = { filler: 'x'.repeat(900_000) }
const bytes = async () => {
  const { rows } = await at.ledger.ledger.query<{ n: number; bytes: number }>(
    `select count(*)::int as n, coalesce(sum(greatest(octet_length(sealed), 1024)), 0)::int as bytes from leasehold.wrapped`,
  )
  return rows[0] ?? { n: Number.NaN, bytes: Number.NaN }
}
/** As if so many small answers of whoever last wrapped one were waiting. */
const multiply = (times: number) =>
  at.ledger.ledger.query(
    `insert into leasehold.wrapped
     select sha256(convert_to('row ' || n, 'utf8')), 'row ' || n, '\\x00', creation_path, ttl_seconds,
       created_at, expires_at, principal_id
     from (select * from leasehold.wrapped order by created_at desc limit 1) w, generate_series(1, $1) n`,
    [times],
  )

test('large bodies are refused once they fill it, and the refusal says why', async () => {
  const token = await made()
  const statuses = []
  for (let i = 0; i < 9; i += 1) statuses.push((await wrap(token, BIG, '768h')).status)
  expect(statuses).toEqual(Array(9).fill(200))
  const { status, json, headers } = await wrap(token, BIG, '768h')
  expect([status, json]).toEqual(REFUSED)
  expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
  const held = await bytes()
  expect([held.n, held.bytes <= ROOM]).toEqual([9, true])
  expect((await wrap(token)).status, 'what still fits is kept').toBe(200)
  expect((await wrap(await made(), BIG)).status, 'another has room of its own').toBe(200)
})

test('small answers count as 1 KiB', async () => {
  const token = await made()
  expect((await wrap(token)).status).toBe(200)
  await multiply(ROOM / 1_024 - 2)
  expect((await wrap(token)).status).toBe(200)
  expect((await wrap(token)).status).toBe(429)
})

test('of thirty at once as many are kept as fit', async () => {
  const token = await made()
  const answers = await Promise.all(Array.from({ length: 30 }, () => wrap(token, BIG)))
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(9)
  expect(answers.filter(({ status }) => status === 429)).toHaveLength(21)
  expect((await bytes()).bytes).toBeLessThanOrEqual(ROOM)
})

test('what is fetched, or over, makes room, also before the sweep', async () => {
  const token = await made()
  const kept = (await wrap(token)).json.wrap_info.token
  await multiply(ROOM / 1_024 - 1)
  expect((await wrap(token)).status).toBe(429)
  expect((await unwrap(kept)).status).toBe(200)
  expect((await wrap(token)).status).toBe(200)
  expect((await wrap(token)).status).toBe(429)
  await at.ledger.advance(61)
  expect((await wrap(token)).status).toBe(200)
  expect((await bytes()).n, 'what is over is gone').toBe(1)
})

test('making more tokens makes no more room', async () => {
  const token = await made()
  await wrap(token)
  await multiply(ROOM / 1_024 - 1)
  const child = await made(token, {})
  expect((await wrap(await made(child, {}))).status).toBe(429)
})

test('to exchange a wrapping token takes none, and gives none', async () => {
  const token = await made()
  const kept = (await wrap(token)).json.wrap_info.token
  await multiply(ROOM / 1_024 - 1)
  const rewrapped = await at.api('POST', 'sys/wrapping/rewrap', undefined, { 'X-Vault-Token': kept })
  expect(rewrapped.status).toBe(200)
  expect((await wrap(token)).status).toBe(429)
  const again = await unwrap(rewrapped.json.wrap_info.token, WRAP)
  expect([again.status, again.json.data]).toEqual([200, null])
  expect((await wrap(token)).status, 'what is unwrapped to wait again counts as before').toBe(429)
  expect((await unwrap(again.json.wrap_info.token)).json.data).toEqual({})
  expect((await wrap(token)).status).toBe(200)
})

test('a credential that has no room is not handed out, and its lease is undone', async () => {
  const token = await made()
  await wrap(token)
  await multiply(ROOM / 1_024 - 1)
  const { status, json } = await at.api('GET', 'database/creds/app', undefined, {
    ...WRAP,
    'X-Vault-Token': token,
  })
  expect([status, json]).toEqual(REFUSED)
  await at.broker.api.settled()
  const { rows } = await at.ledger.ledger.query(
    `select from leasehold.lease where state in ('issuing', 'active')`,
  )
  expect(rows).toEqual([])
})

test('a login that is wrapped takes the room of whoever logs in', async () => {
  const key = await newSigningKey('first')
  const issuer = await startJwksServer([key])
  await at.api('POST', 'sys/auth/ci', { type: 'jwt' })
  await at.api('POST', 'auth/ci/config', { jwks_url: issuer.url, jwt_supported_algs: 'ES256' })
  await at.api('POST', 'auth/ci/role/build', { user_claim: 'sub', bound_audiences: 'us' })
  const iat = Math.floor(Date.now() / 1_000)
  const logIn = async (sub: string, headers: Record<string, string> = WRAP) => {
    const jwt = await key.sign({ sub, aud: 'us', iat, exp: iat + 300 })
    return at.api('POST', 'auth/ci/login', { role: 'build', jwt }, { ...headers, 'X-Vault-Token': '' })
  }
  expect((await logIn('one')).status).toBe(200)
  await multiply(ROOM / 1_024 - 1)
  expect((await logIn('one')).status).toBe(429)
  expect((await logIn('other')).status).toBe(200)
  const { json } = await logIn('one', {})
  expect((await wrap(json.auth.client_token)).status).toBe(429)
  await issuer.stop()
})
