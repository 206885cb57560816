import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'

/** The checklist of the wire contract, against a whole broker, with node-vault as it comes from npm. */

let at: TestBroker
beforeAll(async () => {
  at = await openTestBroker()
})
afterAll(() => at.close())

const take = async () => (await at.api('GET', 'database/creds/app')).json
const isGone = (username: string) =>
  expect
    .poll(() => at.target.sql(`select from pg_roles where rolname = '${username}'`), { timeout: 20_000 })
    .toEqual([])
const childToken = async (fields: object) => (await at.api('POST', 'auth/token/create', fields)).json.auth

describe('an unmodified node-vault', () => {
  test('reads, renews and revokes a credential without noticing', async () => {
    const read = await at.vault.read('database/creds/app')
    expect(read).toMatchObject({
      renewable: true,
      lease_duration: 60,
      data: { username: expect.any(String) },
    })
    const client = await at.target.logIn(read.data)
    expect((await client.query('select note from orders')).rows).toEqual([{ note: 'first' }])
    await client.end()

    const renewed = await at.vault.renew({ lease_id: read.lease_id, increment: 120 } as never)
    expect(renewed).toMatchObject({
      lease_id: read.lease_id,
      lease_duration: 120,
      renewable: true,
      data: null,
    })
    await at.vault.revoke({ lease_id: read.lease_id } as never)

    await expect(at.target.logIn(read.data)).rejects.toThrow('authentication failed')
    await isGone(read.data.username)
  })

  test('generates database credentials, and revokes by the legacy prefix path', async () => {
    const read = await at.vault.generateDatabaseCredentials({
      databasePath: 'database',
      name: 'app',
    } as never)
    await at.vault.revokePrefix({ path_prefix: 'database/creds/app' } as never)

    await isGone(read.data.username)
  })

  test('lists with the LIST verb, administers roles, mounts and tokens', async () => {
    expect((await at.vault.list('database/roles')).data.keys).toEqual(['app'])
    await at.vault.write('database/roles/second', { db_name: 'db', member_of: [at.target.readers] })
    expect((await at.vault.list('database/roles')).data.keys).toEqual(['app', 'second'])
    await at.vault.delete('database/roles/second')
    expect((await at.vault.mounts())['database/'].type).toBe('database')
    expect(await at.vault.health()).toMatchObject({ initialized: true, sealed: false, standby: false })
    expect((await at.vault.tokenLookupSelf()).data.policies).toEqual(['root'])
  })
})

describe('1. methods and bodies', () => {
  test.each(['POST', 'PUT'])('%s on sys/leases/renew without a body', async (method) => {
    const answer = await at.api(method, 'sys/leases/renew')
    expect([answer.status, answer.json]).toEqual([400, { errors: ['lease_id must be specified'] }])
  })

  test('JSON is read whatever its type is said to be', async () => {
    const { lease_id } = await take()
    const body = JSON.stringify({ lease_id })
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/octet-stream']) {
      expect((await at.api('PUT', 'sys/leases/renew', body, { 'Content-Type': type })).status).toBe(200)
    }
  })
})

describe('2. LIST over a raw socket', () => {
  async function exchange(...packets: string[]): Promise<string> {
    const socket = connect(Number(new URL(at.url).port), '127.0.0.1')
    let heard = ''
    socket.on('data', (chunk) => {
      heard += chunk.toString('latin1')
    })
    for (const packet of packets) await new Promise((sent) => socket.write(packet, sent))
    await once(socket, 'close')
    return heard
  }
  const head = (line: string, close = false) =>
    `${line} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${at.root}\r\n${close ? 'Connection: close\r\n' : ''}\r\n`

  test('pipelined and kept alive, it equals GET with ?list=true', async () => {
    const heard = await exchange(
      head('LIST /v1/database/roles') + head('GET /v1/database/roles?list=true'),
      head('LIST /v1/database/roles', true),
    )
    expect(heard.match(/"keys":\["app"\]/g)).toHaveLength(3)
  })

  test('an empty list is not found', async () => {
    await at.api('POST', 'sys/mounts/empty', { type: 'database' })
    const heard = await exchange(head('LIST /v1/empty/roles', true))
    expect(heard).toContain('404')
    expect(heard).toContain('{"errors":[]}')
  })
})

describe('3. the content type is exact', () => {
  test.each([
    ['GET', 'database/creds/app', undefined, 200],
    ['GET', 'sys/health', undefined, 200],
    ['GET', 'sys/nothing', undefined, 404],
    ['GET', 'database/creds/nope', undefined, 400],
    ['PUT', 'sys/leases/revoke', { lease_id: 'database/creds/app/none', sync: false }, 202],
  ])('%s %s', async (method, path, body, status) => {
    const answer = await at.api(method, path, body)
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(Date.parse(answer.headers.get('date') ?? '')).not.toBeNaN()
  })
})

describe('4. renewing', () => {
  test.each([
    [0, 60],
    [null, 60],
    [undefined, 60],
    ['3600', 599],
    [120, 120],
    ['120', 120],
    ['2m', 120],
  ])('an increment of %s gives %s seconds', async (increment, seconds) => {
    const { lease_id } = await take()
    const { status, json } = await at.api('PUT', 'sys/leases/renew', { lease_id, increment })
    expect([status, json.lease_id, json.renewable, json.data]).toEqual([200, lease_id, true, null])
    if (seconds === 599) {
      expect(json.lease_duration).toBeLessThanOrEqual(600)
      expect(json.warnings[0]).toMatch(
        /^TTL of "1h" exceeded the effective max_ttl of "\w+"; TTL value is capped accordingly$/,
      )
      expect(json.leasehold.limited_by).toBe('role_max')
    } else {
      expect([json.lease_duration, json.warnings]).toEqual([seconds, null])
    }
  })

  test('the id may stand in the path', async () => {
    const { lease_id } = await take()
    expect((await at.api('PUT', `sys/leases/renew/${lease_id}`, { increment: 90 })).json.lease_duration).toBe(
      90,
    )
    expect((await at.api('PUT', `sys/renew/${lease_id}`)).status).toBe(200)
  })

  test.each([-1, '-5s', 'soon', [], {}])('an increment of %j is refused', async (increment) => {
    const { lease_id } = await take()
    const { status, json } = await at.api('PUT', 'sys/leases/renew', { lease_id, increment })
    expect(status).toBe(400)
    expect(json.errors[0]).toMatch(/^Field validation failed: .*increment/)
  })

  test('after the end: expired until it is reaped, then not found', async () => {
    const { lease_id } = await take()
    await at.ledger.advance(62)
    const expired = await at.api('PUT', 'sys/leases/renew', { lease_id })
    expect([expired.status, expired.json]).toEqual([400, { errors: ['lease expired'] }])
    await at.broker.sweep.once()
    const reaped = await at.api('PUT', 'sys/leases/renew', { lease_id })
    expect([reaped.status, reaped.json]).toEqual([400, { errors: ['lease not found'] }])
  })

  test('past its maximum a lease cannot be renewed', async () => {
    await at.api('POST', 'database/roles/brief', { db_name: 'db', member_of: at.target.readers, max_ttl: 2 })
    const { lease_id } = (await at.api('GET', 'database/creds/brief')).json
    await at.ledger.advance(1.5)
    const { status, json } = await at.api('PUT', 'sys/leases/renew', { lease_id, increment: 60 })
    expect([status, json]).toEqual([400, { errors: ['past the max TTL, cannot renew'] }])
  })
})

describe('5. revoking', () => {
  test.each([
    ['by body', (id: string) => at.api('PUT', 'sys/leases/revoke', { lease_id: id }), 204],
    ['by path', (id: string) => at.api('PUT', `sys/leases/revoke/${id}`), 204],
    ['by the legacy path', (id: string) => at.api('PUT', `sys/revoke/${id}`), 204],
    ['as a prefix of itself', (id: string) => at.api('PUT', `sys/leases/revoke-prefix/${id}`), 204],
    ['by force', (id: string) => at.api('PUT', `sys/leases/revoke-force/${id}`), 204],
  ])('%s, at once and for good', async (_, revoke, status) => {
    const { lease_id, data } = await take()
    const first = await revoke(lease_id)
    expect([first.status, first.text]).toEqual([status, ''])
    expect(await at.target.sql(`select from pg_roles where rolname = '${data.username}'`)).toEqual([])
    expect((await revoke(lease_id)).status).toBe(204)
    const lookup = await at.api('PUT', 'sys/leases/lookup', { lease_id })
    expect([lookup.status, lookup.json]).toEqual([400, { errors: ['invalid lease'] }])
  })

  test('in the background: 202, an empty body, and done by whoever sweeps next', async () => {
    const { lease_id, data } = await take()
    const answer = await at.api('PUT', `sys/leases/revoke/${lease_id}`, { sync: false })
    expect([answer.status, answer.text]).toEqual([202, ''])
    await at.broker.sweep.once()
    await isGone(data.username)
  })

  test('a prefix that is a lease id means that lease, in the background too, and no other path does', async () => {
    const { lease_id, data } = await take()
    const id = lease_id.split('/').at(-1)
    expect((await at.api('PUT', `sys/leases/revoke-prefix/some/other/path/${id}`)).status).toBe(204)
    expect(await at.target.account(data.username)).toBe('enabled')
    expect((await at.api('PUT', `sys/leases/revoke-prefix/${lease_id}`, { sync: false })).status).toBe(202)
    await at.broker.sweep.once()
    await isGone(data.username)
  })

  test('the steps of an ended lease are told in UTC, whatever the time zone of the ledger', async () => {
    const { lease_id } = await take()
    await at.api('PUT', 'sys/leases/revoke', { lease_id })
    const { json } = await at.api('GET', `sys/leasehold/receipts/${lease_id}`)
    const payload = JSON.parse(Buffer.from(json.data.receipt.split('.')[1], 'base64url').toString())
    for (const { at: time } of payload.steps) expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(payload.ended_at).toBe(payload.steps[1].at)
  })

  test('what does not exist is revoked already', async () => {
    expect((await at.api('PUT', 'sys/leases/revoke', { lease_id: 'database/creds/app/x' })).status).toBe(204)
  })

  test('a prefix ends everything below it and nothing beside it', async () => {
    await at.api('POST', 'database/roles/app2', { db_name: 'db', member_of: at.target.readers })
    const [one, two] = [await take(), (await at.api('GET', 'database/creds/app2')).json]
    expect((await at.api('PUT', 'sys/leases/revoke-prefix/database/creds/app')).status).toBe(204)
    expect((await at.api('PUT', 'sys/leases/lookup', { lease_id: one.lease_id })).status).toBe(400)
    expect((await at.api('PUT', 'sys/leases/lookup', { lease_id: two.lease_id })).status).toBe(200)
  })
})

describe('6. refusals', () => {
  const bad = { errors: ['2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n'] }

  test.each([[{ 'X-Vault-Token': 'unknown' }], [{ 'X-Vault-Token': '' }]])(
    'a bad token %j',
    async (headers) => {
      const { status, json } = await at.api('GET', 'database/creds/app', undefined, headers)
      expect([status, json]).toEqual([403, bad])
    },
  )

  test('a token without rights never hears of an invalid token, nor of what exists', async () => {
    const { client_token } = await childToken({ policies: ['default'] })
    for (const path of ['database/creds/app', 'database/creds/nope', 'no/such/mount', 'sys/nothing']) {
      const { status, json } = await at.api('GET', path, undefined, { 'X-Vault-Token': client_token })
      expect([status, json]).toEqual([403, { errors: ['1 error occurred:\n\t* permission denied\n\n'] }])
    }
    expect(await at.target.sql('select 1 as alive')).toHaveLength(1)
  })
})

test('7. a token can be renewed right after it was made, and tells all that clients ask of it', async () => {
  const { client_token } = await childToken({ policies: ['root'], ttl: '1h' })
  const headers = { 'X-Vault-Token': client_token }
  expect((await at.api('PUT', 'auth/token/renew-self', { increment: 0 }, headers)).status).toBe(200)
  const { data } = (await at.api('GET', 'auth/token/lookup-self', undefined, headers)).json
  expect(data).toMatchObject({
    id: client_token,
    renewable: true,
    type: 'service',
    expire_time: expect.any(String),
  })
  expect(data.ttl).toBeGreaterThan(3_500)
})

test('8. a token that is revoked takes its database users and its children along', async () => {
  const parent = await childToken({ policies: ['root'], ttl: '1h' })
  const headers = { 'X-Vault-Token': parent.client_token }
  const child = (await at.api('POST', 'auth/token/create', { ttl: '30m' }, headers)).json.auth
  const childHeaders = { 'X-Vault-Token': child.client_token }
  const lease = (await at.api('GET', 'database/creds/app', undefined, childHeaders)).json
  expect((await at.api('PUT', 'auth/token/revoke-self', undefined, headers)).status).toBe(204)
  expect((await at.api('GET', 'auth/token/lookup-self', undefined, childHeaders)).status).toBe(403)
  await at.broker.sweep.once()

  await isGone(lease.data.username)
})

describe('what a lease may not outlive', () => {
  test('the token that asked: the answer says so, and renewing the token makes room', async () => {
    const { client_token } = await childToken({ policies: ['root'], ttl: 20 })
    const headers = { 'X-Vault-Token': client_token }
    const lease = (await at.api('GET', 'database/creds/app', undefined, headers)).json
    expect(lease.lease_duration).toBeLessThanOrEqual(20)
    expect(lease.leasehold.limited_by).toBe('token')
    await at.api('PUT', 'auth/token/renew-self', { increment: 300 }, headers)
    const renewed = await at.api(
      'PUT',
      'sys/leases/renew',
      { lease_id: lease.lease_id, increment: 200 },
      headers,
    )
    expect([renewed.json.lease_duration, renewed.json.leasehold.limited_by]).toEqual([200, null])
  })

  test('a token on its last use gets no credential', async () => {
    const { client_token } = await childToken({ policies: ['root'], num_uses: 1 })
    const { status, json } = await at.api('GET', 'database/creds/app', undefined, {
      'X-Vault-Token': client_token,
    })
    expect(status).toBe(400)
    expect(json.errors[0]).toContain('token had one use left')
  })
})

describe('bad input changes nothing', () => {
  const snapshot = () =>
    at.ledger.ledger
      .query(
        `select (select count(*) from leasehold.lease) as leases, (select count(*) from leasehold.role) as roles,
           (select count(*) from leasehold.target) as targets, (select count(*) from leasehold.mount) as mounts`,
      )
      .then(({ rows }) => rows[0])

  test.each([
    ['GET', 'database/creds/nope', undefined, 400, 'unknown role: nope'],
    ['POST', 'database/creds/app', {}, 405, 'unsupported operation'],
    ['GET', 'database/nothing/here', undefined, 404, 'unsupported path'],
    [
      'GET',
      'nowhere/creds/app',
      undefined,
      404,
      'no handler for route "nowhere/creds/app". route entry not found.',
    ],
    ['POST', 'database/roles/bad', { member_of: 'x' }, 400, 'database name is required'],
    ['POST', 'database/roles/bad', { db_name: 'db' }, 400, 'empty creation statements'],
    [
      'POST',
      'database/roles/bad',
      { db_name: 'db', member_of: 'x', default_ttl: 'soon' },
      400,
      'default_ttl',
    ],
    [
      'POST',
      'database/roles/bad',
      { db_name: 'db', creation_statements: `select 'open` },
      400,
      'creation_statements',
    ],
    ['POST', 'database/roles/..%2fx', { db_name: 'db', member_of: 'x' }, 400, 'relative paths'],
    ['POST', 'database/roles/a%20b', { db_name: 'db', member_of: 'x' }, 404, 'unsupported path'],
    ['POST', 'database/config/bad', { connection_url: 'postgres://x' }, 400, 'empty plugin name'],
    ['POST', 'database/config/bad', { plugin_name: 'nope' }, 400, 'unknown plugin name: "nope"'],
    ['POST', 'sys/mounts/database', { type: 'database' }, 400, 'path is already in use at database/'],
    ['POST', 'sys/mounts/database/inner', { type: 'database' }, 400, 'path is already in use'],
    ['POST', 'sys/mounts/x', { type: 'nope' }, 400, 'plugin not found in the catalog: nope'],
    ['POST', 'sys/mounts/sys/x', { type: 'database' }, 400, 'path is reserved'],
    ['POST', 'database/roles/bad', '{"db_name":', 400, ''],
    ['POST', 'database/roles/bad', '[1,2]', 400, ''],
  ])('%s %s %j', async (method, path, body, status, text) => {
    const before = await snapshot()
    const answer = await at.api(method, path, body)

    expect(answer.status).toBe(status)
    expect(answer.json.errors.join()).toContain(text)
    expect(await snapshot()).toEqual(before)
  })

  test('a body over 1 MiB', async () => {
    const before = await snapshot()
    const body = { db_name: 'db', member_of: 'x'.repeat(1_100_000) }
    expect((await at.api('POST', 'database/roles/bad', body)).status).toBe(413)
    expect(await snapshot()).toEqual(before)
  })

  test('an unreachable target is refused by the address it was given, and not kept', async () => {
    const before = await snapshot()
    const answer = await at.api('POST', 'database/config/bad', {
      plugin_name: 'postgresql-database-plugin',
      connection_url: 'postgres://{{username}}:{{password}}@127.0.0.1:1/x',
      username: 'u',
      password: 'a-password-nobody-may-see',
    })
    expect(answer.status).toBe(400)
    expect(answer.json.errors[0]).toContain('error creating database object')
    expect(answer.text).not.toContain('a-password-nobody-may-see')
    expect(await snapshot()).toEqual(before)
  })

  test.each([{ 'X-Vault-Wrap-TTL': 'soon' }, { 'X-Vault-Wrap-TTL': '60', 'X-Vault-Wrap-Format': 'jwt' }])(
    'wrapping that cannot be done is refused rather than ignored: %o',
    async (headers) => {
      const before = await snapshot()
      expect((await at.api('GET', 'database/creds/app', undefined, headers)).status).toBe(400)
      expect(await snapshot()).toEqual(before)
    },
  )
})

describe('mounts', () => {
  test('nested paths are enabled, tuned, used and removed with all their leases', async () => {
    expect(
      (await at.api('POST', 'sys/mounts/team-a/db', { type: 'database', description: 'ours' })).status,
    ).toBe(204)
    expect((await at.api('POST', 'sys/mounts/team-a/db/tune', { max_lease_ttl: '30s' })).status).toBe(204)
    expect((await at.api('GET', 'sys/mounts/team-a/db/tune')).json.data.max_lease_ttl).toBe(30)
    await at.api('POST', 'team-a/db/config/db', {
      plugin_name: 'postgresql-database-plugin',
      connection_url: at.target.urlTemplate,
      username: at.target.admin,
      password: at.target.password,
      allowed_roles: ['app*'],
    })
    await at.api('POST', 'team-a/db/roles/app-x', {
      db_name: 'db',
      member_of: at.target.readers,
      default_ttl: '1h',
    })
    const lease = (await at.api('GET', 'team-a/db/creds/app-x')).json
    expect(lease.lease_id).toMatch(/^team-a\/db\/creds\/app-x\/[0-9a-z]{24}$/)
    expect([lease.lease_duration, lease.leasehold.limited_by]).toEqual([30, 'mount_max'])
    expect((await at.api('GET', 'sys/internal/ui/mounts/team-a/db/creds/app-x')).json.data.path).toBe(
      'team-a/db/',
    )
    expect((await at.api('DELETE', 'sys/mounts/team-a/db')).status).toBe(204)
    await at.broker.sweep.once()

    await isGone(lease.data.username)
    expect((await at.api('GET', 'team-a/db/creds/app-x')).status).toBe(404)
  })

  test('the token mount is tuned like any other, and stays', async () => {
    expect((await at.api('POST', 'sys/auth/token/tune', { default_lease_ttl: '20m' })).status).toBe(204)
    expect((await childToken({ policies: ['default'] })).lease_duration).toBe(1_200)
    await at.api('POST', 'sys/auth/token/tune', { default_lease_ttl: 0 })
    const gone = await at.api('DELETE', 'sys/auth/token')
    expect([gone.status, gone.json.errors[0]]).toEqual([400, 'cannot unmount "auth/token/"'])
    const unknown = await at.api('GET', 'sys/auth/nope')
    expect([unknown.status, unknown.json.errors[0]]).toEqual([400, 'No auth engine at nope/'])
  })

  test('the preflight shows mounts to those who may use them alone', async () => {
    const mounts = (await at.api('GET', 'sys/internal/ui/mounts')).json.data
    expect(mounts.secret['database/'].type).toBe('database')
    const headers = { 'X-Vault-Token': (await childToken({ policies: ['default'] })).client_token }
    expect((await at.api('GET', 'sys/internal/ui/mounts', undefined, headers)).json.data.secret).toEqual({})
    expect((await at.api('GET', 'sys/internal/ui/mounts/database/x', undefined, headers)).status).toBe(403)
  })

  test('the preflight of an unknown mount looks like one without rights', async () => {
    const { status, json } = await at.api('GET', 'sys/internal/ui/mounts/nope/x')
    expect(status).toBe(403)
    expect(json.errors[0]).toContain('preflight capability check returned 403')
  })

  test('a role the connection does not allow is refused for good, not for retrying', async () => {
    await at.api('POST', 'database/config/db', { allowed_roles: ['app*', 'brief'] })
    await at.api('POST', 'database/roles/other', { db_name: 'db', member_of: at.target.readers })
    const { status, json } = await at.api('GET', 'database/creds/other')
    expect(status).toBe(400)
    expect(json.errors[0]).toContain('"other" is not an allowed role')
  })
})

test('the admin password is never readable again', async () => {
  const { text } = await at.api('GET', 'database/config/db')
  expect(text).not.toContain(at.target.password)
  const { rows } = await at.ledger.ledger.query('select spec, secret_name from leasehold.target')
  expect(JSON.stringify(rows)).not.toContain(`"${at.target.password}"`)
})
