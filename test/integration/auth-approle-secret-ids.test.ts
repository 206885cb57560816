import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ApiAnswer, TestBroker } from '../support/broker.ts'
import { untilSomeoneWaits } from '../support/ledger-rows.ts'
import { type AppRoleWorld, openAppRoleWorld, withoutAudit } from './auth-approle-world.ts'

let world: AppRoleWorld
let at: TestBroker
beforeAll(async () => {
  world = await openAppRoleWorld()
  at = world.at
})
afterAll(() => world.close())

const ROLES = 'auth/approle/role'
const shown = ({ status, json }: ApiAnswer) => [status, json]
const refusal = (status: number, text: unknown) => [status, { errors: [text] }]
const NO_ROLE = 'role "nobody" does not exist'

const state = async () => withoutAudit(await world.dump())

describe('a role', () => {
  test('is read back as it was written, without its role_id; what is left out stays', async () => {
    const fields = {
      role_id: 'of-my-choice',
      secret_id_bound_cidrs: '127.0.0.0/8,10.0.0.1',
      secret_id_num_uses: '4',
      secret_id_ttl: '1h',
      local_secret_ids: true,
      policies: 'App,other',
      period: '5m',
      token_num_uses: 3,
    }
    await world.role('whole', fields)
    const whole = {
      bind_secret_id: true,
      local_secret_ids: true,
      secret_id_bound_cidrs: ['127.0.0.0/8', '10.0.0.1'],
      secret_id_num_uses: 4,
      secret_id_ttl: 3_600,
      token_ttl: 0,
      token_max_ttl: 0,
      token_period: 300,
      token_explicit_max_ttl: 0,
      token_policies: ['app', 'other'],
      token_bound_cidrs: [],
      token_num_uses: 3,
      token_no_default_policy: false,
      token_type: 'default',
    }
    expect((await at.api('GET', `${ROLES}/whole`)).json.data).toEqual(whole)
    expect(await world.role('whole', { token_ttl: 60, bound_cidr_list: '' })).toBe('of-my-choice')
    expect((await at.api('GET', `${ROLES}/WHOLE`)).json.data).toEqual({
      ...whole,
      token_ttl: 60,
      secret_id_bound_cidrs: [],
    })
  })

  test('has a random role_id of its own unless it brings one', async () => {
    const ids = await Promise.all(['one', 'two'].map((name) => world.role(name)))
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    expect(ids[0]).not.toBe(ids[1])
  })

  test('has its role_id alone, also when two take one at once', async () => {
    await world.role('first', { role_id: 'taken' })
    const before = await state()
    const taken = refusal(400, 'role_id already in use')
    expect(shown(await at.api('POST', `${ROLES}/second`, { role_id: 'taken' }))).toEqual(taken)
    expect(shown(await at.api('POST', `${ROLES}/one/role-id`, { role_id: 'taken' }))).toEqual(taken)
    expect(await state()).toEqual(before)
    // To the role that has it, it can be given again.
    expect((await at.api('POST', `${ROLES}/first/role-id`, { role_id: 'taken' })).status).toBe(204)
    const both = await Promise.all(
      ['left', 'right'].map((name) => at.api('POST', `${ROLES}/${name}`, { role_id: 'wanted' })),
    )
    expect(both.map(({ status }) => status).sort()).toEqual([204, 400])
  })

  const bad: [string, Record<string, unknown>, unknown][] = [
    ['an empty role_id', { role_id: '' }, 'invalid role_id supplied, or failed to generate a role_id'],
    ['a long role_id', { role_id: 'x'.repeat(257) }, expect.stringMatching(/^role_id must have/)],
    ['a role_id with a space behind', { role_id: 'a ' }, expect.stringMatching(/^role_id must have/)],
    ['a role_id with a line break', { role_id: 'a\nb' }, expect.stringMatching(/^role_id must have/)],
    ['no constraint', { bind_secret_id: false }, 'at least one constraint should be enabled on the role'],
    [
      'a block that is none',
      { secret_id_bound_cidrs: 'a/8' },
      expect.stringContaining('"a/8" is no address'),
    ],
    [
      'too many blocks',
      { secret_id_bound_cidrs: many(257) },
      expect.stringContaining('more than 256 blocks'),
    ],
    ['uses below none', { secret_id_num_uses: -1 }, 'secret_id_num_uses cannot be negative'],
    ['too many uses', { secret_id_num_uses: 2 ** 31 }, expect.stringContaining('cannot be over 2147483647')],
    ['uses by halves', { secret_id_num_uses: 1.5 }, expect.stringContaining('"secret_id_num_uses"')],
    ['a TTL that is none', { secret_id_ttl: '-1' }, expect.stringContaining('"secret_id_ttl"')],
    ['neither yes nor no', { bind_secret_id: 'perhaps' }, expect.stringContaining('"bind_secret_id"')],
    ['root', { token_policies: 'root' }, 'auth methods cannot create root tokens'],
    [
      'other local_secret_ids',
      { local_secret_ids: true },
      expect.stringContaining('local_secret_ids can only'),
    ],
  ]
  test.each(bad)('with %s is refused, and nothing changes', async (_, fields, text) => {
    await world.role('kept')
    const before = await state()
    expect(shown(await at.api('POST', `${ROLES}/kept`, fields))).toEqual(refusal(400, text))
    if (!('local_secret_ids' in fields)) {
      expect((await at.api('POST', `${ROLES}/new`, fields)).status).toBe(400)
    }
    expect(await state()).toEqual(before)
  })

  test('that there is not has neither role_id nor secret ids, and gets none', async () => {
    const before = await state()
    const [list, ids] = [await at.api('LIST', `${ROLES}/nobody/secret-id`), { secret_id: 'x' }]
    expect(shown(list)).toEqual(refusal(400, NO_ROLE))
    expect(shown(await at.api('GET', `${ROLES}/nobody`))).toEqual([404, { errors: [] }])
    expect(shown(await at.api('GET', `${ROLES}/nobody/role-id`))).toEqual([404, { errors: [] }])
    for (const [path, body, status] of [
      ['role-id', { role_id: 'x' }, 404],
      ['secret-id', {}, 404],
      ['custom-secret-id', ids, 404],
      ['secret-id/lookup', ids, 400],
      ['secret-id/destroy', ids, 400],
      ['secret-id-accessor/lookup', { secret_id_accessor: 'x' }, 400],
      ['secret-id-accessor/destroy', { secret_id_accessor: 'x' }, 400],
    ] as const) {
      expect(shown(await at.api('POST', `${ROLES}/nobody/${path}`, body))).toEqual(refusal(status, NO_ROLE))
    }
    expect(await state()).toEqual(before)
  })
})

function many(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `10.0.${Math.floor(i / 256)}.${i % 256}`)
}

describe('a secret id', () => {
  const make = (name: string, fields: object) => at.api('POST', `${ROLES}/${name}/secret-id`, fields)
  const lookup = async (name: string, secret_id: string) =>
    at.api('POST', `${ROLES}/${name}/secret-id/lookup`, { secret_id })

  test('is what the role says unless asked for less', async () => {
    await world.role('terms', { secret_id_num_uses: 5, secret_id_ttl: '1h' })
    expect(await world.secret('terms')).toMatchObject({ secret_id_num_uses: 5, secret_id_ttl: 3_600 })
    const less = await world.secret('terms', {
      num_uses: 1,
      ttl: '5m',
      metadata: { team: 'orders', build: 7 },
      cidr_list: '10.0.0.0/8',
      token_bound_cidrs: ['10.1.0.0/16'],
    })
    const { json } = await lookup('terms', less.secret_id)
    expect(json.data).toEqual({
      secret_id_accessor: less.secret_id_accessor,
      secret_id_num_uses: 1,
      secret_id_ttl: 300,
      creation_time: expect.stringMatching(/Z$/),
      expiration_time: expect.stringMatching(/Z$/),
      last_updated_time: json.data.creation_time,
      metadata: { team: 'orders', build: '7' },
      cidr_list: ['10.0.0.0/8'],
      token_bound_cidrs: ['10.1.0.0/16'],
    })
    expect(Date.parse(json.data.expiration_time) - Date.parse(json.data.creation_time)).toBe(300_000)
    const accessors = [
      'terms',
      ...(await at.api('LIST', `${ROLES}/terms/secret-id`)).json.data.keys,
    ] as string[]
    expect(accessors).toHaveLength(3)
    expect(accessors).toContain(less.secret_id_accessor)
  })

  test('without an end says so as Go writes no time, and one past the mount’s maximum is cut', async () => {
    await world.role('endless')
    const { secret_id } = await world.secret('endless')
    expect((await lookup('endless', secret_id)).json.data.expiration_time).toBe('0001-01-01T00:00:00Z')
    const capped = await make('endless', { ttl: '769h' })
    expect([capped.json.data.secret_id_ttl, capped.json.warnings]).toEqual([
      768 * 3_600,
      ['TTL of "769h" exceeded the effective max_ttl of "768h"; TTL value is capped accordingly'],
    ])
    await at.api('POST', 'sys/auth/brief', { type: 'approle', config: { max_lease_ttl: '1h' } })
    await at.api('POST', 'auth/brief/role/r')
    const brief = await at.api('POST', 'auth/brief/role/r/secret-id', { ttl: '2h' })
    expect(brief.json.data.secret_id_ttl).toBe(3_600)
  })

  test.each([
    ['an object', { a: 'b' }],
    ['JSON', '{"a":"b"}'],
    ['JSON in base64', Buffer.from('{"a":"b"}').toString('base64')],
    ['pairs', 'a=b'],
  ])('takes metadata as %s', async (_, metadata) => {
    await world.role('described')
    const { secret_id } = await world.secret('described', { metadata })
    expect((await lookup('described', secret_id)).json.data.metadata).toEqual({ a: 'b' })
  })

  test.each(['', '{}', null, {}])('takes %j as no metadata', async (metadata) => {
    await world.role('described')
    const { secret_id } = await world.secret('described', { metadata })
    expect((await lookup('described', secret_id)).json.data.metadata).toEqual({})
  })

  const NOT_INSIDE = expect.stringMatching(/^failed to verify subset relationship between CIDR blocks/)
  const UNREADABLE = expect.stringMatching(/^failed to parse metadata: /)
  const bad: [string, Record<string, unknown>, unknown][] = [
    ['more uses', { num_uses: 6 }, "num_uses cannot be higher than the role's secret_id_num_uses"],
    ['any number of uses', { num_uses: 0 }, "num_uses cannot be higher than the role's secret_id_num_uses"],
    ['uses below none', { num_uses: -1 }, 'num_uses cannot be negative'],
    ['a longer life', { ttl: '61m' }, "ttl cannot be longer than the role's secret_id_ttl"],
    ['no end', { ttl: 0 }, "ttl cannot be longer than the role's secret_id_ttl"],
    ['another address', { cidr_list: '192.0.2.1' }, NOT_INSIDE],
    ['a wider block', { cidr_list: '10.0.0.0/7' }, NOT_INSIDE],
    ['some addresses outside', { cidr_list: ['10.0.0.1', '192.0.2.1'] }, NOT_INSIDE],
    ['all of IPv4 in IPv6', { cidr_list: '::ffff:10.0.0.0/96' }, NOT_INSIDE],
    ['a wider block for tokens', { token_bound_cidrs: '0.0.0.0/0' }, NOT_INSIDE],
    ['no address', { cidr_list: '10.0.0.0/33' }, expect.stringContaining('cidr_list: "10.0.0.0/33" is no')],
    ['metadata of lists', { metadata: { a: ['b'] } }, UNREADABLE],
    ['metadata that is a list', { metadata: ['a'] }, UNREADABLE],
    ['metadata that is no map', { metadata: 'orders' }, UNREADABLE],
    ['metadata of a NUL', { metadata: '{"a":"\\u0000"}' }, UNREADABLE],
    ['metadata of half a character', { metadata: '{"a":"\\ud800"}' }, UNREADABLE],
    ['long metadata', { metadata: { a: 'x'.repeat(4_096) } }, UNREADABLE],
  ]
  test.each(bad)('asked for with %s is refused, and nothing changes', async (_, fields, text) => {
    const bounds = { secret_id_bound_cidrs: '10.0.0.0/8', token_bound_cidrs: '10.0.0.0/8' }
    await world.role('bounded', { secret_id_num_uses: 5, secret_id_ttl: '1h', ...bounds })
    const before = await state()
    expect(shown(await make('bounded', fields))).toEqual(refusal(400, text))
    const chosen = { secret_id: 'a long enough secret id', ...fields }
    expect(shown(await at.api('POST', `${ROLES}/bounded/custom-secret-id`, chosen))).toEqual(
      refusal(400, text),
    )
    expect(await state()).toEqual(before)
  })

  test('that is not the role’s is not known to it, and is left alone', async () => {
    await Promise.all([world.role('mine'), world.role('theirs')])
    const { secret_id, secret_id_accessor } = await world.secret('theirs')
    const before = await state()
    const unknown = refusal(
      404,
      `failed to find accessor entry for secret_id_accessor: "${secret_id_accessor}"`,
    )
    for (const path of ['lookup', 'destroy']) {
      const by = (kind: string, body: object) => at.api('POST', `${ROLES}/mine/${kind}/${path}`, body)
      expect(shown(await by('secret-id-accessor', { secret_id_accessor }))).toEqual(unknown)
      expect(shown(await by('secret-id', { secret_id }))).toEqual([204, undefined])
      expect(shown(await by('secret-id', {}))).toEqual(refusal(400, 'missing secret_id'))
      expect(shown(await by('secret-id-accessor', {}))).toEqual(refusal(400, 'missing secret_id_accessor'))
    }
    expect(await state()).toEqual(before)
  })

  test('needs rights of its own: who may make one can neither read it back nor write the role', async () => {
    await world.role('rights')
    await at.api('PUT', 'sys/policies/acl/hand-out', {
      policy: `path "${ROLES}/rights/secret-id" { capabilities = ["update"] }`,
    })
    const { auth } = (await at.api('POST', 'auth/token/create', { policies: ['hand-out'] })).json
    const as = (method: string, path: string, body?: object) =>
      at.api(method, `${ROLES}/rights${path}`, body, { 'X-Vault-Token': auth.client_token })
    const { json } = await as('POST', '/secret-id')
    const { secret_id } = json.data
    const others = await Promise.all([
      as('POST', '', {}),
      as('GET', '/role-id'),
      as('LIST', '/secret-id'),
      as('POST', '/secret-id/lookup', { secret_id }),
      as('POST', '/custom-secret-id', { secret_id: 'x' }),
    ])
    expect(others.map(({ status }) => status)).toEqual([403, 403, 403, 403, 403])
    const anyone = await at.api('POST', `${ROLES}/rights/secret-id`, {}, { 'X-Vault-Token': '' })
    expect(anyone.status).toBe(403)
  })

  test('of one’s own choice logs in, is had once, and warns when it is short', async () => {
    const role_id = await world.role('chosen')
    const choose = (secret_id: unknown) => at.api('POST', `${ROLES}/chosen/custom-secret-id`, { secret_id })
    const long = await choose('correct horse battery staple')
    expect([long.json.data.secret_id, long.json.warnings]).toEqual(['correct horse battery staple', null])
    expect((await choose('hunter2')).json.warnings).toEqual([expect.stringContaining('may be guessed')])
    expect((await world.login({ role_id, secret_id: 'hunter2' })).status).toBe(200)

    const before = await state()
    const again = refusal(400, 'failed to store secret_id: SecretID is already registered')
    expect(shown(await choose('hunter2'))).toEqual(again)
    expect(shown(await choose(''))).toEqual(refusal(400, 'missing secret_id'))
    expect(shown(await choose(' a'))).toEqual(refusal(400, expect.stringContaining('white space')))
    expect((await choose('x'.repeat(4_097))).status).toBe(400)
    expect(await state()).toEqual(before)
  })

  test('of one’s own choice can be chosen again once its time is over, swept or not', async () => {
    await world.role('again')
    const fields = { secret_id: 'correct horse battery staple', ttl: 60 }
    const choose = async () => (await at.api('POST', `${ROLES}/again/custom-secret-id`, fields)).status
    expect(await choose()).toBe(200)
    await at.ledger.advance(60)
    expect(await choose()).toBe(200)
    expect(await choose()).toBe(400)
  })

  test('that could not be delivered is taken back', async () => {
    await world.role('lost')
    const { port } = new URL(at.url)
    const { ledger } = at.ledger
    await ledger.transaction(async (db) => {
      // Holds the answer back until its caller has gone.
      await db.query(`select from leasehold.auth_role where name = 'lost' for update`)
      const socket = connect({ port: Number(port), host: '127.0.0.1' })
      const head = `Host: x\r\nX-Vault-Token: ${at.root}\r\nContent-Length: 2`
      socket.write(`POST /v1/${ROLES}/lost/secret-id HTTP/1.1\r\n${head}\r\n\r\n{}`)
      await untilSomeoneWaits(ledger)
      socket.destroy()
      await once(socket, 'close')
    })
    await at.broker.api.settled()
    const { rows } = await at.ledger.ledger.query(
      `select from leasehold.approle_secret where role_name = 'lost'`,
    )
    expect(rows).toEqual([])
  })
})

test('a role that goes while secret ids are made and used leaves none behind', async () => {
  const role_id = await world.role('busy')
  const { secret_id } = await world.secret('busy')
  const made = Array.from({ length: 8 }, () => at.api('POST', `${ROLES}/busy/secret-id`))
  const logins = Array.from({ length: 8 }, () => world.login({ role_id, secret_id }))
  const gone = at.api('DELETE', `${ROLES}/busy`)
  const statuses = (await Promise.all([gone, ...made, ...logins])).map(({ status }) => status)
  expect(statuses[0]).toBe(204)
  expect(statuses.slice(1, 9).filter((status) => status !== 200 && status !== 404)).toEqual([])
  expect(statuses.slice(9).filter((status) => status !== 200 && status !== 400)).toEqual([])
  const { rows } = await at.ledger.ledger.query(
    `select from leasehold.approle_secret where role_name = 'busy'`,
  )
  expect(rows).toEqual([])
  expect((await world.login({ role_id, secret_id })).status).toBe(400)
})
