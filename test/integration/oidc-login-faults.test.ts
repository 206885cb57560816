import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { JWTPayload } from 'jose'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { exchange, fetchJson } from '../../src/identity/jwt/fetch-json.ts'
import { COOLDOWN_MS, FRESH_MS, HARD_AGE_MS } from '../../src/identity/jwt/remote-copy.ts'
import { checkOidcProvider } from '../../src/identity/oidc/provider.ts'
import { newAuthority } from '../support/certificates.ts'
import {
  faults,
  type JwksServer,
  newSigningKey,
  PEOPLE_CLIENT,
  type SigningKey,
  startJwksServer,
} from '../support/oidc-issuer.ts'
import { brokerWorld, REDIRECT, refusalOf } from './oidc-login-world.ts'

let key: SigningKey
let stranger: SigningKey
beforeAll(async () => {
  ;[key, stranger] = await Promise.all([newSigningKey('k'), newSigningKey('k')])
})

/** A provider whose every answer the test decides: by path, what it says or how it goes wrong. */
async function startProvider(tls?: { cert: string; key: string }) {
  const server: JwksServer = await startJwksServer([key], tls)
  const issuer = server.url.replace('/jwks', '')
  const asked: { path: string; body: string; authorization: string | undefined }[] = []
  const routes: Record<string, RequestListener> = {
    '/.well-known/openid-configuration': faults.answers({
      issuer,
      authorization_endpoint: `${issuer}/auth`,
      token_endpoint: `${issuer}/token`,
      userinfo_endpoint: `${issuer}/userinfo`,
      jwks_uri: `${issuer}/jwks`,
      authorization_response_iss_parameter_supported: true,
    }),
    '/jwks': faults.answers({ keys: [key.jwk] }),
    '/userinfo': faults.answers({ sub: 'alice', groups: ['ops'] }),
  }
  server.behave(async (req: IncomingMessage, res: ServerResponse) => {
    let body = ''
    for await (const chunk of req) body += chunk
    const path = req.url ?? ''
    asked.push({ path, body, authorization: req.headers.authorization })
    const route = routes[path]
    if (route) route(req, res)
    else res.writeHead(404).end()
  })
  return {
    issuer,
    asked,
    stop: () => server.stop(),
    on(path: string, how: RequestListener) {
      routes[path] = how
    },
    /** What the token endpoint answers from now on; `sign` makes the id token of the standard claims. */
    async tokens(
      authUrl: string,
      sign = (claims: JWTPayload): Promise<string> => key.sign(claims),
      accessToken = 'opaque',
    ) {
      const iat = Math.floor(Date.now() / 1_000)
      const nonce = new URL(authUrl).searchParams.get('nonce') as string
      const claims = { iss: issuer, aud: PEOPLE_CLIENT.id, sub: 'alice', nonce, iat, exp: iat + 300 }
      const tokens = { access_token: accessToken, token_type: 'Bearer', id_token: await sign(claims) }
      routes['/token'] = faults.answers(tokens)
    },
  }
}

type Provider = Awaited<ReturnType<typeof startProvider>>

/** Where the provider would send a person who signed in. */
function backFrom(authUrl: string): URL {
  const back = new URL(REDIRECT)
  back.searchParams.set('state', new URL(authUrl).searchParams.get('state') as string)
  back.searchParams.set('code', 'a-code')
  return back
}

let provider: Provider
beforeEach(async () => {
  provider = await startProvider()
})
afterEach(() => provider.stop())

async function attempt(
  sign?: (claims: JWTPayload) => Promise<string>,
  options?: Parameters<typeof brokerWorld>[1],
) {
  const it = brokerWorld(provider.issuer, options)
  const authUrl = await it.begin()
  await provider.tokens(authUrl, sign)
  return { it, back: backFrom(authUrl) }
}

describe('an id token', () => {
  test('that is right lets in; the secret goes to the token endpoint alone, once', async () => {
    const { it, back } = await attempt()
    expect(await it.finish(back)).toMatchObject({ subject: 'alice', claims: { groups: ['ops'] } })
    const [exchangeOfCode] = provider.asked.filter(({ path }) => path === '/token')
    expect(Object.fromEntries(new URLSearchParams(exchangeOfCode?.body))).toEqual({
      grant_type: 'authorization_code',
      code: 'a-code',
      code_verifier: expect.stringMatching(/^[\w-]{43}$/),
      redirect_uri: REDIRECT,
    })
    expect(exchangeOfCode?.authorization).toMatch(/^Basic /)
    expect(provider.asked.map(({ path }) => path).filter((path) => path === '/token')).toHaveLength(1)
  })

  const header = (fields: Record<string, unknown>) => (claims: JWTPayload) => key.sign(claims, fields)
  const changed = (changes: JWTPayload) => (claims: JWTPayload) => key.sign({ ...claims, ...changes })
  const unsigned = async (claims: JWTPayload) =>
    [{ alg: 'none' }, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .concat('')
      .join('.')

  test.each([
    ['signed by a stranger', (claims: JWTPayload) => stranger.sign(claims), 'bad_signature'],
    ['not signed', unsigned, 'algorithm_not_allowed'],
    ['signed by a key nobody published', header({ kid: 'other' }), 'unknown_key'],
    ['with a critical extension', header({ kid: 'k', crit: ['exp'], exp: 4_000_000_000 }), 'malformed_token'],
    ['of another issuer', changed({ iss: 'https://other.example' }), 'wrong_issuer'],
    ['for another client', changed({ aud: 'other' }), 'wrong_audience'],
    ['for another client too', changed({ aud: [PEOPLE_CLIENT.id, 'other'] }), 'wrong_audience'],
    [
      'for a client that only listens in',
      changed({ aud: [PEOPLE_CLIENT.id, 'other'], azp: 'other' }),
      'wrong_audience',
    ],
    ['that ended', changed({ exp: 1_700_000_000 }), 'expired'],
    ['that did not begin', changed({ nbf: 4_000_000_000 }), 'not_yet_valid'],
    ['for another login', changed({ nonce: 'other' }), 'wrong_nonce'],
    ['about nobody', changed({ sub: '' }), 'malformed_token'],
    ['that is none', async () => 'three.little.pigs', 'malformed_token'],
    ['that is encrypted', async () => 'a.b.c.d.e', 'malformed_token'],
    ['that is missing', async () => '', 'malformed_token'],
    ['no database can keep', changed({ nickname: 'a\0b' }), 'malformed_token'],
    ['of great length', changed({ story: 'x'.repeat(70_000) }), 'claims_too_large'],
  ])('%s does not', async (_, sign, reason) => {
    const { it, back } = await attempt(sign)
    expect((await it.refusal(back)).reason).toBe(reason)
  })

  test.each([
    ['that does not say when', {}, 'auth_time_unusable'],
    ['that says it in words', { auth_time: '1700000000' }, 'malformed_token'],
    ['that says it in milliseconds', { auth_time: Date.now() }, 'auth_time_unusable'],
    [
      'that says a year ago',
      { auth_time: Math.floor(Date.now() / 1_000) - 31_536_000 },
      'authenticated_too_long_ago',
    ],
  ])('%s the person signed in does not do for a role that asks', async (_, claims: JWTPayload, reason) => {
    const { it, back } = await attempt(changed(claims), { role: { max_age: 3_600 } })
    expect((await it.refusal(back)).reason).toBe(reason)
  })
})

describe('the userinfo endpoint', () => {
  test('adds to what was signed and changes none of it', async () => {
    provider.on(
      '/userinfo',
      faults.answers({
        sub: 'alice',
        groups: ['root'],
        email: 'a@example.com',
        acr: 'gold',
        aud: 'x',
        nonce: 'x',
      }),
    )
    const { it, back } = await attempt((claims) => key.sign({ ...claims, groups: ['ops'] }), {
      role: { groups_claim: 'groups', user_claim: 'email' },
    })
    const identity = await it.finish(back)
    expect(identity).toMatchObject({
      subject: 'a@example.com',
      groups: ['ops'],
      claims: { aud: PEOPLE_CLIENT.id },
    })
    expect(identity).not.toHaveProperty('acr')
  })

  test('is not asked with an access token that would break out of its header', async () => {
    const it = brokerWorld(provider.issuer)
    const authUrl = await it.begin()
    await provider.tokens(authUrl, undefined, 'opaque\nx-forged: 1')
    const { reason, detail } = await it.refusal(backFrom(authUrl))
    expect([reason, detail]).toEqual([
      'provider_unreachable',
      'userinfo: the access token or the answer cannot be used',
    ])
  })

  test('that speaks of someone else refuses the login', async () => {
    provider.on('/userinfo', faults.answers({ sub: 'mallory', groups: ['root'] }))
    const { it, back } = await attempt()
    expect((await it.refusal(back)).reason).toBe('userinfo_of_another')
  })

  test.each([
    ['is not open to this token', (_: IncomingMessage, res: ServerResponse) => void res.writeHead(403).end()],
    [
      'minds the token',
      (_: IncomingMessage, res: ServerResponse) =>
        void res.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end(),
    ],
  ])('that %s is done without', async (_, how) => {
    provider.on('/userinfo', how)
    const one = await attempt()
    expect((await one.it.finish(one.back)).claims).not.toHaveProperty('groups')
    const two = await attempt(undefined, { role: { groups_claim: 'groups' } })
    expect((await two.it.refusal(two.back)).reason).toBe('groups_claim_missing')
  })

  test.each([
    ['fails', faults.fails],
    ['redirects', faults.redirects('http://127.0.0.1:1/')],
    ['sends no JSON', faults.isNotJson],
    ['sends 10 MB', faults.isEndless],
  ])('that %s refuses the login', async (_, how) => {
    provider.on('/userinfo', how)
    const { it, back } = await attempt()
    const { reason, detail } = await it.refusal(back)
    expect([reason, detail]).toEqual(['provider_unreachable', expect.stringMatching(/^userinfo: /)])
  })
})

const UNREACHABLE =
  'error getting provider for login operation: the OpenID provider cannot be reached or does not answer as one'

describe('a token endpoint', () => {
  test.each([
    ['fails', faults.fails, 'answers 500'],
    ['redirects', faults.redirects('http://127.0.0.1:1/'), 'redirects are not followed'],
    ['sends 10 MB', faults.isEndless, 'answers more than'],
    ['sends no JSON', faults.isNotJson, 'token endpoint: unexpected response content-type'],
    ['is not there', undefined, 'token endpoint: unexpected response'],
  ])('that %s refuses the login', async (_, how, problem) => {
    const { it, back } = await attempt()
    provider.on('/token', how ?? ((_req, res) => void res.writeHead(404).end()))
    const refusal = await it.refusal(back)
    expect([refusal.reason, refusal.message]).toEqual(['provider_unreachable', UNREACHABLE])
    expect(refusal.detail).toContain(problem)
  })

  test('that never answers is left when the time is up', async () => {
    const send: typeof exchange = (url, request, { caPem }) =>
      exchange(url, request, { caPem, signal: AbortSignal.timeout(100) })
    const { it, back } = await attempt(undefined, { provider: { send } })
    provider.on('/token', faults.hangs)
    expect((await it.refusal(back)).detail).toBe(`${provider.issuer}/token: no whole answer in time`)
  })

  test('that puts a line break into its error code puts none into our log', async () => {
    const { it, back } = await attempt()
    provider.on('/token', (_, res) => {
      res.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"bad\\nforged line"}')
    })
    expect((await it.refusal(back)).detail).toBe('an error code that is none')
  })
})

describe('a provider', () => {
  test('that is down lets nobody begin or end a login, and says so', async () => {
    const { it, back } = await attempt()
    await provider.stop()
    expect(await it.refusal(back)).toMatchObject({ reason: 'provider_unreachable', message: UNREACHABLE })
    const other = brokerWorld(provider.issuer)
    const refusal = await refusalOf(other.begin())
    expect([refusal.reason, refusal.message]).toEqual(['provider_unreachable', UNREACHABLE])
    expect(refusal.detail).toContain('ECONNREFUSED')
    expect(other.rows.size).toBe(0)
    await expect(checkOidcProvider(other.config)).rejects.toThrow(
      /^error checking oidc discovery URL: .*ECONNREFUSED/,
    )
    provider = await startProvider()
  })

  test.each([
    ['redirects', () => faults.redirects('https://elsewhere.example/'), 'redirects are not followed'],
    ['sends 10 MB', () => faults.isEndless, 'answers more than'],
    [
      'names another issuer',
      () => faults.answers({ issuer: 'https://elsewhere.example' }),
      'names another issuer',
    ],
    [
      'has no place to sign in',
      () => faults.answers({ issuer: provider.issuer }),
      'names no authorization_endpoint',
    ],
  ])('whose discovery %s lets nobody begin, and is refused on write', async (_, how, problem) => {
    provider.on('/.well-known/openid-configuration', how())
    const it = brokerWorld(provider.issuer)
    expect((await refusalOf(it.begin())).detail).toContain(problem)
    await expect(checkOidcProvider(it.config)).rejects.toThrow(problem)
  })

  test('is discovered once for many logins, again after a while, and believed for an hour when it is down', async () => {
    let ms = 0
    let fetches = 0
    const counting = async (...args: Parameters<typeof fetchJson>) => {
      fetches += 1
      return fetchJson(...args)
    }
    const it = brokerWorld(provider.issuer, { provider: { fetch: counting, clock: () => ms } })
    await Promise.all(Array.from({ length: 20 }, () => it.begin()))
    ms = FRESH_MS - 1
    await it.begin()
    expect(fetches).toBe(1)
    provider.on('/.well-known/openid-configuration', faults.fails)
    ms = FRESH_MS
    await it.begin()
    expect(fetches).toBe(2)
    ms = HARD_AGE_MS
    expect((await refusalOf(it.begin())).reason).toBe('provider_unreachable')
    const before = fetches
    ms += COOLDOWN_MS - 1
    expect((await refusalOf(it.begin())).reason).toBe('provider_unreachable')
    expect(fetches).toBe(before)
  })

  describe('behind TLS', () => {
    const authority = newAuthority()
    let secure: Provider
    beforeAll(async () => {
      secure = await startProvider(authority.issue('localhost'))
    })
    afterAll(() => secure.stop())

    test('is believed under the authority of the configuration only, at every endpoint', async () => {
      const it = brokerWorld(secure.issuer, { config: { oidc_discovery_ca_pem: authority.cert } })
      await checkOidcProvider(it.config)
      const authUrl = await it.begin()
      await secure.tokens(authUrl)
      expect(await it.finish(backFrom(authUrl))).toMatchObject({
        subject: 'alice',
        claims: { groups: ['ops'] },
      })

      const doubting = brokerWorld(secure.issuer, {
        config: { oidc_discovery_ca_pem: newAuthority('b').cert },
      })
      expect((await refusalOf(doubting.begin())).reason).toBe('provider_unreachable')
      const without = brokerWorld(secure.issuer)
      expect((await refusalOf(without.begin())).reason).toBe('provider_unreachable')
    })

    test('cannot send the code to a place without', async () => {
      const document = {
        issuer: secure.issuer,
        authorization_endpoint: `${secure.issuer}/auth`,
        token_endpoint: `${provider.issuer}/token`,
        jwks_uri: `${secure.issuer}/jwks`,
      }
      secure.on('/.well-known/openid-configuration', faults.answers(document))
      const it = brokerWorld(secure.issuer, { config: { oidc_discovery_ca_pem: authority.cert } })
      expect((await refusalOf(it.begin())).detail).toContain('names a token_endpoint without TLS')
    })
  })
})
