import { randomBytes, randomUUID } from 'node:crypto'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { type Broker, compose, migrateLedger } from '../../src/compose.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import {
  contractFetch,
  isOfPeople,
  problemsOf,
  readContract,
  resolved,
  unanswered,
} from '../support/contract.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startKubernetesApi } from '../support/kubernetes-api.ts'
import { openTestCluster, type TestCluster } from '../support/kubernetes-cluster.ts'
import {
  newSigningKey,
  PEOPLE_CLIENT,
  type SigningKey,
  startJwksServer,
  startOidcIssuer,
} from '../support/oidc-issuer.ts'
import { openPostgresTarget, type PostgresTarget } from '../support/postgres-target.ts'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'
import { silent } from '../support/wire.ts'

// The whole broker over HTTP, each answer held against openapi.yaml: every operation of the contract is asked once
// with good input at least. What the answers mean is for other tests.

let ledger: TestDatabase
let server: TestPostgres
let target: PostgresTarget
let broker: Broker
let another: () => Promise<Broker>
let url: string
let root: string

beforeAll(async () => {
  ledger = await createDatabase()
  server = await startTestPostgres()
  target = await openPostgresTarget(server, 'CREATEROLE')
  const ledgerUrl = sensitive(ledger.url)
  await migrateLedger({ ledgerUrl, log: silent })
  const settings = {
    ledgerUrl,
    queueUrl: sensitive(inject('redisUrl')),
    masterKey: sensitive(randomBytes(32).toString('base64')),
    sweepIntervalMs: 1_000,
    log: silent,
  }
  another = () => compose(settings)
  broker = await another()
  broker.startWorker()
  url = (await broker.listen({ host: '127.0.0.1', port: 0 })).url
  root = (await broker.tokens.createRootToken()).token.reveal()
})

afterAll(async () => {
  await broker?.close()
  await target?.close()
  await server?.remove()
  await ledger?.drop()
})

// biome-ignore lint/suspicious/noExplicitAny: the contract has been checked; tests just reach in
type Json = any
type Answer = { status: number; json: Json }

async function ask(
  method: string,
  path: string,
  body?: object,
  token = root,
  wrapTtl = '0',
): Promise<Answer> {
  const response = await contractFetch(`${url}/v1/${path}`, {
    method,
    headers: { 'X-Vault-Token': token, 'X-Vault-Wrap-TTL': wrapTtl },
    ...(body && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, json: text === '' ? undefined : JSON.parse(text) }
}

const statuses = async (asks: Promise<Answer>[]) => (await Promise.all(asks)).map(({ status }) => status)

test('state needs no token', async () => {
  const get = (path: string, method = 'GET') => contractFetch(`${url}/v1/${path}`, { method })
  const answers = await Promise.all([
    get('sys/health'),
    get('sys/health', 'HEAD'),
    get('sys/health?standbyok=true&activecode=299'),
    get('sys/health?activecode=9'),
    get('sys/seal-status'),
    get('sys/init'),
    get('sys/leader'),
    get('sys/leasehold/jwks'),
    get('sys/internal/ui/mounts'),
    get('sys/internal/ui/mounts/database'),
    get('sys/leases/count?type=irrevocable'),
  ])
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 299, 400, 200, 200, 200, 200, 200, 403, 403])
})

test('metrics', async () => {
  expect((await ask('GET', 'sys/metrics')).json.Gauges).toContainEqual(
    expect.objectContaining({ Name: 'leasehold_build_info' }),
  )
  expect((await ask('GET', 'sys/metrics', undefined, 'nobody')).status).toBe(403)
})

test('mounts at nested paths', async () => {
  const mount = {
    type: 'database',
    description: 'orders',
    config: { max_lease_ttl: '2h', environment: 'prod', labels: { team: 'orders' } },
    options: { a: 'b' },
  }
  expect(
    await statuses([
      ask('GET', 'sys/mounts'),
      ask('GET', 'sys/auth'),
      ask('POST', 'sys/mounts/team-b/orders', mount),
      ask('GET', 'sys/auth/token'),
      ask('GET', 'sys/auth/token/tune'),
      ask('POST', 'sys/auth/none', { type: 'none' }),
      ask('DELETE', 'sys/auth/none'),
    ]),
  ).toEqual([200, 200, 204, 200, 200, 400, 204])
  const at = 'sys/mounts/team-b/orders'
  expect((await ask('PUT', at, mount)).status).toBe(400)
  expect((await ask('PUT', `${at}/tune`, { default_lease_ttl: 60, description: 'more orders' })).status).toBe(
    204,
  )
  expect((await ask('GET', at)).json.data.config.default_lease_ttl).toBe(60)
  expect((await ask('GET', `${at}/tune`)).json.data.max_lease_ttl).toBe(7200)
  expect((await ask('GET', 'sys/internal/ui/mounts/team-b/orders/creds/x')).json.data.path).toBe(
    'team-b/orders/',
  )
  expect((await ask('LIST', 'team-b/orders/roles')).status).toBe(404)
  expect((await ask('DELETE', at)).status).toBe(204)
  expect((await ask('GET', at)).status).toBe(400)
})

describe('a database user, from enrolment to receipt', () => {
  const connection = () => ({
    plugin_name: 'postgresql-database-plugin',
    connection_url: String(target.spec.connection_url),
    username: target.admin.username,
    password: target.admin.password,
    allowed_roles: 'app,none',
    labels: { team: 'orders' },
    max_open_connections: '4',
  })
  const role = () => ({ db_name: 'shop', member_of: target.readers, default_ttl: '1m', max_ttl: '1h' })

  test('enrolling and writing a role', async () => {
    expect((await ask('POST', 'sys/mounts/team-a/db', { type: 'database' })).status).toBe(204)
    expect((await ask('POST', 'team-a/db/config/shop', connection())).status).toBeLessThan(300)
    expect((await ask('GET', 'team-a/db/config/shop')).json.data.server_version).toMatch(/^\d/)
    expect((await ask('LIST', 'team-a/db/config')).json.data.keys).toEqual(['shop'])
    expect((await ask('PUT', 'team-a/db/reset/shop')).status).toBe(204)
    expect((await ask('POST', 'team-a/db/roles/app', role())).status).toBe(204)
    expect((await ask('PUT', 'team-a/db/roles/other', { ...role(), extra: 1 })).status).toBe(204)
    expect((await ask('GET', 'team-a/db/roles/app')).json.data.version).toBe(1)
    expect((await ask('GET', 'team-a/db/roles?list=true')).json.data.keys).toEqual(['app', 'other'])
    const owned = { creation_statements: 'GRANT SELECT ON shop.orders TO "{{name}}"', member_of: [] }
    expect((await ask('POST', 'team-a/db/roles/own', { ...role(), ...owned })).json.warnings).not.toBeNull()
    const refused = [
      ask('POST', 'team-a/db/config/bad', { ...connection(), plugin_name: 'none' }),
      ask('POST', 'team-a/db/config/bad', { ...connection(), password: 'wrong' }),
      ask('POST', 'team-a/db/roles/bad', { default_ttl: '3 s' }),
      ask('GET', 'team-a/db/roles/none'),
      ask('GET', 'team-a/db/creds/other'),
      ask('GET', 'team-a/db/creds/none'),
      ask('POST', 'team-a/db/creds/app'),
      ask('GET', 'team-a/none'),
      ask('GET', 'none/creds/app'),
    ]
    expect(await statuses(refused)).toEqual([400, 400, 400, 404, 400, 400, 405, 404, 404])
  })

  test('issue, look up, renew, revoke, prove', async () => {
    const { json: issued } = await ask('GET', 'team-a/db/creds/app')
    const lease_id: string = issued.lease_id
    const client = await target.logIn({ ...issued.data, password: sensitive(issued.data.password) })
    await client.end()
    expect((await ask('POST', 'sys/leases/lookup', { lease_id })).json.data.state).toBe('active')
    expect((await ask('LIST', 'sys/leases/lookup')).json.data.keys).toEqual(['team-a/'])
    expect((await ask('LIST', 'sys/leases/lookup/team-a/db/creds/app')).json.data.keys).toHaveLength(1)
    expect((await ask('PUT', 'sys/leases/renew', { lease_id, increment: '5m' })).json.lease_duration).toBe(
      300,
    )
    expect((await ask('PUT', `sys/renew/${lease_id}`, { increment: null })).json.lease_duration).toBe(60)
    expect((await ask('PUT', 'sys/leases/renew', { lease_id, increment: '9h' })).json.warnings).toHaveLength(
      1,
    )
    expect((await ask('GET', `sys/leasehold/receipts/${lease_id}`)).status).toBe(404)
    expect((await ask('DELETE', 'team-a/db/config/shop')).status).toBe(400)
    expect((await ask('PUT', 'sys/leases/revoke', { lease_id })).status).toBe(204)
    const { receipt } = (await ask('GET', `sys/leasehold/receipts/${lease_id}`)).json.data
    const schema = resolved(readContract(), { $ref: '#/components/schemas/ReceiptPayload' })
    expect(problemsOf(schema, decodeJwt(receipt), 'receipt')).toEqual([])
    expect((await ask('POST', 'sys/leases/lookup', { lease_id })).json.errors).toEqual(['invalid lease'])
    expect((await ask('PUT', 'sys/leases/renew', { lease_id })).json.errors).toEqual(['lease not found'])
    expect((await ask('PUT', `sys/leases/revoke/${lease_id}`, { sync: false })).status).toBe(202)
  })

  test('passwords that are kept and changed', async () => {
    await target.sql(
      `create role kept login password 'first'; grant kept to "${target.admin.username}" with admin option`,
    )
    const role = { db_name: 'shop', username: 'kept', rotation_period: '1h' }
    expect((await ask('POST', 'team-a/db/static-roles/kept', role)).status).toBe(204)
    expect((await ask('LIST', 'team-a/db/static-roles')).json.data.keys).toEqual(['kept'])
    expect((await ask('GET', 'team-a/db/static-roles/kept')).json.data.rotation_period).toBe(3_600)
    const first = (await ask('GET', 'team-a/db/static-creds/kept')).json.data.password
    expect((await ask('POST', 'team-a/db/rotate-role/kept')).status).toBe(204)
    expect((await ask('GET', 'team-a/db/static-creds/kept')).json.data.password).not.toBe(first)
    expect((await ask('POST', 'team-a/db/rotate-role/none')).json.errors).toEqual([
      'no static role found for role name',
    ])
    expect((await ask('POST', 'team-a/db/rotate-root/shop')).status).toBe(204)
    expect((await ask('POST', 'team-a/db/rotate-root/none')).status).toBe(400)
    expect((await ask('DELETE', 'team-a/db/static-roles/kept')).status).toBe(204)
    expect((await ask('GET', 'team-a/db/static-roles/kept')).status).toBe(404)
  })

  test('what a superuser installs, and how the server is', async () => {
    const { json } = await ask('GET', `team-a/db/config/shop/enrolment-sql?groups=${target.readers}`)
    expect(json.data.scripts[0].sql).toContain('leasehold_broker')
    expect((await ask('POST', 'team-a/db/config/shop/reconcile')).status).toBe(200)
    expect((await ask('GET', 'team-a/db/config/shop/status')).json.data.reconcile.accounts).toBeTypeOf(
      'number',
    )
    expect((await ask('POST', 'team-a/db/config/none/reconcile')).status).toBeGreaterThanOrEqual(400)
  })

  test('ending many', async () => {
    const prefix = 'team-a/db/creds/app'
    for (const [path, body, status] of [
      [`sys/leases/revoke-prefix/${prefix}`, {}, 204],
      [`sys/revoke-prefix/${prefix}`, { sync: 'false', prefix }, 202],
      [`sys/leases/revoke-force/${prefix}`, {}, 204],
    ] as const) {
      await ask('GET', prefix)
      expect((await ask('PUT', path, body)).status).toBe(status)
    }
    const answers = [
      ask('GET', 'sys/leases?type=irrevocable&limit=none'),
      ask('GET', 'sys/leases/count?type=irrevocable'),
      ask('GET', 'sys/leases/count'),
      ask('POST', 'sys/leases/tidy'),
    ]
    expect(await statuses(answers)).toEqual([200, 200, 404, 202])
  })

  test('and away with it', async () => {
    expect((await ask('DELETE', 'team-a/db/roles/own')).status).toBe(204)
    expect((await ask('DELETE', 'team-a/db/config/shop?force=true')).status).toBe(204)
  })
})

describe('a service account token, from enrolment to its end', () => {
  let cluster: TestCluster
  beforeAll(async () => {
    cluster = await openTestCluster({ own: true })
  })
  afterAll(async () => cluster?.close())

  test('is made, made anew and ended', async () => {
    const namespace = await cluster.namespace()
    expect((await ask('POST', 'sys/mounts/team-k/cluster', { type: 'kubernetes' })).status).toBe(204)
    const config = {
      kubernetes_host: cluster.host,
      kubernetes_ca_cert: cluster.caPem,
      service_account_jwt: cluster.brokerToken,
      disable_local_ca_jwt: true,
      token_cache: Math.ceil(cluster.cacheMs / 1_000),
    }
    expect((await ask('POST', 'team-k/cluster/config', config)).status).toBeLessThan(300)
    expect((await ask('GET', 'team-k/cluster/config')).json.data.kubernetes_host).toBe(cluster.host)
    // As in a pod, and as outside of one.
    for (const [host, status] of [
      ['10.0.0.1', 204],
      ['', 400],
    ] as const) {
      vi.stubEnv('KUBERNETES_SERVICE_HOST', host)
      vi.stubEnv('KUBERNETES_SERVICE_PORT_HTTPS', '443')
      expect((await ask('GET', 'team-k/cluster/check')).status).toBe(status)
    }
    vi.unstubAllEnvs()
    const role = {
      allowed_kubernetes_namespaces: namespace,
      service_account_name: 'default',
      renewable: true,
      token_max_ttl: '1h',
    }
    expect((await ask('POST', 'team-k/cluster/roles/job', role)).status).toBe(204)
    expect((await ask('GET', 'team-k/cluster/roles/job')).json.data.token_max_ttl).toBe(3_600)
    expect((await ask('LIST', 'team-k/cluster/roles')).json.data.keys).toEqual(['job'])
    const { json: made } = await ask('POST', 'team-k/cluster/creds/job', { ttl: '20m' })
    const { lease_id } = made
    const { json: anew } = await ask('POST', 'team-k/cluster/creds/job/renew', { lease_id, increment: '30m' })
    expect(anew.data.service_account_token).not.toBe(made.data.service_account_token)
    expect((await ask('GET', 'team-k/cluster/creds/job')).status).toBe(405)
    expect((await ask('POST', 'team-k/cluster/creds/none')).json.errors).toEqual([
      "role 'none' does not exist",
    ])
    expect((await ask('PUT', 'sys/leases/revoke', { lease_id })).status).toBe(204)
    expect(await cluster.accepts(anew.data.service_account_token)).toBe(false)
    expect((await ask('DELETE', 'team-k/cluster/roles/job')).status).toBe(204)
    expect((await ask('DELETE', 'team-k/cluster/config')).status).toBe(204)
  })
})

test('tokens', async () => {
  const role = { allowed_policies: 'default', period: '10m', token_type: 'service' }
  expect((await ask('POST', 'auth/token/roles/batch', role)).status).toBe(204)
  expect((await ask('LIST', 'auth/token/roles')).json.data.keys).toEqual(['batch'])
  expect((await ask('GET', 'auth/token/roles/batch')).json.data.token_period).toBe(600)
  const wish = { policies: ['default', 'no-such'], meta: { a: 'b' }, ttl: '1h', display_name: 'job' }
  const { json: made } = await ask('POST', 'auth/token/create', wish)
  const { client_token: token, accessor } = made.auth
  const paths = ['sys/leases/renew', 'database/creds/app']
  const answers = [
    ask('PUT', 'auth/token/create-orphan', { type: 'batch', ttl: 60, policies: 'default' }),
    ask('PUT', 'auth/token/create/batch', {}),
    ask('PUT', 'auth/token/create/none', {}),
    ask('GET', 'auth/token/lookup-self', undefined, token),
    ask('PUT', 'auth/token/lookup-self'),
    ask('POST', 'auth/token/lookup', { token }),
    ask('GET', `auth/token/lookup?token=${token}`),
    ask('POST', 'auth/token/lookup', { token: 'none' }),
    ask('POST', 'auth/token/lookup-accessor', { accessor }),
    ask('POST', 'auth/token/renew-self', { increment: 0 }, token),
    ask('POST', 'auth/token/renew', { token, increment: '30m' }),
    ask('POST', 'auth/token/renew', {}),
    ask('POST', 'auth/token/renew-accessor', { accessor }),
    ask('POST', 'sys/capabilities-self', { paths }, token),
    ask('POST', 'sys/capabilities', { path: 'sys/leases/renew', token }),
    ask('POST', 'sys/capabilities-accessor', { paths, accessor }),
    ask('POST', 'sys/capabilities-self', {}, token),
    ask('LIST', 'auth/token/accessors'),
    ask('LIST', 'auth/token/accessors', undefined, token),
    ask('POST', 'auth/token/tidy'),
  ]
  expect(await statuses(answers)).toEqual([
    200, 200, 400, 200, 200, 200, 200, 403, 200, 200, 200, 400, 200, 200, 200, 200, 400, 200, 403, 202,
  ])
  const ends = [
    ask('POST', 'auth/token/revoke-accessor', { accessor: 'none' }),
    ask('POST', 'auth/token/revoke', { token: 'none' }),
    ask('POST', 'auth/token/revoke-orphan', { token: 'none' }),
    ask('DELETE', 'auth/token/roles/batch'),
  ]
  expect(await statuses(ends)).toEqual([200, 204, 400, 204])
  const { json: other } = await ask('POST', 'auth/token/create-orphan', { policies: ['default'] })
  expect((await ask('PUT', 'auth/token/revoke-orphan', { token: other.auth.client_token })).status).toBe(204)
  expect((await ask('POST', 'auth/token/revoke-self', undefined, token)).status).toBe(204)
  expect((await ask('GET', 'auth/token/lookup-self', undefined, token)).json.errors[0]).toContain(
    'invalid token',
  )
})

test('wrapping', async () => {
  const { token: first } = (await ask('POST', 'sys/wrapping/wrap', { a: [1] }, root, '5m')).json.wrap_info
  const { token } = (await ask('PUT', 'sys/wrapping/rewrap', { token: first })).json.wrap_info
  const asks: [string, string, (object | undefined)?, string?, string?][] = [
    ['POST', 'sys/wrapping/wrap', { a: [1] }],
    ['POST', 'sys/wrapping/wrap', {}, root, '-1'],
    ['POST', 'sys/wrapping/wrap', {}, 'none', '1m'],
    ['GET', 'sys/wrapping/lookup', undefined, token],
    ['GET', `sys/wrapping/lookup?token=${token}`, undefined, ''],
    ['POST', 'sys/wrapping/lookup', { token }, ''],
    ['PUT', 'sys/wrapping/lookup', { token: first }, ''],
    ['POST', 'sys/wrapping/unwrap', { token }, 'none'],
    ['PUT', 'sys/wrapping/unwrap', undefined, token],
    ['POST', 'sys/wrapping/unwrap', { token }],
    ['POST', 'sys/wrapping/rewrap', { token }],
  ]
  const answers: number[] = []
  for (const one of asks) answers.push((await ask(...one)).status)
  expect(answers).toEqual([400, 400, 403, 200, 200, 200, 400, 403, 200, 400, 400])
})

test('what holds for all control groups', async () => {
  const asks: [string, string, object?][] = [
    ['GET', 'sys/config/control-group'],
    ['POST', 'sys/config/control-group', { max_ttl: '4h' }],
    ['PUT', 'sys/config/control-group', { max_ttl: 0 }],
    ['GET', 'sys/config/control-group'],
    ['DELETE', 'sys/config/control-group'],
  ]
  const answers: number[] = []
  for (const one of asks) answers.push((await ask(...one)).status)
  expect(answers).toEqual([404, 204, 400, 200, 204])
})

test('a login with the token of a platform, at a nested path', async () => {
  const key = await newSigningKey('first')
  const issuer = await startJwksServer([key])
  const iat = Math.floor(Date.now() / 1_000)
  const jwt = await key.sign({ sub: 'build', aud: 'us', iat, exp: iat + 300 })
  const set = await eventOf(key, 'https://issuer.example')
  const at = 'auth/team-b/ci'
  const events = { event_audience: 'us', event_issuer: 'https://issuer.example', event_jwks_url: issuer.url }
  const config = { jwks_url: issuer.url, jwt_supported_algs: 'ES256', default_role: 'Build', ...events }
  const role = {
    user_claim: 'sub',
    bound_audiences: 'us',
    clock_skew_leeway: '-1',
    ttl: '10m',
    token_bound_cidrs: '127.0.0.0/8,::1',
  }
  const asks: [string, string, object?, string?][] = [
    ['POST', `sys/${at}`, { type: 'jwt', config: { max_lease_ttl: '1h' } }],
    ['POST', `sys/${at}/tune`, { default_lease_ttl: '5m' }],
    ['GET', `${at}/config`],
    ['POST', `${at}/config`, {}],
    ['POST', `${at}/config`, config],
    ['GET', `${at}/config`],
    ['LIST', `${at}/role`],
    ['POST', `${at}/role/build`, { user_claim: 'sub' }],
    ['PUT', `${at}/role/build`, role],
    ['GET', `${at}/role/build`],
    ['LIST', `${at}/role`],
    ['POST', `${at}/login`, { role: 'build', jwt }, ''],
    ['PUT', `${at}/login`, { jwt }, ''],
    ['POST', `${at}/login`, { role: 'build', jwt: 'no' }, ''],
    ['POST', `${at}/events`, { set }, ''],
    ['PUT', `${at}/events`, { set: jwt }, ''],
    ['POST', `${at}/events`, { set: {} }, ''],
    ['DELETE', `${at}/role/build`],
    ['DELETE', `sys/${at}`],
  ]
  const answers: number[] = []
  for (const one of asks) answers.push((await ask(...one)).status)
  await issuer.stop()
  expect(answers.slice(0, 9)).toEqual([204, 204, 404, 400, 204, 200, 404, 400, 204])
  expect(answers.slice(9)).toEqual([200, 200, 200, 200, 400, 202, 400, 400, 204, 204])
})

/** What an issuer says of nobody in particular. */
const eventOf = (key: SigningKey, iss: string): Promise<string> =>
  key.sign(
    {
      iss,
      aud: 'us',
      jti: randomUUID(),
      iat: Math.floor(Date.now() / 1_000),
      events: { 'urn:example:seen': {} },
    },
    { typ: 'secevent+jwt', kid: key.jwk.kid },
  )

test('a login with the token of a Kubernetes service account', async () => {
  const kubernetes = await startKubernetesApi()
  kubernetes.addServiceAccount('broker', 'reviewer', 'create tokenreviews')
  kubernetes.addServiceAccount('shop', 'api')
  const reviewer = await kubernetes.token({ namespace: 'broker', name: 'reviewer' })
  const jwt = await kubernetes.token({ namespace: 'shop', name: 'api', audiences: ['us'] })
  const at = 'auth/team-b/cluster'
  const config = {
    kubernetes_host: kubernetes.url,
    kubernetes_ca_cert: kubernetes.caPem,
    token_reviewer_jwt: reviewer,
  }
  const role = {
    bound_service_account_names: 'api',
    bound_service_account_namespaces: ['shop'],
    ttl: '10m',
    token_bound_cidrs: '127.0.0.0/8,::1',
  }
  const asks: [string, string, object?, string?][] = [
    ['POST', `sys/${at}`, { type: 'kubernetes' }],
    ['GET', `${at}/config`],
    ['POST', `${at}/config`, {}],
    ['POST', `${at}/config`, config],
    ['GET', `${at}/config`],
    ['LIST', `${at}/role`],
    ['POST', `${at}/role/api`, {}],
    ['PUT', `${at}/role/api`, role],
    ['POST', `${at}/role/api`, { audience: 'us' }],
    ['GET', `${at}/role/api`],
    ['LIST', `${at}/role`],
    ['POST', `${at}/login`, { role: 'api', jwt }, ''],
    ['PUT', `${at}/login`, { role: 'api', jwt: 'no' }, ''],
    ['POST', `${at}/login`, { role: 'none', jwt }, ''],
  ]
  const answers: number[] = []
  for (const one of asks) answers.push((await ask(...one)).status)
  expect(answers).toEqual([204, 404, 400, 204, 200, 404, 400, 200, 204, 200, 200, 200, 403, 400])

  await kubernetes.stop()
  const ends = [
    await ask('POST', `${at}/login`, { role: 'api', jwt }, ''),
    await ask('DELETE', `${at}/role/api`),
    await ask('DELETE', `sys/${at}`),
  ]
  expect(ends.map(({ status }) => status)).toEqual([500, 204, 204])
})

test('a login with a role_id and a secret id, at a nested path', async () => {
  const at = 'auth/team-b/machines'
  const role = {
    role_id: 'batch',
    secret_id_num_uses: 3,
    secret_id_ttl: '1h',
    bound_cidr_list: '127.0.0.1/8',
  }
  const terms = {
    metadata: '{"a":"b"}',
    cidr_list: ['127.0.0.1'],
    token_bound_cidrs: '',
    num_uses: 2,
    ttl: 60,
  }
  const secretIds = `${at}/role/batch/secret-id`
  const asks: [string, string, object?, string?][] = [
    ['POST', `sys/${at}`, { type: 'approle' }],
    ['LIST', `${at}/role`],
    ['POST', `${at}/role/batch`, { bind_secret_id: false }],
    ['PUT', `${at}/role/batch`, { ...role, ttl: '10m' }],
    ['GET', `${at}/role/batch`],
    ['LIST', `${at}/role`],
    ['GET', `${at}/role/batch/role-id`],
    ['POST', `${at}/role/batch/role-id`, { role_id: 'nightly' }],
    ['POST', `${at}/role/none/role-id`, { role_id: 'nightly' }],
    ['LIST', secretIds],
    ['POST', secretIds, { num_uses: 4 }],
    ['PUT', `${at}/role/batch/custom-secret-id`, { secret_id: 'short', ...terms }],
    ['POST', `${secretIds}/lookup`, { secret_id: 'other' }],
    ['POST', `${secretIds}/lookup`, { secret_id: 'short' }],
    ['POST', `${at}/login`, { role_id: 'nightly', secret_id: 'short' }, ''],
    ['PUT', `${at}/login`, { role_id: 'nightly', secret_id: 'no' }, ''],
    ['POST', `${secretIds}/destroy`, { secret_id: 'short' }],
  ]
  const answers: number[] = []
  for (const one of asks) answers.push((await ask(...one)).status)
  expect(answers).toEqual([
    204, 404, 400, 204, 200, 200, 200, 204, 404, 404, 400, 200, 204, 200, 200, 400, 204,
  ])

  const { secret_id_accessor } = (await ask('POST', secretIds, terms)).json.data
  const ends = [
    await ask('LIST', secretIds),
    await ask('POST', `${secretIds}-accessor/lookup`, { secret_id_accessor }),
    await ask('POST', `${secretIds}-accessor/destroy`, { secret_id_accessor }),
    await ask('POST', `${secretIds}-accessor/destroy`, { secret_id_accessor }),
    await ask('POST', `${at}/tidy/secret-id`),
    await ask('DELETE', `${at}/role/batch`),
    await ask('DELETE', `sys/${at}`),
  ]
  expect(ends.map(({ status }) => status)).toEqual([200, 200, 204, 404, 202, 204, 204])
})

test('a login of a person, at a nested path', async () => {
  const key = await newSigningKey('first')
  const provider = await startOidcIssuer([key], {}, { claims: { alice: {} } })
  const at = 'auth/team-b/people'
  const config = {
    oidc_discovery_url: provider.issuer,
    oidc_client_id: PEOPLE_CLIENT.id,
    oidc_client_secret: PEOPLE_CLIENT.secret,
    default_role: 'people',
    event_audience: 'us',
  }
  const begin = { redirect_uri: 'http://localhost:8250/oidc/callback', client_nonce: 'n' }
  const role = { user_claim: 'sub', allowed_redirect_uris: [begin.redirect_uri], token_ttl: '10m' }
  const asks: [string, string, (object | undefined)?, string?][] = [
    ['POST', `sys/${at}`, { type: 'oidc' }],
    ['GET', `${at}/config`],
    ['POST', `${at}/config`, { ...config, oidc_client_id: '' }],
    ['PUT', `${at}/config`, config],
    ['GET', `${at}/config`],
    ['LIST', `${at}/role`],
    ['POST', `${at}/role/people`, { ...role, role_type: 'jwt' }],
    ['POST', `${at}/role/people`, role],
    ['GET', `${at}/role/people`],
    ['LIST', `${at}/role`],
    ['POST', `${at}/login`, { jwt: 'a.b.c' }, ''],
    ['POST', `${at}/oidc/auth_url`, { ...begin, redirect_uri: 'https://elsewhere.example' }, ''],
    ['POST', `${at}/oidc/auth_url`, { redirect_uri: '' }, ''],
    ['GET', `${at}/oidc/callback`, undefined, ''],
    ['POST', `${at}/events`, { set: await eventOf(key, provider.issuer) }, ''],
    ['POST', `${at}/events`, {}, ''],
  ]
  const answers: number[] = []
  for (const one of asks) answers.push((await ask(...one)).status)
  expect(answers).toEqual([204, 404, 400, 204, 200, 404, 400, 204, 200, 200, 400, 200, 400, 400, 202, 400])

  const { data } = (await ask('PUT', `${at}/oidc/auth_url`, begin, '')).json
  const { searchParams } = await provider.signIn(data.auth_url, { name: 'alice' })
  searchParams.set('client_nonce', 'n')
  expect((await ask('GET', `${at}/oidc/callback?${searchParams}`, undefined, '')).status).toBe(200)
  await provider.stop()
  expect(await statuses([ask('DELETE', `${at}/role/people`), ask('DELETE', `sys/${at}`)])).toEqual([204, 204])
})

test('policies, by both of their names', async () => {
  const policy = 'path "team-a/*" { capabilities = ["read"] condition = "request.tls || leases.held < 9" }'
  const path = 'team-a/db/creds/app'
  const imagined = { kind: 'human', groups: 'dba', claims: { ref: 'main' }, metadata: { a: 'b' }, tls: true }
  const asks: [string, string, object?][] = [
    ['POST', 'sys/policies/acl/team-a', { policy }],
    ['PUT', 'sys/policy/team-a', { rules: policy }],
    ['POST', 'sys/policies/acl/team-a', { policy: 'path' }],
    ['POST', 'sys/policies/acl/team-a', {}],
    ['GET', 'sys/policies/acl/team-a'],
    ['GET', 'sys/policy/team-a'],
    ['GET', 'sys/policy/none'],
    ['LIST', 'sys/policies/acl'],
    ['GET', 'sys/policies/acl'],
    ['LIST', 'sys/policy'],
    ['GET', 'sys/policy'],
    ['POST', 'sys/policies/simulate', { path, policies: 'team-a,default', ...imagined }],
    ['PUT', 'sys/policies/simulate', { path, policies: ['root'], operation: 'update' }],
    ['POST', 'sys/policies/simulate', { path: 'none', policies: 'default' }],
    ['POST', 'sys/policies/simulate', { path }],
    ['GET', 'sys/internal/ui/resultant-acl'],
    ['DELETE', 'sys/policy/team-a'],
    ['DELETE', 'sys/policies/acl/team-a'],
    ['DELETE', 'sys/policies/acl/default'],
  ]
  const answers: number[] = []
  for (const one of asks) answers.push((await ask(...one)).status)
  expect(answers).toEqual([
    204, 204, 400, 400, 200, 200, 404, 200, 200, 200, 200, 200, 200, 200, 400, 200, 204, 204, 400,
  ])
  const { json: made } = await ask('POST', 'auth/token/create', { policies: ['default'] })
  expect(
    (await ask('GET', 'sys/internal/ui/resultant-acl', undefined, made.auth.client_token)).json.data.root,
  ).toBe(false)
})

test('quotas', async () => {
  const asks: [string, string, object?][] = [
    ['POST', 'sys/quotas/rate-limit/wide', { path: 'auth/token/', rate: '100.5', interval: '1m' }],
    ['PUT', 'sys/quotas/rate-limit/wide', { path: 'auth/token/', rate: 100_000, group_by: 'principal' }],
    ['POST', 'sys/quotas/rate-limit/none', { rate: 0 }],
    ['GET', 'sys/quotas/rate-limit/wide'],
    ['GET', 'sys/quotas/rate-limit/none'],
    ['LIST', 'sys/quotas/rate-limit'],
    ['DELETE', 'sys/quotas/rate-limit/wide'],
    ['LIST', 'sys/quotas/rate-limit'],
    ['POST', 'sys/quotas/lease-count/all', { max_leases: 100, principal: '*' }],
    ['PUT', 'sys/quotas/lease-count/all', { max_leases: '100' }],
    ['PUT', 'sys/quotas/lease-count/all', { max_leases: 0 }],
    ['GET', 'sys/quotas/lease-count/all'],
    ['LIST', 'sys/quotas/lease-count'],
    ['DELETE', 'sys/quotas/lease-count/all'],
    ['GET', 'sys/quotas/lease-count/all'],
  ]
  const answers: number[] = []
  for (const one of asks) answers.push((await ask(...one)).status)
  expect(answers).toEqual([204, 204, 400, 200, 404, 200, 204, 404, 204, 204, 400, 200, 200, 204, 404])
})

test('the audit log', async () => {
  const { next } = (await ask('GET', 'sys/leasehold/audit?limit=1')).json.data
  // A process leaves a checkpoint behind when it ends.
  await (await another()).close()
  expect(
    await statuses([
      ask('GET', `sys/leasehold/audit?after=${next}&from=2026-01-01T00:00:00Z&type=request`),
      ask('GET', 'sys/leasehold/audit?limit=0'),
      ask('GET', 'sys/leasehold/audit/checkpoint'),
      ask('POST', 'sys/audit-hash/leasehold', { input: 'x' }),
      ask('PUT', 'sys/audit-hash/none', { input: 'x' }),
      ask('PUT', 'sys/audit-hash/leasehold', { input: '' }),
    ]),
  ).toEqual([200, 400, 200, 200, 400, 400])
})

test('audit sinks', async () => {
  const sink = { type: 'file', options: { file_path: 'discard' } }
  const asks: [string, string, object?][] = [
    ['POST', 'sys/audit/none', sink],
    ['PUT', 'sys/audit/nested/none', sink],
    ['POST', 'sys/audit/wrong', { type: 'syslog' }],
    ['GET', 'sys/audit'],
    ['LIST', 'sys/audit'],
    ['DELETE', 'sys/audit/none'],
    ['DELETE', 'sys/audit/nested/none'],
  ]
  const answers: number[] = []
  for (const one of asks) answers.push((await ask(...one)).status)
  expect(answers).toEqual([204, 204, 400, 200, 200, 204, 204])
})

test('every operation of the contract was asked, and answered as described', () => {
  expect(unanswered((path) => !isOfPeople(path))).toEqual([])
})
