import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openSharedTarget, openTestBroker, type SharedTarget, type TestBroker } from '../support/broker.ts'
import { type RedisServer, startRedis } from '../support/servers.ts'

/** What hurts the users of the peers, each a test named after its row of the collected complaints. */

let at: TestBroker
let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
  at = await openTestBroker({ queueUrl: redis.url })
})
afterAll(async () => {
  await at.close()
  await redis.stop()
})

type Lease = { lease_id: string; data: { username: string; password: string } }

const take = async (role = 'app'): Promise<Lease> => (await at.api('GET', `database/creds/${role}`)).json
const revoke = (leaseId: string) => at.api('PUT', 'sys/leases/revoke', { lease_id: leaseId })
const writeRole = (name: string, fields: object) =>
  at.api('POST', `database/roles/${name}`, { db_name: 'db', member_of: at.target.readers, ...fields })
const sweep = () => at.broker.sweep.once()
const untilAbsent = ({ data }: Lease, target: SharedTarget = at.target) =>
  expect
    .poll(
      async () => {
        await sweep()
        return target.account(data.username)
      },
      { timeout: 30_000 },
    )
    .toBe('absent')
const receipt = async (leaseId: string) => {
  const { json } = await at.api('GET', `sys/leasehold/receipts/${leaseId}`)
  return JSON.parse(Buffer.from(json.data.receipt.split('.')[1], 'base64url').toString())
}
/** Takes the broker's rights on the target away, for as long as `work` runs. */
async function withoutRights<T>(work: () => Promise<T>): Promise<T> {
  await at.target.setCreateRole(false)
  try {
    return await work()
  } finally {
    await at.target.setCreateRole(true)
  }
}

test('row 1: revoking ends live sessions, also one that has changed its role', async () => {
  await writeRole('may-change', {
    member_of: [],
    creation_statements: `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' IN ROLE ${at.target.readers}`,
  })
  const lease = await take('may-change')
  const idle = await at.target.logIn(lease.data)
  const changed = await at.target.logIn(lease.data)
  await changed.query(`set role ${at.target.readers}`)
  const cut = [idle, changed].map((client) => new Promise((resolve) => client.once('error', resolve)))
  expect(await revoke(lease.lease_id)).toMatchObject({ status: 204, text: '' })

  await Promise.all(cut)
  await expect(changed.query('select * from orders')).rejects.toThrow()
  expect((await receipt(lease.lease_id)).steps[1].evidence.sessions_ended).toBe(2)
})

test('row 2: a target that refuses for hours is never given up on, not over a restart either', async () => {
  const lease = await take()
  await withoutRights(async () => {
    expect((await revoke(lease.lease_id)).status).toBe(400)
    for (let hour = 0; hour < 8; hour += 1) {
      await at.ledger.advance(3_600)
      await sweep()
    }
    const stuck = (await at.api('GET', 'sys/leases?type=irrevocable')).json.data
    expect(stuck.leases).toMatchObject([{ lease_id: lease.lease_id, error: expect.stringMatching(/\w/) }])
    expect((await at.api('GET', 'sys/leases/count?type=irrevocable')).json.data.lease_count).toBe(1)
  })
  const restarted = await at.another()
  await at.ledger.advance(16 * 60)
  await restarted.sweep.once()

  expect(await at.target.account(lease.data.username)).toBe('absent')
  expect((await at.api('GET', 'sys/leases/count?type=irrevocable')).json.data.lease_count).toBe(0)
})

test('row 3: what an account owns or was granted does not keep it, and what we may not touch is reported', async () => {
  const lease = await take()
  const client = await at.target.logIn(lease.data)
  await client.query(
    'create table made_by_lease (id int); create view seen_by_lease as select * from made_by_lease',
  )
  await client.query('alter default privileges grant select on tables to public')
  await client.end()
  expect(await revoke(lease.lease_id)).toMatchObject({ status: 204, text: '' })

  expect(await at.target.account(lease.data.username)).toBe('absent')
  const [table] = await at.target.sql<{ owner: string; superuser: boolean; login: boolean }>(
    `select rolname as owner, rolsuper as superuser, rolcanlogin as login from pg_tables join pg_roles on rolname = tableowner
     where tablename = 'made_by_lease'`,
  )
  expect(table).toMatchObject({ superuser: false, login: false })
  expect(table?.owner).not.toBe(at.target.admin)

  const tangled = await take()
  await at.target.sql(`grant insert on orders to ${tangled.data.username}`)
  const blocked = await revoke(tangled.lease_id)
  expect(blocked.status).toBe(400)
  expect(blocked.json.errors[0]).toContain('privileges for table public.orders')
  expect(await at.target.account(tangled.data.username)).toBe('disabled')
  const { data } = (await at.api('PUT', 'sys/leases/lookup', { lease_id: tangled.lease_id })).json
  expect(data).toMatchObject({ state: 'revoking', access_ended_at: expect.any(String) })
  await at.target.sql(`revoke insert on orders from ${tangled.data.username}`)
  await at.ledger.advance(5)
  await untilAbsent(tangled)
})

test('row 4: leases by membership leave no trace in the catalog, and grants to the account are warned of', async () => {
  const size = () =>
    at.target.sql<{ acl: string }>(`select relacl::text as acl from pg_class where relname = 'orders'`)
  const before = await size()
  const leases = await Promise.all(Array.from({ length: 20 }, () => take()))
  expect(await size()).toEqual(before)
  await Promise.all(leases.map(({ lease_id }) => revoke(lease_id)))
  expect(await size()).toEqual(before)

  const { json } = await at.api('POST', 'database/roles/by-grants', {
    db_name: 'db',
    creation_statements: `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';
      GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{{name}}";`,
  })
  expect(json.warnings.join()).toContain('member_of')
})

test('row 6: with the queue wiped, or gone, leases end all the same', async () => {
  const wiped = await take()
  await redis.flush()
  await at.ledger.advance(62)
  await untilAbsent(wiped)
  await redis.kill()
  const gone = await take()
  await at.ledger.advance(62)
  await untilAbsent(gone)
  await redis.start()

  expect((await receipt(gone.lease_id)).reason).toBe('expired')
})

test('row 7: an account made by a process that died before it could say so is ended', async () => {
  // The second ledger write of issuing fails, as for a process killed between the two.
  await at.ledger.ledger.query(`create function leasehold.refuse() returns trigger language plpgsql as
    $$ begin if new.state in ('active', 'revoking') then raise exception 'planted'; end if; return new; end $$;
    create trigger refuse before update on leasehold.lease for each row execute function leasehold.refuse()`)
  const answer = await at.api('GET', 'database/creds/app')
  const { rows } = await at.ledger.ledger.query(
    `select account as username from leasehold.lease where state = 'issuing'`,
  )
  await at.ledger.ledger.query('drop function leasehold.refuse cascade')

  expect(answer.status).toBe(500)
  expect(answer.text).not.toContain('planted')
  const username = String(rows[0]?.username)
  expect(await at.target.account(username)).toBe('enabled')
  await at.ledger.advance(30)
  await untilAbsent({ lease_id: '', data: { username, password: '' } })
})

test('row 8: a lease ends where and how it was made, whatever became of role, target and mount', async () => {
  const other = await openSharedTarget()
  const connect = (target: SharedTarget) => ({
    plugin_name: 'postgresql-database-plugin',
    connection_url: target.urlTemplate,
    username: target.admin,
    password: target.password,
    allowed_roles: '*',
  })
  await at.api('POST', 'sys/mounts/moving', { type: 'database' })
  await at.api('POST', 'moving/config/here', connect(at.target))
  await at.api('POST', 'moving/config/there', connect(other))
  await at.api('POST', 'moving/roles/app', { db_name: 'here', member_of: at.target.readers })
  const lease: Lease = (await at.api('GET', 'moving/creds/app')).json
  await at.api('POST', 'moving/roles/app', { db_name: 'there', member_of: other.readers })
  await at.api('DELETE', 'moving/roles/app')
  expect((await at.api('DELETE', 'moving/config/here')).status).toBe(400)
  expect((await at.api('DELETE', 'moving/config/here?force=true')).status).toBe(204)
  expect(await at.target.account(lease.data.username)).toBe('enabled')
  expect((await at.api('DELETE', 'sys/mounts/moving')).status).toBe(204)

  await untilAbsent(lease)
  expect((await receipt(lease.lease_id)).target).toBe('here')
  await other.close()
})

test('row 13: a storm of expiries is ended in batches, while the API answers', async () => {
  await writeRole('brief', { default_ttl: '1m', scram_iterations: 1 })
  const leases = await Promise.all(Array.from({ length: 300 }, () => take('brief')))
  await at.ledger.advance(62)
  const [, fresh] = await Promise.all([sweep(), take()])

  expect(await at.target.account(fresh.data.username)).toBe('enabled')
  for (const { data } of leases) expect(await at.target.account(data.username)).toBe('absent')
  const { rows } = await at.ledger.ledger.query(
    `select count(*)::int as leases, count(distinct steps -> 3 ->> 'at')::int as batches from leasehold.lease
     where path = 'database/creds/brief'`,
  )
  expect(rows[0]?.leases).toBe(300)
  expect(rows[0]?.batches).toBeLessThan(10)
})

test('row 15: a start reads no leases, however many there are', async () => {
  await at.ledger.ledger.query(
    `insert into leasehold.lease (id, path, mount_id, role_id, target_id, token_id, account, state, issued_at, expires_at,
       hard_expires_at, hard_limited_by, create_deadline, next_action_at)
     select 'seeded' || n, path, mount_id, role_id, target_id, token_id, 'seeded_' || n, 'active', issued_at,
       issued_at + '1 year', issued_at + '1 year', 'role_max', issued_at, issued_at + '1 year'
     from (select * from leasehold.lease where path = 'database/creds/app' limit 1) one, generate_series(1, 20000) n`,
  )
  const reads = async () => {
    // Statistics arrive a little after the session that made them has ended.
    await at.ledger.ledger.query('select pg_stat_clear_snapshot()')
    const { rows } = await at.ledger.ledger.query(
      `select (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int as rows from pg_stat_user_tables
       where relname = 'lease'`,
    )
    return rows[0]?.rows
  }
  await at.ledger.ledger.query('select pg_stat_reset()')
  const started = await at.another()
  await started.listen({ host: '127.0.0.1', port: 0 })
  await started.close()

  expect(await reads()).toBe(0)
  await at.ledger.ledger.query(`delete from leasehold.lease where id like 'seeded%'`)
})

test('row 17: ending the same lease twice at once is no error, and is done once', async () => {
  const lease = await take()
  const second = await at.another()
  const which = { ids: [lease.lease_id.split('/').at(-1) ?? ''] }
  const outcomes = await Promise.all([
    at.broker.ender.endNow(which, 'revoked'),
    second.ender.endNow(which, 'revoked'),
    revoke(lease.lease_id).then(({ status }) => [{ state: status === 204 ? 'revoked' : 'failed' }]),
  ])

  expect(outcomes.flat().map(({ state }) => state)).toEqual(['revoked', 'revoked', 'revoked'])
  const { rows } = await at.ledger.ledger.query(
    `select l.attempts, jsonb_array_length(l.steps) as steps, count(r.jws)::int as receipts from leasehold.lease l
     join leasehold.receipt r on r.lease_id = l.id where l.id = $1 group by l.id`,
    which.ids,
  )
  expect(rows).toEqual([{ attempts: 0, steps: 4, receipts: 1 }])
})

test('row 20: a renewal counts from now, moves the expiry on the target, and leaves sessions alone', async () => {
  const lease = await take()
  const session = await at.target.logIn(lease.data)
  await at.ledger.advance(50)
  const { json } = await at.api('PUT', 'sys/leases/renew', { lease_id: lease.lease_id, increment: 100 })
  expect(json.lease_duration).toBe(100)
  const [until] = await at.target.sql<{ seconds: number }>(
    `select extract(epoch from rolvaliduntil - now())::float8 as seconds from pg_roles
     where rolname = '${lease.data.username}'`,
  )
  expect(until?.seconds).toBeGreaterThan(100)
  expect(until?.seconds).toBeLessThan(125)
  await at.ledger.advance(60)
  await sweep()

  expect((await session.query('select note from orders')).rowCount).toBe(1)
  await session.end()
  expect(await revoke(lease.lease_id)).toMatchObject({ status: 204, text: '' })
})

describe('row 35: no name can break out of the ending', () => {
  test.each([
    `x"; drop table orders; --`,
    `it's`,
    '$$; drop table orders; $$',
    'back\\slash',
    '{{name}}',
    'ünïcödé',
  ])('a schema called %s', async (name) => {
    const quoted = `"${name.replaceAll('"', '""')}"`
    await at.target.sql(
      `create schema ${quoted} authorization ${at.target.admin}; grant usage, create on schema ${quoted} to ${at.target.readers}`,
    )
    const lease = await take()
    const client = await at.target.logIn(lease.data)
    await client.query(`create table ${quoted}.${quoted} (id int)`)
    await client.query(
      `create function ${quoted}.${quoted}() returns int language sql security definer as 'select 1'`,
    )
    await client.end()
    expect(await revoke(lease.lease_id)).toMatchObject({ status: 204, text: '' })

    expect(await at.target.account(lease.data.username)).toBe('absent')
    expect(await at.target.sql('select from orders')).toHaveLength(1)
  })
})

test('row 38: nothing is called revoked before it is proved gone', async () => {
  const lease = await take()
  await withoutRights(async () => {
    const answer = await revoke(lease.lease_id)
    expect(answer.status).toBe(400)
    expect(answer.json.errors[0]).toMatch(/^failed to revoke entry: /)
    const { data } = (await at.api('PUT', 'sys/leases/lookup', { lease_id: lease.lease_id })).json
    expect(data).toMatchObject({ state: 'revoking', access_ended_at: null, revoke_attempts: 1 })
    expect((await at.api('GET', `sys/leasehold/receipts/${lease.lease_id}`)).status).toBe(404)
    expect(await at.target.account(lease.data.username)).toBe('enabled')
  })
  await at.ledger.advance(5)
  await untilAbsent(lease)

  expect((await receipt(lease.lease_id)).steps.at(-1)).toMatchObject({ step: 'verify' })
})

describe('row 39', () => {
  test('a user dropped by hand counts as ended once no session of it is left', async () => {
    const lease = await take()
    const session = await at.target.logIn(lease.data)
    const cut = new Promise((resolve) => session.once('error', resolve))
    await at.target.sql(`drop role ${lease.data.username}`)
    expect((await session.query('select 1')).rowCount).toBe(1)
    expect(await revoke(lease.lease_id)).toMatchObject({ status: 204, text: '' })

    await cut
    expect((await receipt(lease.lease_id)).steps.at(-1).evidence).toMatchObject({ role_absent: true })
  })

  test('a target that is gone for good can be taken away, and its leases stay listed, never forgotten', async () => {
    const doomed = await openSharedTarget()
    await at.api('POST', 'database/config/doomed', {
      plugin_name: 'postgresql-database-plugin',
      connection_url: doomed.urlTemplate,
      username: doomed.admin,
      password: doomed.password,
      allowed_roles: '*',
    })
    await at.api('POST', 'database/roles/doomed', { db_name: 'doomed', member_of: doomed.readers })
    const lease = await take('doomed')
    await doomed.setCreateRole(false)
    expect((await at.api('PUT', `sys/leases/revoke-force/database/creds/doomed`)).status).toBe(204)
    expect((await at.api('DELETE', 'database/config/doomed?force=true')).status).toBe(204)
    expect((await at.api('GET', 'database/config/doomed')).status).toBe(404)

    const { data } = (await at.api('PUT', 'sys/leases/lookup', { lease_id: lease.lease_id })).json
    expect(data).toMatchObject({ state: 'revoking', revoke_error: expect.stringMatching(/\w/) })
    await doomed.setCreateRole(true)
    await at.ledger.advance(3_600)
    await untilAbsent(lease, doomed)
    await doomed.close()
  })
})
