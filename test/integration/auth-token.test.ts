import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApi } from '../../src/http/app.ts'
import { authTokenRoutes } from '../../src/http/auth-token.ts'
import type { Mount } from '../../src/http/ports.ts'
import type { Route } from '../../src/http/route.ts'
import { sysCapabilitiesRoutes } from '../../src/http/sys-capabilities.ts'
import { createTokenStore, type TokenStore } from '../../src/identity/tokens.ts'
import { createWrapping } from '../../src/identity/wrapping.ts'
import { policyShelf } from '../../src/ledger/policies.ts'
import { createAuthorizer } from '../../src/policy/authorize.ts'
import { createPolicies } from '../../src/policy/policies.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'
import { unlimited, unrecorded } from '../support/wire.ts'

let world: TestLedger
let store: TokenStore
let server: Server
let origin: string

const TOKEN_MOUNT: Mount = {
  id: 'token',
  path: 'auth/token/',
  type: 'token',
  description: '',
  accessor: 'token_token',
  config: {},
  options: null,
}

beforeAll(async () => {
  world = await openTestLedger({ stopped: true })
  store = createTokenStore(world.ledger, () => {})
  await store.createRootToken('root')
  const tables: Record<string, readonly Route[]> = {
    token: authTokenRoutes(store),
    system: sysCapabilitiesRoutes(store),
  }
  const { app } = createApi({
    log: pino({ level: 'silent' }),
    wrapping: createWrapping(world.ledger),
    limits: unlimited,
    audit: unrecorded,
    identify: store.identify,
    authorizer: createAuthorizer({
      policies: createPolicies(policyShelf(world.ledger)),
      roleOf: async () => undefined,
      leasesHeld: async () => 0,
      liveGrant: async () => undefined,
    }),
    findMount: async (path) => (path.startsWith('auth/token') ? TOKEN_MOUNT : undefined),
    routesOf: (type) => tables[type] ?? [],
  })
  server = createServer(app).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterAll(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await world.close()
})

// biome-ignore lint/suspicious/noExplicitAny: wire answers are compared, not typed
type Answered = { status: number; body: any }

async function call(
  method: string,
  path: string,
  body?: object,
  token: string | undefined = 'root',
): Promise<Answered> {
  const response = await fetch(`${origin}/v1/${path}`, {
    method,
    headers: token === '' ? {} : { 'X-Vault-Token': token },
    ...(body && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, body: text === '' ? undefined : JSON.parse(text) }
}

const created = async (body: object = {}, path = 'auth/token/create', token = 'root') => {
  const { status, body: envelope } = await call('POST', path, body, token)
  expect(status).toBe(200)
  return envelope.auth
}

const errors = (status: number, ...texts: string[]) => ({ status, body: { errors: texts } })
const DENIED = errors(403, '1 error occurred:\n\t* permission denied\n\n')
const BAD_TOKEN = errors(403, '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n')
const NOTHING = { status: 204, body: undefined }

describe('create', () => {
  test('answers the whole auth object, and no lease on the envelope', async () => {
    const ask = { policies: ['app'], meta: { team: 'a' }, ttl: '1h', display_name: 'me', num_uses: '5' }
    const { status, body } = await call('PUT', 'auth/token/create', ask)

    expect(status).toBe(200)
    expect(body).toMatchObject({ lease_id: '', lease_duration: 0, renewable: false, data: null })
    expect(body.warnings).toEqual(['Policy "app" does not exist'])
    expect(body.auth).toEqual({
      client_token: expect.stringMatching(/^lh\.[0-9A-Za-z]{32}$/),
      accessor: expect.stringMatching(/^[0-9a-z]{24}$/),
      policies: ['app', 'default'],
      token_policies: ['app', 'default'],
      metadata: { team: 'a' },
      lease_duration: 3_600,
      renewable: true,
      entity_id: '',
      token_type: 'service',
      orphan: false,
      num_uses: 5,
      mfa_requirement: null,
    })
  })

  test('takes policies as text, and a batch token has an empty accessor', async () => {
    const auth = await created({ policies: 'b,a', type: 'batch', ttl: 60 }, 'auth/token/create-orphan')
    expect(auth).toMatchObject({
      policies: ['a', 'b', 'default'],
      accessor: '',
      token_type: 'batch',
      orphan: true,
    })
  })

  test('leaves token_policies out when there are none', async () => {
    const auth = await created({ policies: ['default'], no_default_policy: true })
    expect(auth.policies).toEqual([])
    expect(auth).not.toHaveProperty('token_policies')
  })

  test.each([
    [{ ttl: '-1s' }, /^Field validation failed: .*"ttl"/],
    [{ num_uses: 'many' }, /^Field validation failed: .*"num_uses"/],
    [{ type: 'other' }, /^invalid 'token_type' value$/],
    [{ type: 'batch', period: '1h', policies: ['a'] }, /^batch tokens cannot have "period" set$/],
  ])('%j is a 400', async (body, text) => {
    const answer = await call('POST', 'auth/token/create', body)
    expect(answer.status).toBe(400)
    expect(answer.body.errors).toEqual([expect.stringMatching(text)])
  })
})

describe('lookup', () => {
  test('of itself answers every key agents and operators assert on', async () => {
    const { client_token: token, accessor } = await created({
      ttl: 600,
      explicit_max_ttl: 900,
      policies: ['app'],
    })
    const { status, body } = await call('GET', 'auth/token/lookup-self', undefined, token)

    const now = await world.now()
    expect(status).toBe(200)
    expect(body.data).toEqual({
      id: token,
      accessor,
      policies: ['app', 'default'],
      path: 'auth/token/create',
      meta: null,
      display_name: 'token',
      num_uses: 0,
      orphan: false,
      creation_time: now.getTime() / 1_000,
      creation_ttl: 600,
      expire_time: new Date(now.getTime() + 600_000).toISOString(),
      ttl: 600,
      explicit_max_ttl: 900,
      entity_id: '',
      type: 'service',
      renewable: true,
      issue_time: now.toISOString(),
    })
  })

  test('of root has a null expire_time and no renewal', async () => {
    const { body } = await call('POST', 'auth/token/lookup-self')
    expect(body.data).toMatchObject({ id: 'root', ttl: 0, expire_time: null, renewable: false, orphan: true })
  })

  test('of another by text and by accessor, which does not give the text away', async () => {
    const { client_token: token, accessor } = await created({ period: '1h' })
    expect((await call('POST', 'auth/token/lookup', { token })).body.data).toMatchObject({
      id: token,
      period: 3_600,
    })
    expect((await call('POST', 'auth/token/lookup')).body.data).toMatchObject({ id: 'root' })
    const found = await call('PUT', 'auth/token/lookup-accessor', { accessor })
    expect(found.body.data).toMatchObject({ id: '', accessor })
    expect(JSON.stringify(found.body)).not.toContain(token)
  })

  test('of what there is not', async () => {
    expect(await call('POST', 'auth/token/lookup', { token: 'nobody' })).toEqual(errors(403, 'bad token'))
    expect(await call('POST', 'auth/token/lookup-accessor', { accessor: 'x' })).toEqual(
      errors(400, 'invalid accessor'),
    )
  })
})

describe('renew', () => {
  test('answers 200 with the auth object; only by accessor the text is left out', async () => {
    const { client_token: token, accessor } = await created({ ttl: 600, policies: ['app'] })
    const self = await call('POST', 'auth/token/renew-self', { increment: '120' }, token)
    expect(self).toMatchObject({
      status: 200,
      body: { data: null, auth: { client_token: token, lease_duration: 120 } },
    })
    const any = await call('PUT', 'auth/token/renew', { token, increment: null })
    expect(any.body.auth).toMatchObject({ client_token: token, lease_duration: 600, renewable: true })
    const byAccessor = await call('PUT', 'auth/token/renew-accessor', { accessor, increment: '2m' })
    expect(byAccessor.body.auth).toMatchObject({ client_token: '', accessor, lease_duration: 120 })
    const { body } = await call('GET', 'auth/token/lookup-self', undefined, token)
    expect(body.data).toMatchObject({ ttl: 120, creation_ttl: 600, last_renewal: expect.any(String) })
  })

  test('beyond the maximum is capped, and says so', async () => {
    const { client_token: token } = await created({ ttl: 60, explicit_max_ttl: '1h', policies: ['default'] })
    const { body } = await call('POST', 'auth/token/renew-self', { increment: '2h' }, token)
    expect(body.auth.lease_duration).toBe(3_600)
    expect(body.warnings).toEqual([
      'TTL of "2h" exceeded the effective max_ttl of "1h"; TTL value is capped accordingly',
    ])
  })

  test.each([
    ['renew', {}, 'missing token ID'],
    ['renew', { token: '' }, 'missing token ID'],
    ['renew', { token: 'nobody' }, 'token not found'],
    ['renew', { token: 'root' }, 'lease is not renewable'],
    ['renew-self', {}, 'lease is not renewable'],
    ['renew-accessor', { accessor: 'nobody' }, 'invalid accessor'],
    ['revoke', {}, 'missing token ID'],
    ['revoke-orphan', { token: 'nobody' }, 'token to revoke not found'],
  ])('%s of %j is a 400', async (path, body, text) => {
    expect(await call('POST', `auth/token/${path}`, body)).toEqual(errors(400, text))
  })

  test('of a batch token', async () => {
    const { client_token: token } = await created({ type: 'batch', policies: ['default'] })
    expect(await call('POST', 'auth/token/renew-self', {}, token)).toEqual(
      errors(400, 'batch tokens cannot be renewed'),
    )
  })
})

describe('revoke', () => {
  test('answers 204 however it is asked, also for what is not there', async () => {
    const one = await created()
    const two = await created()
    const three = await created()
    expect(await call('PUT', 'auth/token/revoke', { token: one.client_token })).toEqual(NOTHING)
    expect(await call('PUT', 'auth/token/revoke', { token: one.client_token })).toEqual(NOTHING)
    expect(await call('POST', 'auth/token/revoke-self', undefined, two.client_token)).toEqual(NOTHING)
    expect(await call('PUT', 'auth/token/revoke-accessor', { accessor: three.accessor })).toEqual(NOTHING)
    for (const { client_token: token } of [one, two, three]) {
      expect(await call('GET', 'auth/token/lookup-self', undefined, token)).toEqual(BAD_TOKEN)
    }
  })

  test('of an unknown accessor is 200 with a warning', async () => {
    expect(await call('PUT', 'auth/token/revoke-accessor', { accessor: 'nobody' })).toMatchObject({
      status: 200,
      body: { warnings: ['No token found with this accessor'] },
    })
  })

  test('of a token alone leaves its child as an orphan', async () => {
    const parent = await created({ policies: ['root'] })
    const child = await created({ policies: ['default'] }, 'auth/token/create', parent.client_token)
    expect(await call('POST', 'auth/token/revoke-orphan', { token: parent.client_token })).toEqual(NOTHING)
    const { body } = await call('GET', 'auth/token/lookup-self', undefined, child.client_token)
    expect(body.data).toMatchObject({ orphan: true })
  })
})

describe('roles, accessors, tidy', () => {
  test('a role is written, read, listed and removed', async () => {
    expect(await call('GET', 'auth/token/roles?list=true')).toEqual(errors(404))
    const fields = { allowed_policies: 'a,b', period: '1h', token_num_uses: 3, orphan: 'true' }
    expect(await call('POST', 'auth/token/roles/ci', fields)).toEqual(NOTHING)
    const { body } = await call('GET', 'auth/token/roles/ci')
    expect(body.data).toEqual({
      name: 'ci',
      allowed_policies: ['a', 'b'],
      allowed_policies_glob: [],
      disallowed_policies: [],
      disallowed_policies_glob: [],
      allowed_entity_aliases: [],
      orphan: true,
      renewable: true,
      path_suffix: '',
      token_period: 3_600,
      period: 3_600,
      token_explicit_max_ttl: 0,
      explicit_max_ttl: 0,
      token_bound_cidrs: [],
      token_num_uses: 3,
      token_no_default_policy: false,
      token_type: 'default-service',
    })
    expect((await call('GET', 'auth/token/roles?list=true')).body.data).toEqual({ keys: ['ci'] })
    const auth = await created({}, 'auth/token/create/ci')
    expect(auth).toMatchObject({
      policies: ['a', 'b', 'default'],
      num_uses: 3,
      orphan: true,
      lease_duration: 3_600,
    })
    expect(await call('DELETE', 'auth/token/roles/ci')).toEqual(NOTHING)
    expect(await call('GET', 'auth/token/roles/ci')).toEqual(errors(404))
    expect(await call('POST', 'auth/token/create/ci', {})).toEqual(errors(400, 'unknown role ci'))
    expect(await call('POST', 'auth/token/roles/ci', { token_type: 'odd' })).toEqual(
      errors(400, `invalid 'token_type' value "odd"`),
    )
  })

  test('accessors are listed', async () => {
    const { accessor } = await created()
    const { body } = await call('GET', 'auth/token/accessors?list=true')
    expect(body.data.keys).toContain(accessor)
  })

  test('tidy answers 202 with its warning', async () => {
    const { status, body } = await call('POST', 'auth/token/tidy')
    expect(status).toBe(202)
    expect(body.warnings).toEqual([expect.stringMatching(/^Tidy operation successfully started\./)])
  })
})

describe('who may', () => {
  test('no token, a bad one, a used-up one: 403 with both phrases, nothing more', async () => {
    const { client_token: token } = await created({ num_uses: 1, policies: ['default'] })
    expect((await call('GET', 'auth/token/lookup-self', undefined, token)).body.data.num_uses).toBe(0)
    for (const bad of ['', 'nobody', token]) {
      expect(await call('GET', 'auth/token/lookup-self', undefined, bad)).toEqual(BAD_TOKEN)
      expect(await call('GET', 'auth/token/nothing-here', undefined, bad)).toEqual(BAD_TOKEN)
    }
  })

  test.each([
    ['POST', 'auth/token/create'],
    ['POST', 'auth/token/create-orphan'],
    ['POST', 'auth/token/create/ci'],
    ['POST', 'auth/token/lookup'],
    ['POST', 'auth/token/lookup-self'],
    ['POST', 'auth/token/renew'],
    ['POST', 'auth/token/revoke'],
    ['POST', 'auth/token/revoke-orphan'],
    ['POST', 'auth/token/tidy'],
    ['GET', 'auth/token/accessors?list=true'],
    ['GET', 'auth/token/roles/ci'],
    ['POST', 'auth/token/roles/ci'],
    ['POST', 'sys/capabilities'],
    ['GET', 'auth/token/nothing-here'],
  ])('%s %s is denied to a token that is not root', async (method, path) => {
    const { client_token: token } = await created({ policies: ['app'] })
    expect(await call(method, path, method === 'POST' ? { token: 'root' } : undefined, token)).toEqual(DENIED)
  })
})

describe('capabilities', () => {
  test('of oneself', async () => {
    const { client_token: token } = await created({ policies: ['app'] })
    const { body } = await call('POST', 'sys/capabilities-self', { path: 'sys/leases/renew', token }, token)
    expect(body).toMatchObject({
      data: { 'sys/leases/renew': ['update'], capabilities: ['update'] },
      capabilities: ['update'],
      warnings: null,
    })
    const two = await call(
      'POST',
      'sys/capabilities-self',
      { paths: ['sys/mounts', '/sys/leases/renew'] },
      token,
    )
    expect(two.body.data).toEqual({ 'sys/mounts': ['deny'], '/sys/leases/renew': ['update'] })
    expect(await call('POST', 'sys/capabilities-self', {}, token)).toEqual(
      errors(400, 'paths must be supplied'),
    )
  })

  test('of another', async () => {
    const { client_token: token, accessor } = await created({ policies: ['app'] })
    const paths = ['sys/mounts']
    expect((await call('POST', 'sys/capabilities', { token, paths })).body.capabilities).toEqual(['deny'])
    expect((await call('POST', 'sys/capabilities', { token: 'root', paths })).body.capabilities).toEqual([
      'root',
    ])
    expect((await call('POST', 'sys/capabilities-accessor', { accessor, paths })).body.capabilities).toEqual([
      'deny',
    ])
    expect(await call('POST', 'sys/capabilities', { token: 'nobody', paths })).toEqual(
      errors(400, 'invalid token'),
    )
  })
})
