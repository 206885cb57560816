import { once } from 'node:events'
import { connect } from 'node:net'
import nodeVault from 'node-vault'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createWrapping } from '../../src/identity/wrapping.ts'
import { type ApiAnswer, openTestBroker, type TestBroker } from '../support/broker.ts'
import { newSigningKey, startJwksServer } from '../support/oidc-issuer.ts'

let at: TestBroker
beforeAll(async () => {
  at = await openTestBroker()
})
afterAll(() => at.close())

const WRAP = { 'X-Vault-Wrap-TTL': '60' }
const wrap = async (fields: object, headers: Record<string, string> = WRAP) =>
  (await at.api('POST', 'sys/wrapping/wrap', fields, headers)).json.wrap_info
/** With the wrapping token as the client token. */
const unwrap = (token: string) => at.api('POST', 'sys/wrapping/unwrap', undefined, { 'X-Vault-Token': token })
const waiting = async () =>
  (await at.ledger.ledger.query<{ id: Buffer }>('select * from leasehold.wrapped order by id')).rows
const liveLeases = async () =>
  (await at.ledger.ledger.query(`select from leasehold.lease where state in ('issuing', 'active')`)).rows
    .length
const tokenWith = async (rules: string) => {
  const name = `p${Math.random().toString(36).slice(2)}`
  await at.api('PUT', `sys/policies/acl/${name}`, { policy: rules })
  const { json } = await at.api('POST', 'auth/token/create', { policies: [name], no_default_policy: true })
  return json.auth.client_token as string
}

const shown = ({ status, json }: ApiAnswer) => [status, json]
const NOT_VALID = [400, { errors: ['wrapping token is not valid or does not exist'] }]
const DENIED = [403, { errors: ['1 error occurred:\n\t* permission denied\n\n'] }]
const BAD_TOKEN = [403, { errors: ['2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n'] }]

describe('a wrapped answer', () => {
  test('is a token in its place, in the dialect’s form, and is had once, as it was', async () => {
    const answer = await at.api('GET', 'database/roles/app', undefined, WRAP)
    const { wrap_info, ...rest } = answer.json
    expect([answer.status, rest]).toEqual([
      200,
      {
        request_id: '',
        lease_id: '',
        renewable: false,
        lease_duration: 0,
        data: null,
        warnings: null,
        auth: null,
        mount_type: 'database',
      },
    ])
    expect(wrap_info).toEqual({
      token: expect.stringMatching(/^lh\.[0-9A-Za-z]{32}$/),
      accessor: expect.stringMatching(/^[0-9a-z]{24}$/),
      ttl: 60,
      creation_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      creation_path: 'database/roles/app',
    })

    const plain = await at.api('GET', 'database/roles/app')
    const unwrapped = await unwrap(wrap_info.token)
    expect(unwrapped.status).toBe(200)
    expect(unwrapped.headers.get('content-type')).toBe('application/json')
    expect(unwrapped.json).toEqual({ ...plain.json, request_id: answer.headers.get('leasehold-request-id') })
    expect(shown(await unwrap(wrap_info.token))).toEqual(NOT_VALID)
  })

  test.each(['1m', '60s', '60', 'PT', '0.2', '-1', '900h', '1,1'])('with the TTL "%s"', async (ttl) => {
    const before = await waiting()
    const { status, json } = await at.api('GET', 'database/roles/app', undefined, { 'X-Vault-Wrap-TTL': ttl })
    if (/^(1m|60s?)$/.test(ttl)) return expect([status, json.wrap_info.ttl]).toEqual([200, 60])
    expect([status, json.errors]).toEqual([
      400,
      [expect.stringMatching(/^error parsing X-Vault-Wrap-TTL header: /)],
    ])
    expect(await waiting()).toEqual(before)
  })

  test.each(['0', '', '0s'])('is not wrapped with the TTL "%s"', async (ttl) => {
    const { json } = await at.api('GET', 'database/roles/app', undefined, { 'X-Vault-Wrap-TTL': ttl })
    expect([json.wrap_info, json.data.db_name]).toEqual([null, 'db'])
  })

  test('as a JWT is refused, and nothing is issued', async () => {
    const before = [await liveLeases(), await waiting()]
    const headers = { ...WRAP, 'X-Vault-Wrap-Format': 'jwt' }
    const { status, json } = await at.api('GET', 'database/creds/app', undefined, headers)
    expect([status, json.errors[0]]).toEqual([400, expect.stringContaining('X-Vault-Wrap-Format: jwt')])
    expect([await liveLeases(), await waiting()]).toEqual(before)
  })

  test('of nothing, of an error and of what anyone may read is none', async () => {
    const before = await waiting()
    const written = await at.api('POST', 'database/roles/other', { db_name: 'db', member_of: 'g' }, WRAP)
    expect([written.status, written.text]).toEqual([204, ''])
    const missing = await at.api('GET', 'database/roles/none', undefined, WRAP)
    expect(shown(missing)).toEqual([404, { errors: [] }])
    const refused = await at.api('POST', 'sys/leases/renew', {}, WRAP)
    expect(shown(refused)).toEqual([400, { errors: ['lease_id must be specified'] }])
    const denied = await at.api('GET', 'database/creds/app', undefined, { ...WRAP, 'X-Vault-Token': 'no' })
    expect(shown(denied)).toEqual(BAD_TOKEN)
    expect((await at.api('GET', 'sys/health', undefined, WRAP)).json.initialized).toBe(true)
    expect((await at.api('GET', 'sys/leasehold/jwks', undefined, WRAP)).json.keys).toHaveLength(1)
    expect(await waiting()).toEqual(before)
  })

  test('of a new token names its accessor, and holds the token', async () => {
    const { json } = await at.api('POST', 'auth/token/create', { ttl: '5m' }, WRAP)
    const { auth } = (await unwrap(json.wrap_info.token)).json
    expect(json.wrap_info.wrapped_accessor).toBe(auth.accessor)
    expect(
      (await at.api('GET', 'auth/token/lookup-self', undefined, { 'X-Vault-Token': auth.client_token }))
        .status,
    ).toBe(200)
  })

  test('of a login, which needs no token, is one, and names the accessor', async () => {
    const key = await newSigningKey('first')
    const issuer = await startJwksServer([key])
    await at.api('POST', 'sys/auth/ci', { type: 'jwt' })
    await at.api('POST', 'auth/ci/config', { jwks_url: issuer.url, jwt_supported_algs: 'ES256' })
    await at.api('POST', 'auth/ci/role/build', { user_claim: 'sub', bound_audiences: 'us' })
    const iat = Math.floor(Date.now() / 1_000)
    const jwt = await key.sign({ sub: 'build', aud: 'us', iat, exp: iat + 300 })
    const headers = { ...WRAP, 'X-Vault-Token': '' }
    const { json } = await at.api('POST', 'auth/ci/login', { role: 'build', jwt }, headers)
    await issuer.stop()
    expect([json.auth, json.wrap_info.creation_path]).toEqual([null, 'auth/ci/login'])
    const { auth } = (await unwrap(json.wrap_info.token)).json
    expect(auth.accessor).toBe(json.wrap_info.wrapped_accessor)
    expect(auth.client_token).toMatch(/^lh\./)
  })

  test('of what more is told to a caller with a token is one', async () => {
    const { json } = await at.api('GET', 'sys/internal/ui/mounts/database/creds/app', undefined, WRAP)
    expect(json.data).toBe(null)
    expect((await unwrap(json.wrap_info.token)).json.data.path).toBe('database/')
  })

  test('of credentials: the lease is live before and after they are fetched', async () => {
    const wrapped = await at.vault.read('database/creds/app', { headers: WRAP })
    const [lease] = (
      await at.ledger.ledger.query<{ id: string; state: string }>(
        'select id, state from leasehold.lease order by issued_at desc limit 1',
      )
    ).rows
    expect(lease?.state).toBe('active')
    expect(JSON.stringify(wrapped)).not.toContain(lease?.id)

    const bearer = nodeVault({ endpoint: at.url, token: wrapped.wrap_info.token })
    const { data, lease_id } = await bearer.unwrap()
    expect(lease_id).toBe(`database/creds/app/${lease?.id}`)
    await (await at.target.logIn(data)).end()
    await expect(bearer.unwrap()).rejects.toThrow('wrapping token is not valid or does not exist')
  })

  test('that does not reach its caller undoes what it made, and is forgotten', async () => {
    const before = [await liveLeases(), await waiting()]
    expect((await at.api('HEAD', 'database/creds/app', undefined, WRAP)).status).toBe(200)
    await at.broker.api.settled()
    expect([await liveLeases(), await waiting()]).toEqual(before)

    const { port } = new URL(at.url)
    const socket = connect({ port: Number(port), host: '127.0.0.1' })
    await once(socket, 'connect')
    const head = `GET /v1/database/creds/app HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${at.root}\r\nX-Vault-Wrap-TTL: 60\r\n\r\n`
    await at.ledger.ledger.transaction(async (db) => {
      // The answer is made, and cannot be put away until its caller has left.
      await db.query('lock table leasehold.wrapped in share mode')
      await new Promise((sent) => socket.write(head, sent))
      await expect.poll(liveLeases).toBeGreaterThan(before[0] as number)
      socket.destroy()
      await at.api('GET', 'sys/health')
    })
    await at.broker.api.settled()
    expect([await liveLeases(), await waiting()]).toEqual(before)
  })

  test('that cannot be kept is not handed out either, and what it made is undone', async () => {
    const before = await liveLeases()
    await at.ledger.ledger.query('alter table leasehold.wrapped rename to elsewhere')
    const { status, text } = await at.api('GET', 'database/creds/app', undefined, WRAP)
    await at.broker.api.settled()
    await at.ledger.ledger.query('alter table leasehold.elsewhere rename to wrapped')
    expect(status).toBe(500)
    expect(text).not.toContain('password')
    expect(await liveLeases()).toBe(before)
  })
})

describe('a wrapping token', () => {
  test('opens nothing when its time is over, by the ledger’s clock', async () => {
    const { token } = await wrap({ a: 1 })
    await at.ledger.advance(59)
    expect((await at.api('GET', 'sys/wrapping/lookup', undefined, { 'X-Vault-Token': token })).status).toBe(
      200,
    )
    await at.ledger.advance(1)
    expect(shown(await at.api('POST', 'sys/wrapping/lookup', { token }))).toEqual(NOT_VALID)
    expect(shown(await at.api('POST', 'sys/wrapping/rewrap', { token }))).toEqual(NOT_VALID)
    expect(shown(await unwrap(token))).toEqual(NOT_VALID)
    const { accessor } = await wrap({ a: 2 })
    await at.broker.sweep.once()
    const { rows } = await at.ledger.ledger.query<{ accessor: string; over: boolean }>(
      'select accessor, expires_at <= leasehold.ledger_now() as over from leasehold.wrapped',
    )
    expect(
      rows.filter(({ over }) => over),
      'the sweep takes away what is over',
    ).toEqual([])
    expect(
      rows.map((row) => row.accessor),
      'and nothing else',
    ).toContain(accessor)
  })

  test('is had by one of twenty who ask at once', async () => {
    const { token } = await wrap({ a: 1 })
    const answers = await Promise.all(Array.from({ length: 20 }, () => unwrap(token)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter((answer) => answer.status === 400).map(shown)).toEqual(Array(19).fill(NOT_VALID))
  })

  test('may do nothing else', async () => {
    const { token } = await wrap({ a: 1 })
    const headers = { 'X-Vault-Token': token }
    for (const [method, path] of [
      ['GET', 'auth/token/lookup-self'],
      ['POST', 'auth/token/renew-self'],
      ['GET', 'database/creds/app'],
      ['POST', 'sys/wrapping/wrap'],
      ['POST', 'sys/capabilities-self'],
    ] as const) {
      expect(shown(await at.api(method, path, method === 'POST' ? {} : undefined, headers))).toEqual(
        BAD_TOKEN,
      )
    }
    expect((await unwrap(token)).json.data).toEqual({ a: 1 })
  })

  test('is shown to whoever has it, by every form of lookup', async () => {
    const { token, creation_time } = await wrap({ a: 1 })
    const data = { creation_ttl: 60, creation_time, creation_path: 'sys/wrapping/wrap' }
    const headers = { 'X-Vault-Token': token }
    expect((await at.api('GET', 'sys/wrapping/lookup', undefined, headers)).json.data).toEqual(data)
    expect((await at.api('PUT', 'sys/wrapping/lookup', undefined, headers)).json.data).toEqual(data)
    expect(
      (await at.api('POST', 'sys/wrapping/lookup', { token }, { 'X-Vault-Token': '' })).json.data,
    ).toEqual(data)
    expect((await at.api('POST', 'sys/wrapping/lookup', { token }, WRAP)).json.data, 'never wrapped').toEqual(
      data,
    )
    expect(shown(await at.api('GET', 'sys/wrapping/lookup', undefined, { 'X-Vault-Token': '' }))).toEqual(
      NOT_VALID,
    )
  })

  test('is exchanged for another, once, with the path and the time it began with', async () => {
    const first = await wrap({ a: 1 })
    const { json } = await at.api('POST', 'sys/wrapping/rewrap', undefined, { 'X-Vault-Token': first.token })
    const { token, creation_path, ttl } = json.wrap_info
    expect([json.data, creation_path, ttl]).toEqual([null, 'sys/wrapping/wrap', 60])
    expect(token).not.toBe(first.token)
    expect(shown(await unwrap(first.token))).toEqual(NOT_VALID)
    const again = await at.api('POST', 'sys/wrapping/rewrap', { token })
    expect((await unwrap(again.json.wrap_info.token)).json.data).toEqual({ a: 1 })
  })

  test('in the body is used by a token that policy lets do it, and by no other', async () => {
    const { token } = await wrap({ a: 1 })
    const able = await tokenWith('path "sys/wrapping/unwrap" { capabilities = ["update"] }')
    const unable = await tokenWith('path "sys/wrapping/wrap" { capabilities = ["update"] }')
    const as = (client: string) =>
      at.api('POST', 'sys/wrapping/unwrap', { token }, { 'X-Vault-Token': client })
    expect(shown(await as(unable))).toEqual(DENIED)
    expect(shown(await as('unknown'))).toEqual(BAD_TOKEN)
    expect(shown(await as(''))).toEqual(BAD_TOKEN)
    expect((await as(able)).json.data).toEqual({ a: 1 })
    expect(shown(await as(able))).toEqual(NOT_VALID)
  })

  test.each<[string, unknown]>([
    ['the root token', undefined],
    ['an unknown text', { token: 'lh.unknown' }],
    ['no text', { token: '' }],
    ['a number', { token: 1 }],
  ])('is not %s', async (_, body) => {
    for (const path of ['unwrap', 'rewrap', 'lookup']) {
      expect(shown(await at.api('POST', `sys/wrapping/${path}`, body))).toEqual(NOT_VALID)
    }
  })

  test('is not a list either', async () => {
    const { status, json } = await at.api('POST', 'sys/wrapping/unwrap', { token: ['a'] })
    expect([status, json.errors[0]]).toEqual([400, expect.stringContaining('field "token"')])
  })

  test('unwrapped to be wrapped again is not shown in the clear', async () => {
    const { token } = await wrap({ secret: 'in-the-clear' })
    const again = await at.api('POST', 'sys/wrapping/unwrap', undefined, { ...WRAP, 'X-Vault-Token': token })
    expect(again.text).not.toContain('in-the-clear')
    expect((await unwrap(again.json.wrap_info.token)).json.data).toEqual({ secret: 'in-the-clear' })
  })
})

describe('sys/wrapping/wrap', () => {
  test('gives back any JSON, without a word about its fields', async () => {
    const fields = { a: [1, { b: null }], 'c d': 'é', wrap_info: 1, deep: { x: true } }
    const { json } = await unwrap((await wrap(fields)).token)
    expect([json.data, json.warnings]).toEqual([fields, null])
    expect((await unwrap((await wrap({})).token)).json.data).toEqual({})
  })

  test('needs a TTL', async () => {
    const answer = await at.api('POST', 'sys/wrapping/wrap', { a: 1 })
    expect(shown(answer)).toEqual([400, { errors: ['endpoint requires response wrapping to be used'] }])
  })
})

test('policy sees the TTL that is asked', async () => {
  const token = await tokenWith(
    'path "sys/wrapping/wrap" { capabilities = ["update"] min_wrapping_ttl = "10s" max_wrapping_ttl = "1m" }',
  )
  const asking = async (ttl: string) =>
    (await at.api('POST', 'sys/wrapping/wrap', {}, { 'X-Vault-Token': token, 'X-Vault-Wrap-TTL': ttl }))
      .status
  expect(await Promise.all(['0', '9', '10', '1m', '61'].map(asking))).toEqual([403, 403, 200, 200, 403])
})

describe('the database', () => {
  test('holds nothing with which a body could be read', async () => {
    const { token } = await wrap({ password: 'the-needle' })
    const [row] = (
      await at.ledger.ledger.query<Record<string, unknown>>(
        'select * from leasehold.wrapped order by created_at desc limit 1',
      )
    ).rows
    const everything = await dump()
    expect(everything).not.toContain('the-needle')
    expect(everything).not.toContain(token)
    for (const value of Object.values(row as object)) {
      for (const form of [String(value), value instanceof Buffer ? value.toString('hex') : '']) {
        expect((await at.api('POST', 'sys/wrapping/unwrap', { token: form || 'x' })).status).toBe(400)
      }
    }
    expect((await unwrap(token)).json.data).toEqual({ password: 'the-needle' })
  })

  test.each([
    ['creation_path', `'database/creds/app'`],
    ['ttl_seconds', '61'],
    ['accessor', `'another'`],
    ['sealed', `set_byte(sealed, 20, get_byte(sealed, 20) # 1)`],
    ['sealed', `substring(sealed from 1 for 5)`],
  ])('with %s made %s gives nothing', async (column, value) => {
    const { accessor, token } = await wrap({ a: 1 })
    await at.ledger.ledger.query(
      `update leasehold.wrapped set ${column} = ${value} where accessor = '${accessor}'`,
    )
    expect(shown(await unwrap(token))).toEqual(NOT_VALID)
  })

  test('says when it cannot be reached', async () => {
    const away = createWrapping({
      ...at.ledger.ledger,
      transaction: async () => {
        throw new Error('away')
      },
    })
    const begun: string[] = []
    const kept = away.wrap('{}', { ttlSeconds: 1, creationPath: 'a', principalId: 'p' }, (token) =>
      begun.push(token.reveal()),
    )
    await expect(kept).rejects.toThrow('away')
    expect(begun, 'what may have been written can be dropped').toHaveLength(1)
  })
})

/** Every row of every table of the ledger, as text. */
async function dump(): Promise<string> {
  const { rows: tables } = await at.ledger.ledger.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'leasehold'`,
  )
  const texts = await Promise.all(
    tables.map(({ name }) => at.ledger.ledger.query(`select t::text from leasehold.${name} t`)),
  )
  return JSON.stringify(texts.map(({ rows }) => rows))
}
