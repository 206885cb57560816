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
    })
    .map(({ path, capabilities, deny, condition, denied }) =>
      rule(
        path,
        deny ? 'deny' : capabilities.join(' '),
        [
          ...(condition ? [`condition = ${JSON.stringify(condition)}`] : []),
          ...(denied && !deny ? ['denied_parameters = { "default_ttl" = [] }'] : []),
        ].join('\n  '),
      ),
    ),
  { minLength: 1, maxLength: 4 },
)

/** `PATCH` in another type is refused before anybody is asked. */
const PATCHED = { 'content-type': 'application/merge-patch+json' }

const happens = ({ api }: Holder, { method, path, query = '', body }: Ask) => {
  const listing = method === 'LIST'
  const asked = `${path}${listing ? '?list=true' : query}`
  return statusOf(api(listing ? 'GET' : method, asked, body, method === 'PATCH' ? PATCHED : {}))
}

const simulated = async ({ accessor }: Holder, { path, operation, body, query }: Ask): Promise<boolean> => {
  const parameters = body ?? (query === '?type=irrevocable' ? { type: 'irrevocable' } : {})
  const { json } = await at.api('POST', 'sys/policies/simulate', { accessor, path, operation, parameters })
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
        expect([ask.method, ask.path, status !== 403]).toEqual([ask.method, ask.path, allowed])
      }
    }),
    { numRuns: 40 },
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
