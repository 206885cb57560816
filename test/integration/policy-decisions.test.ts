import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TestBroker } from '../support/broker.ts'
import {
  APP,
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
  await at.api('POST', 'sys/mounts/database/tune', { environment: 'prod', labels: { tier: 'one' } })
  await at.api('POST', 'database/config/db', { environment: 'stage', labels: { owner: 'orders' } })
  await at.api('POST', 'database/roles/app', { environment: 'dev', labels: { team: 'shop' } })
})
afterAll(() => world.close())

const OTHER_LEASES = rule('sys/leases/*', 'update')
const change = (some: Holder, policy: string) =>
  at.api('PUT', `sys/policies/acl/${some.policies[0]}`, { policy })

describe('a condition goes by', () => {
  test.each([
    [`role.name == 'app' && role.mount == 'database/' && role.engine == 'postgres'`, true],
    [`role.target == 'db'`, true],
    [`role.target == 'other'`, false],
    [`role.environment == 'dev' && role.labels.team == 'shop'`, true],
    [`role.labels.team == 'other'`, false],
    [`role.labels.none == 'shop'`, false],
    [`role.target_environment == 'stage' && role.target_labels.owner == 'orders'`, true],
    [`role.target_environment == 'prod'`, false],
    [`role.mount_environment == 'prod' && role.mount_labels.tier == 'one'`, true],
    [`role.mount_labels.tier == 'two'`, false],
    [`principal.kind == 'workload' && principal.mount == 'auth/token/' && principal.subject == ''`, true],
    [`principal.kind == 'human'`, false],
    [`request.operation == 'read' && request.path == 'database/creds/app' && !request.tls`, true],
    [`in_cidr(request.source_address, '127.0.0.0/8')`, true],
    [`in_cidr(request.source_address, '10.0.0.0/8')`, false],
    ['approval.live', false],
  ])('%s: %s', async (condition, holds) => {
    const some = await holder(given(condition))
    const { status, json } = await creds(some)
    expect(status).toBe(holds ? 200 : 403)
    if (!holds) expect(json).toEqual(DENIED)
    const asked = await at.api('POST', 'sys/policies/simulate', { path: APP, accessor: some.accessor })
    expect(asked.json.data).toMatchObject({
      allowed: holds,
      reason: holds ? 'granted' : 'no_rule',
      rule: holds ? { policy: some.policies[0], version: 1, path: APP, line: 1 } : null,
      conditions: [{ condition, held: holds, policy: some.policies[0], line: 1 }],
    })
  })

  test('what the mount says, from the next request on', async () => {
    const some = await holder(given(`role.mount_environment == 'test'`))
    expect(await statusOf(creds(some))).toBe(403)
    await at.api('POST', 'sys/mounts/database/tune', { environment: 'test' })
    expect(await statusOf(creds(some))).toBe(200)
    expect((await at.api('GET', 'sys/mounts/database/tune')).json.data).toMatchObject({
      environment: 'test',
      labels: { tier: 'one' },
    })
    await at.api('POST', 'sys/mounts/database/tune', { environment: 'prod' })
    expect(await statusOf(creds(some))).toBe(403)
  })

  test('how many leases the principal holds', async () => {
    const some = await holder('default', given('leases.held < 2'))
    const first = await creds(some)
    expect([first.status, await statusOf(creds(some)), await statusOf(creds(some))]).toEqual([200, 200, 403])
    // Its own lease does not stand in the way of its renewal.
    const { lease_id } = first.json
    expect(await statusOf(some.api('PUT', 'sys/leases/renew', { lease_id }))).toBe(200)
    expect(await statusOf(some.api('PUT', 'sys/leases/revoke', { lease_id }))).toBe(204)
    expect([await statusOf(creds(some)), await statusOf(creds(some))]).toEqual([200, 403])
  })

  test('the time by the clock of the ledger', async () => {
    const soon = new Date((await at.ledger.now()).getTime() + 3_600_000).toISOString()
    const some = await holder(given(`request.time >= timestamp('${soon}')`))
    const simulated = async (time?: string) =>
      (await at.api('POST', 'sys/policies/simulate', { path: APP, accessor: some.accessor, time })).json.data
        .allowed
    expect([await statusOf(creds(some)), await simulated(), await simulated(soon)]).toEqual([
      403,
      false,
      true,
    ])
    await at.ledger.advance(3_600)
    expect([await statusOf(creds(some)), await simulated()]).toEqual([200, true])
  })
})

describe('the condition of a role', () => {
  const write = (name: string, condition: string) =>
    at.api('POST', `database/roles/${name}`, { db_name: 'db', member_of: at.target.readers, condition })
  const ask = (api: TestBroker['api'], name: string) => statusOf(api('GET', `database/creds/${name}`))

  test('holds for root too, and besides policy', async () => {
    const some = await holder(rule('database/creds/*', 'read'))
    expect(await statusOf(write('closed', `principal.kind == 'human'`))).toBe(204)
    expect([await ask(at.api, 'closed'), await ask(some.api, 'closed')]).toEqual([403, 403])
    const { data } = (
      await at.api('POST', 'sys/policies/simulate', { path: 'database/creds/closed', policies: 'root' })
    ).json
    expect(data).toMatchObject({
      allowed: false,
      reason: 'role_condition',
      rule: { policy: 'root' },
      role_condition: { condition: `principal.kind == 'human'`, value: false },
    })
    expect(await statusOf(write('closed', ''))).toBe(204)
    expect([await ask(at.api, 'closed'), await ask(some.api, 'closed')]).toEqual([200, 200])
  })

  test('that cannot be read is refused with its place, and nothing has changed', async () => {
    await write('kept', `role.name == 'kept'`)
    const { status, json } = await write('kept', 'role.nme == 1')
    expect([status, json.errors[0]]).toEqual([400, expect.stringContaining('condition: line 1, column 6: ')])
    expect((await at.api('GET', 'database/roles/kept')).json.data).toMatchObject({
      condition: `role.name == 'kept'`,
      version: 1,
    })
  })
})

describe('a lease of somebody else', () => {
  const may = async ({ api }: Holder, lease_id: string) => [
    await statusOf(api('PUT', 'sys/leases/lookup', { lease_id })),
    await statusOf(api('PUT', 'sys/leases/renew', { lease_id })),
    await statusOf(api('PUT', `sys/leases/renew/${lease_id}`)),
    await statusOf(api('PUT', 'sys/leases/revoke', { lease_id })),
  ]

  test('is out of reach by default, and within reach of a rule that somebody wrote', async () => {
    const [owner, stranger, operator] = [
      await holder('default', rule(APP, 'read')),
      await holder('default', rule(APP, 'read')),
      await holder('default', OTHER_LEASES),
    ]
    const { lease_id } = (await creds(owner)).json
    expect(await may(stranger, lease_id)).toEqual([403, 403, 403, 403])
    expect(await may(operator, lease_id)).toEqual([200, 200, 200, 204])
    expect(await may(owner, (await creds(owner)).json.lease_id)).toEqual([200, 200, 200, 204])
  })
})

describe('a renewal', () => {
  const renew = ({ api }: Holder, lease_id: string) => statusOf(api('PUT', 'sys/leases/renew', { lease_id }))

  test('asks policy again for whoever has the lease', async () => {
    const some = await holder(rule(APP, 'read'), OTHER_LEASES)
    const operator = await holder(OTHER_LEASES)
    const { lease_id } = (await creds(some)).json
    expect([await renew(some, lease_id), await renew(operator, lease_id)]).toEqual([200, 200])
    await change(some, given(`role.environment == 'other'`))
    const { status, json } = await some.api('PUT', 'sys/leases/renew', { lease_id })
    expect([status, json]).toEqual([403, DENIED])
    expect([
      await renew(operator, lease_id),
      await statusOf(at.api('PUT', `sys/leases/renew/${lease_id}`)),
    ]).toEqual([403, 403])
    await change(some, rule(APP, 'read'))
    expect([await renew(some, lease_id), await renew(operator, lease_id)]).toEqual([200, 200])
  })

  test('asks nothing where the role says so', async () => {
    await at.api('POST', 'database/roles/lasting', {
      db_name: 'db',
      member_of: at.target.readers,
      recheck_on_renew: false,
    })
    const some = await holder(rule('database/creds/lasting', 'read'), OTHER_LEASES)
    const { lease_id } = (await some.api('GET', 'database/creds/lasting')).json
    await change(some, rule('database/creds/lasting', 'deny'))
    expect(await statusOf(some.api('GET', 'database/creds/lasting'))).toBe(403)
    expect(await renew(some, lease_id)).toBe(200)
  })
})

describe('a simulation', () => {
  const simulate = async (body: object) => at.api('POST', 'sys/policies/simulate', body)

  test('says which part of which condition was false, and does nothing', async () => {
    const condition = `role.environment == 'dev' && (principal.kind == 'human' || 'dba' in principal.groups)`
    const some = await holder(`# first line\n${given(condition)}`)
    const { data } = (await simulate({ path: `/${APP}/`, policies: some.policies, groups: 'web' })).json
    expect(data).toMatchObject({ allowed: false, reason: 'no_rule', rule: null, role_condition: null })
    expect(data.conditions).toHaveLength(1)
    expect(data.conditions[0]).toMatchObject({
      policy: some.policies[0],
      version: 1,
      path: APP,
      line: 2,
      held: false,
      join: '&&',
      parts: [
        { condition: `role.environment == 'dev'`, value: true, at: { line: 1, column: 1 } },
        { value: false, join: '||', parts: [{ value: false }, { value: false }] },
      ],
    })
    const dba = await simulate({ path: APP, policies: some.policies, groups: 'web,dba' })
    expect(dba.json.data).toMatchObject({ allowed: true, rule: { policy: some.policies[0], line: 2 } })
    const { rows } = await at.ledger.ledger.query(
      `select from leasehold.lease where allowed_by ->> 'policy' = $1`,
      [some.policies[0]],
    )
    expect(rows).toEqual([])
  })

  test('imagines who, from where and when', async () => {
    const some = await holder(
      given(`principal.kind == 'human' && principal.mount == 'auth/oidc/' && principal.subject == 'ann' &&
        principal.claims.level > 2 && principal.metadata.desk == '4' && principal.display_name == 'Ann' &&
        in_cidr(request.source_address, '192.0.2.0/24') && request.tls && leases.held == 3 &&
        request.time == timestamp('2030-01-31T09:00:00Z') && request.requested_ttl == duration('90s')`),
    )
    const whole = {
      path: APP,
      policies: some.policies,
      kind: 'human',
      mount: 'auth/oidc/',
      subject: 'ann',
      claims: { level: 3 },
      metadata: { desk: '4' },
      display_name: 'Ann',
      source_address: '192.0.2.7',
      tls: true,
      leases_held: 3,
      time: '2030-01-31T09:00:00Z',
      parameters: { ttl: '90s' },
    }
    expect((await simulate(whole)).json.data.allowed).toBe(true)
    for (const left of Object.keys(whole).filter((key) => key !== 'path' && key !== 'policies')) {
      const { data } = (await simulate({ ...whole, [left]: null })).json
      expect([left, data.allowed]).toEqual([left, false])
    }
  })

  test('names the rule that denies, the parameter at fault and the missing sudo', async () => {
    const some = await holder(
      rule('database/roles/*', 'create update', 'denied_parameters = { "owner" = [] }'),
      rule('database/creds/*', 'deny'),
      rule('sys/leases', 'read'),
    )
    const why = async (ask: object) => {
      const { data } = (await simulate({ accessor: some.accessor, ...ask })).json
      return [data.allowed, data.reason, data.rule?.policy, data.parameter]
    }
    const [roles, denying, leases] = some.policies
    const role = { path: 'database/roles/app', operation: 'update' }
    expect(await why({ ...role, parameters: { owner: 'x' } })).toEqual([false, 'parameter', roles, 'owner'])
    expect(await why(role)).toEqual([true, 'granted', roles, undefined])
    expect(await why({ ...role, operation: 'delete' })).toEqual([
      false,
      'capability_missing',
      roles,
      undefined,
    ])
    expect(await why({ path: APP })).toEqual([false, 'denied', denying, undefined])
    expect(await why({ path: 'sys/leases' })).toEqual([false, 'sudo_missing', leases, undefined])
    expect(await why({ path: 'sys/none' })).toEqual([false, 'no_rule', undefined, undefined])
  })

  test.each([
    [{}, 'missing path'],
    [{ path: APP }, 'missing accessor or policies'],
    [{ path: APP, accessor: 'none' }, 'invalid accessor'],
    [
      { path: APP, policies: 'a', source_address: 'here' },
      'source_address: expected an IP address, such as 192.0.2.7',
    ],
    [
      { path: APP, policies: 'a', time: '9:00' },
      'time: expected a time in RFC 3339, such as 2026-01-31T09:00:00Z',
    ],
    [{ path: APP, policies: 'a', kind: 'robot' }, 'kind'],
    [{ path: APP, policies: 'a', operation: 'eat' }, 'operation'],
    [{ path: APP, policies: 'a', leases_held: -1 }, 'leases_held: cannot be negative'],
  ])('that cannot be is refused: %j', async (body, text) => {
    const { status, json } = await simulate(body)
    expect([status, json.errors[0]]).toEqual([400, expect.stringContaining(text)])
  })

  test('takes any name for a policy there is not', async () => {
    const { status, json } = await simulate({ path: APP, policies: ['none', 'ä b'] })
    expect([status, json.data.allowed]).toEqual([200, false])
  })

  test('is for those whom policy lets', async () => {
    const some = await holder('default')
    expect(await statusOf(some.api('POST', 'sys/policies/simulate', { path: APP, policies: 'a' }))).toBe(403)
  })
})
