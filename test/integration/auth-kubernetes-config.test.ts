import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AUDIENCE, type KubernetesWorld, openKubernetesWorld } from './auth-kubernetes-world.ts'

// What a Kubernetes mount is set up with, over the whole broker.

let world: KubernetesWorld
beforeAll(async () => {
  world = await openKubernetesWorld()
  await world.role('app')
})
afterAll(() => world.close())

const api: KubernetesWorld['at']['api'] = (...ask) => world.at.api(...ask)
const enable = (mount: string) => api('POST', `sys/auth/${mount}`, { type: 'kubernetes' })

describe('the configuration', () => {
  test('reads back as it was written, but for the reviewer’s token, and is replaced as a whole', async () => {
    await enable('team-a/cluster')
    const read = async () => (await api('GET', 'auth/team-a/cluster/config')).json
    expect((await api('GET', 'auth/team-a/cluster/config')).status).toBe(404)
    const written = await world.configure(
      {
        pem_keys: [world.kubernetes.publicKeyPem],
        issuer: world.kubernetes.issuer,
        disable_iss_validation: false,
        disable_local_ca_jwt: true,
      },
      'team-a/cluster',
    )
    expect(written).toMatchObject({ status: 204, text: '' })
    const first = {
      kubernetes_host: world.kubernetes.url,
      kubernetes_ca_cert: world.kubernetes.caPem,
      token_reviewer_jwt_set: true,
      pem_keys: [world.kubernetes.publicKeyPem.trim()],
      issuer: world.kubernetes.issuer,
      disable_iss_validation: false,
      disable_local_ca_jwt: true,
    }
    expect((await read()).data).toEqual(first)

    await api('PUT', 'auth/team-a/cluster/config', { kubernetes_host: 'https://kube.example:6443' })
    expect((await read()).data).toEqual({
      kubernetes_host: 'https://kube.example:6443',
      kubernetes_ca_cert: '',
      token_reviewer_jwt_set: false,
      pem_keys: [],
      issuer: '',
      disable_iss_validation: true,
      disable_local_ca_jwt: false,
    })
  })

  test('keeps the reviewer’s token where nobody reads it, and no longer than it is needed', async () => {
    await enable('kept')
    const others = await world.secrets()
    const own = async () => (await world.secrets()).filter((name) => !others.includes(name))
    await world.configure({}, 'kept')
    const [first, ...more] = await own()
    expect([first, more]).toEqual([expect.stringMatching(/^auth\/\w+$/), []])
    const { rows } = await world.at.ledger.ledger.query<{ row: string }>(
      `select row_to_json(c)::text as row from leasehold.auth_config c
       union all select row_to_json(s)::text from leasehold.sealed_secret s
       union all select body from leasehold.audit_event`,
    )
    expect(rows.length).toBeGreaterThan(3)
    const signature = world.reviewer.split('.')[2] as string
    for (const { row } of rows) expect(row).not.toContain(signature)
    expect((await api('GET', 'auth/kept/config')).text).not.toMatch(/secret|auth\//)

    await world.configure({}, 'kept')
    expect(await own()).toHaveLength(1)
    expect(await own()).not.toContain(first)
    // What is refused changes nothing.
    const before = await world.census()
    expect((await world.configure({ kubernetes_host: '' }, 'kept')).status).toBe(400)
    expect(await world.census()).toEqual(before)
    await world.configure({ token_reviewer_jwt: '' }, 'kept')
    expect(await own()).toEqual([])
  })

  test('goes with the mount, and the reviewer’s token with it, by the next sweep', async () => {
    await enable('passing')
    const others = await world.secrets()
    await world.configure({}, 'passing')
    await world.role('app', {}, 'passing')
    const auth = await world.auth('app', {}, 'passing')
    expect((await api('DELETE', 'sys/auth/passing')).status).toBe(204)
    expect((await world.login('app', {}, 'passing')).status).toBe(403)
    expect((await api('POST', 'auth/token/lookup', { token: auth.client_token })).status).toBe(403)
    await world.at.broker.sweep.once()
    expect(await world.secrets()).toEqual(others)
    const { rows } = await world.at.ledger.ledger.query(
      `select from leasehold.auth_config c join leasehold.mount m on m.id = c.mount_id where m.disabled_at is not null`,
    )
    expect(rows).toEqual([])

    await enable('passing')
    expect((await api('GET', 'auth/passing/config')).status).toBe(404)
  })

  test.each([
    [{ kubernetes_host: ' ' }, 'no host provided'],
    [
      { kubernetes_host: 'kube.example:6443' },
      'kubernetes_host must be a URL such as https://kube.example:6443',
    ],
    [{ kubernetes_host: 'ftp://kube' }, 'kubernetes_host must be a URL such as https://kube.example:6443'],
    [
      { kubernetes_host: 'http://kube.example' },
      'kubernetes_host must be https, unless it is on this machine',
    ],
    [{ kubernetes_ca_cert: 'none' }, 'The provided CA PEM data contains no valid certificates'],
    [{ pem_keys: 'none' }, /^pem_keys: /],
    [{ token_reviewer_jwt: 'a\r\nb' }, /^token_reviewer_jwt must be a token/],
    [{ disable_iss_validation: 'perhaps' }, /disable_iss_validation/],
  ])('that makes no sense is refused: %j', async (fields, text) => {
    const before = await world.census()
    const { status, json } = await world.configure(fields)
    expect([status, json.errors]).toEqual([
      400,
      [typeof text === 'string' ? text : expect.stringMatching(text)],
    ])
    expect(await world.census()).toEqual(before)
  })
})

describe('a role', () => {
  const FULL = {
    bound_service_account_names: ['api', 'web-*'],
    bound_service_account_namespaces: ['shop'],
    bound_service_account_namespace_selector: '{"matchLabels":{"env":"dev"}}',
    audience: AUDIENCE,
    alias_name_source: 'serviceaccount_name',
    token_ttl: 900,
    token_max_ttl: 3_600,
    token_period: 0,
    token_explicit_max_ttl: 7_200,
    token_policies: ['app'],
    token_bound_cidrs: ['127.0.0.0/8'],
    token_num_uses: 5,
    token_no_default_policy: true,
    token_type: 'service',
  }
  const read = async (name: string) => (await api('GET', `auth/kubernetes/role/${name}`)).json.data

  test('reads back as it was written, and keeps what a later write does not name', async () => {
    await world.role('Full', FULL)
    expect(await read('Full')).toEqual(FULL)
    // As Terraform and the command line send it: what was read, lists as texts.
    await world.role('Full', { ...(await read('Full')), bound_service_account_names: 'api, web-*' })
    expect(await read('Full')).toEqual(FULL)
    await api('POST', 'auth/kubernetes/role/Full', { audience: 'other', ttl: '1m' })
    expect(await read('Full')).toEqual({ ...FULL, audience: 'other', token_ttl: 60 })

    expect((await api('LIST', 'auth/kubernetes/role')).json.data.keys).toEqual(['Full', 'app'])
    expect((await api('GET', 'auth/kubernetes/role/full')).status).toBe(404)
    expect((await api('DELETE', 'auth/kubernetes/role/Full')).status).toBe(204)
    expect((await api('GET', 'auth/kubernetes/role/Full')).status).toBe(404)
  })

  test('without an audience is written with a warning', async () => {
    const write = (fields: object) =>
      api('POST', 'auth/kubernetes/role/open', {
        bound_service_account_names: 'api',
        bound_service_account_namespaces: 'shop',
        ...fields,
      })
    const open = await write({})
    expect([open.status, open.json.warnings]).toEqual([200, [expect.stringContaining('names no audience')]])
    expect((await write({ token_ttl: 60 })).json.warnings).toHaveLength(1)
    expect((await write({ audience: AUDIENCE })).status).toBe(204)
    expect((await write({ token_ttl: 90 })).status).toBe(204)
    await api('DELETE', 'auth/kubernetes/role/open')
  })

  test.each([
    [{ bound_service_account_names: '' }, '"bound_service_account_names" can not be empty'],
    [
      { bound_service_account_namespaces: '' },
      '"bound_service_account_namespaces" can not be empty if "bound_service_account_namespace_selector" is not set',
    ],
    [{ bound_service_account_names: '*,api' }, 'can not mix "*" with values'],
    [
      { bound_service_account_namespace_selector: 'env=dev' },
      /^invalid "bound_service_account_namespace_selector" configured: /,
    ],
    [{ alias_name_source: 'email' }, /^invalid alias_name_source, must be one of: /],
    [{ token_policies: 'root' }, 'auth methods cannot create root tokens'],
    [{ token_ttl: '2h', token_max_ttl: '1h' }, "'token_ttl' cannot be greater than 'token_max_ttl'"],
    [{ audience: ['a'] }, /audience/],
  ])('that makes no sense is refused: %j', async (fields, text) => {
    const before = await world.census()
    const { status, json } = await api('POST', 'auth/kubernetes/role/new', {
      bound_service_account_names: 'api',
      bound_service_account_namespaces: 'shop',
      audience: AUDIENCE,
      ...fields,
    })
    expect([status, json.errors]).toEqual([
      400,
      [typeof text === 'string' ? text : expect.stringMatching(text)],
    ])
    expect(await world.census()).toEqual(before)
  })
})
