import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { checkJwtConfig } from '../../src/identity/jwt/config.ts'
import { openKeySource } from '../../src/identity/jwt/key-source.ts'
import { checkJwtRole } from '../../src/identity/jwt/role.ts'
import { verifyLogin } from '../../src/identity/jwt/verify.ts'
import { type KubernetesApiServer, publicPem, tampered } from '../support/kubernetes-api.ts'
import { newSigningKey } from '../support/oidc-issuer.ts'
import { type AuthWorld, DENIED, MODES, REVIEWS, startAuthWorld } from './kubernetes-auth-world.ts'

let world: AuthWorld
let kubernetes: KubernetesApiServer
const workload = (...account: string[]) => world.workload(...account)
const mount: AuthWorld['mount'] = (...fields) => world.mount(...fields)

beforeAll(async () => {
  world = await startAuthWorld()
  kubernetes = world.kubernetes
})
beforeEach(() => world.reset())
afterAll(async () => {
  world.reset()
  await world.stop()
})

describe.each(MODES)('a workload, checked by %s', (mode, fields) => {
  test('logs in as its service account', async () => {
    const { uid, token } = workload()
    kubernetes.addPod('shop', 'api-0')
    const jwt = await token({ pod: 'api-0', seconds: 900 })
    const { login } = await mount(fields(world))
    const identity = await login(jwt)
    expect(identity).toMatchObject({
      subject: uid,
      metadata: {
        role: 'demo',
        service_account_name: 'api',
        service_account_namespace: 'shop',
        service_account_uid: uid,
        service_account_secret_name: '',
      },
      groups: ['system:serviceaccounts', 'system:serviceaccounts:shop'],
      claims: {
        iss: kubernetes.issuer,
        'kubernetes.io': { namespace: 'shop', pod: { name: 'api-0' }, serviceaccount: { name: 'api', uid } },
      },
      displayName: 'shop-api',
    })
    const { exp } = identity.claims as { exp: number }
    expect(identity.expiresAt).toEqual(new Date(exp * 1_000))
    expect(kubernetes.requests).toEqual(mode === 'TokenReview' ? [REVIEWS] : [])
  })

  test('may be known by its name instead of its uid', async () => {
    const { login } = await mount(fields(world), { alias_name_source: 'serviceaccount_name' })
    expect((await login(await workload().token())).subject).toBe('shop/api')
    // The account made again is the same principal by name, and another one by uid.
    const again = workload()
    expect((await login(await again.token())).subject).toBe('shop/api')
    const { login: byUid } = await mount(fields(world))
    expect((await byUid(await again.token())).subject).toBe(again.uid)
  })

  test('is told how it misses the role, once its token is proved', async () => {
    const { refusal } = await mount(fields(world), { bound_service_account_names: ['api', 'web-*'] })
    expect(await refusal(await workload('shop', 'worker').token())).toMatchObject({
      code: 'permission_denied',
      message: 'service account name not authorized',
      reason: 'name_not_bound',
    })
    expect(await refusal(await workload('lab').token())).toMatchObject({
      code: 'permission_denied',
      message: 'namespace not authorized',
      reason: 'namespace_not_bound',
    })
    const stranger = await newSigningKey('k', 'RS256')
    const { claims } = await (await mount(fields(world))).login(await workload().token())
    const forged = await stranger.sign({ ...claims, sub: 'system:serviceaccount:shop:worker' })
    expect(await refusal(forged)).toMatchObject(DENIED)
  })

  test('is let in by the globs of the role', async () => {
    const bound = { bound_service_account_names: ['a*'], bound_service_account_namespaces: ['sh*p', 'x'] }
    const { login, refusal } = await mount(fields(world), bound)
    expect(await login(await workload().token())).toMatchObject({ displayName: 'shop-api' })
    expect((await refusal(await workload('shopping').token())).reason).toBe('namespace_not_bound')
    const every = { bound_service_account_names: ['*'], bound_service_account_namespaces: ['*'] }
    const anyone = await mount(fields(world), every)
    expect(await anyone.login(await workload('lab', 'w').token())).toMatchObject({ displayName: 'lab-w' })
  })

  test('must have a token for the audience of the role', async () => {
    const { token } = workload()
    const { login, refusal } = await mount(fields(world), { audience: 'broker' })
    await login(await token({ audiences: ['other', 'broker'] }))
    expect(await refusal(await token())).toMatchObject({ ...DENIED, reason: 'wrong_audience' })
    // A role without one takes whatever audience the token itself names.
    const open = await mount(fields(world))
    await open.login(await token({ audiences: ['other'] }))
  })

  test('must have a token of the issuer, where the mount says so', async () => {
    const jwt = await workload().token()
    const strict = { ...fields(world), disable_iss_validation: false }
    await (await mount({ ...strict, issuer: kubernetes.issuer })).login(jwt)
    const other = await mount({ ...strict, issuer: 'https://other.example' })
    expect(await other.refusal(jwt)).toMatchObject({ ...DENIED, reason: 'wrong_issuer' })
    const none = await mount(strict)
    expect(await none.refusal(jwt)).toMatchObject({ ...DENIED, reason: 'wrong_issuer' })
  })

  test.each<[string, (good: string) => Promise<string> | string, string]>([
    ['that has ended', () => workload().token({ seconds: -120 }), 'expired'],
    [
      'that has not begun',
      (good) => tampered(good, { nbf: 9_999_999_999, exp: 99_999_999_999 }),
      'not_yet_valid',
    ],
    ['without a signature', (good) => good.replace(/[^.]*$/, ''), 'malformed_token'],
    ['with a line end in it', (good) => `${good}\r\nx`, 'malformed_token'],
    ['with four parts', (good) => `${good}.AAAA`, 'malformed_token'],
    ['that is none', () => 'hello', 'malformed_token'],
    ['with a header that is none', () => 'AAAA.AAAA.AAAA', 'malformed_token'],
    ['with a payload that is none', (good) => good.replace(/\.[^.]*\./, '.AAAA.'), 'malformed_token'],
    ['over 16 KiB', (good) => good + 'A'.repeat(16_384), 'token_too_large'],
    [
      'of no algorithm',
      (good) => good.replace(/^[^.]*/, Buffer.from('{"alg":"none"}').toString('base64url')),
      'algorithm_not_allowed',
    ],
    [
      'of a shared secret',
      (good) => good.replace(/^[^.]*/, Buffer.from('{"alg":"HS256"}').toString('base64url')),
      'algorithm_not_allowed',
    ],
    ['of a person', (good) => tampered(good, { 'kubernetes.io': undefined }), 'not_a_service_account'],
    [
      'of an account no cluster can have',
      (good) =>
        tampered(good, { 'kubernetes.io': { namespace: '../x', serviceaccount: { name: 'a', uid: 'b' } } }),
      'not_a_service_account',
    ],
    [
      'that names two accounts',
      (good) => tampered(good, { sub: 'system:serviceaccount:shop:admin' }),
      'wrong_subject',
    ],
  ])('is denied with a token %s, and nobody is asked', async (_, make, reason) => {
    const { refusal } = await mount(fields(world))
    const refused = await refusal(await make(await workload().token()))
    expect(refused).toMatchObject({ ...DENIED, reason })
    expect(kubernetes.requests).toEqual([])
  })

  test('is denied with a forged token', async () => {
    const { uid, token } = workload()
    const good = await token()
    const { refusal } = await mount(fields(world))
    const reason = mode === 'TokenReview' ? 'token_refused' : 'bad_signature'
    const block = { namespace: 'shop', serviceaccount: { name: 'api', uid: `${uid}x` } }
    expect(await refusal(tampered(good, { 'kubernetes.io': block }))).toMatchObject({ ...DENIED, reason })
    const stranger = await newSigningKey(kubernetes.key.jwk.kid, 'RS256')
    const { claims } = await (await mount(fields(world))).login(good)
    expect(await refusal(await stranger.sign(claims))).toMatchObject({ ...DENIED, reason })
  })

  test('without any token is told so', async () => {
    const { refusal } = await mount(fields(world))
    expect(await refusal('')).toMatchObject({ code: 'invalid_request', message: 'missing jwt' })
  })
})

test('the keys of a mount may be several, of which one fits', async () => {
  const other = await newSigningKey('other', 'RS256')
  const jwt = await workload().token()
  const { login } = await mount({ pem_keys: [publicPem(other), kubernetes.publicKeyPem] })
  await login(jwt)
  const { refusal } = await mount({ pem_keys: [publicPem(other)] })
  expect(await refusal(jwt)).toMatchObject({ ...DENIED, reason: 'bad_signature' })
})

test('a JWT mount takes the same tokens, by the cluster’s own discovery', async () => {
  const config = checkJwtConfig({
    oidc_discovery_url: kubernetes.issuer,
    oidc_discovery_ca_pem: kubernetes.caPem,
  })
  const role = checkJwtRole({ user_claim: 'sub', bound_audiences: ['broker'] }, { mountType: 'jwt' })
  const jwt = await workload().token({ audiences: ['broker'] })
  const attempt = { config, keys: openKeySource(config), role, roleName: 'demo', jwt, now: new Date() }
  expect((await verifyLogin(attempt)).subject).toBe('system:serviceaccount:shop:api')
})
