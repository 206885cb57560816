import nodeVault from 'node-vault'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { PEOPLE_CLIENT, startJwksServer } from '../support/oidc-issuer.ts'
import { AUDIENCE } from './auth-jwt-world.ts'
import { type OidcWorld, openOidcWorld, REDIRECT, refusal } from './auth-oidc-world.ts'

let world: OidcWorld
beforeAll(async () => {
  world = await openOidcWorld()
})
afterAll(() => world.close())
beforeEach(async () => {
  await world.at.ledger.ledger.query('delete from leasehold.oidc_state; delete from leasehold.rate_count')
})

const api: OidcWorld['at']['api'] = (...ask) => world.at.api(...ask)
const STATE_TEXT = 'Vault login failed. Expired or missing OAuth state.'

describe('a person', () => {
  test('logs in with what the command line asks, and gets a whole token', async () => {
    await api('PUT', 'sys/policies/acl/people', { policy: 'path "x" { capabilities = ["read"] }' })
    await world.role('full', {
      token_policies: 'people',
      token_ttl: '10m',
      claim_mappings: { email: 'email' },
      oidc_scopes: 'groups,email',
    })
    const vault = nodeVault({ endpoint: world.at.url })
    const clientNonce = 'only the one who began it knows'
    const begun = await vault.write('auth/oidc/oidc/auth_url', {
      role: 'full',
      redirect_uri: REDIRECT,
      client_nonce: clientNonce,
    })
    const fields = await world.signIn({ authUrl: begun.data.auth_url, clientNonce })
    const login = await vault.read(`auth/oidc/oidc/callback?${new URLSearchParams(fields)}`)

    expect(login).toMatchObject({ lease_id: '', data: null, warnings: null, mount_type: 'oidc' })
    expect(login.auth).toEqual({
      client_token: expect.stringMatching(/^lh\.\w{32}$/),
      accessor: expect.stringMatching(/^[0-9a-z]{24}$/),
      policies: ['default', 'people'],
      token_policies: ['default', 'people'],
      metadata: { role: 'full', email: 'alice@example.com' },
      lease_duration: 600,
      renewable: true,
      entity_id: expect.stringMatching(/^[0-9a-z]{24}$/),
      token_type: 'service',
      orphan: true,
      mfa_requirement: null,
      num_uses: 0,
    })
    vault.token = login.auth.client_token
    expect((await vault.tokenLookupSelf()).data).toMatchObject({
      display_name: 'oidc-alice',
      entity_id: login.auth.entity_id,
      meta: { role: 'full', email: 'alice@example.com' },
    })
    expect((await vault.tokenRenewSelf()).auth.lease_duration).toBe(600)
    expect(await world.waiting()).toEqual({ states: 0, counts: [] })
  })

  test('is the same principal over all logins on one mount, and another on another', async () => {
    await world.mount('team-a/people')
    const [first, again, other, elsewhere] = [
      await world.logIn('alice'),
      await world.logIn('alice', ''),
      await world.logIn('bob'),
      await world.logIn('alice', 'PEOPLE', 'team-a/people'),
    ]
    expect(again.entity_id).toBe(first.entity_id)
    expect(new Set([first, other, elsewhere].map(({ entity_id }) => entity_id)).size).toBe(3)
    const { rows } = await world.at.ledger.ledger.query<{ kind: string }>(
      'select distinct kind from leasehold.entity',
    )
    expect(rows).toEqual([{ kind: 'human' }])
  })

  test('may have what a policy gives to people of a group, which no machine gets by saying the same', async () => {
    const condition = `principal.kind == 'human' && 'dba' in principal.groups`
    await api('PUT', 'sys/policies/acl/dba', {
      policy: `path "database/creds/app" { capabilities = ["read"] condition = "${condition}" }`,
    })
    await world.role('dba', { token_policies: 'dba' })
    const take = async (auth: { client_token: string }) =>
      (await world.as(auth)('GET', 'database/creds/app')).status
    expect(await take(await world.logIn('alice', 'dba'))).toBe(200)
    expect(await take(await world.logIn('bob', 'dba'))).toBe(403)

    const issuer = await startJwksServer([world.key])
    await api('POST', 'sys/auth/jwt', { type: 'jwt' })
    await api('POST', 'auth/jwt/config', { jwks_url: issuer.url })
    await api('POST', 'auth/jwt/role/dba', {
      user_claim: 'sub',
      groups_claim: 'groups',
      bound_audiences: AUDIENCE,
      token_policies: 'dba',
    })
    const iat = Math.floor((await world.at.ledger.now()).getTime() / 1_000)
    const claims = { sub: 'alice', aud: AUDIENCE, groups: ['dba'], kind: 'human', iat, exp: iat + 300 }
    const machine = await api('POST', 'auth/jwt/login', {
      role: 'dba',
      kind: 'human',
      jwt: await world.key.sign(claims),
    })
    await issuer.stop()
    expect(machine.status).toBe(200)
    expect(await take(machine.json.auth)).toBe(403)
  })

  test('gets a token at another server than the one where the login began', async () => {
    const other = await world.at.another()
    const { url } = await other.listen({ host: '127.0.0.1', port: 0 })
    const fields = await world.signIn(await world.begin())
    const there = async () => {
      const answer = await fetch(`${url}/v1/auth/oidc/oidc/callback?${new URLSearchParams(fields)}`)
      return answer.status
    }
    const ends = await Promise.all([there(), there(), world.callback(fields).then(({ status }) => status)])
    expect(ends.sort()).toEqual([200, 400, 400])

    const begun = await fetch(`${url}/v1/auth/oidc/oidc/auth_url`, {
      method: 'POST',
      body: JSON.stringify({ role: 'people', redirect_uri: REDIRECT }),
    })
    const { data } = (await begun.json()) as { data: { auth_url: string } }
    const back = await world.signIn({ authUrl: data.auth_url, clientNonce: '' })
    expect((await world.callback(back)).status).toBe(200)
    await other.close()
  })

  test('may have the token wrapped, but not the address to sign in at', async () => {
    const wrap = { 'X-Vault-Wrap-TTL': '1m', 'X-Vault-Token': '' }
    const url = await api('PUT', 'auth/oidc/oidc/auth_url', { redirect_uri: REDIRECT }, wrap)
    expect([url.json.wrap_info, url.json.data.auth_url]).toEqual([null, expect.stringContaining('state=')])
    const fields = await world.signIn(await world.begin())
    const path = `auth/oidc/oidc/callback?${new URLSearchParams(fields)}`
    const { json } = await api('GET', path, undefined, wrap)
    const unwrapped = await api('PUT', 'sys/wrapping/unwrap', undefined, {
      'X-Vault-Token': json.wrap_info.token,
    })
    expect(unwrapped.json.auth.metadata).toEqual({ role: 'people' })
  })
})

describe('a login is counted', () => {
  async function counted(outcome: string): Promise<number> {
    const headers = { 'X-Vault-Token': world.at.root }
    const response = await fetch(`${world.at.url}/v1/sys/metrics?format=prometheus`, { headers })
    const sample = `leasehold_logins_total{method="oidc",outcome="${outcome}"} `
    const line = (await response.text()).split('\n').find((each) => each.startsWith(sample))
    return Number(line?.slice(sample.length) ?? 0)
  }
  const all = async () => [await counted('ok'), await counted('refused'), await counted('failed')]
  /** By how much the numbers of ok, refused and failed grew while this was done. */
  async function grown(work: () => Promise<unknown>): Promise<number[]> {
    const before = await all()
    await work()
    return (await all()).map((after, i) => after - (before[i] ?? 0))
  }

  test('once, when it has ended and not when it has begun', async () => {
    expect(await grown(() => world.begin())).toEqual([0, 0, 0])
    expect(await grown(() => world.logIn('alice'))).toEqual([1, 0, 0])
  })

  test('as refused when it may not even begin, in whatever form the answer is', async () => {
    expect(await grown(() => world.askUrl({ role: 'none' }))).toEqual([0, 1, 0])
    const elsewhere = { role: 'people', redirect_uri: 'http://elsewhere.example/' }
    expect(await grown(() => world.askUrl(elsewhere))).toEqual([0, 1, 0])
    expect(await grown(() => world.callback({ state: 'x' }))).toEqual([0, 1, 0])
  })

  test('as failed when the provider cannot be reached', async () => {
    await world.mount('away', { oidc_discovery_url: 'http://127.0.0.1:1', skip_jwks_validation: true })
    let status = 0
    const ask = async () => {
      status = (await world.askUrl({ role: 'people' }, 'away')).status
    }
    expect([await grown(ask), status]).toEqual([[0, 0, 1], 400])
  })
})

describe('a login is refused', () => {
  const signedIn = async () => world.signIn(await world.begin())

  test('the second time its state is used, also after a first that failed', async () => {
    const fields = await signedIn()
    expect((await world.callback(fields)).status).toBe(200)
    expect(await refusal(world.callback(fields))).toEqual([400, STATE_TEXT])
    const spent = await signedIn()
    expect((await world.callback({ ...spent, code: 'wrong' })).status).toBe(400)
    expect(await refusal(world.callback(spent))).toEqual([400, STATE_TEXT])
  })

  test.each([[{}], [{ state: 'x' }], [{ state: 'A'.repeat(32), code: 'c' }]])(
    'for a state that never was: %j',
    async (fields: Record<string, string>) => {
      expect(await refusal(world.callback(fields))).toEqual([400, STATE_TEXT])
      // By the source alone: a role of which nobody can fail a login cannot be shut for others.
      expect((await world.waiting()).counts).toEqual([
        'failed-logins-by-source',
        'failed-logins-by-source-and-role',
      ])
    },
  )

  test.each([[''], ['a guess']])('to someone with another client nonce: "%s"', async (client_nonce) => {
    const fields = await signedIn()
    expect(await refusal(world.callback({ ...fields, client_nonce }))).toEqual([400, 'invalid client_nonce'])
    expect(await refusal(world.callback(fields))).toEqual([400, STATE_TEXT])
  })

  test('when the person took too long; what they left behind is swept', async () => {
    const [fields] = [await signedIn(), await signedIn()]
    await world.at.ledger.advance(601)
    expect(await refusal(world.callback(fields))).toEqual([400, STATE_TEXT])
    expect((await world.waiting()).states).toBe(1)
    await world.begin()
    await world.at.broker.sweep.once()
    expect((await world.waiting()).states).toBe(1)
  })

  test('when the person says no', async () => {
    const begun = await world.begin()
    const { state } = await world.signIn(begun, { name: 'alice', denies: true })
    const fields = {
      state: state as string,
      code: '',
      error: 'access_denied',
      client_nonce: begun.clientNonce,
    }
    expect(await refusal(world.callback(fields))).toEqual([400, 'Vault login failed. access_denied'])
  })

  test('under another mount, and under its own once that is gone', async () => {
    await world.mount('passing')
    const begun = await world.begin({}, 'passing')
    const fields = await world.signIn(begun)
    expect(await refusal(world.callback(fields))).toEqual([400, STATE_TEXT])
    await api('DELETE', 'sys/auth/passing')
    expect((await world.callback(fields, 'passing')).status).toBe(403)
  })

  test('from an address that the role does not serve, with no token made', async () => {
    await world.role('elsewhere', { token_bound_cidrs: '10.9.0.0/16' })
    const fields = await world.signIn(await world.begin({ role: 'elsewhere' }))
    expect(await refusal(world.callback(fields))).toEqual([403, 'permission denied'])
  })

  test('when the role went while the person signed in', async () => {
    await world.role('going')
    const fields = await world.signIn(await world.begin({ role: 'going' }))
    await api('DELETE', 'auth/oidc/role/going')
    expect(await refusal(world.callback(fields))).toEqual([
      400,
      'Vault login failed. Role could not be found',
    ])
  })

  test('with a token of the very provider, whatever the role', async () => {
    const iat = Math.floor(Date.now() / 1_000)
    const claims = { iss: world.provider.issuer, aud: PEOPLE_CLIENT.id, sub: 'alice', groups: ['dba'] }
    const jwt = await world.key.sign({ ...claims, iat, exp: iat + 300 })
    const show = (fields: object, mount = 'oidc') =>
      refusal(api('POST', `auth/${mount}/login`, fields, { 'X-Vault-Token': '' }))
    expect(await show({ role: 'people', jwt })).toEqual([400, 'role with oidc role_type is not allowed'])
    expect(await show({ jwt })).toEqual([400, 'role with oidc role_type is not allowed'])
    expect(await show({ role: 'none', jwt })).toEqual([400, 'role "none" could not be found'])
    await api('POST', 'sys/auth/empty', { type: 'oidc' })
    expect(await show({ jwt }, 'empty')).toEqual([400, 'missing role'])
    expect(await refusal(world.callback({ state: 'x' }, 'empty'))).toEqual([
      400,
      'could not load configuration',
    ])
  })
})
