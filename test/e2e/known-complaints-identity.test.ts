import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type JwtWorld, openJwtWorld } from '../integration/auth-jwt-world.ts'

/**
 * Of what hurts the users of the peers, the rows about who may have what, each a test named after its row. Row 22 is
 * in known-complaints-audit.test.ts.
 */

let world: JwtWorld
beforeAll(async () => {
  world = await openJwtWorld()
})
afterAll(() => world.close())

const api: JwtWorld['at']['api'] = (...ask) => world.at.api(...ask)
const writePolicy = (name: string, policy: string) => api('PUT', `sys/policies/acl/${name}`, { policy })
const writeRole = (name: string, fields: object) =>
  api('POST', `database/roles/${name}`, { db_name: 'db', member_of: world.at.target.readers, ...fields })

describe('row 14: a workload in a crash loop', () => {
  beforeAll(async () => {
    await writeRole('looping', { default_ttl: '10m', max_ttl: '1h' })
    await writePolicy(
      'at-most-three',
      `path "database/creds/looping" {
        capabilities = ["read"]
        condition = "leases.held < 3"
      }`,
    )
    await world.role('looping', { token_policies: 'at-most-three' })
  })
  const start = async (sub: string) => {
    const auth = await world.auth('looping', { sub })
    return { auth, answer: await world.as(auth)('GET', 'database/creds/looping') }
  }

  test('that logs in anew each time holds no more leases than policy lets its principal have', async () => {
    const starts = [
      await start('crashing'),
      await start('crashing'),
      await start('crashing'),
      await start('crashing'),
    ]
    expect(starts.map(({ answer }) => answer.status)).toEqual([200, 200, 200, 403])
    const { rows } = await world.at.ledger.ledger.query(
      `select count(*)::int as leases, count(distinct principal_id)::int as principals from leasehold.lease
       where path = 'database/creds/looping' and state <> 'revoked'`,
    )
    expect(rows).toEqual([{ leases: 3, principals: 1 }])

    // Others are not kept out by it, and what it gives back it may have again.
    expect((await start('steady')).answer.status).toBe(200)
    const [first] = starts
    const given = { lease_id: first?.answer.json.lease_id }
    expect((await world.as(first?.auth)('PUT', 'sys/leases/revoke', given)).status).toBe(204)
    expect((await start('crashing')).answer.status).toBe(200)
  })
})

describe('row 14: a worker that asks again and again', () => {
  const quota = (name: string, fields: object) => api('PUT', `sys/quotas/lease-count/${name}`, fields)
  const ask = async (sub: string, headers?: Record<string, string>) => {
    const auth = await world.auth('steady', { sub })
    return world.as(auth)('GET', 'database/creds/minted', undefined, headers)
  }
  beforeAll(async () => {
    await writeRole('minted', { default_ttl: '10m', max_ttl: '1h' })
    await writePolicy('mint', 'path "database/creds/minted" { capabilities = ["read"] }')
    await world.role('steady', { token_policies: 'mint' })
  })

  test('is told when to come back once its principal, its role or its target has enough', async () => {
    await quota('each', { principal: '*', path: 'database/creds/minted', max_leases: 2 })
    const answers = [await ask('minting'), await ask('minting'), await ask('minting')]
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 429])
    expect(Number(answers[2]?.headers.get('retry-after'))).toBeGreaterThan(0)
    expect((await ask('another')).status).toBe(200)

    await quota('role', { path: 'database/creds/minted', max_leases: 3 })
    expect((await ask('a third')).status).toBe(429)
    await api('DELETE', 'sys/quotas/lease-count/role')
    await quota('target', { path: 'database', target: 'db', max_leases: 3 })
    expect((await ask('a third')).status).toBe(429)
    await api('DELETE', 'sys/quotas/lease-count/target')
    expect((await ask('a third')).status).toBe(200)
    await api('DELETE', 'sys/quotas/lease-count/each')
  })

  test('under one idempotency key is told the lease it has, and makes no second account', async () => {
    const key = { 'Leasehold-Idempotency-Key': 'build-4711' }
    const first = await ask('retrying', key)
    expect(first.status).toBe(200)
    const again = await ask('retrying', key)
    expect([again.status, again.json.data.lease_id]).toEqual([409, first.json.lease_id])
    const { rows } = await world.at.ledger.ledger.query(
      `select count(*)::int as leases from leasehold.lease l join leasehold.entity e on e.id = l.principal_id
       where e.subject = 'retrying'`,
    )
    expect(rows).toEqual([{ leases: 1 }])
  })
})

describe('row 18: a credential that ends before the time asked for says so, and says why', () => {
  beforeAll(async () => {
    await writeRole('long', { default_ttl: '1h', max_ttl: '8h' })
    await writeRole('outliving', { default_ttl: '1h', max_ttl: '8h', lease_outlives_token: true })
    await writeRole('capped', { default_ttl: '10h', max_ttl: '2h' })
    await writePolicy('any', 'path "database/creds/*" { capabilities = ["read"] }')
    await world.role('brief', { token_policies: 'any', token_ttl: '10m', token_max_ttl: '30m' })
    await world.role('lasting', { token_policies: 'any', token_ttl: '20h' })
  })
  const endOf = (answer: { json: { leasehold: { expires_at: string } } }) =>
    new Date(answer.json.leasehold.expires_at).getTime()

  test('when it is the token that ends, which the answer, a warning and the look-up tell', async () => {
    const auth = await world.auth('brief')
    const bearer = world.as(auth)
    const answer = await bearer('GET', 'database/creds/long')
    const token = (await bearer('GET', 'auth/token/lookup-self')).json.data

    expect(answer.json.leasehold).toMatchObject({ limited_by: 'token', expires_at: token.expire_time })
    expect(answer.json.lease_duration).toBeLessThanOrEqual(600)
    expect(answer.json.lease_duration).toBeGreaterThan(590)
    expect(answer.json.warnings.at(-1)).toMatch(
      /exceeds the token's remaining "[89]m\d+s"; TTL value is capped/,
    )
    const { lease_id } = answer.json
    const { data } = (await bearer('PUT', 'sys/leases/lookup', { lease_id })).json
    expect(data).toMatchObject({
      limited_by: 'token',
      hard_expires_at: answer.json.leasehold.hard_expires_at,
    })
    // The end that no renewal moves is the token's own, and is told from the first answer on.
    const issuedAt = new Date(token.issue_time).getTime()
    expect(Math.round((new Date(data.hard_expires_at).getTime() - issuedAt) / 1_000)).toBe(1_800)
  })

  test('and it lives on when the token is renewed, up to what both allow', async () => {
    const bearer = world.as(await world.auth('brief'))
    const { lease_id } = (await bearer('GET', 'database/creds/long')).json
    const renewLease = async () =>
      (await bearer('PUT', 'sys/leases/renew', { lease_id, increment: '1h' })).json
    await world.at.ledger.advance(300)
    await bearer('POST', 'auth/token/renew-self')
    const renewed = await renewLease()
    expect(renewed.lease_duration).toBeGreaterThan(590)
    expect(renewed.leasehold.limited_by).toBe('token')

    await world.at.ledger.advance(590)
    await bearer('POST', 'auth/token/renew-self', { increment: '1h' })
    const last = await renewLease()
    expect(last.lease_duration).toBeLessThanOrEqual(1_800 - 890)
    expect(endOf({ json: last })).toBeLessThanOrEqual(new Date(last.leasehold.hard_expires_at).getTime())
  })

  test('and what its role lets outlive the token does, to the time it was told', async () => {
    const bearer = world.as(await world.auth('brief'))
    const answer = await bearer('GET', 'database/creds/outliving')
    expect(answer.json).toMatchObject({ lease_duration: 3_600, leasehold: { limited_by: null } })
    const { username } = answer.json.data
    await world.at.ledger.advance(1_900)
    await world.at.broker.sweep.once()
    expect((await bearer('GET', 'auth/token/lookup-self')).status).toBe(403)
    expect(await world.at.target.account(username)).toBe('enabled')
    await world.at.ledger.advance(1_710)
    await world.at.broker.sweep.once()
    expect(await world.at.target.account(username)).toBe('absent')
  })

  test('when it is the role, whose maximum is named', async () => {
    const answer = await world.as(await world.auth('lasting'))('GET', 'database/creds/capped')
    expect(answer.json).toMatchObject({ lease_duration: 7_200, leasehold: { limited_by: 'role_max' } })
    expect(answer.json.warnings).toEqual([
      'TTL of "10h" exceeded the effective max_ttl of "2h"; TTL value is capped accordingly',
    ])
  })

  test('when it is the mount, which is named', async () => {
    await api('POST', 'sys/mounts/database/tune', { max_lease_ttl: '90m' })
    const answer = await world.as(await world.auth('lasting'))('GET', 'database/creds/capped')
    await api('POST', 'sys/mounts/database/tune', { max_lease_ttl: 0 })
    expect(answer.json).toMatchObject({ lease_duration: 5_400, leasehold: { limited_by: 'mount_max' } })
  })

  test('and a lease that nothing cuts says that nothing does', async () => {
    const answer = await world.as(await world.auth('lasting'))('GET', 'database/creds/long')
    expect(answer.json).toMatchObject({
      lease_duration: 3_600,
      leasehold: { limited_by: null },
      warnings: null,
    })
  })
})
