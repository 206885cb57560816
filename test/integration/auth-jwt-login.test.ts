import { once } from 'node:events'
import type { JWTPayload } from 'jose'
import nodeVault from 'node-vault'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { logIn } from '../../src/identity/login.ts'
import { tokenFieldsOf } from '../../src/identity/token-fields.ts'
import { untilSomeoneWaits } from '../support/ledger-rows.ts'
import { dial } from '../support/wire.ts'
import { AUDIENCE, type JwtWorld, openJwtWorld } from './auth-jwt-world.ts'

let world: JwtWorld
beforeAll(async () => {
  world = await openJwtWorld()
  await world.role('app')
})
afterAll(() => world.close())

const api: JwtWorld['at']['api'] = (...ask) => world.at.api(...ask)
const statusOf = async (answer: ReturnType<typeof api>) => (await answer).status
const secondsLeft = (auth: { lease_duration: number }) => auth.lease_duration

describe('a login', () => {
  test('answers the whole auth object, and its token is good', async () => {
    await world.role('full', {
      token_policies: 'beta,alpha',
      token_ttl: '10m',
      claim_mappings: { '/run/id': 'run' },
    })
    const { status, json } = await world.login('full', { jwt: await world.token({ run: { id: '17' } }) })

    expect(status).toBe(200)
    expect(json).toMatchObject({
      lease_id: '',
      lease_duration: 0,
      renewable: false,
      data: null,
      mount_type: 'jwt',
    })
    expect(json.warnings).toEqual(['Policy "alpha" does not exist', 'Policy "beta" does not exist'])
    expect(json.auth).toEqual({
      client_token: expect.stringMatching(/^lh\.\w{32}$/),
      accessor: expect.stringMatching(/^[0-9a-z]{24}$/),
      policies: ['alpha', 'beta', 'default'],
      token_policies: ['alpha', 'beta', 'default'],
      metadata: { role: 'full', run: '17' },
      lease_duration: 600,
      renewable: true,
      entity_id: expect.stringMatching(/^[0-9a-z]{24}$/),
      token_type: 'service',
      orphan: true,
      mfa_requirement: null,
      num_uses: 0,
    })
    const { data } = (await world.as(json.auth)('GET', 'auth/token/lookup-self')).json
    expect(data).toMatchObject({
      id: json.auth.client_token,
      entity_id: json.auth.entity_id,
      path: 'auth/jwt/login',
      meta: { role: 'full', run: '17' },
      display_name: 'jwt-build',
      role: 'full',
      type: 'service',
      orphan: true,
      renewable: true,
      creation_ttl: 600,
      expire_time: expect.any(String),
    })
  })

  test('works with node-vault as it is, at the usual path and at another', async () => {
    const vault = nodeVault({ endpoint: world.at.url })
    const auth = await vault.jwtLogin({ role: 'app', jwt: await world.token() })
    expect(vault.token).toBe(auth.auth.client_token)
    expect((await vault.tokenLookupSelf()).data.meta).toEqual({ role: 'app' })
    expect((await vault.tokenRenewSelf()).auth.entity_id).toBe(auth.auth.entity_id)

    await api('POST', 'sys/auth/nested/jwt', { type: 'jwt' })
    await api('POST', 'auth/nested/jwt/config', { jwks_url: world.issuer.url })
    await api('POST', 'auth/nested/jwt/role/app', { user_claim: 'sub', bound_audiences: AUDIENCE })
    const { auth: other } = await vault.write('auth/nested/jwt/login', {
      role: 'app',
      jwt: await world.token(),
    })
    expect(other.metadata).toEqual({ role: 'app' })
  })

  test('takes the role of the configuration when it names none', async () => {
    await api('POST', 'sys/auth/usual', { type: 'jwt' })
    await api('POST', 'auth/usual/role/app', { user_claim: 'sub', bound_audiences: AUDIENCE })
    const config = { jwks_url: world.issuer.url }
    await api('POST', 'auth/usual/config', config)
    expect((await world.login('', {}, 'usual')).json.errors).toEqual(['missing role'])
    await api('POST', 'auth/usual/config', { ...config, default_role: 'App' })
    expect((await world.login('', {}, 'usual')).json.auth.metadata).toEqual({ role: 'app' })
  })

  test('takes the role in any case, with a token that came along left alone', async () => {
    const { status } = await api(
      'POST',
      'auth/jwt/login',
      { role: 'APP', jwt: await world.token() },
      { 'X-Vault-Token': 'stale' },
    )
    expect(status).toBe(200)
  })

  test('of one subject on one mount is the same principal, of another is not', async () => {
    await world.role('second')
    const [first, again, byOtherRole, other] = [
      await world.auth('app', { sub: 'same' }),
      await world.auth('app', { sub: 'same', run: 2 }),
      await world.auth('second', { sub: 'same' }),
      await world.auth('app', { sub: 'Same' }),
    ]
    expect([again.entity_id, byOtherRole.entity_id]).toEqual([first.entity_id, first.entity_id])
    expect(other.entity_id).not.toBe(first.entity_id)
    expect(again.client_token).not.toBe(first.client_token)
  })

  test('of two subjects of one text is two principals where their roles go by other claims', async () => {
    await world.role('by-email', { user_claim: 'email' })
    await world.role('by-email-too', { user_claim: '/email', user_claim_json_pointer: true })
    await world.role('by-id', { user_claim: '/who/id', user_claim_json_pointer: true })
    const roles = ['app', 'by-email', 'by-email-too', 'by-id']
    const ask = { sub: 'twin', email: 'twin', who: { id: 'twin' } }
    // Once as they are seen first, all in one transaction, and once more when there are all of them.
    const first = await Promise.all(roles.map((role) => world.auth(role, ask)))
    const again = await Promise.all(roles.map((role) => world.auth(role, ask)))
    const ids = first.map(({ entity_id }) => entity_id)

    expect(again.map(({ entity_id }) => entity_id)).toEqual(ids)
    expect(ids[2]).toBe(ids[1])
    expect(new Set(ids).size).toBe(3)
    const { rows } = await world.at.ledger.ledger.query(
      `select distinct display_name, identity ->> 'subject' as subject from leasehold.token where entity_id = any($1)`,
      [ids],
    )
    expect(rows).toEqual([{ display_name: 'jwt-twin', subject: 'twin' }])
  })

  test('of many at once, all of a subject not seen before, is one principal', async () => {
    const auths = await Promise.all(Array.from({ length: 20 }, () => world.auth('app', { sub: 'crowd' })))
    expect(new Set(auths.map(({ entity_id }) => entity_id)).size).toBe(1)
    expect(new Set(auths.map(({ client_token }) => client_token)).size).toBe(20)
  })

  test.each([
    [`it's"; drop role x; --`],
    ['repo:octo-org/octo-repo:ref:refs/heads/main'],
    ['spiffe://example.org/ns/shop/sa/orders'],
    ['ünïcödé 💣'],
    ['x'.repeat(1_024)],
  ])('of a subject called %s gets a database user all the same', async (sub) => {
    await api('PUT', 'sys/policies/acl/app', {
      policy: 'path "database/creds/app" { capabilities = ["read"] }',
    })
    await world.role('taker', { token_policies: 'app' })
    const auth = await world.auth('taker', { sub })
    const { status, json } = await world.as(auth)('GET', 'database/creds/app')

    expect(status).toBe(200)
    expect(await world.at.target.account(json.data.username)).toBe('enabled')
    expect(await statusOf(world.as(auth)('PUT', 'sys/leases/revoke', { lease_id: json.lease_id }))).toBe(204)
  })

  test('of many new subjects at two servers at once makes each one principal', async () => {
    const second = await world.at.another()
    const urls = [world.at.url, (await second.listen({ host: '127.0.0.1', port: 0 })).url]
    const subjects = Array.from({ length: 30 }, (_, i) => `crowd-${i}`)
    const at = async (url: string, sub: string) => {
      const body = JSON.stringify({ role: 'app', jwt: await world.token({ sub }) })
      const answer = await fetch(`${url}/v1/auth/jwt/login`, { method: 'POST', body })
      const { auth } = (await answer.json()) as { auth: { entity_id: string } }
      return auth.entity_id
    }
    // In opposite orders, so that whoever locked in order of arrival would meet the other.
    const [here, there] = await Promise.all([
      Promise.all(subjects.map((sub) => at(urls[0] as string, sub))),
      Promise.all([...subjects].reverse().map((sub) => at(urls[1] as string, sub))),
    ])
    await second.close()
    expect(there?.reverse()).toEqual(here)
    expect(new Set(here).size).toBe(30)
  })

  test('that was on its way when its mount was taken away fails, and alone', async () => {
    const { ledger } = world.at.ledger
    const reading = { revision: 1, now: await world.at.ledger.now(), sinceMs: 0 }
    const proven = { kind: 'workload', alias: 'a', metadata: {}, groups: [], claims: {} } as const
    const onMount = (id: string, subject: string) =>
      logIn(ledger, {
        mount: { id, path: 'auth/jwt/', accessor: 'jwt_x', config: {} },
        roleName: 'app',
        token: tokenFieldsOf({}),
        proven: { ...proven, groups: [], subject },
        sourceAddress: '127.0.0.1',
        now: reading.now,
      })
    const { uuid } = (await api('GET', 'sys/auth/jwt')).json.data
    await api('POST', 'sys/auth/going', { type: 'jwt' })
    const gone = (await api('GET', 'sys/auth/going')).json.data.uuid
    await api('DELETE', 'sys/auth/going')
    const before = await world.census()
    const outcomes = await Promise.allSettled([
      onMount(uuid, 'batched'),
      onMount(gone, 'batched'),
      onMount(uuid, 'batched'),
      onMount(uuid, 'batched too'),
    ])

    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
    expect(outcomes[1]).toMatchObject({ reason: { code: 'permission_denied' } })
    const after = await world.census()
    expect([after.token, after.entity]).toEqual([(before.token ?? 0) + 3, (before.entity ?? 0) + 2])

    // What no check let through so far: claims that the ledger cannot hold.
    const unholdable = logIn(ledger, {
      mount: { id: uuid, path: 'auth/jwt/', accessor: 'jwt_x', config: {} },
      roleName: 'app',
      token: tokenFieldsOf({}),
      proven: { ...proven, groups: [], subject: 'unholdable', claims: { half: '\ud800' } },
      sourceAddress: '127.0.0.1',
      now: reading.now,
    })
    const beside = await Promise.allSettled([onMount(uuid, 'beside'), unholdable, onMount(uuid, 'beside')])
    expect(beside.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  })

  test('whose answer nobody received leaves no token behind', async () => {
    const jwt = await world.token({ sub: 'impatient' })
    // Held up by the ledger until the caller has gone.
    await world.at.ledger.ledger.transaction(async (db) => {
      await db.query('lock table leasehold.entity in exclusive mode')
      const socket = await dial(Number(new URL(world.at.url).port))
      const body = JSON.stringify({ role: 'app', jwt })
      socket.write(
        `POST /v1/auth/jwt/login HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      )
      await untilSomeoneWaits(world.at.ledger.ledger)
      socket.resetAndDestroy()
      await once(socket, 'close')
    })

    const tokens = async () => {
      const { rows } = await world.at.ledger.ledger.query<{ over: boolean }>(
        `select k.ended_at is not null as over from leasehold.token k join leasehold.entity e on e.id = k.entity_id
         where e.subject = 'impatient'`,
      )
      return rows
    }
    await expect.poll(tokens, { timeout: 30_000 }).toEqual([{ over: true }])
  })
})

describe('tokens as platforms make them log in under roles as docs/identity.md writes them', () => {
  const platforms: [string, { role: object; claims: JWTPayload; others: JWTPayload[] }][] = [
    [
      'github-actions',
      {
        role: {
          bound_claims: { repository: 'octo-org/shop', ref: 'refs/heads/main', environment: 'production' },
          claim_mappings: { repository: 'repository', run_id: 'run' },
        },
        claims: {
          sub: 'repo:octo-org/shop:environment:production',
          repository: 'octo-org/shop',
          repository_owner: 'octo-org',
          ref: 'refs/heads/main',
          ref_protected: 'true',
          environment: 'production',
          run_id: '30433642',
          run_attempt: '2',
          jti: 'example-id',
          nbf: 0,
        },
        others: [{ repository: 'octo-org/shop-fork' }, { ref: 'refs/heads/main2' }, { environment: 'dev' }],
      },
    ],
    [
      'gitlab-ci',
      {
        role: { bound_claims_type: 'glob', bound_claims: { project_path: 'shop/*', ref_protected: 'true' } },
        claims: {
          sub: 'project_path:shop/orders:ref_type:branch:ref:main',
          project_path: 'shop/orders',
          ref_protected: 'true',
          user_login: 'ann',
          pipeline_source: 'push',
          groups_direct: ['shop'],
        },
        others: [{ project_path: 'shop2/orders' }, { ref_protected: 'false' }],
      },
    ],
    [
      'spiffe',
      {
        role: { bound_subject: 'spiffe://example.org/ns/shop/sa/orders' },
        claims: { sub: 'spiffe://example.org/ns/shop/sa/orders', aud: [AUDIENCE], iss: 'spire' },
        others: [{ sub: 'spiffe://example.org/ns/shop/sa/orders/x' }],
      },
    ],
  ]

  test.each(platforms)('%s', async (name, { role, claims, others }) => {
    await api('POST', `sys/auth/${name}`, { type: 'jwt' })
    await api('POST', `auth/${name}/config`, { jwks_url: world.issuer.url })
    const fields = { user_claim: 'sub', bound_audiences: AUDIENCE, ...role }
    expect(await statusOf(api('POST', `auth/${name}/role/deploy`, fields))).toBe(204)
    const auth = await world.auth('deploy', claims, name)
    expect((await world.as(auth)('GET', 'auth/token/lookup-self')).json.data.display_name).toBe(
      `${name}-${claims.sub}`,
    )
    for (const other of others) {
      const { status } = await world.login(
        'deploy',
        { jwt: await world.token({ ...claims, ...other }) },
        name,
      )
      expect(status).toBe(400)
    }
  })
})

describe('a token from a login', () => {
  const renew = async (auth: { client_token: string }, increment?: string) =>
    world.as(auth)('POST', 'auth/token/renew-self', increment === undefined ? {} : { increment })

  test('is renewed right after the login, and by an increment', async () => {
    await world.role('renewing', { token_ttl: '10m', token_max_ttl: '1h' })
    const auth = await world.auth('renewing')
    const renewed = (await renew(auth)).json.auth
    expect(renewed).toMatchObject({
      client_token: auth.client_token,
      lease_duration: 600,
      entity_id: auth.entity_id,
    })
    expect((await renew(auth, '20m')).json.auth.lease_duration).toBe(1_200)
    const capped = (await renew(auth, '3h')).json
    expect(secondsLeft(capped.auth)).toBeGreaterThan(3_500)
    expect(secondsLeft(capped.auth)).toBeLessThanOrEqual(3_600)
    expect(capped.warnings[0]).toMatch(/^TTL of "3h" exceeded the effective max_ttl of /)
  })

  test('is renewed by the role as it is then', async () => {
    await world.role('tightened', { token_ttl: '10m', token_max_ttl: '2h' })
    const auth = await world.auth('tightened')
    await api('POST', 'auth/jwt/role/tightened', { token_ttl: '1m', token_max_ttl: '90s' })
    expect((await renew(auth)).json.auth.lease_duration).toBe(60)
    expect((await renew(auth, '10m')).json.auth.lease_duration).toBeLessThanOrEqual(90)
    await world.at.ledger.advance(60)
    await world.at.ledger.advance(20)
    expect((await renew(auth)).json.auth.lease_duration).toBeLessThanOrEqual(10)
    await api('POST', 'auth/jwt/role/tightened', { token_ttl: '5s', token_max_ttl: '10s' })
    expect((await renew(auth)).json.errors).toEqual(['past the max TTL, cannot renew'])
  })

  test('is not renewed once its role is gone, and lives to its end', async () => {
    await world.role('doomed', { token_ttl: '10m' })
    const auth = await world.auth('doomed')
    await api('DELETE', 'auth/jwt/role/doomed')
    const refused = await renew(auth)
    expect([refused.status, refused.json.errors]).toEqual([
      400,
      ['role "doomed" could not be found, not renewing'],
    ])
    expect((await world.as(auth)('GET', 'auth/token/lookup-self')).status).toBe(200)
    await world.at.ledger.advance(601)
    expect((await world.as(auth)('GET', 'auth/token/lookup-self')).status).toBe(403)
  })

  test('keeps the explicit maximum it was made with, and feels a tighter one', async () => {
    await world.role('bounded', { token_ttl: '1h', token_explicit_max_ttl: '2h' })
    const auth = await world.auth('bounded')
    await api('POST', 'auth/jwt/role/bounded', { token_explicit_max_ttl: '10h' })
    expect((await renew(auth, '9h')).json.auth.lease_duration).toBeLessThanOrEqual(7_200)
    await api('POST', 'auth/jwt/role/bounded', { token_explicit_max_ttl: '30m' })
    expect((await renew(auth, '9h')).json.auth.lease_duration).toBeLessThanOrEqual(1_800)
    expect((await world.as(auth)('GET', 'auth/token/lookup-self')).json.data.explicit_max_ttl).toBe(7_200)
  })

  test('with a period lives for as long as it is renewed', async () => {
    await world.role('periodic', { token_period: '10m', token_max_ttl: '15m' })
    const auth = await world.auth('periodic')
    expect(auth.lease_duration).toBe(600)
    for (let i = 0; i < 5; i += 1) {
      await world.at.ledger.advance(500)
      expect((await renew(auth, '1m')).json.auth.lease_duration).toBe(600)
    }
    expect((await world.as(auth)('GET', 'auth/token/lookup-self')).json.data.period).toBe(600)
  })

  test('is bound by the mount', async () => {
    await api('POST', 'sys/auth/tuned', {
      type: 'jwt',
      config: { default_lease_ttl: '5m', max_lease_ttl: '10m' },
    })
    await api('POST', 'auth/tuned/config', { jwks_url: world.issuer.url })
    const role = { user_claim: 'sub', bound_audiences: AUDIENCE }
    await api('POST', 'auth/tuned/role/plain', role)
    await api('POST', 'auth/tuned/role/long', { ...role, token_ttl: '1h' })
    const auth = await world.auth('plain', {}, 'tuned')
    expect(auth.lease_duration).toBe(300)
    const long = await world.login('long', {}, 'tuned')
    expect(long.json.auth.lease_duration).toBe(600)
    expect(long.json.warnings).toEqual([
      'TTL of "1h" exceeded the effective max_ttl of "10m"; TTL value is capped accordingly',
    ])
    await api('POST', 'sys/auth/tuned/tune', { default_lease_ttl: '1m', max_lease_ttl: '2m' })
    expect((await renew(auth)).json.auth.lease_duration).toBe(60)
    expect((await world.auth('plain', {}, 'tuned')).lease_duration).toBe(60)
  })

  test('with limited uses is over after the last', async () => {
    await world.role('twice', { token_num_uses: 2 })
    const auth = await world.auth('twice')
    expect(auth.num_uses).toBe(2)
    const look = () => statusOf(world.as(auth)('GET', 'auth/token/lookup-self'))
    expect([await look(), await look(), await look()]).toEqual([200, 200, 403])
  })

  test('of type batch has no accessor and no renewal', async () => {
    await world.role('batch', { token_type: 'batch', token_ttl: '10m' })
    const auth = await world.auth('batch')
    expect(auth).toMatchObject({ token_type: 'batch', accessor: '', renewable: false, lease_duration: 600 })
    expect((await renew(auth)).json.errors).toEqual(['batch tokens cannot be renewed'])
    await world.at.ledger.advance(601)
    expect((await renew(auth)).status).toBe(403)
  })

  test('without the policy default may not see to itself', async () => {
    await world.role('bare', { token_no_default_policy: true, token_policies: 'nothing' })
    const auth = await world.auth('bare')
    expect(auth.policies).toEqual(['nothing'])
    expect((await world.as(auth)('GET', 'auth/token/lookup-self')).status).toBe(403)
  })

  test('is given and taken from the addresses of its role only', async () => {
    await world.role('elsewhere', { token_bound_cidrs: '10.9.0.0/16' })
    const before = await world.census()
    const refused = await world.login('elsewhere')
    expect([refused.status, refused.json]).toEqual([403, { errors: ['permission denied'] }])
    expect(await world.census()).toEqual(before)

    await api('POST', 'auth/jwt/role/elsewhere', { token_bound_cidrs: '127.0.0.0/8' })
    const auth = await world.auth('elsewhere')
    expect((await world.as(auth)('GET', 'auth/token/lookup-self')).json.data.bound_cidrs).toEqual([
      '127.0.0.0/8',
    ])
    await world.at.ledger.ledger.query(
      `update leasehold.token set bound_cidrs = '{10.9.0.0/16}' where accessor = $1`,
      [auth.accessor],
    )
    expect((await world.as(auth)('GET', 'auth/token/lookup-self')).status).toBe(403)
  })

  test('cannot pass for another by the metadata of one made under it', async () => {
    await api('PUT', 'sys/policies/acl/dev-only', {
      policy: `path "auth/token/create" { capabilities = ["update"] }
        path "database/creds/app" { capabilities = ["read"] condition = "principal.metadata.team == 'shop'" }`,
    })
    await world.role('teams', { token_policies: 'dev-only', claim_mappings: { team: 'team' } })
    const [shop, other] = [
      await world.auth('teams', { team: 'shop' }),
      await world.auth('teams', { team: 'b' }),
    ]
    const under = async (auth: { client_token: string }, team: string) => {
      const { json } = await world.as(auth)('POST', 'auth/token/create', { meta: { team } })
      return (await world.as(json.auth)('GET', 'database/creds/app')).status
    }
    expect([await under(shop, 'shop'), await under(shop, 'b')]).toEqual([200, 200])
    expect([await under(other, 'b'), await under(other, 'shop')]).toEqual([403, 403])
  })

  test('gives its principal to the tokens made under it, and ends them with it', async () => {
    await api('PUT', 'sys/policies/acl/maker', {
      policy: 'path "auth/token/create" { capabilities = ["update"] }',
    })
    await world.role('parent', { token_policies: 'maker' })
    const auth = await world.auth('parent', { sub: 'parent' })
    const child = (await world.as(auth)('POST', 'auth/token/create', { policies: ['maker'] })).json.auth
    expect(child).toMatchObject({ entity_id: auth.entity_id, orphan: false })
    // A child's renewal goes by the token store, and no more by the role of the login.
    await api('DELETE', 'auth/jwt/role/parent')
    expect((await world.as(child)('POST', 'auth/token/renew-self')).status).toBe(200)
    await world.as(auth)('POST', 'auth/token/revoke-self')
    expect((await world.as(child)('GET', 'auth/token/lookup-self')).status).toBe(403)
  })
})
