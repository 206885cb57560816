import nodeVault from 'node-vault'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DEFAULT_POLICY } from '../../src/policy/acl/default-policy.ts'
import type { TestBroker } from '../support/broker.ts'
import {
  creds,
  DENIED,
  given,
  type Holder,
  openPolicyWorld,
  type PolicyWorld,
  rule,
  statusOf,
} from './policies-world.ts'

let world: PolicyWorld
let at: TestBroker
let holder: PolicyWorld['holder']

beforeAll(async () => {
  world = await openPolicyWorld()
  ;({ at, holder } = world)
})
afterAll(() => world.close())

const live = (name: string) => at.api('GET', `sys/policies/acl/${name}`)

describe('a policy document', () => {
  const HCL = `# Who reads.\n${rule('a/*', 'read', 'comment = "ä \\"b\\""')}\n\n`
  const JSON_TEXT = '{ "path": { "a/+/b": { "capabilities": ["read", "list"] } } }\n'

  test.each([
    ['HCL', HCL, HCL],
    ['JSON', JSON_TEXT, JSON_TEXT],
    ['HCL in base64', Buffer.from(HCL).toString('base64'), HCL],
    [
      'JSON in base64, in lines',
      Buffer.from(JSON_TEXT).toString('base64').replace(/.{20}/g, '$&\n'),
      JSON_TEXT,
    ],
  ])('comes back as it was written: %s', async (_, sent, text) => {
    expect(await statusOf(at.api('POST', 'sys/policies/acl/Round', { policy: sent }))).toBe(204)
    expect((await live('round')).json.data).toMatchObject({ name: 'round', policy: text })
    const old = (await at.api('GET', 'sys/policy/ROUND')).json
    expect(old.data).toEqual({ name: 'round', rules: text, version: expect.any(Number) })
    expect(old).toMatchObject(old.data)

    expect(await statusOf(at.api('PUT', 'sys/policy/old', { rules: sent }))).toBe(204)
    expect((await live('old')).json.data.policy).toBe(text)
  })

  test('is written, listed, read and removed by node-vault', async () => {
    await at.vault.addPolicy({ name: 'by-client', rules: HCL })
    expect((await at.vault.policies()).policies).toEqual(
      expect.arrayContaining(['by-client', 'default', 'root']),
    )
    expect((await at.vault.getPolicy({ name: 'by-client' })).rules).toBe(HCL)
    await at.vault.removePolicy({ name: 'by-client' })
    await expect(at.vault.getPolicy({ name: 'by-client' })).rejects.toMatchObject({ message: 'Status 404' })
    const { token } = await holder(rule('sys/policy', 'read'))
    const limited = nodeVault({ endpoint: at.url, token })
    expect((await limited.policies()).data.keys).toContain('root')
    await expect(limited.addPolicy({ name: 'x', rules: HCL })).rejects.toMatchObject({
      message: DENIED.errors[0],
    })
  })

  test('has a version for each write, and goes on counting after it was removed', async () => {
    for (const version of [1, 2, 3]) {
      await at.api('PUT', 'sys/policies/acl/counted', { policy: HCL })
      expect((await live('counted')).json.data.version).toBe(version)
    }
    expect(await statusOf(at.api('DELETE', 'sys/policies/acl/counted'))).toBe(204)
    expect(await statusOf(at.api('DELETE', 'sys/policies/acl/counted'))).toBe(204)
    expect((await live('counted')).status).toBe(404)
    await at.api('PUT', 'sys/policies/acl/counted', { policy: HCL })
    expect((await live('counted')).json.data.version).toBe(4)
    const { rows } = await at.ledger.ledger.query(
      `select version from leasehold.policy where name = 'counted' order by version`,
    )
    expect(rows).toEqual([1, 2, 3, 4].map((version) => ({ version })))
  })

  test('of writers at once, all are versions and one is the last', async () => {
    const writes = Array.from({ length: 8 }, (_, i) =>
      statusOf(at.api('PUT', 'sys/policies/acl/racy', { policy: rule(`a/${i}`, 'read') })),
    )
    expect(new Set(await Promise.all(writes))).toEqual(new Set([204]))
    expect((await live('racy')).json.data.version).toBe(8)
  })

  test.each([
    ['path "a" {\n  capabilities = ["raed"]\n}', 2, 19],
    ['path "a" {\n  capabilities = ["read"]', 2, 26],
    ['pth "a" { capabilities = ["read"] }', 1, 1],
    ['{"path": {"a": {"capabilities": ["read",]}}}', 1, 41],
    ['path "a" {\n  capabilities = ["read"]\n  condition = "role.nme == \'a\'"\n}', 3, 21],
    ['path "a" { capabilities = ["read"] condition = "1 + 1" }', 1, 49],
  ])(
    'that cannot be read is refused with its place, and nothing has changed: %j',
    async (policy, line, column) => {
      await at.api('PUT', 'sys/policies/acl/kept', { policy: HCL })
      const before = (await live('kept')).json.data
      const { status, json } = await at.api('PUT', 'sys/policies/acl/kept', { policy })
      expect([status, json.errors[0]]).toEqual([
        400,
        expect.stringMatching(new RegExp(`^failed to parse policy: At ${line}:${column}: .`)),
      ])
      expect((await live('kept')).json.data).toEqual(before)
    },
  )

  test.each([
    ['PUT', 'root', { policy: HCL }, 'cannot update "root" policy'],
    ['PUT', 'Root', { policy: HCL }, 'cannot update "root" policy'],
    ['DELETE', 'root', undefined, 'cannot delete "root" policy'],
    ['DELETE', 'default', undefined, 'cannot delete "default" policy'],
    ['PUT', 'a,b', { policy: HCL }, 'a policy name has 1 to 128 characters, no spaces and no commas'],
    ['PUT', 'x', {}, `'policy' parameter not supplied or empty`],
    ['PUT', 'x', { policy: '' }, `'policy' parameter not supplied or empty`],
  ])('%s of %s is refused (%#)', async (method, name, body, text) => {
    for (const family of ['policies/acl', 'policy']) {
      const { status, json } = await at.api(method, `sys/${family}/${name}`, body)
      expect([status, json]).toEqual([400, { errors: [text] }])
    }
  })

  test('a text that no ledger can keep is refused', async () => {
    const { status } = await at.api('PUT', 'sys/policies/acl/nul', { policy: `${HCL}# \u0000` })
    expect(status).toBe(400)
    expect([400, 404]).toContain(await statusOf(at.api('GET', 'sys/policies/acl/a%00b')))
  })

  test('root has no text, and default is ours until somebody writes another', async () => {
    expect((await live('root')).json.data).toEqual({ name: 'root', policy: '', version: 0 })
    expect((await live('default')).json.data).toEqual({
      name: 'default',
      policy: DEFAULT_POLICY,
      version: 0,
    })
    const some = await holder('default')
    expect(await statusOf(some.api('GET', 'sys/mounts'))).toBe(403)
    await at.api('PUT', 'sys/policies/acl/default', { policy: DEFAULT_POLICY + rule('sys/mounts', 'read') })
    expect(await statusOf(some.api('GET', 'sys/mounts'))).toBe(200)
    await at.api('PUT', 'sys/policies/acl/default', { policy: DEFAULT_POLICY })
    expect(await statusOf(some.api('GET', 'sys/mounts'))).toBe(403)
  })
})

describe('a request', () => {
  test('without a rule for it is refused with the exact text, whether or not there is such a thing', async () => {
    const some = await holder(rule('database/roles/*', 'read'))
    for (const path of ['database/creds/app', 'database/creds/none', 'none/at/all', 'sys/none']) {
      const { status, json } = await some.api('GET', path)
      expect([status, json]).toEqual([403, DENIED])
    }
    expect(await statusOf(some.api('GET', 'database/roles/app'))).toBe(200)
    expect(await statusOf(some.api('GET', 'database/roles/none'))).toBe(404)
  })

  test('that writes what is not there takes create, and update otherwise', async () => {
    const [creator, updater] = [
      await holder(rule('database/roles/*', 'create')),
      await holder(rule('database/roles/*', 'update')),
    ]
    const role = { db_name: 'db', member_of: at.target.readers }
    const write = ({ api }: Holder) => statusOf(api('POST', 'database/roles/fresh', role))
    expect([await write(updater), await write(creator)]).toEqual([403, 204])
    expect([await write(creator), await write(updater)]).toEqual([403, 204])
  })

  test('is refused by a deny in any policy, and by a denied or missing parameter', async () => {
    const wide = rule('database/*', 'create read update')
    expect(await statusOf(creds(await holder(wide)))).toBe(200)
    expect(await statusOf(creds(await holder(wide, rule('database/creds/app', 'deny'))))).toBe(403)

    const role = { db_name: 'db', member_of: at.target.readers }
    const some = await holder(
      rule(
        'database/roles/*',
        'create update',
        'denied_parameters = { "owner" = [], "max_ttl" = ["9h"] }\n  required_parameters = ["db_name"]',
      ),
    )
    const write = (more: object) => statusOf(some.api('POST', 'database/roles/limited', { ...role, ...more }))
    expect(await write({ owner: 'x' })).toBe(403)
    expect(await write({ Owner: 'x' })).toBe(403)
    expect(await write({ max_ttl: '9h' })).toBe(403)
    expect(await statusOf(some.api('POST', 'database/roles/limited', { member_of: 'x' }))).toBe(403)
    expect(await write({ max_ttl: '1h' })).toBe(204)
  })

  test('is judged by a parameter under whichever of its names it was sent', async () => {
    await at.api('POST', 'sys/auth/ci', { type: 'jwt' })
    const roles = 'auth/ci/role/*'
    const unlisted = await holder(
      rule(roles, 'create update', 'denied_parameters = { "token_policies" = [] }'),
    )
    const listed = await holder(
      rule(
        roles,
        'create update',
        'allowed_parameters = { "token_policies" = ["web"], "*" = [] }\n  required_parameters = ["token_ttl"]',
      ),
    )
    const write = (who: Holder, fields: object) =>
      statusOf(who.api('POST', 'auth/ci/role/r', { user_claim: 'sub', bound_subject: 'x', ...fields }))
    expect(await write(unlisted, { token_policies: 'admin' })).toBe(403)
    expect(await write(unlisted, { policies: 'admin' })).toBe(403)
    expect(await write(unlisted, {})).toBe(204)
    expect(await write(listed, { policies: 'admin', ttl: '5m' })).toBe(403)
    expect(await write(listed, { token_policies: 'web', policies: 'admin', ttl: '5m' })).toBe(403)
    expect(await write(listed, { policies: 'web' })).toBe(403)
    expect(await write(listed, { policies: 'web', ttl: '5m' })).toBe(204)

    const maker = await holder(
      rule('auth/token/create', 'update', `condition = "request.requested_ttl <= duration('1h')"`),
    )
    const make = (fields: object) => statusOf(maker.api('POST', 'auth/token/create', fields))
    expect(await make({ ttl: '2h' })).toBe(403)
    expect(await make({ lease: '2h' })).toBe(403)
    expect(await make({ lease: '30m' })).toBe(200)
    const { data } = (
      await at.api('POST', 'sys/policies/simulate', {
        accessor: unlisted.accessor,
        path: 'auth/ci/role/r',
        operation: 'update',
        parameters: { policies: 'admin' },
      })
    ).json
    expect([data.allowed, data.parameter]).toEqual([false, 'token_policies'])
  })

  test('capabilities say what it would come to', async () => {
    const some = await holder(
      'default',
      rule('database/roles/*', 'create update'),
      rule('database/creds/app', 'read', `condition = "role.target == 'other'"`),
    )
    const paths = ['database/roles/x', 'database/creds/app', 'sys/mounts', 'auth/token/lookup-self']
    const { json } = await some.api('POST', 'sys/capabilities-self', { paths })
    expect(json.data).toEqual({
      'database/roles/x': ['create', 'update'],
      'database/creds/app': ['deny'],
      'sys/mounts': ['deny'],
      'auth/token/lookup-self': ['read'],
    })
    expect((await at.api('POST', 'sys/capabilities-self', { paths: ['any'] })).json.data.any).toEqual([
      'root',
    ])
    const acl = (await some.api('GET', 'sys/internal/ui/resultant-acl')).json.data
    expect(acl.glob_paths['database/roles/']).toEqual({ capabilities: ['create', 'update'] })
    expect(acl.exact_paths).not.toHaveProperty('database/creds/app')
  })
})

test('a change shows at the next request, on another server too', async () => {
  const some = await holder(rule('sys/mounts', 'read'))
  const other = await (await at.another()).listen({ host: '127.0.0.1', port: 0 })
  const there = () =>
    fetch(`${other.url}/v1/sys/mounts`, { headers: { 'X-Vault-Token': some.token } }).then((r) => r.status)
  for (const [word, status] of [
    ['read', 200],
    ['deny', 403],
    ['read', 200],
  ] as const) {
    await at.api('PUT', `sys/policies/acl/${some.policies[0]}`, { policy: rule('sys/mounts', word) })
    expect([await there(), await statusOf(some.api('GET', 'sys/mounts'))]).toEqual([status, status])
  }
  await at.api('DELETE', `sys/policies/acl/${some.policies[0]}`)
  expect(await there()).toBe(403)
})

test('a document that this version cannot read fails those who have it, and nobody else', async () => {
  const [some, other] = [await holder(rule('sys/mounts', 'read')), await holder(rule('sys/mounts', 'read'))]
  await at.ledger.ledger.query(`update leasehold.policy set document = 'x' where name = $1`, [
    some.policies[0],
  ])
  const answers = await Promise.all([some, other].map(({ api }) => api('GET', 'sys/mounts')))
  expect(answers.map(({ status }) => status)).toEqual([503, 200])
  expect(answers[0]?.json.errors[0]).toContain(`the policy "${some.policies[0]}" cannot be read`)
})

test('a lease knows which rule of which version let it be', async () => {
  const some = await holder('default', `\n\n${rule('database/creds/+', 'read')}`)
  const [, name] = some.policies
  await at.api('PUT', `sys/policies/acl/${name}`, { policy: rule('database/creds/+', 'read') })
  const { lease_id } = (await creds(some)).json
  const { rows } = await at.ledger.ledger.query('select allowed_by from leasehold.lease where id = $1', [
    lease_id.split('/').at(-1),
  ])
  expect(rows).toEqual([{ allowed_by: { policy: name, version: 2, path: 'database/creds/+', line: 1 } }])
  await expect(creds(await holder(given('role.name == "app"')))).resolves.toMatchObject({ status: 200 })
})
