import { afterAll, beforeAll, expect, test } from 'vitest'
import { openAuthenticator } from '../support/authenticator.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { type Login, openPeople, type People, type Person } from '../support/glass-people.ts'
import { CONFIG, type KeyWorld, openKeyWorld } from './auth-webauthn-world.ts'

let at: TestBroker
let people: People
let keys: KeyWorld
beforeAll(async () => {
  at = await openTestBroker()
  people = await openPeople(at)
  keys = await openKeyWorld(at)
})
afterAll(() => at.close())

const seat = (name: string, login: Login = {}): Promise<Person> =>
  people.person(name, {
    policies: ['keys'],
    metadata: { role: 'people', name: `Ms ${name}` },
    claims: { name: `Ms ${name}` },
    ...login,
  })

const whoIs = async (person: Person) => (await person.api('GET', 'auth/token/lookup-self')).json.data

test('a person enrols a key by their login at the provider, and comes back by it as the same principal', async () => {
  const ada = await seat('ada', { groups: ['engineering'] })
  const { key, id } = await keys.enrol(ada)
  const byKey = await keys.logIn(key)
  const [before, after] = [await whoIs(ada), await whoIs(byKey)]
  expect(after).toMatchObject({
    entity_id: before.entity_id,
    display_name: 'webauthn-ada',
    path: 'auth/webauthn/login/finish',
    policies: ['default', 'glass', 'keys'],
    meta: { role: 'people', name: 'Ms ada', security_key: id },
    explicit_max_ttl: 12 * 3_600,
    renewable: true,
  })
  const { rows } = await at.ledger.ledger.query<{ identity: Record<string, unknown> }>(
    `select identity from leasehold.token where accessor = $1`,
    [byKey.accessor],
  )
  const now = Math.floor((await at.ledger.now()).getTime() / 1_000)
  expect(rows[0]?.identity).toMatchObject({
    kind: 'human',
    subject: 'ada',
    mount: 'auth/webauthn/',
    home: 'auth/oidc/',
    groups: ['engineering'],
    claims: { iss: 'https://issuer.example', sub: 'ada' },
    amr: ['hwk', 'user', 'mfa'],
  })
  expect(now - Number(rows[0]?.identity.authTime)).toBeLessThan(60)
})

test('the keys of a person are listed, named and removed by themselves, and by nobody else under their own name', async () => {
  const [bea, cas] = [await seat('bea'), await seat('cas')]
  const { id } = await keys.enrol(bea)
  const { data } = (await bea.api('LIST', 'auth/webauthn/keys')).json
  expect(data.keys).toEqual([id])
  expect(data.key_info[id]).toMatchObject({
    name: 'blue one',
    hardware_bound: true,
    backed_up: false,
    transports: ['usb'],
    last_used_at: null,
    person: { subject: 'bea', mount: 'auth/oidc/', role: 'people', display_name: 'Ms bea' },
  })
  expect(data.key_info[id]).not.toHaveProperty('public_key')
  expect((await cas.api('LIST', 'auth/webauthn/keys')).json?.data?.keys ?? []).toEqual([])
  expect((await cas.api('GET', `auth/webauthn/keys/${id}`)).status).toBe(404)
  expect((await cas.api('POST', `auth/webauthn/keys/${id}`, { name: 'mine' })).status).toBe(404)
  expect((await cas.api('DELETE', `auth/webauthn/keys/${id}`)).status).toBe(404)
  expect((await bea.api('POST', `auth/webauthn/keys/${id}`, { name: ' green  one ' })).status).toBe(204)
  expect((await bea.api('POST', `auth/webauthn/keys/${id}`, { name: '\u202eeno' })).status).toBe(400)
  expect((await bea.api('GET', `auth/webauthn/keys/${id}`)).json.data.name).toBe('green one')
  expect((await bea.api('DELETE', `auth/webauthn/keys/${id}`)).status).toBe(204)
  expect((await bea.api('GET', `auth/webauthn/keys/${id}`)).status).toBe(404)
})

test('who looks after people lists their keys and removes one that is lost, by policy', async () => {
  const dan = await seat('dan')
  const { id, key } = await keys.enrol(dan)
  const { entity_id: person } = await whoIs(dan)
  expect((await dan.api('LIST', 'auth/webauthn/key-owners')).status).toBe(403)
  expect((await dan.api('LIST', `auth/webauthn/key-owners/${person}/keys`)).status).toBe(403)
  const { data } = (await at.api('LIST', 'auth/webauthn/key-owners')).json
  expect(data.key_info[person]).toMatchObject({ subject: 'dan', mount: 'auth/oidc/', keys: 1 })
  expect((await at.api('LIST', `auth/webauthn/key-owners/${person}/keys`)).json.data.keys).toEqual([id])
  expect((await at.api('GET', `auth/webauthn/key-owners/${person}/keys/${id}`)).json.data.name).toBe(
    'blue one',
  )
  expect((await at.api('DELETE', `auth/webauthn/key-owners/${person}/keys/${id}`)).status).toBe(204)
  expect((await keys.tryLogIn(key)).status).toBe(400)
})

test('a key that is removed takes along what was logged in by it, and all that was made under that', async () => {
  const eva = await seat('eva')
  const [lost, other] = [await keys.enrol(eva), await keys.enrol(eva)]
  const [thief, herself] = [await keys.logIn(lost.key), await keys.logIn(other.key)]
  await at.api('PUT', 'sys/policies/acl/makes', {
    policy: 'path "auth/token/create*" { capabilities = ["update", "sudo"] }',
  })
  await at.api('POST', 'auth/webauthn/config', { ...CONFIG, token_policies: 'glass,keys,makes' })
  const maker = await keys.logIn(lost.key)
  const { auth } = (await maker.api('POST', 'auth/token/create-orphan', { policies: ['glass'] })).json
  expect((await herself.api('DELETE', `auth/webauthn/keys/${lost.id}`)).status).toBe(204)
  const standing = (token: string) =>
    at.api('GET', 'auth/token/lookup-self', undefined, { 'X-Vault-Token': token })
  for (const token of [thief.token, maker.token, auth.client_token]) {
    expect((await standing(token)).status).toBe(403)
  }
  expect((await standing(herself.token)).status).toBe(200)
  expect((await standing(eva.token)).status).toBe(200)
  expect((await keys.tryLogIn(lost.key)).json.errors).toEqual(['the security key was not accepted'])
  await at.api('POST', 'auth/webauthn/config', CONFIG)
})

test('the mount takes along what was logged in by its keys, and nothing else', async () => {
  await at.api('POST', 'sys/auth/spare', { type: 'webauthn' })
  await at.api('POST', 'auth/spare/config', CONFIG)
  await at.api('PUT', 'sys/policies/acl/spare', {
    policy: 'path "auth/spare/register/*" { capabilities = ["update"] }',
  })
  const fay = await seat('fay', { policies: ['keys', 'spare'] })
  const key = openAuthenticator()
  const { options } = (await fay.api('POST', 'auth/spare/register/begin')).json.data
  const kept = await fay.api('POST', 'auth/spare/register/finish', {
    credential: key.create(options),
    name: 'a',
  })
  expect(kept.status, kept.text).toBe(200)
  const { json } = await keys.finish(key.get(await keys.begin('spare')), 'spare')
  const asked = () =>
    at.api('GET', 'auth/token/lookup-self', undefined, { 'X-Vault-Token': json.auth.client_token })
  expect((await asked()).status).toBe(200)
  expect((await at.api('DELETE', 'sys/auth/spare')).status).toBe(204)
  expect((await asked()).status).toBe(403)
  expect((await fay.api('GET', 'auth/token/lookup-self')).status).toBe(200)
})

test('a token of a key is renewed up to its end, and not past it', async () => {
  await at.api('POST', 'auth/webauthn/config', { ...CONFIG, token_ttl: '10m', token_max_ttl: '20m' })
  const gil = await seat('gil')
  const { key } = await keys.enrol(gil)
  const byKey = await keys.logIn(key)
  const { auth } = (await byKey.api('POST', 'auth/token/renew-self', { increment: '5h' })).json
  expect(auth.lease_duration).toBeGreaterThan(600)
  expect(auth.lease_duration).toBeLessThanOrEqual(1_200)
  await at.api('POST', 'auth/webauthn/config', CONFIG)
})

test('enrolments, logins, refusals and removals are on record, with the key that they are about', async () => {
  const hal = await seat('hal')
  const { id, key } = await keys.enrol(hal)
  await keys.logIn(key)
  expect((await keys.tryLogIn(key, { counter: 1 })).status).toBe(400)
  await hal.api('DELETE', `auth/webauthn/keys/${id}`)
  const { rows } = await at.ledger.ledger.query<{ body: string }>(
    'select body from leasehold.audit_event where body like $1 order by at',
    [`%${id}%`],
  )
  const told = rows.map(({ body }) => JSON.parse(body))
  expect(told.map(({ type, what, details }) => [type, what.path, details.reason ?? null])).toEqual([
    ['request', 'auth/webauthn/register/finish', null],
    ['login', 'auth/webauthn/login/finish', null],
    ['login', 'auth/webauthn/login/finish', 'counter_regressed'],
    ['request', `auth/webauthn/keys/${id}`, null],
  ])
  expect(told[1].who).toMatchObject({ kind: 'human', subject: 'hal', issuer: 'https://issuer.example' })
  expect(told[3].details).toMatchObject({ security_key: id })
  const { signature, clientDataJSON } = told[1].what.parameters.credential.response
  expect([signature, clientDataJSON]).toEqual(Array(2).fill(expect.stringMatching(/^hmac-sha256:/)))
})

test.each([
  [{ rp_id: '' }, /'rp_id' must be set/],
  [{ rp_id: '127.0.0.1', origins: 'https://127.0.0.1' }, /must be a domain/],
  [{ origins: '' }, /'origins' must be set/],
  [{ origins: 'https://leasehold.example/ui/' }, /no origin/],
  [{ origins: 'http://leasehold.example' }, /has to be https/],
  [{ origins: 'https://leasehold.example.evil.example' }, /not within the domain/],
  [{ origins: 'https://evilleasehold.example' }, /not within the domain/],
  [{ allowed_aaguids: 'yubikey' }, /no AAGUID/],
  [{ attestation_ca_pem: 'none' }, /no certificate/],
  [{ max_identity_age: '100d' }, /cannot be over/],
  [{ enrolment_max_login_age: '2h' }, /cannot be over/],
  [{ token_policies: 'root' }, /root/],
  [{ token_period: '1h' }, /might never end/],
  [{ token_type: 'batch' }, /'token_type' cannot be 'batch'/],
  [{ token_max_ttl: 0 }, /must be set/],
])('a configuration with %j is refused', async (changes, why) => {
  const { status, json } = await at.api('POST', 'auth/webauthn/config', { ...CONFIG, ...changes })
  expect([status, json.errors[0]]).toEqual([400, expect.stringMatching(why)])
})
