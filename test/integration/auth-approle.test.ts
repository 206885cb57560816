import nodeVault from 'node-vault'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { takeSecretIdUses } from '../../src/ledger/approle.ts'
import type { Db } from '../../src/ledger/db.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import type { ApiAnswer, TestBroker } from '../support/broker.ts'
import { untilSomeoneWaits } from '../support/ledger-rows.ts'
import { type AppRoleWorld, openAppRoleWorld, withoutAudit } from './auth-approle-world.ts'

let world: AppRoleWorld
let at: TestBroker
beforeAll(async () => {
  world = await openAppRoleWorld()
  at = world.at
  await at.api('PUT', 'sys/policies/acl/app', {
    policy: 'path "database/creds/app" { capabilities = ["read"] }',
  })
})
afterAll(() => world.close())

const shown = ({ status, json }: ApiAnswer) => [status, json]
const INVALID = [400, { errors: ['invalid role or secret ID'] }]
const NOT_VALID = [400, { errors: ['wrapping token is not valid or does not exist'] }]
const rows = async (sql: string) => (await at.ledger.ledger.query(sql)).rows

describe('a login', () => {
  test('with node-vault’s own calls, from the role to a database user', async () => {
    const { vault } = at
    await vault.addApproleRole({
      role_name: 'batch',
      policies: 'app',
      token_ttl: 600,
      secret_id_num_uses: 2,
      secret_id_ttl: 3_600,
    })
    const role_id = (await vault.getApproleRoleId({ role_name: 'batch' })).data.role_id
    const made = await vault.getApproleRoleSecret({
      role_name: 'batch',
      metadata: '{"team":"orders"}',
      cidr_list: ['127.0.0.0/8'],
    })
    expect(made.data).toEqual({
      secret_id: expect.stringMatching(/^[0-9A-Za-z]{32}$/),
      secret_id_accessor: expect.stringMatching(/^[0-9a-z]{24}$/),
      secret_id_num_uses: 2,
      secret_id_ttl: 3_600,
    })
    const machine = nodeVault({ endpoint: at.url, token: '' })
    const { auth } = await machine.approleLogin({ role_id, secret_id: made.data.secret_id })
    expect(auth).toMatchObject({
      client_token: expect.stringMatching(/^lh\./),
      policies: ['app', 'default'],
      metadata: { role_name: 'batch', team: 'orders' },
      lease_duration: 600,
      renewable: true,
      entity_id: expect.stringMatching(/^[0-9a-z]{24}$/),
      token_type: 'service',
      orphan: true,
    })
    machine.token = auth.client_token
    expect((await machine.read('database/creds/app')).data.username).toMatch(/^v_app_/)
    expect((await machine.tokenLookupSelf()).data).toMatchObject({
      display_name: 'approle',
      path: 'auth/approle/login',
    })

    const named = { role_name: 'batch', secret_id: made.data.secret_id }
    const accessor = { role_name: 'batch', secret_id_accessor: made.data.secret_id_accessor }
    expect((await vault.approleSecretLookup(named)).data).toMatchObject({ secret_id_num_uses: 1 })
    expect((await vault.approleSecretAccessorLookup(accessor)).data).toMatchObject({
      metadata: { team: 'orders' },
    })
    expect((await vault.approleSecretAccessors({ role_name: 'batch' })).data.keys).toEqual([
      made.data.secret_id_accessor,
    ])
    expect((await vault.approleRoles()).data.keys).toContain('batch')
    await vault.approleSecretAccessorDestroy(accessor)
    await expect(machine.approleLogin({ role_id, secret_id: made.data.secret_id })).rejects.toThrow(
      'invalid role or secret ID',
    )
    const other = (await vault.getApproleRoleSecret({ role_name: 'batch' })).data.secret_id
    await vault.approleSecretDestroy({ role_name: 'batch', secret_id: other })
    await vault.updateApproleRoleId({ role_name: 'batch', role_id: 'the-batch' })
    expect((await vault.getApproleRoleId({ role_name: 'batch' })).data.role_id).toBe('the-batch')
    expect((await vault.getApproleRole({ role_name: 'batch' })).data.token_ttl).toBe(600)
    await vault.deleteApproleRole({ role_name: 'batch' })
    await expect(vault.getApproleRole({ role_name: 'batch' })).rejects.toMatchObject({
      response: { statusCode: 404 },
    })
  })

  test('is of a workload, the same over all logins of a role, and another for another role', async () => {
    const role_id = await world.role('same')
    const first = (await world.login({ role_id, secret_id: (await world.secret('same')).secret_id })).json
    const second = (await world.login({ role_id, secret_id: (await world.secret('same')).secret_id })).json
    const else_id = await world.role('else')
    const third = (await world.login({ role_id: else_id, secret_id: (await world.secret('else')).secret_id }))
      .json
    expect(second.auth.entity_id).toBe(first.auth.entity_id)
    expect(third.auth.entity_id).not.toBe(first.auth.entity_id)
    expect(await rows(`select kind from leasehold.entity where id = '${first.auth.entity_id}'`)).toEqual([
      { kind: 'workload' },
    ])
  })

  test('is of the same principal when the role_id was changed, and of another for whoever has the old one', async () => {
    const own = { bind_secret_id: false, secret_id_bound_cidrs: '127.0.0.1', token_policies: 'app' }
    const entity = async (role_id: string) => (await world.login({ role_id })).json.auth.entity_id
    const role_id = await world.role('keeper', own)
    const auth = (await world.login({ role_id })).json.auth
    const as = { 'X-Vault-Token': auth.client_token }
    const lease = (await at.api('GET', 'database/creds/app', undefined, as)).json.lease_id

    await at.api('POST', 'auth/approle/role/keeper/role-id', { role_id: 'kept' })
    const heir = (await world.login({ role_id: await world.role('heir', { ...own, role_id }) })).json.auth
    expect(await entity('kept')).toBe(auth.entity_id)
    expect(heir.entity_id).not.toBe(auth.entity_id)
    const heirs = { 'X-Vault-Token': heir.client_token }
    expect((await at.api('PUT', 'sys/leases/revoke', { lease_id: lease }, heirs)).status).not.toBe(204)
    expect((await at.api('PUT', 'sys/leases/lookup', { lease_id: lease })).status).toBe(200)

    await world.role('keeper', { token_ttl: 60 })
    expect(await entity('kept')).toBe(auth.entity_id)
    await at.api('DELETE', 'auth/approle/role/keeper')
    await world.role('keeper', { ...own, role_id: 'kept' })
    expect(await entity('kept')).not.toBe(auth.entity_id)
  })

  test('leaves its role_id nowhere but with the role', async () => {
    const role_id = await world.role('unheard', {
      bind_secret_id: false,
      secret_id_bound_cidrs: '127.0.0.1',
      token_policies: 'app',
    })
    const { auth } = (await world.login({ role_id })).json
    const as = { 'X-Vault-Token': auth.client_token }
    expect((await at.api('GET', 'database/creds/app', undefined, as)).status).toBe(200)
    const { auth_role: roles, ...elsewhere } = await world.dump()
    expect(roles?.join()).toContain(role_id)
    expect(Object.values(elsewhere).flat().join('\n')).not.toContain(role_id)
  })

  test('lets policy see the metadata of the secret id and which one it was', async () => {
    await at.api('PUT', 'sys/policies/acl/seen', {
      policy: `path "database/roles/app" { capabilities = ["read"]
        condition = "principal.metadata.team == 'orders' && principal.metadata.role_name == 'seen'" }`,
    })
    const role_id = await world.role('seen', { token_policies: 'seen' })
    const read = async (metadata: object) => {
      const { secret_id, secret_id_accessor } = await world.secret('seen', { metadata })
      const { client_token, accessor } = (await world.login({ role_id, secret_id })).json.auth
      const [token] = await rows(
        `select identity -> 'claims' as claims from leasehold.token where accessor = '${accessor}'`,
      )
      expect(token).toEqual({ claims: { secret_id_accessor } })
      return (await at.api('GET', 'database/roles/app', undefined, { 'X-Vault-Token': client_token })).status
    }
    expect(await read({ team: 'orders' })).toBe(200)
    expect(await read({ team: 'ads', role_name: 'seen' })).toBe(403)
    // What is said of the holder cannot say which role it is.
    const { secret_id } = await world.secret('seen', { metadata: { role_name: 'root' } })
    expect((await world.login({ role_id, secret_id })).json.auth.metadata).toEqual({ role_name: 'seen' })
  })

  test('takes role_id and secret id with white space around, and names in any case', async () => {
    const role_id = await world.role('Spaces', { secret_id_num_uses: 1 })
    const { secret_id } = await world.secret('SPACES')
    expect((await world.login({ role_id: ` ${role_id}\n`, secret_id: `${secret_id}\n` })).status).toBe(200)
    expect((await at.api('LIST', 'auth/approle/role')).json.data.keys).toContain('spaces')
  })

  test('without a secret id where the role asks for none but an address', async () => {
    const role_id = await world.role('open', { bind_secret_id: false, secret_id_bound_cidrs: '127.0.0.1' })
    expect((await world.login({ role_id })).json.auth.metadata).toEqual({ role_name: 'open' })
    expect((await world.login({ role_id, secret_id: 'whatever' })).status).toBe(200)
    await world.role('open', { secret_id_bound_cidrs: '192.0.2.0/24' })
    expect(shown(await world.login({ role_id }))).toEqual(INVALID)
    expect(shown(await at.api('POST', 'auth/approle/role/open/secret-id'))).toEqual([
      400,
      { errors: ['bind_secret_id is not set on the role'] },
    ])
  })
})

describe('what a refusal tells', () => {
  test('is the same whichever was wrong', async () => {
    const role_id = await world.role('told', { secret_id_num_uses: 1 })
    const other_id = await world.role('told-other')
    const { secret_id } = await world.secret('told')
    const spent = (await world.secret('told')).secret_id
    const gone = (await world.secret('told')).secret_id
    expect((await world.login({ role_id, secret_id: spent })).status).toBe(200)
    await at.api('POST', 'auth/approle/role/told/secret-id/destroy', { secret_id: gone })
    const before = withoutAudit(await world.dump())
    for (const wrong of [
      { role_id: 'no-such-role', secret_id },
      { role_id, secret_id: 'wrong' },
      { role_id: 'no-such-role', secret_id: 'wrong' },
      { role_id: other_id, secret_id },
      { role_id, secret_id: spent },
      { role_id, secret_id: gone },
      { role_id: role_id.toUpperCase(), secret_id },
      { role_id, secret_id: secret_id.toLowerCase() },
      { role_id: 'told', secret_id },
      { role_id: 'x'.repeat(10_000), secret_id },
      { role_id: '%', secret_id: '%' },
    ]) {
      expect([wrong, ...shown(await world.login(wrong))]).toEqual([wrong, ...INVALID])
    }
    expect(withoutAudit(await world.dump())).toEqual(before)
    expect((await world.login({ role_id, secret_id })).status).toBe(200)
  })

  test('is that something is missing, of a role that there is and of one that there is not', async () => {
    const role_id = await world.role('missing')
    const missing = (what: string) => [400, { errors: [`missing ${what}`] }]
    expect(shown(await world.login({ secret_id: 'x' }))).toEqual(missing('role_id'))
    expect(shown(await world.login({ role_id: ' ', secret_id: 'x' }))).toEqual(missing('role_id'))
    expect(shown(await world.login({}))).toEqual(missing('role_id'))
    for (const id of [role_id, 'no-such-role']) {
      expect(shown(await world.login({ role_id: id }))).toEqual(missing('secret_id'))
      expect(shown(await world.login({ role_id: id, secret_id: ' ' }))).toEqual(missing('secret_id'))
    }
    expect((await world.login({ role_id: ['a'], secret_id: {} })).status).toBe(400)
  })

  test('is not whose name or mount it is', async () => {
    await at.api('POST', 'sys/auth/team/machines', { type: 'approle' })
    await at.api('POST', 'auth/team/machines/role/told', { role_id: 'same-everywhere' })
    await at.api('POST', 'auth/approle/role/elsewhere', { role_id: 'same-everywhere' })
    const { json } = await at.api('POST', 'auth/team/machines/role/told/secret-id')
    const fields = { role_id: 'same-everywhere', secret_id: json.data.secret_id }
    expect(shown(await world.login(fields))).toEqual(INVALID)
    const { auth } = (await world.login(fields, 'team/machines')).json
    const token = await at.api('POST', 'auth/token/lookup-accessor', { accessor: auth.accessor })
    expect(token.json.data.display_name).toBe('team-machines')
  })
})

describe('the uses of a secret id', () => {
  test('are as many as were given, and the last takes it away', async () => {
    const role_id = await world.role('thrice')
    const { secret_id, secret_id_accessor } = await world.secret('thrice', { num_uses: 3 })
    const left = async () =>
      (await at.api('POST', 'auth/approle/role/thrice/secret-id-accessor/lookup', { secret_id_accessor }))
        .json.data?.secret_id_num_uses
    for (const uses of [2, 1, undefined]) {
      expect((await world.login({ role_id, secret_id })).status).toBe(200)
      expect(await left()).toBe(uses)
    }
    expect(shown(await world.login({ role_id, secret_id }))).toEqual(INVALID)
    expect((await at.api('LIST', 'auth/approle/role/thrice/secret-id')).status).toBe(404)
  })

  test('go to one of twenty logins on two servers that come at once for the last one', async () => {
    const second = await at.another()
    const { url } = await second.listen({ host: '127.0.0.1', port: 0 })
    const role_id = await world.role('raced')
    const { secret_id } = await world.secret('raced', { num_uses: 1 })
    const tokens = await rows('select count(*)::int as n from leasehold.token')
    const racing = Array.from({ length: 20 }, async (_, i) => {
      const response = await fetch(`${i % 2 ? url : at.url}/v1/auth/approle/login`, {
        method: 'POST',
        body: JSON.stringify({ role_id, secret_id }),
      })
      return [response.status, ((await response.json()) as { errors?: string[] }).errors]
    })
    const outcomes = await Promise.all(racing)
    expect(outcomes.filter(([status]) => status === 200)).toHaveLength(1)
    expect(outcomes.filter(([status]) => status !== 200)).toEqual(
      Array.from({ length: 19 }, () => [400, ['invalid role or secret ID']]),
    )
    expect(await rows('select count(*)::int as n from leasehold.token')).toEqual([{ n: tokens[0]?.n + 1 }])
  })

  test.each([
    [1, undefined],
    [2, 1],
  ])(
    'of which there are %d: who asks while another takes one waits, and has what is left',
    async (uses, given) => {
      await world.role('turns')
      const { secret_id_accessor } = await world.secret('turns', { num_uses: uses })
      const [{ id }] = (await rows(
        `select encode(id, 'hex') as id from leasehold.approle_secret where accessor = '${secret_id_accessor}'`,
      )) as [{ id: string }]
      const { ledger } = at.ledger
      const take = (db: Db) => takeSecretIdUses(db, new Map([[id, 1]]))
      let second: Promise<ReadonlyMap<string, number>> | undefined
      await ledger.transaction(async (db) => {
        expect((await take(db)).get(id)).toBe(1)
        second = ledger.transaction(take)
        await untilSomeoneWaits(ledger)
      })
      expect((await second)?.get(id)).toBe(given)
    },
  )

  test('are shared by logins that fly together: five of eight, and those of others whole', async () => {
    const [role_id, other_id] = [await world.role('shared'), await world.role('shared-other')]
    const { secret_id } = await world.secret('shared', { num_uses: 5 })
    const other = (await world.secret('shared-other')).secret_id
    const outcomes = await Promise.all([
      ...Array.from({ length: 8 }, () => world.login({ role_id, secret_id })),
      ...Array.from({ length: 4 }, () => world.login({ role_id: other_id, secret_id: other })),
    ])
    const statuses = outcomes.map(({ status }) => status)
    expect(statuses.slice(0, 8).sort()).toEqual([200, 200, 200, 200, 200, 400, 400, 400])
    expect(statuses.slice(8)).toEqual([200, 200, 200, 200])
  })

  test('are not spent by a login whose token the ledger could not take', async () => {
    const role_id = await world.role('refused-commit')
    const { secret_id } = await world.secret('refused-commit', { num_uses: 1 })
    const { ledger } = at.ledger
    await ledger.query(`alter table leasehold.token add constraint none check (role <> 'refused-commit')`)
    expect((await world.login({ role_id, secret_id })).status).toBe(500)
    await ledger.query('alter table leasehold.token drop constraint none')
    expect((await world.login({ role_id, secret_id })).status).toBe(200)
    expect(shown(await world.login({ role_id, secret_id }))).toEqual(INVALID)
  })

  test('are not spent by a login from elsewhere', async () => {
    const role_id = await world.role('elsewhere-use', { token_bound_cidrs: '192.0.2.0/24' })
    const { secret_id } = await world.secret('elsewhere-use', { num_uses: 1 })
    expect(shown(await world.login({ role_id, secret_id }))).toEqual([403, { errors: ['permission denied'] }])
    await world.role('elsewhere-use', { token_bound_cidrs: '' })
    expect((await world.login({ role_id, secret_id })).status).toBe(200)
  })
})

describe('an address', () => {
  test('has to be one of the secret id’s and one of the role’s', async () => {
    const role_id = await world.role('bound', { secret_id_bound_cidrs: '127.0.0.0/8, 192.0.2.0/24' })
    const far = (await world.secret('bound', { cidr_list: '192.0.2.7' })).secret_id
    const near = (await world.secret('bound', { cidr_list: ['127.0.0.0/16'] })).secret_id
    const free = (await world.secret('bound')).secret_id
    const outcomes = async () =>
      Promise.all(
        [far, near, free].map(async (secret_id) => (await world.login({ role_id, secret_id })).status),
      )
    expect(await outcomes()).toEqual([400, 200, 200])
    expect(shown(await world.login({ role_id, secret_id: far }))).toEqual(INVALID)
    await world.role('bound', { secret_id_bound_cidrs: '192.0.2.0/24' })
    expect(await outcomes()).toEqual([400, 400, 400])
    await world.role('bound', { secret_id_bound_cidrs: [] })
    expect(await outcomes()).toEqual([400, 200, 200])
  })

  test('binds the token to what the secret id and the role both allow', async () => {
    const role_id = await world.role('token-bound', { token_bound_cidrs: '127.0.0.0/8, 10.0.0.0/8' })
    const bounds = async (secret_id: string) => {
      const { json } = await world.login({ role_id, secret_id })
      if (!json.auth) return json.errors[0]
      const { accessor } = json.auth
      return (await at.api('POST', 'auth/token/lookup-accessor', { accessor })).json.data.bound_cidrs
    }
    const narrow = (await world.secret('token-bound', { token_bound_cidrs: '127.0.0.0/24' })).secret_id
    const free = (await world.secret('token-bound')).secret_id
    expect(await bounds(narrow)).toEqual(['127.0.0.0/24'])
    expect(await bounds(free)).toEqual(['127.0.0.0/8', '10.0.0.0/8'])
    await world.role('token-bound', { token_bound_cidrs: '127.0.0.1, 10.0.0.0/8' })
    expect(await bounds(narrow)).toEqual(['127.0.0.1'])
    // Nothing is left of the two, and no bounds would be none at all.
    await world.role('token-bound', { token_bound_cidrs: '10.0.0.0/8' })
    expect(await bounds(narrow)).toBe('invalid role or secret ID')
    await world.role('token-bound', { token_bound_cidrs: '' })
    expect(await bounds(narrow)).toEqual(['127.0.0.0/24'])
  })
})

describe('a secret id’s end', () => {
  test('comes with its time, and the sweep takes it away', async () => {
    const role_id = await world.role('timed', { secret_id_ttl: '10m' })
    const made = await world.secret('timed')
    const short = await world.secret('timed', { ttl: 60 })
    const role = 'auth/approle/role/timed'
    const lookup = (secret_id: string) => at.api('POST', `${role}/secret-id/lookup`, { secret_id })
    const login = async ({ secret_id }: { secret_id: string }) =>
      (await world.login({ role_id, secret_id })).status
    await at.ledger.advance(59)
    expect([await login(made), await login(short)]).toEqual([200, 200])
    await at.ledger.advance(1)
    expect([await login(made), await login(short)]).toEqual([200, 400])
    expect((await lookup(short.secret_id)).status).toBe(204)
    expect((await at.api('LIST', `${role}/secret-id`)).json.data.keys).toEqual([made.secret_id_accessor])
    const kept = () =>
      rows(`select accessor from leasehold.approle_secret where role_name = 'timed' order by ttl_seconds`)
    expect(await kept()).toHaveLength(2)
    await at.broker.sweep.once()
    expect(await kept()).toEqual([{ accessor: made.secret_id_accessor }])
    await at.ledger.advance(540)
    expect(await login(made)).toBe(400)
    const tidied = await at.api('POST', 'auth/approle/tidy/secret-id')
    expect([tidied.status, tidied.json.warnings]).toEqual([
      202,
      [expect.stringMatching(/^Tidy operation successfully started\. /)],
    ])
    expect(await kept()).toEqual([])
  })

  test('comes with that of its role, and the name made anew does not bring it back', async () => {
    const role_id = await world.role('ending', { token_policies: 'app' })
    const { secret_id } = await world.secret('ending')
    const { auth } = (await world.login({ role_id, secret_id })).json
    const bearer = { 'X-Vault-Token': auth.client_token }
    expect((await at.api('DELETE', 'auth/approle/role/ending')).status).toBe(204)
    expect(await rows(`select from leasehold.approle_secret where role_name = 'ending'`)).toEqual([])
    expect(shown(await world.login({ role_id, secret_id }))).toEqual(INVALID)
    await at.api('POST', 'auth/approle/role/ending', { role_id })
    expect(shown(await world.login({ role_id, secret_id }))).toEqual(INVALID)
    await at.api('DELETE', 'auth/approle/role/ending')
    expect((await at.api('DELETE', 'auth/approle/role/ending')).status).toBe(204)
    const renewed = await at.api('POST', 'auth/token/renew-self', {}, bearer)
    expect([renewed.status, renewed.json.errors]).toEqual([
      400,
      ['role "ending" could not be found, not renewing'],
    ])
    expect((await at.api('GET', 'auth/token/lookup-self', undefined, bearer)).status).toBe(200)
  })

  test('comes with that of its mount, and so does that of the tokens it gave', async () => {
    await at.api('POST', 'sys/auth/short', { type: 'approle' })
    await at.api('POST', 'auth/short/role/r', { role_id: 'r' })
    const { secret_id } = (await at.api('POST', 'auth/short/role/r/secret-id')).json.data
    const { auth } = (await world.login({ role_id: 'r', secret_id }, 'short')).json
    await at.api('DELETE', 'sys/auth/short')
    await at.api('POST', 'sys/auth/short', { type: 'approle' })
    await at.api('POST', 'auth/short/role/r', { role_id: 'r' })
    expect(shown(await world.login({ role_id: 'r', secret_id }, 'short'))).toEqual(INVALID)
    const bearer = { 'X-Vault-Token': auth.client_token }
    expect((await at.api('GET', 'auth/token/lookup-self', undefined, bearer)).status).toBe(403)
  })
})

test('a role_id that was changed is good for nothing, and the new one takes the old secret ids', async () => {
  const role_id = await world.role('renamed')
  const { secret_id } = await world.secret('renamed')
  const write = (id: unknown) => at.api('POST', 'auth/approle/role/renamed/role-id', { role_id: id })
  expect((await write('a/new one')).status).toBe(204)
  expect(shown(await world.login({ role_id, secret_id }))).toEqual(INVALID)
  expect((await world.login({ role_id: 'a/new one', secret_id })).status).toBe(200)
  expect((await at.api('GET', 'auth/approle/role/renamed/role-id')).json.data).toEqual({
    role_id: 'a/new one',
  })
  expect((await at.api('GET', 'auth/approle/role/renamed')).json.data).not.toHaveProperty('role_id')
})

describe('a secret id that is handed over wrapped', () => {
  const wrapped = async (name: string) => {
    const { json } = await at.api('POST', `auth/approle/role/${name}/secret-id`, { num_uses: 1 }, WRAP)
    expect(json.data).toBe(null)
    return json.wrap_info
  }
  const WRAP = { 'X-Vault-Wrap-TTL': '60' }

  test('is opened by node-vault, once, and logs in', async () => {
    const role_id = await world.role('wrapped')
    const { token, creation_path } = await wrapped('wrapped')
    expect(creation_path).toBe('auth/approle/role/wrapped/secret-id')
    const machine = nodeVault({ endpoint: at.url, token })
    const { secret_id } = (await machine.unwrap()).data
    const { auth } = await machine.approleLogin({ role_id, secret_id })
    expect(auth.metadata).toEqual({ role_name: 'wrapped' })

    const again = await at.api('POST', 'sys/wrapping/unwrap', undefined, { 'X-Vault-Token': token })
    expect(shown(again)).toEqual(NOT_VALID)
    await expect(nodeVault({ endpoint: at.url, token }).unwrap()).rejects.toThrow(
      'wrapping token is not valid or does not exist',
    )
  })

  test('can be seen to come from where it should before it is opened', async () => {
    await world.role('looked-at')
    const { token } = await wrapped('looked-at')
    const lookup = await at.api('POST', 'sys/wrapping/lookup', { token }, { 'X-Vault-Token': '' })
    expect(lookup.json.data.creation_path).toBe('auth/approle/role/looked-at/secret-id')
  })
})

test('the ledger holds no secret id, neither as text nor in hex nor in base64', async () => {
  const role_id = await world.role('hidden', { secret_id_num_uses: 5 })
  const { secret_id } = await world.secret('hidden', { metadata: { team: 'orders' } })
  const chosen = 'a secret of my own choosing'
  await at.api('POST', 'auth/approle/role/hidden/custom-secret-id', { secret_id: chosen })
  await at.api('POST', 'auth/approle/role/hidden/secret-id', {}, { 'X-Vault-Wrap-TTL': '60' })
  for (const text of [secret_id, chosen]) {
    expect((await world.login({ role_id, secret_id: text })).status).toBe(200)
    await at.api('POST', 'auth/approle/role/hidden/secret-id/lookup', { secret_id: text })
    await world.login({ role_id: 'wrong', secret_id: text })
  }
  const dump = await world.dump()
  expect(dump.approle_secret?.join()).toContain('hidden')
  const everything = Object.values(dump).flat().join('\n').toLowerCase()
  for (const text of [secret_id, chosen]) {
    for (const form of ['utf8', 'hex', 'base64', 'base64url'] as const) {
      expect(everything).not.toContain(Buffer.from(text).toString(form).toLowerCase())
    }
    expect(JSON.stringify(sensitive(text))).not.toContain(text)
  }
})

test('the audit log has a login, and why one was refused, without what was shown', async () => {
  const role_id = await world.role('on-record', { secret_id_bound_cidrs: '192.0.2.0/24' })
  const { secret_id } = await world.secret('on-record')
  const since = (await at.ledger.now()).toISOString()
  const other = await world.role('on-record-too')
  const good = await world.login({
    role_id: other,
    secret_id: (await world.secret('on-record-too')).secret_id,
  })
  await world.login({ role_id, secret_id })
  await world.login({ role_id, secret_id: 'wrong' })
  await world.login({ role_id: 'wrong', secret_id })
  const events = await rows(
    `select body::json as body from leasehold.audit_event
     where type = 'login' and at_time >= '${since}' order by at_time, seq`,
  )
  expect(events.map(({ body }) => body.details?.reason).sort()).toEqual([
    'address_outside_role',
    'unknown_role',
    'unknown_secret',
    undefined,
  ])
  const [granted] = events.filter(({ body }) => body.who?.accessor === good.json.auth.accessor)
  expect(granted?.body.who).toMatchObject({ kind: 'workload', mount: 'auth/approle/' })
  expect(granted?.body.role).toBe('on-record-too')
  for (const text of [secret_id, role_id, other]) expect(JSON.stringify(events)).not.toContain(text)
})

test('logins that fail are counted for the role_id that was sent, not for all of the mount', async () => {
  const count = async () =>
    (await rows(`select taken::int from leasehold.rate_count where counter = 'failed-logins-by-role'`)).map(
      ({ taken }) => taken,
    )
  await at.ledger.ledger.query('delete from leasehold.rate_count')
  for (const role_id of ['guess-1', 'guess-1', 'guess-2']) await world.login({ role_id, secret_id: 'x' })
  expect((await count()).sort()).toEqual([1, 2])
})
