import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createOidcStates, MOST_PENDING } from '../../src/identity/oidc/states.ts'
import { newSigningKey, startOidcIssuer } from '../support/oidc-issuer.ts'
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
    expect(await world.waiting()).toEqual({
      states: 0,
      counts: ['failed-logins-by-source', 'failed-logins-by-source-and-role'],
    })
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

describe('on record', () => {
  /** The events of what `work` asks, without what was there before. */
  async function eventsOf(work: () => Promise<unknown>) {
    const read = async () => {
      const { rows } = await world.at.ledger.ledger.query<{ body: string }>(
        'select body from leasehold.audit_event order by at_time, seq',
      )
      return rows.map(({ body }) => body)
    }
    const before = new Set(await read())
    await work()
    return (await read()).filter((body) => !before.has(body))
  }
  const parsed = (bodies: string[]) => bodies.map((body) => JSON.parse(body))

  test('are the beginning and the end of a login, with who it was and no secret', async () => {
    let fields: Record<string, string> = {}
    const bodies = await eventsOf(async () => {
      fields = await world.signIn(await world.begin())
      await world.callback(fields)
    })
    const [begun, ended] = parsed(bodies)
    expect(bodies).toHaveLength(2)
    expect(begun).toMatchObject({ type: 'login', what: { path: 'auth/oidc/oidc/auth_url' } })
    expect(ended).toMatchObject({
      type: 'login',
      what: { path: 'auth/oidc/oidc/callback' },
      who: { kind: 'human', subject: 'alice', issuer: world.provider.issuer, mount: 'auth/oidc/' },
      details: { created_accessor: expect.any(String) },
    })
    for (const name of ['state', 'code', 'client_nonce']) expect(bodies.join()).not.toContain(fields[name])
  })

  test('is why one failed, which nobody else is told', async () => {
    const bodies = await eventsOf(async () => {
      await world.askUrl({ role: 'people', redirect_uri: 'https://evil.example' })
      await world.callback({ state: 'A'.repeat(32), code: 'c' })
      const fields = await world.signIn(await world.begin())
      await world.callback({ ...fields, client_nonce: 'x' })
    })
    expect(parsed(bodies).map(({ details }) => details?.reason)).toEqual([
      'redirect_not_allowed',
      'state_unknown',
      undefined,
      'wrong_client_nonce',
    ])
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
