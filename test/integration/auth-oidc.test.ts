import nodeVault from 'node-vault'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createOidcStates, MOST_PENDING } from '../../src/identity/oidc/states.ts'
import { newSigningKey, PEOPLE_CLIENT, startJwksServer, startOidcIssuer } from '../support/oidc-issuer.ts'
import { AUDIENCE } from './auth-jwt-world.ts'
import { type OidcWorld, openOidcWorld, REDIRECT } from './auth-oidc-world.ts'

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
const refusal = async (answer: ReturnType<typeof api>) => {
  const { status, json } = await answer
  return [status, ...json.errors]
}

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
      expect((await world.waiting()).counts).toEqual(['failed-logins-by-source'])
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

describe('an address to sign in at', () => {
  test('is empty for a place to come back to that the role does not allow, and nothing is kept', async () => {
    const foreign = [
      'https://evil.example/oidc/callback',
      'http://localhost:8250/oidc/callback/more',
      'http://localhost:8250@evil.example/oidc/callback',
    ]
    for (const redirect_uri of foreign) {
      const { status, json } = await world.askUrl({ role: 'people', redirect_uri })
      expect([status, json.data, json.auth]).toEqual([200, { auth_url: '' }, null])
    }
    // Or else anybody could write to the audit log without end.
    expect(await world.waiting()).toEqual({ states: 0, counts: ['failed-logins-by-source'] })
  })

  test.each([
    ['no role of that name', { role: 'none' }, 'role "none" could not be found'],
    ['nowhere to come back to', { redirect_uri: '' }, 'missing redirect_uri'],
    ['an endless nonce', { client_nonce: 'x'.repeat(257) }, 'client_nonce is too long'],
  ])('is refused for %s', async (_, fields, text) => {
    expect(await refusal(world.askUrl({ role: 'people', ...fields }))).toEqual([400, text])
    expect((await world.waiting()).states).toBe(0)
  })

  test('is had only so often from one source before logins end', async () => {
    const begun = await world.begin()
    await world.at.ledger.ledger.query(
      `insert into leasehold.oidc_state (id, sealed, source, expires_at)
       select sha256(n::text::bytea), '{}', '127.0.0.1', leasehold.ledger_now() + interval '90 seconds'
       from generate_series(2, $1::int) n`,
      [MOST_PENDING],
    )
    const full = await world.askUrl({ role: 'people' })
    expect([full.status, full.json.errors]).toEqual([
      429,
      ['too many logins of this address wait to be ended; try again later'],
    ])
    expect(Number(full.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(Number(full.headers.get('retry-after'))).toBeLessThanOrEqual(90)
    expect((await world.callback(await world.signIn(begun))).status).toBe(200)
    expect((await world.askUrl({ role: 'people' })).status).toBe(200)
  })
})

describe('logins that wait', () => {
  const sealed = { iv: 'a', tag: 'b', text: 'c' }
  const soon = async (seconds = 60) => new Date((await world.at.ledger.now()).getTime() + seconds * 1_000)
  const id = (n: number) => n.toString(16).padStart(64, '0')

  test('are bounded by source, and over when their time is', async () => {
    const states = createOidcStates(world.at.ledger.ledger, 2)
    const [mine, theirs] = [states.of('192.0.2.1'), states.of('192.0.2.2')]
    await mine.put(id(1), sealed, await soon(5))
    await mine.put(id(2), sealed, await soon(100))
    await expect(mine.put(id(3), sealed, await soon())).rejects.toMatchObject({
      code: 'too_many_requests',
      details: { retryAfterSeconds: expect.any(Number) },
    })
    await theirs.put(id(3), sealed, await soon())
    await world.at.ledger.advance(6)
    await mine.put(id(4), sealed, await soon())
    expect(await states.dropExpired()).toBe(1)
    expect(await theirs.take(id(2))).toEqual(sealed)
  })

  test('are taken once, by whichever server is first', async () => {
    const servers = [world.at.ledger.ledger, world.at.ledger.another()].map((ledger) =>
      createOidcStates(ledger),
    )
    const ids = Array.from({ length: 20 }, (_, n) => id(n))
    for (const one of ids) await servers[0]?.of('192.0.2.1').put(one, sealed, await soon())
    const takes = servers.flatMap((server, i) =>
      (i % 2 ? [...ids, ...ids] : [...ids].reverse()).map((one) => server.of('192.0.2.1').take(one)),
    )
    const taken = (await Promise.all(takes)).filter((value) => value !== undefined)
    expect(taken).toHaveLength(20)
  })

  test('are of no use to someone who reads the ledger', async () => {
    const begun = await world.begin()
    const { searchParams } = new URL(begun.authUrl)
    const { rows } = await world.at.ledger.ledger.query<{ all: string }>(
      'select row_to_json(s)::text as all from leasehold.oidc_state s',
    )
    expect(rows).toHaveLength(1)
    const [{ all }] = rows as [{ all: string }]
    const secrets = [
      searchParams.get('state'),
      searchParams.get('nonce'),
      begun.clientNonce,
      'people',
      'localhost',
    ]
    for (const secret of secrets as string[]) {
      expect(all).not.toContain(secret)
      expect(all).not.toContain(Buffer.from(secret).toString('base64url').slice(0, -1))
      expect(all).not.toContain(Buffer.from(secret).toString('hex'))
    }
    expect(await world.callback(await world.signIn(begun))).toMatchObject({ status: 200 })
  })
})

describe('a provider that is down', () => {
  test('lets nobody in, says so, and counts against nobody', async () => {
    const passing = await startOidcIssuer([await newSigningKey('k')], {}, { claims: { alice: {} } })
    const config = { oidc_discovery_url: passing.issuer }
    await world.mount('down', config)
    await world.role('people', { groups_claim: '' }, 'down')
    const begun = await world.begin({}, 'down')
    const back = await passing.signIn(begun.authUrl, { name: 'alice' })
    await passing.stop()
    const fields = {
      state: '',
      code: '',
      client_nonce: begun.clientNonce,
      ...Object.fromEntries(back.searchParams),
    }
    const text =
      'error getting provider for login operation: the OpenID provider cannot be reached or does not answer as one'
    expect(await refusal(world.callback(fields, 'down'))).toEqual([400, text])

    const other = await world.at.another()
    const { url } = await other.listen({ host: '127.0.0.1', port: 0 })
    const ask = { role: 'people', redirect_uri: REDIRECT }
    const answer = await fetch(`${url}/v1/auth/down/oidc/auth_url`, {
      method: 'PUT',
      body: JSON.stringify(ask),
    })
    expect([answer.status, await answer.json()]).toEqual([400, { errors: [text] }])
    await other.close()
    expect(await world.waiting()).toEqual({ states: 0, counts: [] })
    const [status, error] = await refusal(
      api('POST', 'auth/down/config', { ...config, oidc_client_id: 'x', oidc_client_secret: 'y' }),
    )
    expect([status, error]).toEqual([
      400,
      expect.stringMatching(/^error checking oidc discovery URL: .*refused|ECONN/),
    ])
  })
})
