import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import nodeVault from 'node-vault'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MASTER_KEY, openTestBroker, type TestBroker } from '../support/broker.ts'
import { leasehold } from '../support/cli.ts'
import { newSigningKey, type OidcIssuer, startOidcIssuer } from '../support/oidc-issuer.ts'

// A workload proves who it is with a token of a real OpenID provider, and gets what policy lets it have, here and now.

const AUDIENCE = 'https://broker.example'
const ZONE = 'Europe/Berlin'

const POLICY = `# What a build may have.
path "database/creds/demo-readonly" {
  capabilities = ["read"]
  condition = "role.environment == 'dev' && principal.claims.environment == 'dev'"
}

path "database/creds/demo-readwrite" {
  capabilities = ["read"]
  condition = "role.environment == 'dev' && request.time.getHours('${ZONE}') >= 9 && request.time.getHours('${ZONE}') < 17 && request.time.getDayOfWeek('${ZONE}') in [1, 2, 3, 4, 5]"
}
`

let at: TestBroker
let provider: OidcIssuer
beforeAll(async () => {
  provider = await startOidcIssuer([await newSigningKey('first')], { environment: 'dev' })
  at = await openTestBroker()
  const database = { db_name: 'db', member_of: at.target.readers, default_ttl: '1m', max_ttl: '10m' }
  await configure({
    'sys/auth/jwt': { type: 'jwt' },
    'auth/jwt/config': { oidc_discovery_url: provider.issuer, default_role: 'build' },
    'sys/policies/acl/build': { policy: POLICY },
    'auth/jwt/role/build': {
      role_type: 'jwt',
      user_claim: 'sub',
      bound_audiences: [AUDIENCE],
      bound_claims: { environment: ['dev', 'stage'] },
      claim_mappings: { environment: 'environment' },
      token_policies: ['build'],
      token_ttl: '30d',
    },
    'database/roles/demo-readonly': { ...database, environment: 'dev' },
    'database/roles/demo-readwrite': { ...database, environment: 'dev' },
    'database/roles/demo-prod': { ...database, environment: 'prod' },
  })
})
afterAll(async () => {
  await at.close()
  await provider.stop()
})

async function configure(writes: Record<string, object>): Promise<void> {
  for (const [path, fields] of Object.entries(writes)) {
    const { status, text } = await at.api('POST', path, fields)
    // 200 carries warnings.
    if (status !== 204 && status !== 200) throw new Error(`${path}: ${text}`)
  }
}

const HOUR_MS = 3_600_000
/** Moves the ledger's clock forward to a time in Berlin: its next Wednesday, at the beginning of this hour. */
async function untilWednesdayAt(hour: number): Promise<void> {
  const wall = new Intl.DateTimeFormat('en-GB', {
    timeZone: ZONE,
    weekday: 'short',
    hour: '2-digit',
    hourCycle: 'h23',
  })
  const now = (await at.ledger.now()).getTime()
  let then = Math.ceil(now / HOUR_MS) * HOUR_MS
  const isThen = (parts: Record<string, string>) => parts.weekday === 'Wed' && Number(parts.hour) === hour
  const partsOf = (ms: number) =>
    Object.fromEntries(wall.formatToParts(ms).map(({ type, value }) => [type, value]))
  while (!isThen(partsOf(then))) then += HOUR_MS
  await at.ledger.advance((then - now) / 1_000 + 1)
}

describe('a workload with a token of a real provider', () => {
  const vault = () => nodeVault({ endpoint: at.url })
  let workload: nodeVault.client
  let accessor: string
  let refusedAt: Date

  test('logs in with node-vault', async () => {
    workload = vault()
    const { auth } = await workload.jwtLogin({ role: 'build', jwt: await provider.token(AUDIENCE) })
    accessor = auth.accessor
    expect(auth).toMatchObject({
      policies: ['build', 'default'],
      metadata: { role: 'build', environment: 'dev' },
      orphan: true,
      renewable: true,
    })
    const { data } = await workload.tokenLookupSelf()
    expect(data).toMatchObject({ entity_id: auth.entity_id, display_name: 'jwt-nightly-build' })
  })

  test('gets demo-readonly, whose environment is dev, at any hour', async () => {
    await untilWednesdayAt(3)
    const lease = await workload.read('database/creds/demo-readonly')
    const session = await at.target.logIn(lease.data)
    expect((await session.query('select note from orders')).rows).toEqual([{ note: 'first' }])
    await session.end()
    expect((await workload.write('sys/leases/lookup', { lease_id: lease.lease_id })).data.id).toBe(
      lease.lease_id,
    )
    await workload.revoke({ lease_id: lease.lease_id })
    expect(await at.target.account(lease.data.username)).toBe('absent')
  })

  test('is refused demo-readwrite outside its hours, in the words every denial has', async () => {
    refusedAt = await at.ledger.now()
    const { rows: before } = await at.ledger.ledger.query(
      'select count(*)::int as leases from leasehold.lease',
    )
    await expect(workload.read('database/creds/demo-readwrite')).rejects.toMatchObject({
      response: { statusCode: 403, body: { errors: ['1 error occurred:\n\t* permission denied\n\n'] } },
    })
    await expect(workload.read('database/creds/demo-prod')).rejects.toMatchObject({
      response: { statusCode: 403, body: { errors: ['1 error occurred:\n\t* permission denied\n\n'] } },
    })
    await expect(workload.read('database/creds/nothing')).rejects.toMatchObject({
      response: { statusCode: 403, body: { errors: ['1 error occurred:\n\t* permission denied\n\n'] } },
    })
    const { rows: after } = await at.ledger.ledger.query(
      'select count(*)::int as leases from leasehold.lease',
    )
    expect(after).toEqual(before)
  })

  const simulate = async (path: string, more: object = {}) =>
    (await at.api('POST', 'sys/policies/simulate', { accessor, path, ...more })).json.data

  test('is explained both by the simulate endpoint', async () => {
    const allowed = await simulate('database/creds/demo-readonly')
    expect(allowed).toMatchObject({
      allowed: true,
      rule: { policy: 'build', version: 1, path: 'database/creds/demo-readonly', line: 2 },
      conditions: [{ held: true, value: true }],
    })

    const refused = await simulate('database/creds/demo-readwrite')
    expect(refused).toMatchObject({
      allowed: false,
      conditions: [{ policy: 'build', held: false, value: false }],
    })
    const [{ parts }] = refused.conditions
    const wrong = parts.filter(({ value }: { value: unknown }) => value === false)
    expect(wrong).toMatchObject([{ condition: `request.time.getHours('${ZONE}') >= 9` }])
  })

  test('gets demo-readwrite within its hours, and simulate tells so beforehand and of the past', async () => {
    const inHours = new Date(refusedAt.getTime() + 7 * HOUR_MS).toISOString()
    expect((await simulate('database/creds/demo-readwrite', { time: inHours })).allowed).toBe(true)
    await untilWednesdayAt(10)
    const lease = await workload.read('database/creds/demo-readwrite')
    expect(await at.target.account(lease.data.username)).toBe('enabled')
    await workload.revoke({ lease_id: lease.lease_id })
    expect((await simulate('database/creds/demo-readwrite', { time: refusedAt.toISOString() })).allowed).toBe(
      false,
    )
  })

  test('renews nothing that it would be refused now', async () => {
    const { lease_id } = await workload.read('database/creds/demo-readwrite')
    const renew = () => workload.write('sys/leases/renew', { lease_id, increment: 120 })
    expect((await renew()).lease_duration).toBe(120)
    await configure({ 'sys/policies/acl/build': { policy: POLICY.replace('< 17', '< 10') } })
    await expect(renew()).rejects.toMatchObject({ response: { statusCode: 403 } })
    await configure({ 'sys/policies/acl/build': { policy: POLICY } })
    expect((await renew()).lease_duration).toBe(120)
    await workload.revoke({ lease_id })
  })

  test('of an environment that the role does not bind does not even log in', async () => {
    const prod = await startOidcIssuer([await newSigningKey('prod')], { environment: 'prod' })
    await configure({
      'sys/auth/prod': { type: 'jwt' },
      'auth/prod/config': { oidc_discovery_url: prod.issuer },
      'auth/prod/role/build': (await at.api('GET', 'auth/jwt/role/build')).json.data,
    })
    // The provider's clock is the wall's, and the ledger's has moved on.
    await at.ledger.ledger.query(`update public.test_clock set ahead = '0'`)
    const login = vault().write('auth/prod/login', { role: 'build', jwt: await prod.token(AUDIENCE) })
    await expect(login).rejects.toThrow(/^error validating claims: /)
    await prod.stop()
  })

  const audited = async (question: string) =>
    (await at.api('GET', `sys/leasehold/audit?limit=1000&${question}`)).json.data.events

  test('finds its login, its lease and its denial in the audit log', async () => {
    const events = (await audited('')).map(({ body }: { body: object }) => body)
    const of = (matching: object) =>
      events.filter((event: object) => {
        try {
          expect(event).toMatchObject(matching)
          return true
        } catch {
          return false
        }
      })
    const who = { kind: 'workload', issuer: provider.issuer, mount: 'auth/jwt/', accessor }
    expect(of({ type: 'login', who }).length).toBe(1)
    expect(
      of({ who, role: 'demo-readonly', target: 'db', decision: { allowed: true, policy: 'build' } }).length,
    ).toBe(1)
    const [denial] = of({ who, what: { path: 'database/creds/demo-readwrite' }, outcome: { status: 403 } })
    expect(denial).toMatchObject({
      decision: { allowed: false },
      details: { unmet_conditions: [expect.stringContaining('>= 9')] },
    })
    expect(of({ type: 'lease_step', what: { operation: 'finish' } }).length).toBeGreaterThan(0)
  })

  test('cannot have an event edited without `leasehold audit verify` naming it', async () => {
    const verify = () =>
      leasehold(['audit', 'verify'], {
        LEASEHOLD_LEDGER_URL: at.ledger.url,
        LEASEHOLD_MASTER_KEY: MASTER_KEY,
      })
    const sound = await verify()
    expect([sound.code, sound.stderr]).toEqual([0, ''])

    const { rows } = await at.ledger.ledger.query<{ request_id: string }>(
      `update leasehold.audit_event set body = replace(body, '"status":403', '"status":200')
       where body like '%demo-readwrite%' and body like '%"status":403%'
       returning body::json ->> 'request_id' as request_id`,
    )
    const edited = await verify()
    expect(edited.code).toBe(1)
    expect(edited.stdout).toContain(rows[0]?.request_id)
  })
})

describe('configuration through the API round-trips', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'round-trip-'))
  })
  afterAll(async () => {
    for (const name of ['one', 'two']) await at.api('DELETE', `sys/audit/${name}-file`)
    await rm(folder, { recursive: true })
  })

  const SINK = /^sys\/audit\/(.+)$/
  /** Sinks are read all together, as in the dialect. */
  const read = async (path: string) => {
    const sink = SINK.exec(path)?.[1]
    const { status, json } = await at.api('GET', sink ? 'sys/audit' : path)
    expect(status, path).toBe(200)
    return sink ? json.data[`${sink}/`] : json.data
  }
  /** Without what the server counts and measures. */
  const written = ({ version: _, clock_skew_ms: __, shipping: ___, ...fields }: Record<string, unknown>) =>
    fields

  const connection = () => ({
    plugin_name: 'postgresql-database-plugin',
    connection_url: at.target.urlTemplate,
    username: at.target.admin,
    password: at.target.password,
    allowed_roles: ['app', 'report-*'],
    environment: 'dev',
    labels: { team: 'shop' },
  })
  /** As a provider for Terraform writes it, in this order; `one` is in all its names. */
  const configuration = (): Record<string, object> => ({
    'sys/mounts/one/db': {
      type: 'database',
      description: 'orders',
      config: { default_lease_ttl: '10m', max_lease_ttl: 7_200, environment: 'dev', labels: { tier: 'low' } },
      options: { owner: 'dba' },
    },
    'one/db/config/orders': connection(),
    'one/db/roles/report-daily': {
      db_name: 'orders',
      member_of: [at.target.readers],
      default_ttl: '5m',
      max_ttl: '1h',
      environment: 'dev',
      labels: { purpose: 'report' },
      condition: "principal.kind == 'workload'",
      recheck_on_renew: false,
    },
    'sys/auth/one/ci': {
      type: 'jwt',
      description: 'builds',
      config: { default_lease_ttl: '5m', max_lease_ttl: '1h' },
    },
    'auth/one/ci/config': {
      oidc_discovery_url: provider.issuer,
      bound_issuer: provider.issuer,
      jwt_supported_algs: 'ES256',
      default_role: 'Build',
    },
    'auth/one/ci/role/build': {
      role_type: 'jwt',
      user_claim: 'sub',
      bound_audiences: [AUDIENCE],
      bound_claims: { environment: ['dev'], deploy: true },
      bound_claims_type: 'string',
      claim_mappings: { environment: 'env' },
      groups_claim: 'groups',
      clock_skew_leeway: -1,
      token_policies: ['one-build', 'default'],
      token_ttl: '15m',
      token_max_ttl: '30m',
      token_bound_cidrs: ['127.0.0.0/8'],
    },
    'sys/auth/one/people': {
      type: 'oidc',
      description: 'who signs in',
      config: { default_lease_ttl: '5m', max_lease_ttl: '10h' },
    },
    'auth/one/people/config': {
      oidc_discovery_url: provider.issuer,
      oidc_client_id: 'leasehold',
      oidc_client_secret: 'told to nobody',
      default_role: 'staff',
      namespace_in_state: false,
    },
    'auth/one/people/role/staff': {
      role_type: 'oidc',
      user_claim: 'sub',
      groups_claim: 'groups',
      allowed_redirect_uris: ['http://localhost:8250/oidc/callback'],
      oidc_scopes: ['profile', 'groups'],
      claim_mappings: { email: 'mail' },
      bound_claims: { department: ['it', 'db*'] },
      bound_claims_type: 'glob',
      token_policies: ['one-build'],
      token_max_ttl: '8h',
    },
    'sys/auth/one/cluster': { type: 'kubernetes', config: { default_lease_ttl: '5m', max_lease_ttl: '1h' } },
    'auth/one/cluster/config': {
      kubernetes_host: 'https://kube.example:6443',
      token_reviewer_jwt: 'a.reviewer.token',
      issuer: 'https://kube.example',
      disable_iss_validation: false,
      disable_local_ca_jwt: true,
    },
    'auth/one/cluster/role/web': {
      bound_service_account_names: ['web-*'],
      bound_service_account_namespaces: ['shop', 'shop-test'],
      audience: AUDIENCE,
      alias_name_source: 'serviceaccount_name',
      token_policies: ['one-build'],
      token_period: '1h',
    },
    'sys/auth/one/machines': { type: 'approle', config: { default_lease_ttl: '5m', max_lease_ttl: '1h' } },
    'auth/one/machines/role/builder': {
      secret_id_bound_cidrs: ['127.0.0.0/8', '10.0.0.0/8'],
      secret_id_num_uses: 40,
      secret_id_ttl: '6h',
      token_policies: ['one-build'],
      token_ttl: '20m',
      token_num_uses: 7,
    },
    'auth/one/machines/role/builder/role-id': { role_id: 'one-builder' },
    'sys/policies/acl/one-build': { policy: POLICY },
    'sys/quotas/rate-limit/one-logins': {
      path: 'auth/one/ci',
      rate: 99.5,
      interval: '1m',
      block_interval: '5m',
      group_by: 'none',
      inheritable: true,
    },
    'sys/quotas/rate-limit/one-orders': { path: 'one/db/creds/*', target: 'orders', rate: 0.5, interval: 90 },
    'sys/quotas/lease-count/one-each': { path: 'one/db', principal: '*', max_leases: 5 },
    'sys/quotas/lease-count/one-orders': { path: 'one/db', target: 'orders', max_leases: 50 },
    'sys/audit/one-file': {
      type: 'file',
      description: 'for the record',
      options: { file_path: join(folder, 'one.log'), mode: '0640', max_backlog: '50000' },
    },
    'auth/token/roles/one-batch': {
      allowed_policies: ['one-build'],
      orphan: true,
      renewable: false,
      token_type: 'batch',
    },
  })
  const copied = <T>(of: T): T => JSON.parse(JSON.stringify(of).replace(/\bone\b/g, 'two'))

  /** What is written and never read. */
  const SECRETS: Record<string, object> = {
    'auth/one/people/config': { oidc_client_secret: 'told to nobody' },
    'auth/one/cluster/config': { token_reviewer_jwt: 'a.reviewer.token' },
  }
  /** What was read, in the fields a write takes. */
  const asWrite = (path: string, data: Record<string, unknown>): object => {
    const { connection_details: details, ...rest } = data
    if (path.includes('/config/orders'))
      return { ...rest, ...(details as object), password: at.target.password }
    return { ...data, ...SECRETS[path.replace(/\btwo\b/, 'one')] }
  }
  const readAll = async (paths: string[]) => {
    const all: Record<string, Record<string, unknown>> = {}
    for (const path of paths) all[path] = written(await read(path))
    return all
  }
  /** A mount's own ids are the server's; a mount that is there is changed by tuning it. */
  const tunePath = (path: string) => (/^sys\/(mounts|auth)\//.test(path) ? `${path}/tune` : path)

  test('what is read can be written again, and reads the same', async () => {
    const writes = configuration()
    await configure(writes)
    const paths = Object.keys(writes)
    const first = await readAll(paths)
    const tuned = await readAll(paths.map(tunePath))
    for (const [path, data] of Object.entries(tuned)) {
      // A sink that is there is not changed, but given up for another.
      if (SINK.test(path)) await at.api('DELETE', path)
      const { status, text } = await at.api('PUT', path, asWrite(path, data))
      expect([path, status, text.includes('errors')]).toEqual([path, status === 200 ? 200 : 204, false])
    }

    expect(await readAll(paths)).toEqual(first)
    expect(await readAll(paths.map(tunePath))).toEqual(tuned)
  })

  test('what is read of one can be written as another, and reads the same', async () => {
    const first = await readAll(Object.keys(configuration()))
    for (const [path, data] of Object.entries(copied(first))) {
      const { status, text } = await at.api('POST', path, asWrite(path, data))
      expect([path, status, text.includes('errors')]).toEqual([path, status === 200 ? 200 : 204, false])
    }
    const withoutIds = (all: Record<string, Record<string, unknown>>) =>
      Object.values(all).map(({ uuid: _, accessor: __, ...data }) => data)
    const second = await readAll(Object.keys(copied(configuration())))
    expect(withoutIds(second)).toEqual(withoutIds(copied(first)))
  })

  test('and the copy works', async () => {
    await at.api('POST', 'auth/two/ci/role/build', { bound_claims: { environment: 'dev' }, groups_claim: '' })
    const vault = nodeVault({ endpoint: at.url })
    const { auth } = await vault.write('auth/two/ci/login', { role: '', jwt: await provider.token(AUDIENCE) })
    expect(auth).toMatchObject({ token_policies: ['default', 'two-build'], lease_duration: 900 })

    const { json } = await at.api('POST', 'auth/two/machines/role/builder/secret-id')
    const machine = await vault.write('auth/two/machines/login', {
      role_id: 'two-builder',
      secret_id: json.data.secret_id,
    })
    expect(machine.auth).toMatchObject({ token_policies: ['default', 'two-build'], lease_duration: 1_200 })
  })
})
