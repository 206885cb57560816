import { createPublicKey, type JsonWebKey } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newAuthority } from '../support/certificates.ts'
import { newSigningKey, startJwksServer, startOidcIssuer } from '../support/oidc-issuer.ts'
import { AUDIENCE, ISSUER, type JwtWorld, openJwtWorld } from './auth-jwt-world.ts'

let world: JwtWorld
beforeAll(async () => {
  world = await openJwtWorld()
  await world.role('app')
})
afterAll(() => world.close())

const api: JwtWorld['at']['api'] = (...ask) => world.at.api(...ask)
const statusOf = async (answer: ReturnType<typeof api>) => (await answer).status

describe('mounts', () => {
  test('stand at any path, each with its own configuration, roles and principals', async () => {
    const paths = ['ci', 'team-a/ci', 'team-a/deep/er']
    for (const path of paths) {
      expect(await statusOf(api('POST', `sys/auth/${path}`, { type: 'jwt', description: path }))).toBe(204)
      expect((await api('GET', `auth/${path}/config`)).status).toBe(404)
      await api('POST', `auth/${path}/config`, { jwks_url: world.issuer.url })
      await api('POST', `auth/${path}/role/app`, { user_claim: 'sub', bound_audiences: AUDIENCE })
    }
    const auths = await Promise.all(paths.map((path) => world.auth('app', {}, path)))

    expect(new Set(auths.map(({ entity_id }) => entity_id)).size).toBe(3)
    const seen = await Promise.all(
      auths.map(async (auth) => (await world.as(auth)('GET', 'auth/token/lookup-self')).json.data),
    )
    expect(seen.map(({ path, display_name }) => [path, display_name])).toEqual([
      ['auth/ci/login', 'ci-build'],
      ['auth/team-a/ci/login', 'team-a-ci-build'],
      ['auth/team-a/deep/er/login', 'team-a-deep-er-build'],
    ])
    expect((await api('GET', 'sys/auth')).json.data['team-a/ci/']).toMatchObject({ type: 'jwt' })
  })

  test('that are taken away take logins with them, and renewals of the tokens that are out', async () => {
    await api('POST', 'sys/auth/passing', { type: 'jwt' })
    await api('POST', 'auth/passing/config', { jwks_url: world.issuer.url })
    await api('POST', 'auth/passing/role/app', { user_claim: 'sub', bound_audiences: AUDIENCE })
    const auth = await world.auth('app', {}, 'passing')
    expect(await statusOf(api('DELETE', 'sys/auth/passing'))).toBe(204)

    expect((await world.login('app', {}, 'passing')).status).toBe(403)
    const renewal = await api('POST', 'auth/token/renew', { token: auth.client_token })
    expect([renewal.status, await statusOf(world.as(auth)('POST', 'auth/token/renew-self'))]).not.toContain(
      200,
    )
  })
})

describe('the configuration', () => {
  test('reads back as it was written, and is replaced as a whole', async () => {
    await api('POST', 'sys/auth/config', { type: 'jwt' })
    const ca = newAuthority().cert
    const first = {
      jwks_url: 'https://ci.example/jwks',
      jwks_ca_pem: ca,
      bound_issuer: ISSUER,
      jwt_supported_algs: ['ES256', 'RS256'],
      default_role: 'app',
      event_audience: ['https://broker.example/events'],
      event_issuer: 'https://signals.example',
      event_jwks_url: 'https://signals.example/jwks',
    }
    const write = (fields: object) => api('POST', 'auth/config/config', fields)
    expect(await write({ ...first, skip_jwks_validation: true })).toMatchObject({ status: 204, text: '' })
    const empty = {
      jwt_validation_pubkeys: [],
      jwks_pairs: [],
      oidc_discovery_url: '',
      oidc_discovery_ca_pem: '',
    }
    const read = async () => (await api('GET', 'auth/config/config')).json.data
    expect(await read()).toEqual({ ...empty, ...first })

    await write({ ...(await read()), skip_jwks_validation: true })
    expect(await read()).toEqual({ ...empty, ...first })

    const pairs = [
      { jwks_url: 'https://ci.example/jwks', jwks_ca_pem: ca },
      { jwks_url: 'https://b.example/jwks' },
    ]
    await write({ jwks_pairs: pairs, skip_jwks_validation: true })
    expect(await read()).toMatchObject({
      jwks_pairs: [pairs[0], { jwks_url: 'https://b.example/jwks', jwks_ca_pem: '' }],
      jwks_url: '',
      bound_issuer: '',
      default_role: '',
    })
  })

  test('takes its keys from a JWKS, several, PEM texts or discovery', async () => {
    const other = await newSigningKey('other', 'RS256')
    const [second, provider] = await Promise.all([startJwksServer([other]), startOidcIssuer([other])])
    const pem = await createPublicKey({ key: world.key.jwk as JsonWebKey, format: 'jwk' }).export({
      type: 'spki',
      format: 'pem',
    })
    await api('POST', 'sys/auth/keys', { type: 'jwt' })
    await api('POST', 'auth/keys/role/app', { user_claim: 'sub', bound_audiences: AUDIENCE })
    const subjectWith = async (config: object, jwt: string) => {
      const written = await api('POST', 'auth/keys/config', config)
      const { status, json } = await world.login('app', { jwt }, 'keys')
      return [written.status, status, json.errors?.[0] ?? json.auth.metadata.role]
    }
    const own = await world.token()
    const others = await world.token({}, other)
    const accepted = [204, 200, 'app']
    expect(await subjectWith({ jwks_url: world.issuer.url }, own)).toEqual(accepted)
    expect(
      await subjectWith({ jwks_pairs: [{ jwks_url: world.issuer.url }, { jwks_url: second.url }] }, others),
    ).toEqual(accepted)
    expect(await subjectWith({ jwt_validation_pubkeys: [pem] }, own)).toEqual(accepted)
    expect(
      await subjectWith({ oidc_discovery_url: provider.issuer }, await provider.token(AUDIENCE)),
    ).toEqual(accepted)
    // What the mount took before, it takes no more.
    expect((await world.login('app', { jwt: own }, 'keys')).status).toBe(400)
    await Promise.all([second.stop(), provider.stop()])
  })

  test.each<[string, Record<string, unknown>, string]>([
    ['nothing', {}, "exactly one of 'jwt_validation_pubkeys'"],
    [
      'two sources',
      { jwks_url: 'https://a.example', oidc_discovery_url: 'https://a.example' },
      'exactly one of',
    ],
    ['a URL of another kind', { jwks_url: 'file:///etc/passwd' }, 'error checking jwks URL'],
    [
      'a private key',
      { jwt_validation_pubkeys: ['-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----'] },
      'error parsing public key',
    ],
    [
      'an unknown algorithm',
      { jwks_url: 'https://a.example', jwt_supported_algs: 'HS256' },
      'unsupported signing algorithm "HS256"',
    ],
    [
      'an issuer that is not there',
      { jwks_url: 'http://127.0.0.1:1/jwks' },
      'error checking jwks URL: http://127.0.0.1:1/jwks',
    ],
    ['a field of another type', { jwks_url: ['a'] }, 'error converting input for field "jwks_url"'],
    ['a NUL', { jwks_url: 'https://a.example/\0' }, 'field "jwks_url" holds unstorable characters'],
  ])('%s is refused, and nothing changes', async (_, fields, text) => {
    const before = await world.census()
    const answer = await api('POST', 'auth/jwt/config', fields)

    expect(answer.status).toBe(400)
    expect(answer.json.errors[0]).toContain(text)
    expect(await world.census()).toEqual(before)
  })
})

const NEW_ROLE = {
  role_type: 'jwt',
  user_claim: 'sub',
  user_claim_json_pointer: false,
  bound_audiences: [AUDIENCE],
  bound_subject: '',
  bound_claims: {},
  bound_claims_type: 'string',
  claim_mappings: {},
  groups_claim: '',
  expiration_leeway: 0,
  not_before_leeway: 0,
  clock_skew_leeway: 0,
  max_age: 0,
  allowed_redirect_uris: [],
  oidc_scopes: [],
  verbose_oidc_logging: false,
  token_ttl: 0,
  token_max_ttl: 0,
  token_period: 0,
  token_explicit_max_ttl: 0,
  token_policies: [],
  token_bound_cidrs: [],
  token_num_uses: 0,
  token_no_default_policy: false,
  token_type: 'default',
}

describe('a role', () => {
  const write = (name: string, fields: object) => api('POST', `auth/jwt/role/${name}`, fields)
  const read = async (name: string) => (await api('GET', `auth/jwt/role/${name}`)).json?.data

  test('reads back with a value for every field', async () => {
    await write('bare', { user_claim: 'sub', bound_audiences: AUDIENCE })
    expect(await read('bare')).toEqual(NEW_ROLE)
  })

  test('takes every field in its weak form, keeps what is not sent, and can be cleared', async () => {
    const whole = {
      role_type: 'jwt',
      user_claim: '/who/am/i',
      user_claim_json_pointer: 'true',
      bound_audiences: 'a,b',
      bound_subject: 'someone',
      bound_claims: '{"environment":["dev","stage"],"deploy":true,"run":7}',
      bound_claims_type: 'string',
      claim_mappings: ['environment=env'],
      groups_claim: 'groups',
      expiration_leeway: '5m',
      not_before_leeway: -1,
      clock_skew_leeway: '-1',
      max_age: '1h',
      allowed_redirect_uris: 'https://console.example/callback',
      oidc_scopes: ['profile', 'email'],
      verbose_oidc_logging: 1,
      token_ttl: '20m',
      token_max_ttl: 7200,
      token_period: '0',
      token_explicit_max_ttl: '1d',
      token_policies: 'B,a,a',
      token_bound_cidrs: '127.0.0.0/8,::1',
      token_num_uses: '9',
      token_no_default_policy: 't',
      token_type: 'service',
    }
    const stored = {
      ...whole,
      user_claim_json_pointer: true,
      bound_audiences: ['a', 'b'],
      bound_claims: { environment: ['dev', 'stage'], deploy: true, run: 7 },
      claim_mappings: { environment: 'env' },
      expiration_leeway: 300,
      clock_skew_leeway: -1,
      max_age: 3_600,
      allowed_redirect_uris: ['https://console.example/callback'],
      verbose_oidc_logging: true,
      token_ttl: 1_200,
      token_period: 0,
      token_explicit_max_ttl: 86_400,
      token_policies: ['a', 'b'],
      token_bound_cidrs: ['127.0.0.0/8', '::1'],
      token_num_uses: 9,
      token_no_default_policy: true,
    }
    expect(await write('whole', whole)).toMatchObject({ status: 204, text: '' })
    expect(await read('whole')).toEqual(stored)
    await write('whole', await read('whole'))
    expect(await read('whole')).toEqual(stored)

    await write('whole', { token_ttl: '1m' })
    expect(await read('whole')).toEqual({ ...stored, token_ttl: 60 })
    await write('whole', { token_policies: [], bound_claims: {}, token_bound_cidrs: '' })
    expect(await read('whole')).toMatchObject({ token_policies: [], bound_claims: {}, token_bound_cidrs: [] })
  })

  test('takes the names that older clients send', async () => {
    const sent = {
      ttl: '1m',
      max_ttl: '2m',
      period: '3m',
      policies: 'a',
      bound_cidrs: '127.0.0.1',
      num_uses: 4,
    }
    await write('old', { user_claim: 'sub', ...sent })
    expect(await read('old')).toMatchObject({
      token_ttl: 60,
      token_max_ttl: 120,
      token_period: 180,
      token_policies: ['a'],
      token_bound_cidrs: ['127.0.0.1'],
      token_num_uses: 4,
    })
  })

  test('has its name in lower case, is listed, and can be removed', async () => {
    await api('POST', 'sys/auth/names', { type: 'jwt' })
    expect((await api('LIST', 'auth/names/role')).status).toBe(404)
    const fields = { user_claim: 'sub', bound_audiences: AUDIENCE }
    await api('PUT', 'auth/names/role/Deploy.Prod-1', fields)
    await api('POST', 'auth/names/role/build', fields)
    expect((await api('LIST', 'auth/names/role')).json.data.keys).toEqual(['build', 'deploy.prod-1'])
    expect((await api('GET', 'auth/names/role?list=true')).json.data.keys).toHaveLength(2)
    expect((await api('GET', 'auth/names/role/DEPLOY.prod-1')).status).toBe(200)

    expect(await statusOf(api('DELETE', 'auth/names/role/BUILD'))).toBe(204)
    expect(await statusOf(api('DELETE', 'auth/names/role/build'))).toBe(204)
    expect((await api('GET', 'auth/names/role/build')).status).toBe(404)
  })

  test.each<[string, Record<string, unknown>, string]>([
    ['no user claim', { user_claim: '' }, 'a user claim must be defined on the role'],
    [
      'no bound constraint',
      { bound_audiences: '' },
      'must have at least one bound constraint when creating/updating a role',
    ],
    ['a mapping onto the role', { claim_mappings: { a: 'role' } }, 'metadata key "role" is reserved'],
    ['an unknown type', { role_type: 'saml' }, "invalid 'role_type': saml"],
    [
      'a TTL above its maximum',
      { token_ttl: 60, token_max_ttl: 30 },
      "'token_ttl' cannot be greater than 'token_max_ttl'",
    ],
    ['an address that is none', { token_bound_cidrs: '10.0.0.0/33' }, 'token_bound_cidrs: "10.0.0.0/33"'],
    ['root', { token_policies: 'app,ROOT' }, 'auth methods cannot create root tokens'],
    ['a batch token with uses', { token_type: 'batch', token_num_uses: 3 }, "'token_type' cannot be 'batch'"],
    ['an unknown token type', { token_type: 'eternal' }, `invalid 'token_type' value "eternal"`],
    ['a negative leeway', { clock_skew_leeway: -2 }, 'error converting input for field "clock_skew_leeway"'],
    ['uses below none', { token_num_uses: -1 }, "'token_num_uses' cannot be negative"],
  ])('with %s is refused, and nothing changes', async (_, fields, text) => {
    const before = await world.census()
    const answer = await write('app', fields)

    expect(answer.status).toBe(400)
    expect(answer.json.errors[0]).toContain(text)
    expect(await world.census()).toEqual(before)
  })

  test('takes the right to create where there is none, and to update where there is one', async () => {
    const fields = { user_claim: 'sub', bound_audiences: AUDIENCE }
    await api('PUT', 'sys/policies/acl/creator', {
      policy: 'path "auth/jwt/role/*" { capabilities = ["create"] }',
    })
    const { auth } = (await api('POST', 'auth/token/create', { policies: ['creator'] })).json
    const bearer = world.as(auth)
    expect((await bearer('POST', 'auth/jwt/role/Made', fields)).status).toBe(204)
    expect((await bearer('POST', 'auth/jwt/role/made', fields)).status).toBe(403)
    expect((await bearer('GET', 'auth/jwt/role/made')).status).toBe(403)
    expect((await bearer('POST', 'auth/jwt/config', { jwks_url: world.issuer.url })).status).toBe(403)
  })

  test('of a name longer than an index of the ledger takes is refused', async () => {
    const answer = await write('x'.repeat(300), { user_claim: 'sub', bound_audiences: AUDIENCE })
    expect(answer.status).toBe(400)
    expect(answer.json.errors[0]).toMatch(/^invalid role name /)
  })
})

test('a mount that is disabled takes every token its logins gave, and their leases, with it', async () => {
  await world.at.api('POST', 'sys/auth/leaving', { type: 'jwt' })
  await world.at.api('POST', 'auth/leaving/config', { jwks_url: world.issuer.url, bound_issuer: ISSUER })
  await world.at.api('POST', 'auth/leaving/role/app', {
    user_claim: 'sub',
    bound_audiences: AUDIENCE,
    token_policies: 'taker',
  })
  await world.at.api('POST', 'sys/policies/acl/taker', {
    policy: 'path "database/creds/app" { capabilities = ["read"] }',
  })
  const auth = await world.auth('app', {}, 'leaving')
  const { lease_id } = (await world.as(auth)('GET', 'database/creds/app')).json
  await world.at.api('DELETE', 'sys/auth/leaving')

  const after = await world.as(auth)('GET', 'auth/token/lookup-self')
  expect([after.status, after.json.errors[0]]).toEqual([403, expect.stringContaining('invalid token')])
  const { data } = (await world.at.api('PUT', 'sys/leases/lookup', { lease_id })).json
  expect(data).toMatchObject({ state: 'revoking', end_reason: 'token_ended' })
})
