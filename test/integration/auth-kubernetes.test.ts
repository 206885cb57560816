import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { failsWith, tampered } from '../support/kubernetes-api.ts'
import { newSigningKey } from '../support/oidc-issuer.ts'
import { AUDIENCE, type KubernetesWorld, openKubernetesWorld } from './auth-kubernetes-world.ts'

// Logins with service-account tokens over the whole broker, against a stand-in for the API server. What each check of
// a token does alone is in kubernetes-auth*.test.ts.

let world: KubernetesWorld
beforeAll(async () => {
  world = await openKubernetesWorld()
  await world.role('app', { token_policies: ['App', 'audit'], token_ttl: '15m' })
})
afterEach(() => {
  world.kubernetes.behave(undefined)
  world.kubernetes.requests.length = 0
})
afterAll(() => world.close())

const api: KubernetesWorld['at']['api'] = (...ask) => world.at.api(...ask)
const enable = (mount: string) => api('POST', `sys/auth/${mount}`, { type: 'kubernetes' })

/** Logs in, which must be refused, and must leave no trace. */
async function refusal(role: string, data?: Record<string, unknown>, mount?: string) {
  const before = await world.census()
  const { status, json } = await world.login(role, data, mount)
  expect(await world.census()).toEqual(before)
  expect(Object.keys(json)).toEqual(['errors'])
  return [status, ...json.errors]
}

const DEV = { bound_service_account_namespace_selector: '{"matchLabels":{"env":"dev"}}' }
const DENIED = [403, 'permission denied']
const NO_ANSWER = [500, 'the Kubernetes API server gave no usable answer, so the login could not be checked']
const NO_RIGHTS = [
  500,
  'the Kubernetes API server does not let this mount check logins: its reviewer token is missing, invalid or lacks rights',
]

describe('a login', () => {
  test('gives a token with the policies of the role, and says who it is', async () => {
    const { uid } = world.kubernetes.addServiceAccount('shop', 'api')
    const auth = await world.auth('app')
    expect(auth).toMatchObject({
      policies: ['app', 'audit', 'default'],
      token_policies: ['app', 'audit', 'default'],
      metadata: {
        role: 'app',
        service_account_name: 'api',
        service_account_namespace: 'shop',
        service_account_uid: uid,
        service_account_secret_name: '',
      },
      lease_duration: 900,
      renewable: true,
      token_type: 'service',
      orphan: true,
      num_uses: 0,
    })
    const { json } = await api('POST', 'auth/token/lookup', { token: auth.client_token })
    expect(json.data).toMatchObject({
      display_name: 'kubernetes-shop-api',
      path: 'auth/kubernetes/login',
      entity_id: auth.entity_id,
      meta: auth.metadata,
      role: 'app',
    })
    const { rows } = await world.at.ledger.ledger.query(
      'select kind, subject from leasehold.entity where id = $1',
      [auth.entity_id],
    )
    expect(rows).toEqual([{ kind: 'workload', subject: uid }])
  })

  test('may be made with node-vault, and used at once', async () => {
    await api('PUT', 'sys/policies/acl/app', {
      policy: `path "database/creds/app" {
        capabilities = ["read"]
        condition = "principal.kind == 'workload' && principal.groups.exists(g, g == 'system:serviceaccounts:shop') && principal.claims['kubernetes.io'].namespace == 'shop'"
      }`,
    })
    const { vault } = world.at
    const jwt = await world.token()
    const { auth } = await vault.kubernetesLogin({ mount_point: 'kubernetes', role: 'app', jwt })
    const credentials = (headers: Record<string, string>) =>
      api('GET', 'database/creds/app', undefined, headers)
    expect((await credentials({ 'X-Vault-Token': auth.client_token })).status).toBe(200)
    vault.token = world.at.root
  })

  test('of the same account is the same principal, of another account another', async () => {
    await world.role('any', { bound_service_account_names: '*', bound_service_account_namespaces: '*' })
    world.kubernetes.addServiceAccount('shop', 'worker')
    world.kubernetes.addServiceAccount('lab', 'api')
    const entityOf = async (wish?: object, role = 'any') =>
      (await world.auth(role, { jwt: await world.token(wish) })).entity_id
    const [one, again, inOtherRole] = [await entityOf(), await entityOf(), await entityOf({}, 'app')]
    expect([again, inOtherRole]).toEqual([one, one])
    const others = [await entityOf({ name: 'worker' }), await entityOf({ namespace: 'lab' })]
    expect(new Set([one, ...others]).size).toBe(3)

    // An account that was made again is another one, unless the role goes by names.
    await world.role('named', { alias_name_source: 'serviceaccount_name' })
    const before = [await entityOf({}, 'app'), await entityOf({}, 'named')]
    world.kubernetes.addServiceAccount('shop', 'api')
    const after = [await entityOf({}, 'app'), await entityOf({}, 'named')]
    expect([after[0] === before[0], after[1] === before[1]]).toEqual([false, true])
  })

  test('is refused as the contract says', async () => {
    world.kubernetes.addServiceAccount('shop', 'worker')
    world.kubernetes.addServiceAccount('lab', 'api')
    const good = await world.token()
    const stranger = await newSigningKey(world.kubernetes.key.jwk.kid, 'RS256')
    const block = { namespace: 'shop', serviceaccount: { name: 'api', uid: 'another' } }
    const claims = { sub: 'system:serviceaccount:shop:api', 'kubernetes.io': block, aud: AUDIENCE }
    await enable('bare')
    await world.role('app', {}, 'bare')

    expect(await refusal('')).toEqual([400, 'missing role'])
    expect(await refusal('app', { jwt: '' })).toEqual([400, 'missing jwt'])
    for (const name of ['none', 'APP', '../app', 'n'.repeat(300)]) {
      expect(await refusal(name)).toEqual([400, `invalid role name "${name.slice(0, 256)}"`])
    }
    expect(await refusal('app', {}, 'bare')).toEqual([500, 'could not load backend configuration'])
    const jwtOf = async (wish: object) => ({ jwt: await world.token(wish) })
    expect(await refusal('app', await jwtOf({ name: 'worker' }))).toEqual([
      403,
      'service account name not authorized',
    ])
    expect(await refusal('app', await jwtOf({ namespace: 'lab' }))).toEqual([403, 'namespace not authorized'])
    expect(await refusal('app', await jwtOf({ audiences: ['https://other.example'] }))).toEqual(DENIED)
    expect(await refusal('app', await jwtOf({ seconds: -120 }))).toEqual(DENIED)
    expect(await refusal('app', { jwt: await stranger.sign({ ...claims, exp: 9_999_999_999 }) })).toEqual(
      DENIED,
    )
    expect(await refusal('app', { jwt: tampered(good, { 'kubernetes.io': block }) })).toEqual(DENIED)
    expect(await refusal('app', { jwt: 'hello' })).toEqual(DENIED)
    world.kubernetes.deleteServiceAccount('shop', 'api')
    expect(await refusal('app', { jwt: good })).toEqual(DENIED)
    world.kubernetes.addServiceAccount('shop', 'api')
  })

  test('with a token over 16 KiB is refused, and nobody is asked', async () => {
    const long = await world.token({ claims: { padding: 'x'.repeat(16 * 1_024) } })
    expect(await refusal('app', { jwt: long })).toEqual(DENIED)
    expect(world.kubernetes.requests).toEqual([])
  })

  test('ends with its token by the ledger’s clock', async () => {
    const jwt = await world.token({ seconds: 600 })
    await world.auth('app', { jwt })
    await world.at.ledger.advance(700)
    expect(await refusal('app', { jwt })).toEqual(DENIED)
    await world.at.ledger.advance(-700)
  })

  test('from an address that the role does not allow is refused', async () => {
    await world.role('elsewhere', { token_bound_cidrs: '192.0.2.0/24' })
    expect(await refusal('elsewhere')).toEqual(DENIED)
  })

  test('goes by the labels of the namespace, where the role has a selector', async () => {
    for (const [name, selector] of [
      ['by-json', '{"matchLabels":{"env":"dev"}}'],
      ['by-yaml', 'matchExpressions:\n- {key: env, operator: In, values: [dev, test]}\n'],
    ] as const) {
      const fields = {
        bound_service_account_namespaces: '',
        bound_service_account_namespace_selector: selector,
      }
      const [fits, misses] = [`${name}-dev`, `${name}-live`]
      world.kubernetes.addServiceAccount(fits, 'api')
      world.kubernetes.setNamespace(fits, { env: 'dev' })
      world.kubernetes.addServiceAccount(misses, 'api')
      world.kubernetes.setNamespace(misses, { env: 'live' })
      await world.role(name, fields)
      const jwtOf = async (namespace: string) => ({ jwt: await world.token({ namespace }) })
      expect((await world.auth(name, await jwtOf(fits))).metadata.service_account_namespace).toBe(fits)
      expect(await refusal(name, await jwtOf(misses))).toEqual([403, 'namespace not authorized'])
    }
  })
})

describe('the API server', () => {
  const failedLogins = async () => {
    const { rows } = await world.at.ledger.ledger.query<{ taken: number }>(
      `select sum(taken)::int as taken from leasehold.rate_count
       where counter = 'failed-logins-by-source' and free_at > leasehold.ledger_now()`,
    )
    return rows[0]?.taken ?? 0
  }

  test('that is down, or answers nonsense, lets nobody in, and its failures are not the callers’', async () => {
    await enable('down')
    await world.role('app', {}, 'down')
    await world.configure({ kubernetes_host: 'https://127.0.0.1:1' }, 'down')
    const before = await failedLogins()
    expect(await refusal('app', {}, 'down')).toEqual(NO_ANSWER)
    for (const fault of [failsWith(500), failsWith(429)]) {
      world.kubernetes.behave(fault)
      expect(await refusal('app')).toEqual(NO_ANSWER)
    }
    world.kubernetes.behave(failsWith(403))
    expect(await refusal('app')).toEqual(NO_RIGHTS)
    expect(await failedLogins()).toBe(before)

    world.kubernetes.behave(undefined)
    await world.auth('app')
    expect(await failedLogins()).toBe(before)
    await refusal('app', { jwt: 'hello' })
    expect(await failedLogins()).toBe(before + 1)
  })

  test('says why on record, with no part of a token', async () => {
    world.kubernetes.behave(failsWith(500))
    const jwt = await world.token()
    const { headers } = await world.login('app', { jwt })
    const { rows } = await world.at.ledger.ledger.query<{ body: string }>(
      'select body from leasehold.audit_event where body like $1',
      [`%${headers.get('leasehold-request-id')}%`],
    )
    expect(rows.map(({ body }) => body).join()).toContain('"reason":"api_unusable"')
    for (const { body } of rows) expect(body).not.toContain(jwt.split('.')[2])
  })

  test('is asked by the reviewer of the newest configuration, on every server', async () => {
    const other = await world.at.another()
    const { url } = await other.listen({ host: '127.0.0.1', port: 0 })
    const elsewhere = async () => {
      const body = JSON.stringify({ role: 'app', jwt: await world.token() })
      return (await fetch(`${url}/v1/auth/kubernetes/login`, { method: 'POST', body })).status
    }
    const secretsBefore = await world.secrets()
    world.kubernetes.addServiceAccount('broker', 'first', 'create tokenreviews')
    world.kubernetes.addServiceAccount('broker', 'second', 'create tokenreviews')
    const rotate = async (name: string) =>
      world.configure({ token_reviewer_jwt: await world.kubernetes.token({ namespace: 'broker', name }) })
    await rotate('first')
    expect([(await world.login('app')).status, await elsewhere()]).toEqual([200, 200])

    world.kubernetes.deleteServiceAccount('broker', 'first')
    expect(await refusal('app')).toEqual(NO_RIGHTS)
    expect(await elsewhere()).toBe(500)
    await rotate('second')
    expect([(await world.login('app')).status, await elsewhere()]).toEqual([200, 200])
    const secrets = await world.secrets()
    expect(secrets).toHaveLength(secretsBefore.length)
    await world.configure()
    await world.auth('app')
  })

  test('is asked with the rights of the token itself, where there is no reviewer', async () => {
    world.kubernetes.addServiceAccount('shop', 'self', 'create tokenreviews')
    await enable('self')
    await world.configure({ token_reviewer_jwt: '' }, 'self')
    const bound = { bound_service_account_names: '*', audience: '' }
    await world.role('any', bound, 'self')
    const jwtOf = async (name: string) => ({ jwt: await world.kubernetes.token({ namespace: 'shop', name }) })
    expect((await world.auth('any', await jwtOf('self'), 'self')).metadata.service_account_name).toBe('self')
    expect(await refusal('any', await jwtOf('api'), 'self')).toEqual(NO_RIGHTS)
    // One that is for the broker alone opens no door there, so such a mount needs a reviewer.
    await world.role('app', {}, 'self')
    expect(await refusal('app', {}, 'self')).toEqual(DENIED)
    await world.role('selected', { ...bound, bound_service_account_namespaces: '', ...DEV }, 'self')
    expect(await refusal('selected', await jwtOf('self'), 'self')).toEqual([403, 'namespace not authorized'])
  })

  test('that has lost its reviewer’s token from the store is not asked with fewer rights', async () => {
    await enable('lost')
    await world.role('app', {}, 'lost')
    const others = await world.secrets()
    await world.configure({}, 'lost')
    const [name] = (await world.secrets()).filter((each) => !others.includes(each))
    await world.at.ledger.ledger.query('delete from leasehold.sealed_secret where name = $1', [name])
    expect(await refusal('app', {}, 'lost')).toEqual(NO_RIGHTS)
    expect(world.kubernetes.requests).toEqual([])
    await world.configure({}, 'lost')
    await world.auth('app', {}, 'lost')
  })

  test('is not asked where the mount has the keys of the cluster', async () => {
    await enable('local')
    await world.role('app', {}, 'local')
    await world.configure(
      {
        pem_keys: world.kubernetes.publicKeyPem,
        kubernetes_host: 'https://127.0.0.1:1',
        token_reviewer_jwt: '',
      },
      'local',
    )
    const { uid } = world.kubernetes.addServiceAccount('shop', 'api')
    const auth = await world.auth('app', {}, 'local')
    expect(auth.metadata).toMatchObject({ service_account_uid: uid, service_account_namespace: 'shop' })
    expect(world.kubernetes.requests).toEqual([])

    const stranger = await newSigningKey(world.kubernetes.key.jwk.kid, 'RS256')
    const block = { namespace: 'shop', serviceaccount: { name: 'api', uid } }
    const claims = { sub: 'system:serviceaccount:shop:api', 'kubernetes.io': block, aud: AUDIENCE }
    const jwt = await stranger.sign({ ...claims, exp: Math.floor(Date.now() / 1_000) + 300 })
    expect(await refusal('app', { jwt }, 'local')).toEqual(DENIED)
    expect(await refusal('app', { jwt: await world.kubernetes.secretToken('shop', 'api') }, 'local')).toEqual(
      DENIED,
    )
  })
})

test('a renewal goes by the role as it is then', async () => {
  await world.role('passing', { token_ttl: '10m' })
  const { client_token: token } = await world.auth('passing')
  await world.role('passing', { token_ttl: '5m' })
  expect((await api('POST', 'auth/token/renew', { token })).json.auth.lease_duration).toBe(300)
  await api('DELETE', 'auth/kubernetes/role/passing')
  expect((await api('POST', 'auth/token/renew', { token })).status).toBe(400)
})
