import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TestBroker } from '../support/broker.ts'
import { APP, type Holder, openPolicyWorld, type PolicyWorld, rule, statusOf } from './policies-world.ts'

// What a simulation says is what happens: asked of the same holder, in every way a request can be made.

let world: PolicyWorld
let at: TestBroker
let holder: PolicyWorld['holder']

beforeAll(async () => {
  world = await openPolicyWorld()
  ;({ at, holder } = world)
  // Something to list.
  await at.api('GET', APP)
})
afterAll(() => world.close())

type Ask = {
  method: string
  path: string
  operation: string
  body?: Record<string, unknown>
  /** `GET` has its fields in the query. */
  query?: string
  wrapTtl?: string
}

/** Nothing here changes anything, whether or not it is let in. */
const ASKS: readonly Ask[] = [
  { method: 'GET', path: 'database/roles/app', operation: 'read' },
  { method: 'LIST', path: 'database/roles', operation: 'list' },
  { method: 'GET', path: 'database/roles', operation: 'list', query: '?list=true' },
  { method: 'POST', path: 'database/roles/app', operation: 'update', body: { default_ttl: 'never' } },
  { method: 'POST', path: 'database/roles/new', operation: 'update', body: { default_ttl: 'never' } },
  { method: 'DELETE', path: 'database/roles/none', operation: 'delete' },
  { method: 'PATCH', path: 'database/roles/app', operation: 'patch' },
  { method: 'GET', path: 'database/creds/none', operation: 'read' },
  { method: 'GET', path: 'sys/leases', operation: 'read', query: '?type=irrevocable' },
  { method: 'LIST', path: 'sys/leases/lookup', operation: 'list' },
  { method: 'PUT', path: 'sys/leases/lookup', operation: 'update', body: { lease_id: 'none' } },
  { method: 'GET', path: 'sys/none', operation: 'read' },
  { method: 'GET', path: 'none/at/all', operation: 'read' },
  // One path under another name, or written in another way.
  { method: 'PUT', path: 'sys/renew', operation: 'update', body: { lease_id: 'none' } },
  { method: 'PUT', path: 'sys/renew/none', operation: 'update' },
  { method: 'PUT', path: 'sys/revoke', operation: 'update', body: { lease_id: 'none' } },
  { method: 'PUT', path: 'sys/revoke/none', operation: 'update' },
  { method: 'PUT', path: 'sys/revoke-prefix/none/creds', operation: 'update' },
  { method: 'PUT', path: 'sys/leases/revoke-force/none/creds', operation: 'update' },
  { method: 'GET', path: '/database//roles/app/', operation: 'read' },
  { method: 'GET', path: 'sys/policy/NONE', operation: 'read' },
  { method: 'LIST', path: 'database/roles/', operation: 'list' },
  // Asked of nobody but the handler.
  { method: 'GET', path: 'sys/health', operation: 'read' },
  { method: 'PUT', path: 'sys/wrapping/lookup', operation: 'update' },
  { method: 'PUT', path: 'sys/wrapping/lookup', operation: 'update', body: { token: 'lh.none' } },
  // Wrapped.
  { method: 'GET', path: 'database/roles/app', operation: 'read', wrapTtl: '30' },
  { method: 'GET', path: 'database/roles/app', operation: 'read', wrapTtl: '5m' },
  { method: 'GET', path: 'database/roles/app', operation: 'read', wrapTtl: '2h' },
  { method: 'GET', path: 'database/roles/app', operation: 'read', wrapTtl: '0' },
  { method: 'PUT', path: 'sys/revoke/none', operation: 'update', wrapTtl: '5m' },
]

const documents = fc.array(
  fc
    .record({
      path: fc.constantFrom(
        '*',
        'database/*',
        'database/roles/*',
        'database/roles',
        'database/roles/',
        'database/+/app',
        'database/roles/app',
        'database/creds/+',
        'sys/leases*',
        'sys/leases/lookup/',
        'sys/leases/+/none',
        'sys/leases/re*',
        'sys/renew*',
        'sys/revoke*',
        'sys/policy/none',
        'sys/policy/NONE',
        'sys/wrapping/+',
        'sys/+',
        'none/+/all',
      ),
      capabilities: fc.subarray(['create', 'read', 'update', 'patch', 'delete', 'list', 'sudo'], {
        minLength: 1,
      }),
      deny: fc.nat(9).map((one) => one === 0),
      condition: fc.constantFrom(
        undefined,
        undefined,
        `request.operation != 'list'`,
        `request.path.endsWith('app')`,
        `in_cidr(request.source_address, '127.0.0.0/8')`,
        `principal.metadata.none == 'x'`,
        'leases.held > 0',
        'request.tls',
      ),
      denied: fc.boolean(),
      wrapping: fc.constantFrom(
        undefined,
        undefined,
        undefined,
        'min_wrapping_ttl = "1m"',
        'max_wrapping_ttl = "1h"',
        'min_wrapping_ttl = "1m"\n  max_wrapping_ttl = "1h"',
      ),
    })
    .map(({ path, capabilities, deny, condition, denied, wrapping }) =>
      rule(
        path,
        deny ? 'deny' : capabilities.join(' '),
        [
          ...(condition ? [`condition = ${JSON.stringify(condition)}`] : []),
          ...(denied && !deny ? ['denied_parameters = { "default_ttl" = [] }'] : []),
          ...(wrapping && !deny ? [wrapping] : []),
        ].join('\n  '),
      ),
    ),
  { minLength: 1, maxLength: 4 },
)

/** `PATCH` in another type is refused before anybody is asked. */
const PATCHED = { 'content-type': 'application/merge-patch+json' }

const happens = ({ api }: Holder, { method, path, query = '', body, wrapTtl }: Ask) => {
  const listing = method === 'LIST'
  const asked = `${path}${listing ? '?list=true' : query}`
  const headers = {
    ...(method === 'PATCH' && PATCHED),
    ...(wrapTtl !== undefined && { 'X-Vault-Wrap-TTL': wrapTtl }),
  }
  return statusOf(api(listing ? 'GET' : method, asked, body, headers))
}

const simulated = async (
  { accessor }: Holder,
  { path, operation, body, query, wrapTtl }: Ask,
): Promise<boolean> => {
  const parameters = body ?? (query === '?type=irrevocable' ? { type: 'irrevocable' } : {})
  const { json } = await at.api('POST', 'sys/policies/simulate', {
    accessor,
    path,
    operation,
    parameters,
    ...(wrapTtl !== undefined && { wrap_ttl: wrapTtl }),
  })
  return json.data.allowed
}

test('a simulation agrees with what happens, whatever the policies', async () => {
  await fc.assert(
    fc.asyncProperty(documents, async (rules) => {
      const some = await holder(...rules)
      const answers = await Promise.all(
        ASKS.map(async (ask) => [ask, await happens(some, ask), await simulated(some, ask)] as const),
      )
      for (const [ask, status, allowed] of answers) {
        const { method, path, wrapTtl } = ask
        expect([method, path, wrapTtl, status !== 403]).toEqual([method, path, wrapTtl, allowed])
      }
    }),
    { numRuns: 20 },
  )
})

test('and so do capabilities where nothing hangs on the operation', async () => {
  await at.api('POST', 'database/roles/app', { labels: { team: 'shop' } })
  const condition = (team: string) => `condition = "role.labels.team == '${team}'"`
  for (const [team, found] of [
    ['shop', ['read']],
    ['other', ['deny']],
  ] as const) {
    const some = await holder('default', rule(APP, 'read', condition(team)))
    const { json } = await some.api('POST', 'sys/capabilities-self', { path: APP })
    expect(json.data.capabilities).toEqual(found)
    expect(await statusOf(some.api('GET', APP))).toBe(found[0] === 'read' ? 200 : 403)
  }
})

describe('a simulation', () => {
  const ask = async (fields: object) => {
    const { status, json } = await at.api('POST', 'sys/policies/simulate', fields)
    expect(status).toBe(200)
    return { ...json.data, warnings: json.warnings }
  }

  test('and capabilities are about the modern path, whichever name was asked by', async () => {
    const modern = await holder(rule('sys/leases/renew', 'update'))
    const legacy = await holder(rule('sys/renew', 'update'))
    for (const path of ['sys/renew', 'sys/leases/renew', '/sys//renew/']) {
      expect([path, await capabilities(modern, path)]).toEqual([path, ['update']])
      expect([path, await capabilities(legacy, path)]).toEqual([path, ['deny']])
    }
    for (const [who, allowed] of [
      [modern, true],
      [legacy, false],
    ] as const) {
      const fields = { accessor: who.accessor, path: 'sys/renew', operation: 'update' }
      expect((await ask(fields)).allowed).toBe(allowed)
    }
  })
  const capabilities = async ({ accessor }: Holder, path: string) =>
    (await at.api('POST', 'sys/capabilities-accessor', { accessor, path })).json.data.capabilities

  test('of a login, and of whatever else asks for no token, has no rule', async () => {
    const some = await holder(rule('sys/*', 'deny'))
    expect(await ask({ accessor: some.accessor, path: 'sys/health' })).toMatchObject({
      allowed: true,
      reason: 'open',
      rule: null,
    })
  })

  test('tells which wrapping a rule wants', async () => {
    const some = await holder(rule(APP, 'read', 'min_wrapping_ttl = "1m"'))
    const { accessor } = some
    expect(await ask({ accessor, path: APP })).toMatchObject({ allowed: false, reason: 'wrapping_ttl' })
    expect(await ask({ accessor, path: APP, wrap_ttl: '1m' })).toMatchObject({ allowed: true })
  })

  test.each([
    [{ path: 'database/roles/a/', operation: 'update' }, "cannot write to a path ending in '/'"],
    [{ path: 'database/../sys' }, 'relative paths not supported'],
    [{ path: '//' }, 'missing path'],
    [{ path: 'x', wrap_ttl: 'soon' }, 'error parsing X-Vault-Wrap-TTL header: not a duration'],
    [{ path: 'x', wrap_ttl: '0.1s' }, 'error parsing X-Vault-Wrap-TTL header: shorter than a second'],
  ])('of what no request can be is refused as that is: %j', async (fields, text) => {
    const { status, json } = await at.api('POST', 'sys/policies/simulate', { policies: 'root', ...fields })
    expect([status, json.errors]).toEqual([400, [text]])
  })

  test.each<[string, object, string[] | null]>([
    ['all that is asked for', { path: APP, policies: 'default' }, null],
    ['the role', { path: 'database/creds/none' }, ['the role that this path names does not exist']],
    ['the mount', { path: 'none/creds/app' }, ['nothing is mounted at this path']],
    ['the path', { path: 'database/none' }, ['the mount has nothing at this path']],
    ['the operation', { path: APP, operation: 'delete' }, ['this path does not take this operation']],
    [
      'policies',
      { path: APP, policies: ['Gone', 'default', 'lost'] },
      ['there is no policy "gone": it allows nothing', 'there is no policy "lost": it allows nothing'],
    ],
    [
      'the auth mount',
      { path: APP, mount: 'auth/none' },
      ['nothing is mounted at "auth/none/": nobody logs in there'],
    ],
  ])('warns when there is not: %s', async (_, fields, warnings) => {
    expect((await ask({ policies: 'root', ...fields })).warnings).toEqual(warnings)
  })

  test('of a bearer whose policy is gone warns too', async () => {
    const some = await holder(rule(APP, 'read'))
    await at.api('DELETE', `sys/policies/acl/${some.policies[0]}`)
    const { allowed, warnings } = await ask({ accessor: some.accessor, path: APP })
    expect([allowed, warnings]).toEqual([false, [expect.stringContaining(some.policies[0] ?? 'none')]])
  })
})

describe('a simulation of one who is imagined reads templates as those of a login', () => {
  let accessor: string
  beforeAll(async () => {
    await at.api('POST', 'sys/auth/shop', { type: 'jwt' })
    accessor = (await at.api('GET', 'sys/auth/shop')).json.data.accessor
  })
  const who = { mount: 'auth/shop', subject: 'alice', metadata: { team: 'app' }, groups: ['app'] }

  test.each<[string, string, object, boolean]>([
    ['identity.entity.aliases.$.name', 'alice', who, true],
    ['identity.entity.aliases.$.metadata.team', 'app', who, true],
    ['identity.groups.names.app.name', 'app', who, true],
    ['identity.entity.id', 'e1', { ...who, entity_id: 'e1' }, true],
    ['identity.entity.name', 'entity_e1', { ...who, entity_id: 'e1' }, true],
    ['identity.entity.aliases.$.id', 'e1', { ...who, entity_id: 'e1' }, true],
    ['identity.entity.id', 'e1', who, false],
    ['identity.entity.aliases.$.name', 'alice', { ...who, mount: 'auth/token' }, false],
    // Nobody has any: entities are what logins say.
    ['identity.entity.metadata.team', 'app', who, false],
    ['identity.groups.names.app.name', 'app', { groups: ['app'] }, false],
  ])('%s as %s of %j: %s', async (selector, value, fields, allowed) => {
    const policy = rule(`database/creds/{{${selector.replace('$', accessor)}}}`, 'read')
    const { policies } = await holder(policy)
    const { json } = await at.api('POST', 'sys/policies/simulate', {
      policies,
      path: `database/creds/${value}`,
      ...fields,
    })
    expect(json.data.allowed).toBe(allowed)
  })
})

describe('an endpoint that needs sudo', () => {
  test.each([
    ['GET', 'sys/leases?type=irrevocable', 'sys/leases', 'read', 200],
    ['GET', 'sys/leases/lookup?list=true', 'sys/leases/lookup', 'list', 200],
    ['PUT', 'sys/leases/revoke-prefix/none/creds', 'sys/leases/revoke-prefix/*', 'update', 204],
    ['PUT', 'sys/revoke-prefix/none/creds', 'sys/leases/revoke-prefix/*', 'update', 204],
    ['PUT', 'sys/leases/revoke-force/none/creds', 'sys/leases/revoke-force/*', 'update', 204],
    ['GET', 'auth/token/accessors?list=true', 'auth/token/accessors', 'list', 200],
  ])('%s %s', async (method, asked, path, capability, status) => {
    const [without, withSudo] = [
      await holder(rule(path, capability)),
      await holder(rule(path, `${capability} sudo`)),
    ]
    expect(await statusOf(without.api(method, asked))).toBe(403)
    expect(await statusOf(withSudo.api(method, asked))).toBe(status)
  })

  test('the legacy name of a path opens nothing', async () => {
    const some = await holder(rule('sys/revoke-prefix/*', 'update sudo'))
    expect(await statusOf(some.api('PUT', 'sys/revoke-prefix/none/creds'))).toBe(403)
  })
})

test('a rule whose condition is false is as if it were not written: wider ones come in', async () => {
  const closed = rule(APP, 'read', 'condition = "request.tls"')
  const wide = rule('database/*', 'read')
  const some = await holder(wide, closed)
  expect(await statusOf(some.api('GET', APP))).toBe(200)
  const shut = await holder(wide, closed, rule(APP, 'deny', 'condition = "!request.tls"'))
  expect(await statusOf(shut.api('GET', APP))).toBe(403)
})
