import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Sealed } from '../../src/identity/oidc/pending.ts'
import { checkOidcProvider } from '../../src/identity/oidc/provider.ts'
import { newSigningKey, type OidcIssuer, type SigningKey, startOidcIssuer } from '../support/oidc-issuer.ts'
import { brokerWorld, CLIENT_NONCE, REDIRECT, refusalOf, tampered } from './oidc-login-world.ts'

const PEOPLE = {
  alice: { groups: ['ops', 'dba'], email: 'alice@example.com', department: 'data' },
  bob: { email: 'bob@example.com', department: 'sales' },
}
const WITH_GROUPS = { groups_claim: 'groups', oidc_scopes: ['groups', 'department'] }

let provider: OidcIssuer
let key: SigningKey
beforeAll(async () => {
  key = await newSigningKey('first')
  provider = await startOidcIssuer([key], {}, { claims: PEOPLE })
})
afterAll(() => provider.stop())

/** A login begun and taken to the provider, up to where the client is called back. */
async function signedIn(options: Parameters<typeof brokerWorld>[1] = {}, person = { name: 'alice' }) {
  const it = brokerWorld(provider.issuer, options)
  return { it, back: await provider.signIn(await it.begin(), person) }
}

describe('a person who signs in at a real OpenID provider', () => {
  test('is let in, with what the userinfo endpoint knows of them', async () => {
    const role = { ...WITH_GROUPS, claim_mappings: { department: 'department' }, max_age: 3_600 }
    const { it, back } = await signedIn({ role })
    await checkOidcProvider(it.config)
    const identity = await it.finish(back)
    expect(identity).toMatchObject({
      roleName: 'engineering',
      subject: 'alice',
      metadata: { role: 'engineering', department: 'data' },
      groups: ['ops', 'dba'],
      claims: { iss: provider.issuer, aud: 'leasehold', sub: 'alice', groups: ['ops', 'dba'] },
      authTime: expect.any(Number),
      acr: 'silver',
      amr: ['pwd'],
    })
    expect(identity.claims).not.toHaveProperty('nonce')
    expect(identity.claims).not.toHaveProperty('at_hash')
    expect(it.rows.size).toBe(0)
  })

  test('is let in with an id token that says it all', async () => {
    const full = await startOidcIssuer(
      [await newSigningKey('k', 'RS256')],
      {},
      { claims: PEOPLE, inIdToken: true },
    )
    try {
      const it = brokerWorld(full.issuer, { role: WITH_GROUPS })
      const identity = await it.finish(await full.signIn(await it.begin(), { name: 'alice' }))
      expect(identity.groups).toEqual(['ops', 'dba'])
    } finally {
      await full.stop()
    }
  })

  test('may be sent back to any free port of their own machine', async () => {
    const it = brokerWorld(provider.issuer)
    const back = await provider.signIn(
      await it.begin({ redirectUri: 'http://localhost:54321/oidc/callback' }),
      { name: 'alice' },
    )
    expect(back.port).toBe('54321')
    expect(await it.finish(back)).toMatchObject({ subject: 'alice' })
  })

  test('may be sent back to an address with a query of its own', async () => {
    const redirectUri = 'https://console.example/oidc/callback?tenant=a'
    const it = brokerWorld(provider.issuer, { role: { allowed_redirect_uris: [redirectUri] } })
    const back = await provider.signIn(await it.begin({ redirectUri }), { name: 'alice' })
    expect(back.searchParams.get('tenant')).toBe('a')
    expect(await it.finish(back)).toMatchObject({ subject: 'alice' })
  })

  test('may end on another server what began on one', async () => {
    const { it, back } = await signedIn()
    const other = brokerWorld(provider.issuer, { rows: it.rows })
    expect(await other.finish(back)).toMatchObject({ subject: 'alice' })
    expect((await it.refusal(back)).reason).toBe('state_unknown')
  })

  test('is let in by a client that has no nonce, when none was there at the beginning', async () => {
    const it = brokerWorld(provider.issuer)
    const { authUrl } = await it.login.authUrl({
      roleName: 'engineering',
      role: it.role,
      redirectUri: REDIRECT,
    })
    const back = await provider.signIn(authUrl, { name: 'alice' })
    expect(await it.finish(back, { clientNonce: '' })).toMatchObject({ subject: 'alice' })
  })

  test('is let in where the client secret may only travel in the form', async () => {
    const client = { token_endpoint_auth_method: 'client_secret_post' as const }
    const methods = { clientAuthMethods: ['client_secret_post' as const] }
    const posting = await startOidcIssuer([key], {}, { claims: PEOPLE, client, settings: methods })
    try {
      const it = brokerWorld(posting.issuer)
      const back = await posting.signIn(await it.begin(), { name: 'alice' })
      expect(await it.finish(back)).toMatchObject({ subject: 'alice' })
    } finally {
      await posting.stop()
    }
  })
})

describe('the authorization URL', () => {
  test('asks for a code, with PKCE, a nonce and what the role says', async () => {
    const it = brokerWorld(provider.issuer, {
      role: { oidc_scopes: ['groups', 'openid', 'email'], max_age: 300 },
    })
    const urls = [new URL(await it.begin()), new URL(await it.begin())] as const
    expect(urls[0].href.startsWith(`${provider.issuer}/auth?`)).toBe(true)
    expect(Object.fromEntries(urls[0].searchParams)).toEqual({
      client_id: 'leasehold',
      response_type: 'code',
      redirect_uri: REDIRECT,
      scope: 'openid groups email',
      max_age: '300',
      code_challenge_method: 'S256',
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
      state: expect.stringMatching(/^[0-9A-Za-z]{32}$/),
    })
    for (const name of ['state', 'nonce', 'code_challenge']) {
      expect(urls[0].searchParams.get(name)).not.toBe(urls[1].searchParams.get(name))
    }
  })

  test('is empty for an address the role does not allow, and nothing is kept', async () => {
    const it = brokerWorld(provider.issuer)
    const request = { roleName: 'engineering', role: it.role, redirectUri: 'https://evil.example/callback' }
    const { authUrl, refused } = await it.login.authUrl(request)
    expect([authUrl, refused?.reason]).toEqual(['', 'redirect_not_allowed'])
    expect(it.rows.size).toBe(0)
  })

  test('is empty for a role of workloads', async () => {
    const it = brokerWorld(provider.issuer, { role: { role_type: 'jwt', bound_subject: 'someone' } })
    const { authUrl, refused } = await it.login.authUrl({
      roleName: 'r',
      role: it.role,
      redirectUri: REDIRECT,
    })
    expect([authUrl, refused?.reason]).toEqual(['', 'jwt_role'])
  })

  test('needs an address to come back to, and a nonce of sensible length', async () => {
    const it = brokerWorld(provider.issuer)
    const request = { roleName: 'engineering', role: it.role, redirectUri: REDIRECT }
    const empty = await refusalOf(it.login.authUrl({ ...request, redirectUri: '' }))
    expect(empty.message).toBe('missing redirect_uri')
    const long = await refusalOf(it.login.authUrl({ ...request, clientNonce: 'é'.repeat(129) }))
    expect(long.reason).toBe('client_nonce_too_long')
  })
})

describe('what waits in the store', () => {
  test('is of no use to someone who reads it', async () => {
    const it = brokerWorld(provider.issuer)
    const url = new URL(await it.begin())
    const [[idHash, sealed]] = [...it.rows] as [[string, object]]
    const seen = JSON.stringify([idHash, sealed])
    const state = url.searchParams.get('state') as string
    for (const secret of [
      state,
      url.searchParams.get('nonce') as string,
      CLIENT_NONCE,
      'engineering',
      'code',
    ]) {
      expect(seen).not.toContain(secret)
      expect(seen).not.toContain(Buffer.from(secret).toString('base64url'))
    }
    expect(Object.keys(sealed).sort()).toEqual(['iv', 'tag', 'text'])
  })

  test('lets nobody in after someone has written in it', async () => {
    const [one, other] = [await signedIn(), await signedIn()]
    const [hash] = one.it.rows.keys()
    const [sealed] = other.it.rows.values()
    one.it.rows.set(hash as string, sealed as Sealed)
    expect((await one.it.refusal(one.back)).reason).toBe('state_unreadable')
  })
})

const STATE_TEXT = 'Vault login failed. Expired or missing OAuth state.'

describe('a login is refused', () => {
  test('the second time its state is used', async () => {
    const { it, back } = await signedIn()
    await it.finish(back)
    expect(await it.refusal(back)).toMatchObject({ reason: 'state_unknown', message: STATE_TEXT })
  })

  test('once of many times at once', async () => {
    const { it, back } = await signedIn()
    const ends = await Promise.allSettled(Array.from({ length: 10 }, () => it.finish(back)))
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  test('when the person took too long', async () => {
    const { it, back } = await signedIn()
    it.pass(570)
    const again = await signedIn()
    expect(await it.finish(back)).toMatchObject({ subject: 'alice' })
    again.it.pass(600)
    expect(await again.it.refusal(again.back)).toMatchObject({ reason: 'state_expired', message: STATE_TEXT })
    expect(again.it.rows.size).toBe(0)
  })

  test.each([[''], ['x'], ['A'.repeat(32)], ['A'.repeat(100_000)], ["' or true --"]])(
    'for a state that never was: %#',
    async (state) => {
      const { it, back } = await signedIn()
      expect(await it.refusal(back, { state })).toMatchObject({
        reason: 'state_unknown',
        message: STATE_TEXT,
      })
      expect(await it.finish(back)).toMatchObject({ subject: 'alice' })
    },
  )

  test('with the state of another login', async () => {
    const it = brokerWorld(provider.issuer)
    const [mine, theirs] = [await it.begin(), await it.begin()]
    const back = await provider.signIn(mine, { name: 'alice' })
    const state = new URL(theirs).searchParams.get('state') as string
    expect(await it.refusal(back, { state })).toMatchObject({
      reason: 'code_refused',
      detail: 'invalid_grant',
    })
  })

  test('under another mount than the one it began under, which does not spend it', async () => {
    const { it, back } = await signedIn()
    const other = brokerWorld(provider.issuer, { rows: it.rows, mount: 'auth_oidc_2' })
    expect((await other.refusal(back)).reason).toBe('state_unknown')
    expect(await it.finish(back)).toMatchObject({ subject: 'alice' })
  })

  test('when the mount was given to another client meanwhile', async () => {
    const { it, back } = await signedIn()
    const changed = brokerWorld(provider.issuer, { rows: it.rows, config: { oidc_client_id: 'another' } })
    expect((await changed.refusal(back)).reason).toBe('provider_changed')
  })

  test.each([[''], ['a guess']])('to someone with another client nonce: "%s"', async (clientNonce) => {
    const { it, back } = await signedIn()
    expect(await it.refusal(back, { clientNonce })).toMatchObject({
      reason: 'wrong_client_nonce',
      message: 'invalid client_nonce',
    })
    expect((await it.refusal(back)).reason).toBe('state_unknown')
  })

  test('with a code that was used before', async () => {
    const it = brokerWorld(provider.issuer)
    const first = await provider.signIn(await it.begin(), { name: 'alice' })
    await it.finish(first)
    const second = await provider.signIn(await it.begin(), { name: 'bob' })
    const code = first.searchParams.get('code') as string
    expect(await it.refusal(second, { code })).toMatchObject({
      reason: 'code_refused',
      detail: 'invalid_grant',
    })
  })

  test('with a code that was asked for with the challenge of someone else', async () => {
    const it = brokerWorld(provider.issuer)
    const url = tampered(await it.begin(), 'code_challenge', 'A'.repeat(43))
    const back = await provider.signIn(url, { name: 'alice' })
    expect((await it.refusal(back)).reason).toBe('code_refused')
  })

  test('with an id token for another nonce', async () => {
    const it = brokerWorld(provider.issuer)
    const back = await provider.signIn(tampered(await it.begin(), 'nonce', 'another'), { name: 'alice' })
    expect((await it.refusal(back)).reason).toBe('wrong_nonce')
  })

  test('with an id token for no nonce', async () => {
    const it = brokerWorld(provider.issuer)
    const back = await provider.signIn(tampered(await it.begin(), 'nonce'), { name: 'alice' })
    expect((await it.refusal(back)).reason).toBe('malformed_token')
  })

  test('when the person does not consent', async () => {
    const it = brokerWorld(provider.issuer)
    const back = await provider.signIn(await it.begin(), { name: 'alice', denies: true })
    expect(back.searchParams.get('error')).toBe('access_denied')
    expect(await it.refusal(back)).toMatchObject({
      reason: 'provider_denied',
      message: 'Vault login failed. access_denied',
    })
  })

  test('when the client passes neither a code nor an error on, as the command line does then', async () => {
    const it = brokerWorld(provider.issuer)
    const back = await provider.signIn(await it.begin(), { name: 'alice', denies: true })
    expect(await it.refusal(back, { error: '' })).toMatchObject({
      reason: 'missing_code',
      message: 'Vault login failed. No code or id_token received.',
    })
  })

  test('for any other error of the provider, whose words reach only the log', async () => {
    const one = await signedIn()
    expect(await one.it.refusal(one.back, { error: 'server_error' })).toMatchObject({
      reason: 'provider_error',
      detail: 'server_error',
      message: 'Vault login failed. An error occurred at the OpenID provider.',
    })
    const two = await signedIn()
    const { detail } = await two.it.refusal(two.back, { error: 'x\nforged log line' })
    expect(detail).toBe('an error code that is none')
  })

  test('when the answer names another issuer', async () => {
    const one = await signedIn()
    expect((await one.it.refusal(one.back, { iss: 'https://other.example' })).reason).toBe('wrong_issuer')
    const two = await signedIn()
    expect(await two.it.finish(two.back, { iss: provider.issuer })).toMatchObject({ subject: 'alice' })
  })

  test('when the role is gone, or no longer allows where it began', async () => {
    const one = await signedIn()
    one.it.roles.clear()
    expect(await one.it.refusal(one.back)).toMatchObject({
      reason: 'role_gone',
      message: 'Vault login failed. Role could not be found',
    })
    const two = await signedIn()
    two.it.roles.set('engineering', { ...two.it.role, allowed_redirect_uris: ['https://elsewhere.example'] })
    expect((await two.it.refusal(two.back)).reason).toBe('redirect_not_allowed')
    const three = await signedIn()
    three.it.roles.set('engineering', { ...three.it.role, role_type: 'jwt' })
    expect((await three.it.refusal(three.back)).reason).toBe('jwt_role')
  })

  test('without the groups claim the role asks for', async () => {
    const { it, back } = await signedIn({ role: WITH_GROUPS }, { name: 'bob' })
    expect(await it.refusal(back)).toMatchObject({ reason: 'groups_claim_missing', detail: 'groups' })
  })

  test('with other claims, subject or audience than the role is bound to', async () => {
    const role = { ...WITH_GROUPS, groups_claim: '', bound_claims: { department: ['data', 'ops'] } }
    const alice = await signedIn({ role })
    expect(await alice.it.finish(alice.back)).toMatchObject({ subject: 'alice' })
    const bob = await signedIn({ role }, { name: 'bob' })
    expect((await bob.it.refusal(bob.back)).reason).toBe('bound_claim_mismatch')
    const subject = await signedIn({ role: { bound_subject: 'bob' } })
    expect((await subject.it.refusal(subject.back)).reason).toBe('wrong_subject')
    const audience = await signedIn({ role: { bound_audiences: ['https://broker.example'] } })
    expect((await audience.it.refusal(audience.back)).reason).toBe('wrong_audience')
    const issuer = await signedIn({ config: { bound_issuer: 'https://other.example' } })
    expect((await issuer.it.refusal(issuer.back)).reason).toBe('wrong_issuer')
  })

  test('when the person proved who they are too long ago, also where the provider was not told', async () => {
    const it = brokerWorld(provider.issuer, { role: { max_age: 60 } })
    const sixtyOne = Math.floor(Date.now() / 1_000) - 61
    const url = tampered(await it.begin(), 'max_age')
    // Within the minute by which clocks may differ.
    const recent = await provider.signIn(url, { name: 'alice', signedInAt: sixtyOne })
    expect(await it.finish(recent)).toMatchObject({ authTime: sixtyOne })
    const again = tampered(await it.begin(), 'max_age')
    const old = await provider.signIn(again, { name: 'alice', signedInAt: sixtyOne - 65 })
    expect((await it.refusal(old)).reason).toBe('authenticated_too_long_ago')
    const fresh = await provider.signIn(await it.begin(), { name: 'alice' })
    it.pass(125)
    expect((await it.refusal(fresh)).reason).toBe('authenticated_too_long_ago')
  })

  test('when the provider does not know the client secret', async () => {
    const { it, back } = await signedIn({ config: { oidc_client_secret: 'another' } })
    expect((await it.refusal(back)).reason).toBe('code_refused')
  })

  test('when the id token is signed in a way the mount does not take', async () => {
    const { it, back } = await signedIn({ config: { jwt_supported_algs: ['RS256'] } })
    expect((await it.refusal(back)).reason).toBe('algorithm_not_allowed')
  })
})
