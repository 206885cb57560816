import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newSigningKey, type OidcIssuer, PEOPLE_CLIENT, startOidcIssuer } from '../support/oidc-issuer.ts'
import { type OidcWorld, openOidcWorld, REDIRECT, refusal } from './auth-oidc-world.ts'

let world: OidcWorld
let other: OidcIssuer
const OTHER_SECRET = 'the secret of another client'
beforeAll(async () => {
  world = await openOidcWorld()
  other = await startOidcIssuer(
    [await newSigningKey('k')],
    {},
    {
      claims: { alice: { groups: ['ops'] } },
      client: { client_secret: OTHER_SECRET },
    },
  )
})
afterAll(async () => {
  await world.close()
  await other.stop()
})

const api: OidcWorld['at']['api'] = (...ask) => world.at.api(...ask)
const write = (mount: string, fields: object) => api('POST', `auth/${mount}/config`, fields)
const sealedSecrets = async () => {
  const { rows } = await world.at.ledger.ledger.query<{ name: string }>(
    `select name from leasehold.sealed_secret where name like 'auth/%' order by name`,
  )
  return rows.map(({ name }) => name)
}

describe('the configuration', () => {
  test('reads back as it was written, but for the secret and where that is', async () => {
    const { status, json, text } = await api('GET', 'auth/oidc/config')
    expect(status).toBe(200)
    expect(json.data).toEqual({
      oidc_discovery_url: world.provider.issuer,
      oidc_discovery_ca_pem: '',
      oidc_client_id: PEOPLE_CLIENT.id,
      oidc_response_mode: '',
      oidc_response_types: [],
      namespace_in_state: true,
      default_role: 'people',
      bound_issuer: '',
      jwt_supported_algs: [],
      jwks_url: '',
      jwks_ca_pem: '',
      jwks_pairs: [],
      jwt_validation_pubkeys: [],
      event_audience: [],
      event_issuer: '',
      event_jwks_url: '',
    })
    expect(text).not.toContain(PEOPLE_CLIENT.secret)
    expect((await write('oidc', { ...json.data, namespace_in_state: 'false' })).status).toBe(204)
    expect((await api('GET', 'auth/oidc/config')).json.data.namespace_in_state).toBe(false)
    expect((await world.logIn('alice')).metadata).toEqual({ role: 'people' })
  })

  test('has its secret nowhere in the ledger in clear, and leaves no old one behind', async () => {
    await world.mount('rotated')
    const before = await sealedSecrets()
    const { data } = (await api('GET', 'auth/rotated/config')).json
    // Not the right one: the provider takes nobody's code from us until it is.
    await write('rotated', { ...data, oidc_client_secret: 'mistyped' })
    const back = await world.signIn(await world.begin({}, 'rotated'))
    expect((await world.callback(back, 'rotated')).json.errors).toEqual([
      'Vault login failed. Error exchanging oidc code: the provider does not accept it from this server',
    ])
    await write('rotated', { ...data, oidc_client_secret: PEOPLE_CLIENT.secret })
    expect((await world.logIn('alice', '', 'rotated')).policies).toEqual(['default'])

    const after = await sealedSecrets()
    expect(after).toHaveLength(before.length)
    expect(after).not.toEqual(before)
    const { rows } = await world.at.ledger.ledger.query<{ all: string }>(
      'select string_agg(c.spec::text, $1) as all from leasehold.auth_config c',
      [' '],
    )
    expect(rows[0]?.all).not.toContain(PEOPLE_CLIENT.secret)
    expect(rows[0]?.all).not.toContain('mistyped')
  })

  test('never sends a secret to another provider than it was given for', async () => {
    const { data } = (await api('GET', 'auth/oidc/config')).json
    const elsewhere = { ...data, oidc_discovery_url: other.issuer }
    const secrets = await sealedSecrets()
    const refused = await write('oidc', elsewhere)
    expect([refused.status, refused.json.errors]).toEqual([
      400,
      ["both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC"],
    ])
    expect((await api('GET', 'auth/oidc/config')).json.data).toEqual(data)
    expect(await sealedSecrets()).toEqual(secrets)

    await world.mount('moving')
    const pending = await world.signIn(await world.begin({}, 'moving'))
    await write('moving', { ...elsewhere, oidc_client_secret: OTHER_SECRET })
    // What came back from the one is not shown to the other.
    expect((await world.callback(pending, 'moving')).json.errors).toEqual([
      'Vault login failed. Expired or missing OAuth state.',
    ])
    const begun = await world.begin({}, 'moving')
    expect(begun.authUrl.startsWith(other.issuer)).toBe(true)
    const back = await other.signIn(begun.authUrl, { name: 'alice' })
    const fields = { ...Object.fromEntries(back.searchParams), client_nonce: begun.clientNonce }
    expect((await world.callback(fields, 'moving')).status).toBe(200)
  })

  test('of many writers at once is one of theirs, with the secret that belongs to it', async () => {
    await world.mount('busy')
    const { data } = (await api('GET', 'auth/busy/config')).json
    const before = await sealedSecrets()
    const right = { ...data, oidc_client_secret: PEOPLE_CLIENT.secret }
    const writes = Array.from({ length: 8 }, (_, i) =>
      write(
        'busy',
        i % 2 ? right : { ...right, oidc_discovery_url: other.issuer, oidc_client_secret: OTHER_SECRET },
      ),
    )
    expect(new Set((await Promise.all(writes)).map(({ status }) => status))).toEqual(new Set([204]))
    const begun = await world.begin({}, 'busy')
    const at = begun.authUrl.startsWith(other.issuer) ? other : world.provider
    const back = await at.signIn(begun.authUrl, { name: 'alice' })
    const fields = { ...Object.fromEntries(back.searchParams), client_nonce: begun.clientNonce }
    expect((await world.callback(fields, 'busy')).status).toBe(200)
    expect(await sealedSecrets()).toHaveLength(before.length)
  })

  test.each([
    ['no secret', { oidc_client_secret: undefined }, /must be set for OIDC/],
    ['a secret no store takes', { oidc_client_secret: 'x'.repeat(65_537) }, /^a secret is 1 to 65536 bytes/],
    ['the implicit flow', { oidc_response_types: 'id_token' }, /^invalid response_types/],
    [
      'a provider that is none',
      { oidc_discovery_url: 'http://127.0.0.1:1' },
      /^error checking oidc discovery URL/,
    ],
  ])('with %s is refused, and nothing is kept', async (_, fields, text) => {
    const before = await sealedSecrets()
    await api('POST', 'sys/auth/none', { type: 'oidc' })
    const sent = {
      oidc_discovery_url: world.provider.issuer,
      oidc_client_id: PEOPLE_CLIENT.id,
      oidc_client_secret: PEOPLE_CLIENT.secret,
    }
    const { status, json } = await write('none', { ...sent, ...fields })
    expect([status, json.errors]).toEqual([400, [expect.stringMatching(text)]])
    expect((await api('GET', 'auth/none/config')).status).toBe(404)
    expect(await sealedSecrets()).toEqual(before)
  })

  test('whose secret the store has lost lets nobody begin, until it is written again', async () => {
    const before = await sealedSecrets()
    await world.mount('lost')
    const [name] = (await sealedSecrets()).filter((one) => !before.includes(one))
    await world.at.ledger.ledger.query('delete from leasehold.sealed_secret where name = $1', [name])
    await world.at.ledger.ledger.query('delete from leasehold.rate_count')
    expect(await refusal(world.askUrl({}, 'lost'))).toEqual([
      400,
      expect.stringMatching(/^error getting provider for login operation: /),
    ])
    expect((await world.waiting()).counts).toEqual([])
    const { data } = (await api('GET', 'auth/lost/config')).json
    await write('lost', { ...data, oidc_client_secret: PEOPLE_CLIENT.secret })
    expect((await world.logIn('alice', '', 'lost')).metadata).toEqual({ role: 'people' })
  })

  test('goes, secret and all, with its mount', async () => {
    const before = await sealedSecrets()
    await world.mount('leaving')
    expect(await sealedSecrets()).toHaveLength(before.length + 1)
    await api('DELETE', 'sys/auth/leaving')
    await world.at.broker.sweep.once()
    expect(await sealedSecrets()).toEqual(before)
  })
})

describe('roles', () => {
  test('read back as written, of type oidc unless said', async () => {
    await world.role('Whole', { max_age: '1h', token_policies: 'a' })
    const { data } = (await api('GET', 'auth/oidc/role/whole')).json
    expect(data).toMatchObject({
      role_type: 'oidc',
      allowed_redirect_uris: [REDIRECT],
      groups_claim: 'groups',
      oidc_scopes: ['groups'],
      max_age: 3_600,
      token_policies: ['a'],
    })
    expect((await api('POST', 'auth/oidc/role/whole', data)).status).toBe(204)
    expect((await api('GET', 'auth/oidc/role/whole')).json.data).toEqual(data)
    expect((await api('GET', 'auth/oidc/role?list=true')).json.data.keys).toEqual(['people', 'whole'])
  })

  test.each([
    ['nowhere to come back to', { allowed_redirect_uris: '' }, /^'allowed_redirect_uris' must be set/],
    ['no user claim', { user_claim: '' }, /^a user claim must be defined on the role$/],
    ['root', { token_policies: 'root' }, /^auth methods cannot create root tokens$/],
    [
      'machines in mind',
      { role_type: 'jwt', bound_audiences: 'x' },
      /^'role_type' must be 'oidc' here: workloads log in on a mount of type jwt$/,
    ],
  ])('with %s are refused', async (_, fields, text) => {
    const sent = { user_claim: 'sub', allowed_redirect_uris: REDIRECT, ...fields }
    const { status, json } = await api('POST', 'auth/oidc/role/bad', sent)
    expect([status, json.errors]).toEqual([400, [expect.stringMatching(text)]])
    expect((await api('GET', 'auth/oidc/role/bad')).status).toBe(404)
  })
})
