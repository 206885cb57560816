import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lockPerson } from '../../src/ledger/identity-events.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import {
  faults,
  type JwksServer,
  newSigningKey,
  type SigningKey,
  startJwksServer,
} from '../support/oidc-issuer.ts'
import { until } from '../support/processes.ts'
import { AUDIENCE, CAEP, RISC, type Transmitter, transmitter } from '../support/security-events.ts'
import { type OidcWorld, openOidcWorld } from './auth-oidc-world.ts'

// Security Event Tokens as they come in: which are taken, and what is said of the others.

const ISSUER = 'https://issuer.example'
const EVENTS = { [`${RISC}account-disabled`]: {} }
const sub_id = { format: 'iss_sub', iss: ISSUER, sub: 'ada' }

let at: TestBroker
let key: SigningKey
let keys: JwksServer
let idp: Transmitter

beforeAll(async () => {
  at = await openTestBroker()
  key = await newSigningKey('events')
  keys = await startJwksServer([key])
  await at.api('POST', 'sys/auth/jwt', { type: 'jwt' })
  await configure()
  idp = transmitter(at, { issuer: ISSUER, key, mount: 'jwt' })
})
afterAll(async () => {
  await at.close()
  await keys.stop()
})

const configure = async (changes: object = {}) => {
  const config = { jwks_url: keys.url, bound_issuer: ISSUER, event_audience: AUDIENCE, ...changes }
  expect((await at.api('POST', 'auth/jwt/config', config)).text).toBe('')
}

const kept = async () => {
  const { rows } = await at.ledger.ledger.query<{ events: number; people: number }>(
    `select (select count(*) from leasehold.security_event) as events,
       (select count(*) from leasehold.disabled_person) as people`,
  )
  return rows[0]
}

describe('a token that is not taken leaves nothing, and its sender hears why', () => {
  const seconds = async (offset: number) => Math.floor((await at.ledger.now()).getTime() / 1_000) + offset

  type Changed = Record<string, unknown>
  const claims: [string, () => Promise<Changed> | Changed, string][] = [
    ['of another issuer', () => ({ iss: 'https://elsewhere.example' }), 'invalid_issuer'],
    ['of no issuer', () => ({ iss: undefined }), 'invalid_issuer'],
    ['for another audience', () => ({ aud: 'https://elsewhere.example' }), 'invalid_audience'],
    ['for nobody', () => ({ aud: undefined }), 'invalid_audience'],
    ['without a jti', () => ({ jti: undefined }), 'invalid_request'],
    ['with an endless jti', () => ({ jti: 'x'.repeat(257) }), 'invalid_request'],
    ['with a jti that is no text', () => ({ jti: 5 }), 'invalid_request'],
    ['without a date', () => ({ iat: undefined }), 'invalid_request'],
    ['of tomorrow', async () => ({ iat: await seconds(86_400) }), 'invalid_request'],
    ['of last month', async () => ({ iat: await seconds(-30 * 86_400) }), 'invalid_request'],
    ['not good yet', async () => ({ nbf: await seconds(600) }), 'invalid_request'],
    ['good no more', async () => ({ exp: await seconds(-600) }), 'invalid_request'],
    ['without events', () => ({ events: undefined }), 'invalid_request'],
    ['with a list of events', () => ({ events: [EVENTS] }), 'invalid_request'],
    ['with an empty map', () => ({ events: {} }), 'invalid_request'],
    [
      'with an event that is no map',
      () => ({ events: { [`${RISC}account-disabled`]: true } }),
      'invalid_request',
    ],
    [
      'with more events than one thing can be',
      () => ({ events: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`urn:e:${i}`, {}])) }),
      'invalid_request',
    ],
  ]
  test.each(claims)('%s', async (_, changed, err) => {
    const before = await kept()
    const answer = await idp.push(await idp.token({ sub_id, events: EVENTS, ...(await changed()) }))
    expect(answer, answer.text).toMatchObject({ status: 400, json: { err } })
    expect(Object.keys(answer.json)).toEqual(['err', 'description'])
    expect(answer.headers.get('content-language')).toBe('en')
    expect(await kept()).toEqual(before)
  })

  const unsigned = (alg: string, token: string): string => {
    const [, payload] = token.split('.')
    const header = Buffer.from(JSON.stringify({ alg, typ: 'secevent+jwt', kid: 'events' })).toString(
      'base64url',
    )
    const signed = `${header}.${payload}`
    // The public key, which everybody knows, as if it were a secret shared with the issuer.
    const secret = JSON.stringify(key.jwk)
    return `${signed}.${alg === 'none' ? '' : createHmac('sha256', secret).update(signed).digest('base64url')}`
  }
  const good = () => idp.token({ sub_id, events: EVENTS })
  const tokens: [string, () => Promise<string> | string, string][] = [
    ['nothing at all', () => '', 'invalid_request'],
    ['no token', () => 'account disabled', 'invalid_request'],
    ['longer than any token', () => 'x'.repeat(16 * 1_024 + 1), 'invalid_request'],
    ['signed by nobody', async () => unsigned('none', await good()), 'invalid_key'],
    ['signed by a secret', async () => unsigned('HS256', await good()), 'invalid_key'],
    [
      'signed by another key under the name of the right one',
      async () => idp.token({ sub_id, events: EVENTS }, { by: await newSigningKey('events') }),
      'authentication_failed',
    ],
    [
      'signed by a key that the issuer does not know',
      async () => idp.token({ sub_id, events: EVENTS }, { by: await newSigningKey('stranger') }),
      'invalid_key',
    ],
    [
      'changed on its way',
      async () => {
        const [header, , signature] = (await good()).split('.')
        const other = Buffer.from(JSON.stringify({ iss: ISSUER, sub_id, events: EVENTS })).toString(
          'base64url',
        )
        return `${header}.${other}.${signature}`
      },
      'authentication_failed',
    ],
    [
      'an id token, which is no event',
      () => idp.token({ sub: 'ada', sub_id, events: EVENTS }, { header: { typ: 'JWT' } }),
      'invalid_request',
    ],
    [
      'of no type',
      () => idp.token({ sub_id, events: EVENTS }, { header: { typ: undefined } }),
      'invalid_request',
    ],
  ]
  test.each(tokens)('%s', async (_, made, err) => {
    const before = await kept()
    const answer = await idp.push(await made())
    expect(answer, answer.text).toMatchObject({ status: 400, json: { err } })
    expect(await kept()).toEqual(before)
  })

  test('and is on record with the reason, and without the token', async () => {
    const token = await idp.token({ sub_id, events: EVENTS, jti: 'never-taken', aud: 'somebody-else' })
    const answer = await idp.push(token)
    const id = answer.headers.get('leasehold-request-id')
    const { rows } = await at.ledger.ledger.query<{ body: string }>(
      'select body from leasehold.audit_event where strpos(body, $1) > 0',
      [id],
    )
    expect(rows).toHaveLength(1)
    expect(JSON.parse(rows[0]?.body ?? '')).toMatchObject({
      outcome: { status: 400 },
      details: { err: 'invalid_audience', reason: 'wrong_audience' },
    })
    expect(rows[0]?.body).not.toContain(token)
  })
})

test('a token is taken once, however often it comes and to whichever server', async () => {
  const token = await idp.token({ sub_id: { ...sub_id, sub: 'often' }, events: EVENTS })
  const before = await kept()
  const answers = await Promise.all(Array.from({ length: 5 }, () => idp.push(token)))
  expect(answers.map(({ status, text }) => [status, text])).toEqual(answers.map(() => [202, '']))
  expect(await kept()).toEqual({ events: Number(before?.events) + 1, people: Number(before?.people) + 1 })
  // Enabled meanwhile: what was said before is no news.
  await idp.says(`${RISC}account-enabled`, 'often')
  expect((await idp.push(token)).status).toBe(202)
  const { json } = await at.api('LIST', 'break-glass/disabled-people')
  expect((json.data?.people ?? []).map(({ person }: { person: string }) => person)).not.toContain(
    `${ISSUER}#often`,
  )
})

test('as JSON, as `application/secevent+jwt` with parameters, and with a later end it is taken too', async () => {
  const events = { [`${CAEP}session-established`]: {} }
  const asJson = JSON.stringify({ set: await idp.token({ sub_id, events }) })
  expect((await idp.push(asJson, { 'Content-Type': 'application/json' })).status).toBe(202)
  const type = { 'Content-Type': 'Application/SecEvent+JWT; charset=utf-8' }
  expect((await idp.push(`${await idp.token({ sub_id, events })}\n`, type)).status).toBe(202)
  const exp = Math.floor((await at.ledger.now()).getTime() / 1_000) + 600
  expect((await idp.push(await idp.token({ sub_id, events, exp }))).status).toBe(202)
  const full = { header: { typ: 'application/secevent+jwt' } }
  expect((await idp.push(await idp.token({ sub_id, events }, full))).status).toBe(202)
})

test('what is remembered is forgotten once it would be too old to come again', async () => {
  await idp.says(`${CAEP}session-established`, 'ada')
  await idp.says(`${RISC}account-disabled`, 'closed')
  await idp.says(`${RISC}account-disabled`, 'open')
  await idp.says(`${RISC}account-enabled`, 'open')
  const token = await idp.token({ sub_id: { ...sub_id, sub: 'open' }, events: EVENTS })
  await at.ledger.advance(7 * 86_400 + 61)
  await at.broker.sweep.once()
  const { rows } = await at.ledger.ledger.query<{ person: string; disabled: boolean }>(
    `select person, disabled from leasehold.disabled_person where person like '%#closed' or person like '%#open'`,
  )
  expect(rows).toEqual([{ person: `${ISSUER}#closed`, disabled: true }])
  expect(await kept()).toMatchObject({ events: 0 })
  expect(await idp.push(token)).toMatchObject({ status: 400, json: { err: 'invalid_request' } })
})

describe('the configuration of a mount', () => {
  test('is off until it says for whom, and reads as it was written', async () => {
    await configure({ event_audience: '' })
    const refused = await idp.push(await idp.token({ sub_id, events: EVENTS }))
    expect(refused).toMatchObject({ status: 400, json: { err: 'access_denied' } })
    await configure({ event_audience: `${AUDIENCE}, other`, event_issuer: 'https://signals.example' })
    expect((await at.api('GET', 'auth/jwt/config')).json.data).toMatchObject({
      event_audience: [AUDIENCE, 'other'],
      event_issuer: 'https://signals.example',
      event_jwks_url: '',
    })
    const other = transmitter(at, { issuer: 'https://signals.example', key, mount: 'jwt' })
    expect((await idp.push(await idp.token({ sub_id, events: EVENTS }))).json.err).toBe('invalid_issuer')
    const told = await other.token({ sub_id: { ...sub_id, sub: 'told' }, events: EVENTS })
    expect((await other.push(told)).status).toBe(202)
    const { people } = (await at.api('LIST', 'break-glass/disabled-people')).json.data
    // Of the people of the mount's own issuer, whoever transmits.
    expect(people[0]).toMatchObject({ person: `${ISSUER}#told` })
    await configure()
  })

  test('may name other keys than those of logins', async () => {
    const signals = await newSigningKey('signals')
    const server = await startJwksServer([signals])
    try {
      await configure({ event_jwks_url: server.url })
      const events = { [`${CAEP}session-established`]: {} }
      expect((await idp.push(await idp.token({ sub_id, events }))).json.err).toBe('invalid_key')
      expect((await idp.push(await idp.token({ sub_id, events }, { by: signals }))).status).toBe(202)
    } finally {
      await configure()
      await server.stop()
    }
  })

  test.each([
    [{ event_jwks_url: 'ftp://keys.example' }, 'error checking event_jwks_url: it must be an absolute'],
    [{ event_jwks_url: 'http://127.0.0.1:1/jwks' }, 'error checking event_jwks_url: http://127.0.0.1:1/jwks'],
    [
      {
        jwks_url: '',
        jwks_pairs: [{ jwks_url: 'http://127.0.0.1:1/a' }, { jwks_url: 'http://127.0.0.1:1/b' }],
      },
      "'event_jwks_url' must be set where 'event_audience' is and 'jwks_pairs' has several",
    ],
    [{ bound_issuer: '' }, "'event_issuer' or 'bound_issuer' must be set where 'event_audience' is"],
  ])('is refused where it cannot work: %j', async (changes, text) => {
    const config = { jwks_url: keys.url, bound_issuer: ISSUER, event_audience: AUDIENCE, ...changes }
    const answer = await at.api('POST', 'auth/jwt/config', config)
    expect(answer.status).toBe(400)
    expect(answer.text).toContain(text)
  })
})

test('nobody logs in by what is said of them', async () => {
  await at.api('POST', 'auth/jwt/role/any', { user_claim: 'sub', bound_audiences: AUDIENCE })
  const claims = { sub: 'grace', events: { [`${CAEP}session-established`]: {} } }
  const logIn = async (typ: string) =>
    at.api('POST', 'auth/jwt/login', { role: 'any', jwt: await idp.token(claims, { header: { typ } }) })
  expect((await logIn('JWT')).status).toBe(200)
  for (const typ of ['secevent+jwt', 'application/SecEvent+JWT']) {
    const answer = await logIn(typ)
    expect(answer.status).toBe(400)
    expect(answer.text).toContain('error validating token')
  }
})

test('an address tells nothing of the people of another issuer, beyond the mount that goes by it', async () => {
  const elsewhere = 'https://elsewhere.example'
  // Logins of any issuer whose keys these are, and events of one of them.
  const mixed = { jwks_url: keys.url, event_issuer: ISSUER, event_audience: AUDIENCE }
  const mounts = { mixed, others: { jwks_url: keys.url, bound_issuer: elsewhere } }
  for (const [mount, config] of Object.entries(mounts)) {
    await at.api('POST', `sys/auth/${mount}`, { type: 'jwt' })
    expect((await at.api('POST', `auth/${mount}/config`, config)).text).toBe('')
    const user_claim = mount === 'mixed' ? 'email' : 'sub'
    await at.api('POST', `auth/${mount}/role/any`, { user_claim, bound_audiences: AUDIENCE })
  }
  const logIn = async (mount: string, iss: string) => {
    const claims = { iss, sub: 'eve', email: 'eve@example.com' }
    const jwt = await idp.token(claims, { header: { typ: 'JWT' } })
    const answer = await at.api('POST', `auth/${mount}/login`, { role: 'any', jwt }, { 'X-Vault-Token': '' })
    expect(answer, answer.text).toMatchObject({ status: 200 })
    const token = answer.json.auth.client_token
    return async () =>
      (await at.api('GET', 'auth/token/lookup-self', undefined, { 'X-Vault-Token': token })).status
  }
  const byAddress = transmitter(at, { issuer: ISSUER, key, mount: 'mixed' })
  const revoke = () =>
    byAddress.says(
      `${CAEP}session-revoked`,
      '',
      {},
      { sub_id: { format: 'email', email: 'eve@example.com' } },
    )
  const [here, there] = [await logIn('mixed', elsewhere), await logIn('others', elsewhere)]
  await revoke()
  expect([await here(), await there()]).toEqual([403, 200])
  // Of its own it tells, whoever else has come by the address since.
  const own = await logIn('jwt', ISSUER)
  await logIn('mixed', ISSUER)
  await logIn('mixed', elsewhere)
  await revoke()
  expect([await own(), await there()]).toEqual([403, 200])
})

test('whoever wants several names of people takes them in one order', async () => {
  const { ledger } = at.ledger
  const hashOf = async (name: string) => {
    const { rows } = await ledger.query<{ hash: string }>('select hashtextextended($1, 0)::text as hash', [
      `person ${name}`,
    ])
    return BigInt(rows[0]?.hash ?? '')
  }
  // Two whose hashes are in the other order than they are.
  let names = ['a-0', 'b-0']
  const isTwisted = async ([a = '', b = '']: string[]) => (await hashOf(a)) > (await hashOf(b))
  for (let n = 1; !(await isTwisted(names)); n += 1) names = [`a-${n}`, `b-${n}`]
  const [id = '', person = ''] = names

  const { wanting, rows } = await ledger.transaction(async (db) => {
    await lockPerson(db, { id: '', person })
    const wanting = ledger.transaction((other) => lockPerson(other, { id, person }))
    await until('it waits', async () => {
      const { rows } = await ledger.query(
        `select from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
         where l.locktype = 'advisory' and not l.granted`,
      )
      return rows.length > 0
    })
    const { rows } = await ledger.query<{ free: boolean }>(
      'select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as free',
      [`person ${id}`],
    )
    return { wanting, rows }
  })
  await wanting
  expect(rows).toEqual([{ free: true }])
})

test('when the keys of the issuer cannot be had, the sender is to try again', async () => {
  const server = await startJwksServer([key])
  try {
    await configure({ event_jwks_url: server.url })
    server.behave(faults.fails)
    expect((await idp.push(await idp.token({ sub_id, events: EVENTS }))).status).toBe(503)
  } finally {
    await configure()
    await server.stop()
  }
})

test('strangers are heard so many times and no more, and leave one event for all the rest', async () => {
  const token = await idp.token({ sub_id, events: EVENTS }, { by: await newSigningKey('events') })
  const statuses: number[] = []
  for (let round = 0; round < 16; round += 1) {
    const answers = await Promise.all(Array.from({ length: 25 }, () => idp.push(token)))
    statuses.push(...answers.map(({ status }) => status))
  }
  expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(50)
  expect(statuses.filter((status) => status === 400).length).toBeGreaterThanOrEqual(290)
  const { rows } = await at.ledger.ledger.query<{ body: string }>(
    `select body from leasehold.audit_event where strpos(body, '"status":429') > 0`,
  )
  expect(rows).toHaveLength(1)
})

describe('at a real provider', () => {
  let world: OidcWorld
  let provider: Transmitter
  beforeAll(async () => {
    world = await openOidcWorld()
    await world.mount('staff', { event_audience: AUDIENCE })
    await world.role('people', { user_claim: 'email', oidc_scopes: 'groups,email' }, 'staff')
    const { at, key, provider: issuer } = world
    provider = transmitter(at, { issuer: issuer.issuer, key, mount: 'staff' })
  })
  afterAll(() => world.close())

  const isIn = async (auth: { client_token: string }) =>
    (await world.as(auth)('GET', 'auth/token/lookup-self')).status

  test('who was disabled is out on every mount of it, and comes in again when enabled', async () => {
    const [alice, elsewhere] = [await world.logIn('alice', 'people', 'staff'), await world.logIn('alice')]
    const bob = await world.logIn('bob')
    await provider.says(`${RISC}account-disabled`, 'alice')
    expect([await isIn(alice), await isIn(elsewhere), await isIn(bob)]).toEqual([403, 403, 200])
    for (const mount of ['staff', 'oidc']) {
      const answer = await world.callback(
        await world.signIn(await world.begin({}, mount), { name: 'alice' }),
        mount,
      )
      expect(answer).toMatchObject({ status: 400 })
      expect(answer.json.errors).toEqual(['login refused: the issuer has disabled this account'])
    }
    await provider.says(`${RISC}account-enabled`, 'alice')
    expect(await isIn(await world.logIn('alice'))).toBe(200)
  })

  test('an address names somebody where the mount goes by it, whether or not they are in', async () => {
    const byAddress = { format: 'email', email: 'bob@example.com' }
    const bob = await world.logIn('bob', 'people', 'staff')
    const elsewhere = await world.logIn('bob')
    await provider.says(`${CAEP}session-revoked`, '', {}, { sub_id: byAddress })
    expect([await isIn(bob), await isIn(elsewhere)]).toEqual([403, 403])
    // By now no token stands that would tell who that is.
    await provider.says(`${RISC}account-disabled`, '', {}, { sub_id: byAddress })
    await expect(world.logIn('bob', 'people', 'staff')).rejects.toThrow('disabled this account')
    // Nor as whoever else they are by what their earlier logins say, on this mount or on another.
    await world.role('by-sub', { user_claim: 'sub' }, 'staff')
    await expect(world.logIn('bob', 'by-sub', 'staff')).rejects.toThrow('disabled this account')
    await expect(world.logIn('bob')).rejects.toThrow('disabled this account')
    await provider.says(`${RISC}account-enabled`, '', {}, { sub_id: byAddress })
    expect(await isIn(await world.logIn('bob', 'people', 'staff'))).toBe(200)
    expect(await isIn(await world.logIn('bob', 'by-sub', 'staff'))).toBe(200)
    // Once more while they are in.
    await provider.says(`${RISC}account-disabled`, '', {}, { sub_id: byAddress })
    await expect(world.logIn('bob')).rejects.toThrow('disabled this account')
    await provider.says(`${RISC}account-enabled`, '', {}, { sub_id: byAddress })
    expect(await isIn(await world.logIn('bob'))).toBe(200)
  })
})
