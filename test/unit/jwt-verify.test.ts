import { createHmac, generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { base64url, exportJWK } from 'jose'
import { describe, expect, test } from 'vitest'
import { checkJwtConfig } from '../../src/identity/jwt/config.ts'
import { openKeySource } from '../../src/identity/jwt/key-source.ts'
import { LoginRefused } from '../../src/identity/jwt/refusal.ts'
import { checkJwtRole, type JwtRole } from '../../src/identity/jwt/role.ts'
import { keysFromJwks } from '../../src/identity/jwt/verification-keys.ts'
import { verifyLogin } from '../../src/identity/jwt/verify.ts'
import { newSigningKey, type SigningKey } from '../support/oidc-issuer.ts'

const NOW = new Date('2026-03-04T05:06:07Z')
const second = NOW.getTime() / 1_000
const times = { iat: second - 10, exp: second + 300 }

const issuer = await newSigningKey('first', 'RS256')
const stranger = await newSigningKey('first', 'RS256')
const pemOf = ({ jwk }: SigningKey) =>
  keysFromJwks({ keys: [jwk] })[0]?.key.export({ type: 'spki', format: 'pem' })
const pem = pemOf(issuer) as string

type World = {
  role?: Record<string, unknown>
  config?: Record<string, unknown>
  now?: Date
}

const AUDIENCE = 'https://broker.example'

function login(jwt: string, { role = {}, config = {}, now = NOW }: World = {}) {
  const checked = checkJwtConfig({ jwt_validation_pubkeys: [pem], ...config })
  return verifyLogin({
    config: checked,
    keys: openKeySource(checked),
    role: checkJwtRole({ user_claim: 'sub', bound_audiences: [AUDIENCE], ...role }, { mountType: 'jwt' }),
    roleName: 'demo',
    jwt,
    now,
  })
}

const caught = async (attempt: Promise<unknown>): Promise<LoginRefused> => {
  const error = await attempt.then(
    () => new Error('was let in'),
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(LoginRefused)
  return error as LoginRefused
}
const refusal = async (jwt: string, world?: World) => (await caught(login(jwt, world))).reason

const claims = { sub: 'someone', aud: AUDIENCE, ...times }
const token = (changes: Record<string, unknown> = {}) => issuer.sign({ ...claims, ...changes })

const TOKEN_TEXT =
  'error validating token: its signature, algorithm, times, issuer, subject or audience is not what this role accepts'

describe('tokens as the world makes them', () => {
  test('GitHub Actions', async () => {
    const jwt = await issuer.sign({
      ...times,
      iss: 'https://token.actions.githubusercontent.com',
      aud: AUDIENCE,
      sub: 'repo:octo-org/octo-repo:ref:refs/heads/main',
      ref: 'refs/heads/main',
      repository: 'octo-org/octo-repo',
      repository_owner: 'octo-org',
      repository_owner_id: '65',
      job_workflow_ref: 'octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main',
      run_attempt: '1',
      environment: 'dev',
    })
    const role = {
      bound_claims_type: 'glob',
      bound_claims: {
        repository_owner: 'octo-org',
        job_workflow_ref: 'octo-org/octo-repo/.github/workflows/*.yml@refs/heads/main',
      },
      claim_mappings: { repository: 'repository', environment: 'environment', actor: 'actor' },
      user_claim: 'job_workflow_ref',
    }
    const config = { bound_issuer: 'https://token.actions.githubusercontent.com' }

    expect(await login(jwt, { role, config })).toMatchObject({
      subject: 'octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main',
      metadata: { role: 'demo', repository: 'octo-org/octo-repo', environment: 'dev' },
      groups: [],
      expiresAt: new Date((second + 300) * 1_000),
    })
    const other = { ...role, bound_claims: { repository_owner: 'octo-or?' } }
    expect(await refusal(jwt, { role: other, config })).toBe('bound_claim_mismatch')
  })

  test('GitLab CI', async () => {
    const jwt = await issuer.sign({
      ...times,
      nbf: second - 5,
      iss: 'https://gitlab.example',
      aud: AUDIENCE,
      sub: 'project_path:group/project:ref_type:branch:ref:main',
      project_path: 'group/project',
      namespace_path: 'group',
      ref_protected: 'true',
      pipeline_source: 'push',
      user_login: 'someone',
      groups_direct: ['group', 'group/ops', ''],
    })
    const role = {
      user_claim: 'project_path',
      groups_claim: 'groups_direct',
      bound_claims: { ref_protected: 'true', pipeline_source: ['push', 'web'] },
    }
    expect(await login(jwt, { role })).toMatchObject({
      subject: 'group/project',
      groups: ['group', 'group/ops'],
    })
    // GitLab says it in text; a boolean is another value.
    const strict = { ...role, bound_claims: { ref_protected: true } }
    expect(await refusal(jwt, { role: strict })).toBe('bound_claim_mismatch')
  })

  test('a SPIFFE JWT-SVID', async () => {
    const jwt = await issuer.sign({
      sub: 'spiffe://example.org/ns/payments/sa/api',
      aud: ['spiffe://example.org/broker', AUDIENCE],
      exp: second + 60,
      iat: second,
    })
    const role = { bound_subject: 'spiffe://example.org/ns/payments/sa/api' }
    expect(await login(jwt, { role })).toMatchObject({ subject: 'spiffe://example.org/ns/payments/sa/api' })
    expect(await refusal(jwt, { role: { bound_subject: 'spiffe://example.org' } })).toBe('wrong_subject')
    expect(await refusal(jwt, { role: { bound_audiences: ['spiffe://example.org'] } })).toBe('wrong_audience')
  })

  test('a person: when and how they signed in', async () => {
    const jwt = await token({
      auth_time: second - 60,
      amr: ['pwd', 'otp'],
      acr: 'gold',
      nonce: 'n',
      sid: 's',
    })
    const identity = await login(jwt)
    expect(identity).toMatchObject({ authTime: second - 60, amr: ['pwd', 'otp'], acr: 'gold' })
    expect(identity.claims).not.toHaveProperty('nonce')
    expect(identity.claims).not.toHaveProperty('sid')
    expect(await login(await token())).not.toHaveProperty('authTime')
  })
})

describe('every algorithm of the contract', () => {
  test.each(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'])(
    '%s verifies, and is refused where the mount pins another',
    async (alg) => {
      const key = await newSigningKey('k', alg)
      const jwt = await key.sign(claims)
      const config = { jwt_validation_pubkeys: [pem, pemOf(key)] }
      expect(await login(jwt, { config })).toMatchObject({ subject: 'someone' })
      const pinned = { ...config, jwt_supported_algs: [alg === 'RS256' ? 'ES256' : 'RS256'] }
      expect(await refusal(jwt, { config: pinned })).toBe('algorithm_not_allowed')
    },
  )

  test('the second key of a mount is tried when the first does not fit', async () => {
    const other = await newSigningKey('other', 'RS256')
    const config = { jwt_validation_pubkeys: [pemOf(other), pem] }
    expect(await login(await token(), { config })).toMatchObject({ subject: 'someone' })
  })
})

const part = (value: unknown) => base64url.encode(JSON.stringify(value))
const unsigned = `${part({ alg: 'none' })}.${part(claims)}.`
const confused = () => {
  const input = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`
  return `${input}.${createHmac('sha256', pem).update(input).digest('base64url')}`
}

describe('forged and broken tokens', () => {
  test.each<[string, () => Promise<string> | string, string]>([
    ['signed by another key', () => stranger.sign(claims), 'bad_signature'],
    ['alg none', () => unsigned, 'algorithm_not_allowed'],
    ['alg none with a signature', () => `${unsigned}AAAA`, 'algorithm_not_allowed'],
    ['HMAC keyed with the public key', confused, 'algorithm_not_allowed'],
    ['no signature', async () => `${(await token()).split('.').slice(0, 2).join('.')}.`, 'bad_signature'],
    [
      'another payload',
      async () => {
        const [head, , tail] = (await token()).split('.')
        return `${head}.${part({ ...claims, sub: 'admin' })}.${tail}`
      },
      'bad_signature',
    ],
    ['two parts', () => 'a.b', 'malformed_token'],
    ['not base64url', () => '!!.??.~~', 'malformed_token'],
    ['a header that is a list', () => `${part([])}.${part(claims)}.AAAA`, 'malformed_token'],
    [
      'an algorithm of no key here',
      async () => (await newSigningKey('k', 'ES256')).sign(claims),
      'unknown_key',
    ],
    [
      'a kid that is a number',
      () => `${part({ alg: 'RS256', kid: 7 })}.${part(claims)}.AAAA`,
      'malformed_token',
    ],
    [
      'a critical extension',
      () => `${part({ alg: 'RS256', crit: ['b64'], b64: false })}.${part(claims)}.AAAA`,
      'malformed_token',
    ],
    ['over 16 KiB', () => token({ padding: 'x'.repeat(16 * 1_024) }), 'token_too_large'],
    ['nothing at all', () => '', 'missing_token'],
    ['NUL in a claim', () => token({ team: 'a\0b' }), 'malformed_token'],
    ['half a surrogate pair', () => token({ team: '\ud800' }), 'malformed_token'],
    [
      'claims nested without end',
      () => token({ deep: JSON.parse(`${'['.repeat(2_000)}${']'.repeat(2_000)}`) }),
      'malformed_token',
    ],
  ])('%s', async (_, make, reason) => {
    expect(await refusal(await make())).toBe(reason)
  })

  test('escaped text that stands for whole characters is fine', async () => {
    const identity = await login(await token({ team: '\ud83d\ude80', path: 'C:\\' }))
    expect(identity.claims).toMatchObject({ team: '🚀', path: 'C:\\' })
  })

  test('no text whatever brings anything but a refusal', async () => {
    const good = await token()
    const mangled = fc
      .tuple(fc.nat(good.length - 1), fc.string({ maxLength: 3 }))
      .map(([at, text]) => good.slice(0, at) + text + good.slice(at + 1))
      .filter((jwt) => jwt !== good)
    const anything = fc.oneof(
      fc.string(),
      mangled,
      fc.tuple(fc.json(), fc.json()).map(([a, b]) => `${base64url.encode(a)}.${base64url.encode(b)}.AAAA`),
    )
    await fc.assert(
      fc.asyncProperty(anything, async (jwt) => {
        await caught(login(jwt))
      }),
    )
  })
})

describe('what the caller is told', () => {
  test('is the same for every fault of the token itself', async () => {
    const worlds: [string, World?][] = [
      [await stranger.sign(claims)],
      [unsigned],
      [confused()],
      ['a.b'],
      [await token({ exp: second - 1_000 })],
      [await token({ nbf: second + 1_000 })],
      [await token({ aud: 'elsewhere' })],
      [await token(), { role: { bound_subject: 'other' } }],
      [await token(), { config: { bound_issuer: 'https://other.example' } }],
    ]
    const reasons = new Set<string>()
    for (const [jwt, world] of worlds) {
      const error = await caught(login(jwt, world))
      expect(error.message).toBe(TOKEN_TEXT)
      expect(error.code).toBe('invalid_request')
      reasons.add(error.reason)
    }
    expect(reasons.size).toBe(worlds.length - 1)
  })

  test('is the same for every claim, and never repeats its value', async () => {
    const jwt = await token({ team: 'quiet-value', groups: [1] })
    const roles = [
      { bound_claims: { team: 'other' } },
      { bound_claims: { crew: 'other' } },
      { user_claim: 'email' },
      { groups_claim: 'groups' },
      { groups_claim: 'crew' },
      { claim_mappings: { groups: 'x' } },
    ]
    for (const role of roles) {
      const error = await caught(login(jwt, { role }))
      expect(error.message).toBe(
        'error validating claims: a claim this role asks for is missing or has another value',
      )
      expect(`${error.detail} ${error.message}`).not.toContain('quiet-value')
      expect(error.detail).not.toBe('')
    }
  })

  test('keeps the texts the contract fixes', async () => {
    const unbound = { role: { bound_audiences: [], bound_subject: 'someone' } }
    expect((await caught(login(await token(), unbound))).message).toBe(
      'audience claim found in JWT but no audiences bound to the role',
    )
    const oidc = { role: { role_type: 'oidc', allowed_redirect_uris: ['https://x.example'] } }
    expect((await caught(login(await token(), oidc))).message).toBe('role with oidc role_type is not allowed')
    expect((await caught(login(''))).message).toBe('missing token')
  })
})

describe('audiences', () => {
  const unbound = { role: { bound_audiences: [], bound_subject: 'someone' } }
  test.each([
    ['absent', undefined],
    ['an empty list', []],
  ])('%s pass where none is bound', async (_, aud) => {
    expect(await login(await token({ aud }), unbound)).toMatchObject({ subject: 'someone' })
    expect(await refusal(await token({ aud }))).toBe('wrong_audience')
  })
  test.each([
    ['a list', ['x']],
    ['text', 'x'],
    ['empty text', ''],
  ])('%s is refused where none is bound', async (_, aud) => {
    expect(await refusal(await token({ aud }), unbound)).toBe('unbound_audience')
  })
  test('of another type are no audiences', async () => {
    expect(await refusal(await issuer.sign({ ...claims, aud: [7] as never }))).toBe('malformed_token')
  })
})

describe('times', () => {
  const at = (offset: number) => ({ now: new Date((second + offset) * 1_000) })
  type Leeways = Partial<Pick<JwtRole, 'expiration_leeway' | 'not_before_leeway' | 'clock_skew_leeway'>>
  const only = (stated: Record<string, number>) => issuer.sign({ sub: 'someone', aud: AUDIENCE, ...stated })

  // [what the token says, leeways of the role, seconds from then, outcome]
  const cases: [Record<string, number>, Leeways, number, string][] = [
    [{ exp: second }, {}, 60, 'in'],
    [{ exp: second }, {}, 61, 'expired'],
    [{ exp: second }, { clock_skew_leeway: -1 }, 0, 'in'],
    [{ exp: second }, { clock_skew_leeway: -1 }, 1, 'expired'],
    [{ exp: second }, { clock_skew_leeway: 5 }, 5, 'in'],
    [{ exp: second }, { clock_skew_leeway: 5 }, 6, 'expired'],
    // The expiration leeway does not lengthen what the token says.
    [{ exp: second }, { expiration_leeway: 9_999 }, 61, 'expired'],
    // Without a start the token begins the not-before leeway ahead of its end.
    [{ exp: second }, {}, -210, 'in'],
    [{ exp: second }, {}, -211, 'not_yet_valid'],
    [{ exp: second }, { not_before_leeway: -1 }, -61, 'not_yet_valid'],
    [{ exp: second }, { not_before_leeway: 1_000 }, -1_060, 'in'],
    [{ nbf: second, exp: second + 900 }, {}, -60, 'in'],
    [{ nbf: second, exp: second + 900 }, {}, -61, 'not_yet_valid'],
    [{ nbf: second, exp: second + 900 }, { clock_skew_leeway: -1 }, -1, 'not_yet_valid'],
    // Without an end it ends the expiration leeway after its start.
    [{ iat: second }, {}, 210, 'in'],
    [{ iat: second }, {}, 211, 'expired'],
    [{ iat: second }, { expiration_leeway: -1 }, 61, 'expired'],
    [{ iat: second }, { expiration_leeway: 500 }, 560, 'in'],
    [{ nbf: second + 100, iat: second }, {}, 310, 'in'],
    [{ nbf: second + 100, iat: second }, {}, 311, 'expired'],
    [{ iat: second + 600, nbf: second, exp: second + 900 }, {}, 0, 'issued_in_future'],
    [{ iat: second + 600, nbf: second, exp: second + 900 }, {}, 540, 'in'],
    [{}, {}, 0, 'no_time_claims'],
    [{ exp: 0, iat: 0 }, {}, 0, 'no_time_claims'],
    [{ exp: 1e300 }, { not_before_leeway: -1 }, 0, 'not_yet_valid'],
  ]
  test.each(cases)('%j with %j at %i s: %s', async (stated, leeways, offset, outcome) => {
    const attempt = login(await only(stated), { role: leeways, ...at(offset) })
    if (outcome === 'in') expect((await attempt).subject).toBe('someone')
    else expect((await caught(attempt)).reason).toBe(outcome)
  })

  test.each(['tomorrow', true, {}])('%j is no time', async (exp) => {
    expect(await refusal(await token({ exp }))).toBe('malformed_token')
  })

  test('an end beyond the calendar is told as its last second', async () => {
    const jwt = await token({ exp: 1e17 })
    expect((await login(jwt)).expiresAt).toEqual(new Date('9999-12-31T23:59:59Z'))
  })
})

describe('claims', () => {
  const deep = {
    who: { id: 'u-1', 'a/b': 'slash', 'c~d': 'tilde', team: ['ops', { name: 'core' }] },
    count: 5,
    admin: false,
    list: ['x', 7, true],
    nothing: null,
  }

  test.each([
    [{ '/who/id': 'u-1' }],
    [{ '/who/a~1b': 'slash' }],
    [{ '/who/c~0d': 'tilde' }],
    [{ '/who/team/0': 'ops' }],
    [{ '/who/team/1/name': 'core' }],
    [{ count: 5 }],
    [{ count: [4, 5] }],
    [{ admin: false }],
    [{ list: 7 }],
    [{ list: ['nope', 'x'] }],
    [{ aud: AUDIENCE }],
  ])('%j is met', async (bound_claims) => {
    expect(await login(await token(deep), { role: { bound_claims } })).toMatchObject({ subject: 'someone' })
  })

  test.each([
    [{ '/who/team/7': 'ops' }, 'bound_claim_missing'],
    [{ '/who/team/-1': 'ops' }, 'bound_claim_missing'],
    [{ '/who/team/length': 2 }, 'bound_claim_missing'],
    [{ nothing: 'null' }, 'bound_claim_missing'],
    [{ constructor: 'x' }, 'bound_claim_missing'],
    [{ '/who/constructor/name': 'Object' }, 'bound_claim_missing'],
    [{ '/sub/length': 7 }, 'bound_claim_missing'],
    [{ who: 'u-1' }, 'bound_claim_mismatch'],
    [{ count: '5' }, 'bound_claim_mismatch'],
    [{ list: 'x*' }, 'bound_claim_mismatch'],
    [{ sub: [] }, 'bound_claim_mismatch'],
    [{ sub: 'someone', count: 6 }, 'bound_claim_mismatch'],
  ])('%j is not met', async (bound_claims, reason) => {
    expect(await refusal(await token(deep), { role: { bound_claims } })).toBe(reason)
  })

  test('numbers too large to tell apart match nothing', async () => {
    const jwt = await token({ id: 2 ** 53 })
    const role = checkJwtRole({ user_claim: 'sub', bound_audiences: [AUDIENCE] }, { mountType: 'jwt' })
    const config = checkJwtConfig({ jwt_validation_pubkeys: [pem] })
    // Written past the check, as an older version might have.
    const unchecked = { ...role, bound_claims: { id: 2 ** 53 } }
    const attempt = { config, keys: openKeySource(config), roleName: 'demo', jwt, now: NOW }
    expect((await caught(verifyLogin({ ...attempt, role: unchecked }))).reason).toBe('bound_claim_mismatch')
  })

  test.each([
    ['*', 'someone'],
    ['some*', 'someone'],
    ['*one', 'someone'],
    ['s*m*e', 'someone'],
    ['someone*', 'someone'],
  ])('glob %s covers %s', async (pattern) => {
    const role = { bound_claims_type: 'glob', bound_claims: { sub: pattern } }
    expect(await login(await token(), { role })).toMatchObject({ subject: 'someone' })
  })

  test.each(['some', 'some?ne', '*x*', 'someone*e', ''])('glob %j does not', async (pattern) => {
    const role = { bound_claims_type: 'glob', bound_claims: { sub: pattern } }
    expect(await refusal(await token(), { role })).toBe('bound_claim_mismatch')
  })

  test.each<[Record<string, unknown>, Record<string, unknown>, string]>([
    [{ user_claim: 'email' }, {}, 'user_claim_missing'],
    [{ user_claim: 'toString' }, {}, 'user_claim_missing'],
    [{ user_claim: 'uid' }, { uid: 7 }, 'user_claim_unusable'],
    [{ user_claim: 'uid' }, { uid: '' }, 'user_claim_unusable'],
    [{ user_claim: 'uid' }, { uid: 'x'.repeat(1_025) }, 'user_claim_unusable'],
    [{ user_claim: '/who/id' }, deep, 'user_claim_missing'],
    [{ groups_claim: 'groups' }, {}, 'groups_claim_missing'],
    [{ groups_claim: 'groups' }, { groups: { a: 1 } }, 'groups_claim_unusable'],
    [{ groups_claim: 'groups' }, { groups: ['a', 1] }, 'groups_claim_unusable'],
    [{ groups_claim: 'groups' }, { groups: true }, 'groups_claim_unusable'],
    [{ claim_mappings: { count: 'n' } }, deep, 'mapped_claim_unusable'],
  ])('%j refuses %j', async (role, changes, reason) => {
    expect(await refusal(await token(changes), { role })).toBe(reason)
  })

  test('pointers reach the user, the groups and the mapped claims', async () => {
    const role = {
      user_claim: '/who/id',
      user_claim_json_pointer: true,
      groups_claim: '/who/groups',
      claim_mappings: { '/who/team/1/name': 'team', absent: 'absent' },
    }
    const who = { ...deep.who, groups: 'only-one' }
    expect(await login(await token({ who }), { role })).toMatchObject({
      subject: 'u-1',
      groups: ['only-one'],
      metadata: { role: 'demo', team: 'core' },
    })
  })

  test.each([
    [{ user_claim: 'sub' }, undefined],
    [{ user_claim: '/sub', user_claim_json_pointer: true }, undefined],
    [{ user_claim: 'email' }, '/email'],
    [{ user_claim: 'email', user_claim_json_pointer: true }, '/email'],
    [{ user_claim: '/email', user_claim_json_pointer: true }, '/email'],
    [{ user_claim: '/who/id', user_claim_json_pointer: true }, '/who/id'],
    [{ user_claim: '/who/id' }, '/~1who~1id'],
    [{ user_claim: '/~1who~1id', user_claim_json_pointer: true }, '/~1who~1id'],
    [{ user_claim: 'a~b' }, '/a~0b'],
  ])('a subject that is not `sub` comes with the one name of its claim: %o', async (role, subjectClaim) => {
    const jwt = await token({ sub: 'x', email: 'x', who: { id: 'x' }, '/who/id': 'x', 'a~b': 'x' })
    const identity = await login(jwt, { role })
    expect([identity.subject, identity.subjectClaim]).toEqual(['x', subjectClaim])
  })

  test('metadata may be called anything', async () => {
    const role = { claim_mappings: { sub: '__proto__' } }
    const { metadata } = await login(await token(), { role })
    expect(Object.entries(metadata)).toEqual([
      ['role', 'demo'],
      ['__proto__', 'someone'],
    ])
  })
})

describe('keys of a JWKS', () => {
  test('those that cannot verify a token are left out', async () => {
    const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey
    const keys = [
      { kty: 'oct', k: 'c2VjcmV0', alg: 'HS256', kid: 'first' },
      { ...issuer.jwk, use: 'enc' },
      { ...issuer.jwk, key_ops: ['encrypt'] },
      { ...issuer.jwk, alg: 'HS256' },
      { ...issuer.jwk, kid: 5 },
      { kty: 'RSA', n: 'AAAA' },
      { kty: 'made-up' },
      await exportJWK(weak),
      null,
      'key',
    ]
    expect(keysFromJwks({ keys })).toEqual([])
    expect(keysFromJwks({ keys: [...keys, issuer.jwk] })).toHaveLength(1)
  })

  test('a private key is held as its public half only', () => {
    const [key] = keysFromJwks({ keys: [issuer.secretJwk] })
    expect(key?.key.type).toBe('public')
  })

  test.each([null, [], {}, { keys: {} }, 'keys'])('%j is no JWKS', (document) => {
    expect(() => keysFromJwks(document)).toThrow('not a JWKS')
  })

  test('are limited in number', () => {
    expect(() => keysFromJwks({ keys: Array(65).fill(issuer.jwk) })).toThrow('more than 64 keys')
  })
})
