import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkJwtConfig } from '../../src/identity/jwt/config.ts'
import { type FetchJson, fetchJson, MAX_DOCUMENT_BYTES } from '../../src/identity/jwt/fetch-json.ts'
import { checkKeySource, openKeySource } from '../../src/identity/jwt/key-source.ts'
import type { LoginRefused } from '../../src/identity/jwt/refusal.ts'
import { checkJwtRole } from '../../src/identity/jwt/role.ts'
import { verifyLogin } from '../../src/identity/jwt/verify.ts'
import { newAuthority } from '../support/certificates.ts'
import {
  faults,
  type JwksServer,
  newSigningKey,
  type OidcIssuer,
  type SigningKey,
  startJwksServer,
  startOidcIssuer,
} from '../support/oidc-issuer.ts'

const AUDIENCE = 'https://broker.example'

/** One mount with its configuration and keys, and logins of one role on it. */
function mount(fields: Record<string, unknown>, options: Parameters<typeof openKeySource>[1] = {}) {
  const config = checkJwtConfig(fields)
  const keys = openKeySource(config, options)
  const role = checkJwtRole(
    { user_claim: 'sub', bound_audiences: [AUDIENCE], claim_mappings: { environment: 'environment' } },
    { mountType: 'jwt' },
  )
  const login = (jwt: string) => verifyLogin({ config, keys, role, roleName: 'demo', jwt, now: new Date() })
  return {
    config,
    keys,
    login,
    refusal: (jwt: string) =>
      login(jwt).then(
        () => 'let in',
        (error: LoginRefused) => error.reason,
      ),
  }
}

describe('a real OpenID provider', () => {
  let first: SigningKey
  let second: SigningKey
  let provider: OidcIssuer

  beforeAll(async () => {
    ;[first, second] = await Promise.all([newSigningKey('first'), newSigningKey('second', 'RS256')])
    provider = await startOidcIssuer([first], { environment: 'dev' })
  })
  afterAll(() => provider.stop())

  test('its tokens log in, found by discovery alone', async () => {
    const { config, login } = mount({ oidc_discovery_url: provider.issuer })
    await checkKeySource(config)
    expect(await login(await provider.token(AUDIENCE))).toMatchObject({
      subject: 'nightly-build',
      metadata: { role: 'demo', environment: 'dev' },
      claims: { iss: provider.issuer, aud: AUDIENCE, client_id: 'nightly-build' },
    })
  })

  test('tokens for others, and forged ones, do not', async () => {
    const { refusal } = mount({ oidc_discovery_url: provider.issuer })
    expect(await refusal(await provider.token('https://elsewhere.example'))).toBe('wrong_audience')

    const stranger = await newSigningKey('first')
    const iat = Math.floor(Date.now() / 1_000)
    const claims = { iss: provider.issuer, sub: 'nightly-build', aud: AUDIENCE, iat, exp: iat + 300 }
    expect(await refusal(await first.sign(claims))).toBe('let in')
    expect(await refusal(await stranger.sign(claims))).toBe('bad_signature')
    // The provider's own key, speaking for someone else.
    expect(await refusal(await first.sign({ ...claims, iss: 'https://other.example' }))).toBe('wrong_issuer')
    expect(await refusal(await first.sign({ ...claims, exp: iat - 3_600 }))).toBe('expired')
  })

  test('a key it changes to is known from the first token on, and the old one is forgotten with it', async () => {
    const { login, refusal } = mount({ oidc_discovery_url: provider.issuer })
    const old = await provider.token(AUDIENCE)
    await login(old)
    provider.rotate([second])
    expect(await refusal(old)).toBe('let in')
    expect(await login(await provider.token(AUDIENCE))).toMatchObject({ subject: 'nightly-build' })
    expect(await refusal(old)).toBe('unknown_key')
  })

  test('a configuration that names it slightly otherwise is refused on write', async () => {
    const { config } = mount({ oidc_discovery_url: `${provider.issuer}/` })
    await expect(checkKeySource(config)).rejects.toThrow(
      `error checking oidc discovery URL: ${provider.issuer}/.well-known/openid-configuration: names another issuer than ${provider.issuer}/`,
    )
  })
})

describe('a JWKS server', () => {
  let key: SigningKey
  let server: JwksServer
  let jwt: string

  beforeAll(async () => {
    key = await newSigningKey('k')
    server = await startJwksServer([key])
    const iat = Math.floor(Date.now() / 1_000)
    jwt = await key.sign({ sub: 'someone', aud: AUDIENCE, iat, exp: iat + 300 })
  })
  afterAll(() => server.stop())

  test('is asked once for many logins at once', async () => {
    const before = server.fetches()
    const { login } = mount({ jwks_url: server.url })
    const identities = await Promise.all(Array.from({ length: 100 }, () => login(jwt)))
    expect(identities.every(({ subject }) => subject === 'someone')).toBe(true)
    expect(server.fetches() - before).toBe(1)
  })

  test('is asked once more for many forged keys at once', async () => {
    const { login, refusal } = mount({ jwks_url: server.url })
    await login(jwt)
    const before = server.fetches()
    const forged = await Promise.all(
      Array.from({ length: 100 }, (_, i) => key.sign({ sub: 'x' }, { kid: `forged-${i}` })),
    )
    expect(new Set(await Promise.all(forged.map(refusal)))).toEqual(new Set(['unknown_key']))
    expect(server.fetches() - before).toBe(1)
  })

  test('is not asked for tokens no key could make good', async () => {
    const before = server.fetches()
    const { refusal } = mount({ jwks_url: server.url })
    expect(await refusal('eyJhbGciOiJub25lIn0.e30.')).toBe('algorithm_not_allowed')
    expect(await refusal('x'.repeat(20_000))).toBe('token_too_large')
    expect(server.fetches()).toBe(before)
  })

  test.each([
    ['redirects', () => faults.redirects('http://127.0.0.1:1/jwks'), 'redirects are not followed'],
    ['fails', () => faults.fails, 'answers 500'],
    ['sends 10 MB', () => faults.isEndless, `answers more than ${MAX_DOCUMENT_BYTES} bytes`],
    ['sends no JSON', () => faults.isNotJson, 'is not JSON'],
    ['sends no JWKS', () => faults.answers({ hello: 1 }), 'not a JWKS'],
  ])('that %s lets nobody in, and is refused on write', async (_, how, problem) => {
    const faulty = await startJwksServer([key])
    try {
      const { config, refusal, keys } = mount({ jwks_url: faulty.url })
      faulty.behave(how())
      expect(await refusal(jwt)).toBe('issuer_unreachable')
      expect(keys.trouble()).toContain(problem)
      await expect(checkKeySource(config)).rejects.toThrow(/^error checking jwks URL: /)
    } finally {
      await faulty.stop()
    }
  })

  test('that redirects to good keys is not followed there', async () => {
    const faulty = await startJwksServer([])
    try {
      faulty.behave(faults.redirects(server.url))
      const before = server.fetches()
      expect(await mount({ jwks_url: faulty.url }).refusal(jwt)).toBe('issuer_unreachable')
      expect(server.fetches()).toBe(before)
    } finally {
      await faulty.stop()
    }
  })

  test.each([
    ['never answers', faults.hangs],
    ['stops halfway', faults.hangsHalfway],
  ])('that %s is left when the time is up', async (_, how) => {
    const faulty = await startJwksServer([key])
    try {
      faulty.behave(how)
      const impatient: FetchJson = (url, { caPem }) =>
        fetchJson(url, { caPem, signal: AbortSignal.timeout(100) })
      const { refusal, keys } = mount({ jwks_url: faulty.url }, { fetch: impatient })
      expect(await refusal(jwt)).toBe('issuer_unreachable')
      expect(keys.trouble()).toBe(`${faulty.url}: no whole answer in time`)
    } finally {
      await faulty.stop()
    }
  })

  test('that is not there fails closed', async () => {
    const gone = await startJwksServer([key])
    await gone.stop()
    const { refusal, keys } = mount({ jwks_url: gone.url })
    expect(await refusal(jwt)).toBe('issuer_unreachable')
    expect(keys.trouble()).toContain('ECONNREFUSED')
  })

  test('behind TLS is believed under the authority of the configuration only', async () => {
    const authority = newAuthority()
    const secure = await startJwksServer([key], authority.issue('localhost'))
    try {
      const trusting = mount({ jwks_url: secure.url, jwks_ca_pem: authority.cert })
      expect(await trusting.refusal(jwt)).toBe('let in')
      const doubting = mount({ jwks_url: secure.url, jwks_ca_pem: newAuthority('another').cert })
      expect(await doubting.refusal(jwt)).toBe('issuer_unreachable')
      expect(await mount({ jwks_url: secure.url }).refusal(jwt)).toBe('issuer_unreachable')
    } finally {
      await secure.stop()
    }
  })
})
