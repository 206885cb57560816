import { createHmac, createPublicKey, type JsonWebKey } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { CompactSign, importJWK } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { faults, newSigningKey, startJwksServer } from '../support/oidc-issuer.ts'
import { AUDIENCE, ISSUER, type JwtWorld, openJwtWorld } from './auth-jwt-world.ts'

// Every kind of bad token and bad issuer: what the wire says, and that the ledger is as it was.

let world: JwtWorld
beforeAll(async () => {
  world = await openJwtWorld()
  await world.role('app', { bound_claims: { environment: 'dev' }, claim_mappings: { run: 'run' } })
  await world.role('subject', { bound_subject: 'build' })
  await world.role('grouped', { groups_claim: 'groups' })
  await world.role('unbound', { bound_audiences: '', bound_subject: 'build' })
  await world.role('person', { role_type: 'oidc', allowed_redirect_uris: 'https://console.example/callback' })
})
afterAll(() => world.close())

const GOOD = { environment: 'dev' }
const good = (claims: Record<string, unknown> = {}) => world.token({ ...GOOD, ...claims })
const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const payloadOf = (jwt: string) => jwt.split('.')[1] ?? ''
const ago = async (seconds: number) => Math.floor((await world.at.ledger.now()).getTime() / 1_000) - seconds
const publicPem = () =>
  createPublicKey({ key: world.key.jwk as JsonWebKey, format: 'jwk' }).export({ type: 'spki', format: 'pem' })

const BAD_TOKEN =
  'error validating token: its signature, algorithm, times, issuer, subject or audience is not what this role accepts'
const BAD_CLAIMS = 'error validating claims: a claim this role asks for is missing or has another value'

/** What is on record of a request. */
async function recordOf(requestId: string | null) {
  const { rows } = await world.at.ledger.ledger.query<{ body: string }>(
    `select body from leasehold.audit_event where body::json ->> 'request_id' = $1`,
    [requestId],
  )
  return rows.map(({ body }) => body)
}

/** Logs in, which must be refused, and must change nothing but the record, where it is once and without the token. */
async function refusal(role: string, data: Record<string, unknown>, mount?: string) {
  const before = await world.census()
  const answer = await world.login(role, data, mount)
  expect(await world.census()).toEqual(before)
  expect(answer.headers.get('content-type')).toBe('application/json')
  expect(Object.keys(answer.json)).toEqual(['errors'])
  const [event, ...more] = await recordOf(answer.headers.get('leasehold-request-id'))
  expect(more).toEqual([])
  expect(JSON.parse(event ?? '{}')).toMatchObject({
    type: 'login',
    who: { source_address: '127.0.0.1' },
    outcome: { status: answer.status, message: answer.json.errors[0] },
  })
  const { jwt } = data
  if (typeof jwt === 'string' && jwt.length > 10) expect(event).not.toContain(jwt.slice(0, 200))
  return [answer.status, ...answer.json.errors]
}

test('a good token logs in, so that what follows is refused for what it says', async () => {
  expect((await world.login('app', { jwt: await good() })).status).toBe(200)
})

describe('a token that must not pass is told nothing about why', () => {
  const forgeries: Record<string, () => Promise<string>> = {
    'signed by a stranger under the issuer’s key id': async () =>
      world.token(GOOD, await newSigningKey('first')),
    'signed by a key the issuer does not have': async () => world.token(GOOD, await newSigningKey('other')),
    'with another payload under the signature of a good one': async () => {
      const [header, , signature] = (await good()).split('.')
      return `${header}.${payloadOf(await good({ sub: 'admin' }))}.${signature}`
    },
    'of algorithm none': async () => `${encoded({ alg: 'none' })}.${payloadOf(await good())}.`,
    'of algorithm None, spelt otherwise': async () =>
      `${encoded({ alg: 'nOnE', kid: 'first' })}.${payloadOf(await good())}.`,
    'with the public key, a JWK, as the secret of an HMAC': async () => {
      const signed = `${encoded({ alg: 'HS256', kid: 'first' })}.${payloadOf(await good())}`
      return `${signed}.${createHmac('sha256', JSON.stringify(world.key.jwk)).update(signed).digest('base64url')}`
    },
    'with the public key, a PEM, as the secret of an HMAC': async () => {
      const signed = `${encoded({ alg: 'HS256' })}.${payloadOf(await good())}`
      return `${signed}.${createHmac('sha256', publicPem()).update(signed).digest('base64url')}`
    },
    'that brings its own key along': async () => {
      const own = await newSigningKey('first')
      return own.sign(
        { ...JSON.parse(Buffer.from(payloadOf(await good()), 'base64url').toString()) },
        { jwk: own.jwk },
      )
    },
    'that says where its key is to be fetched': async () => {
      const own = await newSigningKey('own')
      return own.sign(
        { aud: AUDIENCE, sub: 'build', iat: await ago(0) },
        { kid: 'own', jku: 'http://127.0.0.1:1/jwks' },
      )
    },
    'with an extension that is critical': async () =>
      world.key.sign(
        { aud: AUDIENCE, iss: ISSUER, sub: 'build', iat: await ago(0), ...GOOD },
        { kid: 'first', crit: ['b64'], b64: true },
      ),
    expired: async () => good({ iat: await ago(900), exp: await ago(300) }),
    'not valid yet': async () => good({ nbf: await ago(-600) }),
    'issued in the future': async () => good({ iat: await ago(-600), nbf: await ago(10) }),
    'without any time': async () => good({ iat: undefined, exp: undefined }),
    'for another audience': async () => good({ aud: 'https://elsewhere.example' }),
    'for no audience': async () => good({ aud: [] }),
    'of another issuer': async () => good({ iss: 'https://ci.example.org' }),
    'of the issuer with a slash': async () => good({ iss: `${ISSUER}/` }),
    'that is no token': async () => 'x.y.z',
    'that is a word': async () => 'root',
    'whose payload is a list': async () =>
      new CompactSign(Buffer.from('[]'))
        .setProtectedHeader({ alg: 'ES256', kid: 'first' })
        .sign(await importJWK(world.key.secretJwk, 'ES256')),
    'whose times are texts': async () => good({ exp: 'tomorrow' }),
  }

  test.each(Object.entries(forgeries))('%s', async (_, forge) => {
    expect(await refusal('app', { jwt: await forge() })).toEqual([400, BAD_TOKEN])
  })

  test('about another subject', async () => {
    expect(await refusal('subject', { jwt: await good({ sub: 'Build' }) })).toEqual([400, BAD_TOKEN])
  })

  test('for the moment, within the skew, one is taken', async () => {
    expect((await world.login('app', { jwt: await good({ exp: await ago(50) }) })).status).toBe(200)
    expect(await refusal('app', { jwt: await good({ exp: await ago(70) }) })).toEqual([400, BAD_TOKEN])
  })

  test.each<[string, string, Record<string, unknown>]>([
    ['a bound claim of another value', 'app', { environment: 'prod' }],
    ['a bound claim missing', 'app', { environment: undefined }],
    ['a bound claim that only begins right', 'app', { environment: 'dev2' }],
    ['a mapped claim that is no text', 'app', { run: { id: 1 } }],
    ['no user claim', 'app', { sub: undefined }],
    ['an empty user claim', 'app', { sub: '' }],
    ['a user claim too long for the ledger', 'app', { sub: 'x'.repeat(1_025) }],
    ['no groups', 'grouped', {}],
    ['groups that are none', 'grouped', { groups: [{ name: 'ops' }] }],
  ])('with %s', async (_, role, claims) => {
    expect(await refusal(role, { jwt: await good(claims) })).toEqual([400, BAD_CLAIMS])
  })
})

describe('a login is refused in the words of the contract', () => {
  test.each<[string, string, Record<string, unknown>, unknown[]]>([
    ['no role', '', {}, [400, 'missing role']],
    ['a role there is not', 'nobody', {}, [400, 'role "nobody" could not be found']],
    ['a role that continues behind another’s name', 'app/x', {}, [400, 'role "app/x" could not be found']],
    [
      'a role no ledger could hold',
      'a\u0000b',
      {},
      [400, 'Field validation failed: field "role" holds unstorable characters'],
    ],
    ['no token', 'app', { jwt: '' }, [400, 'missing token']],
    ['a null for a token', 'app', { jwt: null }, [400, 'missing token']],
    [
      'a list of tokens',
      'app',
      { jwt: ['a'] },
      [400, 'Field validation failed: error converting input for field "jwt": expected a string'],
    ],
    ['a role for people', 'person', {}, [400, 'role with oidc role_type is not allowed']],
    [
      'an audience nobody bound',
      'unbound',
      {},
      [400, 'audience claim found in JWT but no audiences bound to the role'],
    ],
    [
      'a token of 17 KiB',
      'app',
      { jwt: `e30.${'x'.repeat(17_408)}.e30` },
      [400, 'error validating token: the token is longer than 16384 bytes'],
    ],
  ])('%s', async (_, role, data, expected) => {
    expect(await refusal(role, data)).toEqual(expected)
  })

  test('a body beyond the limit', async () => {
    const [status] = await refusal('app', { jwt: 'x'.repeat(1_200_000) })
    expect(status).toBe(413)
  })

  test('a name as long as a body is not kept, nor sent back whole', async () => {
    const [status, text] = await refusal('r'.repeat(100_000), {})
    expect(status).toBe(400)
    expect(String(text).length).toBeLessThan(1_000)
  })

  test('no such mount, as anywhere without a token', async () => {
    expect((await world.login('app', {}, 'nowhere')).status).toBe(403)
  })

  test('a mount without a configuration', async () => {
    await world.at.api('POST', 'sys/auth/empty', { type: 'jwt' })
    await world.at.api('POST', 'auth/empty/role/app', { user_claim: 'sub', bound_audiences: AUDIENCE })
    expect(await refusal('app', {}, 'empty')).toEqual([400, 'could not load configuration'])
  })

  test('another method than a write', async () => {
    const { status } = await world.at.api('GET', 'auth/jwt/login')
    expect(status).toBe(405)
  })
})

describe('an issuer that goes wrong', () => {
  const UNREACHABLE =
    'error configuring token validator: the keys of the issuer could not be fetched, so no token can be checked'
  const ways: [string, () => RequestListener, RegExp][] = [
    ['redirects', () => faults.redirects(world.issuer.url), /redirects are not followed/],
    ['sends 10 MB', () => faults.isEndless, /answers more than 524288 bytes/],
    ['fails', () => faults.fails, /answers 500/],
    ['sends no JSON', () => faults.isNotJson, /not JSON/],
    ['hangs', () => faults.hangs, /no whole answer in time/],
  ]

  test.each(ways)('that %s lets nobody in, and is refused as configuration', async (name, how, problem) => {
    const server = await startJwksServer([world.key])
    const path = `faulty-${name.replaceAll(' ', '-')}`
    try {
      await world.at.api('POST', `sys/auth/${path}`, { type: 'jwt' })
      await world.at.api('POST', `auth/${path}/role/app`, { user_claim: 'sub', bound_audiences: AUDIENCE })
      const config = { jwks_url: server.url }
      await world.at.api('POST', `auth/${path}/config`, { ...config, skip_jwks_validation: true })
      server.behave(how())
      expect(await refusal('app', { jwt: await good() }, path)).toEqual([400, UNREACHABLE])

      const before = await world.census()
      const refused = await world.at.api('POST', `auth/${path}/config`, { ...config, bound_issuer: ISSUER })
      expect(refused.status).toBe(400)
      expect(refused.json.errors[0]).toMatch(/^error checking jwks URL: /)
      expect(refused.json.errors[0]).toMatch(problem)
      expect(await world.census()).toEqual(before)
    } finally {
      await server.stop()
    }
  })

  test('and comes back lets people in with the keys it kept, and is asked once for many', async () => {
    const before = world.issuer.fetches()
    const logins = await Promise.all(
      Array.from({ length: 50 }, async () => world.login('app', { jwt: await good() })),
    )
    expect(new Set(logins.map(({ status }) => status))).toEqual(new Set([200]))
    expect(world.issuer.fetches()).toBe(before)
    world.issuer.behave(faults.fails)
    expect((await world.login('app', { jwt: await good() })).status).toBe(200)
    world.issuer.publish(world.key)
  })
})
