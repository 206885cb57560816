import { afterAll, beforeAll, expect, test } from 'vitest'
import { challengeHash } from '../../src/identity/webauthn/challenge.ts'
import { takeEnrolment } from '../../src/ledger/webauthn-challenges.ts'
import { openAuthenticator } from '../support/authenticator.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { type Login, openPeople, type People, type Person } from '../support/glass-people.ts'
import { CONFIG, type KeyWorld, ORIGIN, openKeyWorld } from './auth-webauthn-world.ts'

// Whose word a key is worth: that of the provider's mount, as it last was.

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
  people.person(name, { policies: ['keys'], metadata: { role: 'people' }, ...login })

const begins = async (person: Person): Promise<[number, string | undefined]> => {
  const { status, json } = await person.api('POST', 'auth/webauthn/register/begin')
  return [status, json.errors?.[0]]
}

const why = async (answer: ReturnType<TestBroker['api']>) => (await answer).json.errors?.[0]
const groupsOf = async ({ accessor }: Person) => {
  const { rows } = await at.ledger.ledger.query<{ groups: string[] }>(
    `select identity -> 'groups' as groups from leasehold.token where accessor = $1`,
    [accessor],
  )
  return rows[0]?.groups
}

test('only who has just proved themselves at their provider enrols a key', async () => {
  expect(await begins(await seat('ada', { ageSeconds: 301 }))).toEqual([
    403,
    expect.stringContaining('too old'),
  ])
  expect(await begins(await seat('ada', { ageSeconds: -120 }))).toEqual([
    403,
    expect.stringContaining('too old'),
  ])
  const weak = await seat('ada', { amr: ['pwd'] })
  expect(await begins(weak)).toEqual([403, expect.stringContaining('second factor')])
  expect((await begins(await seat('robot', { kind: 'workload' })))[0]).toBe(403)
  expect((await begins(at as unknown as Person))[0]).toBe(403)
  expect((await begins(await seat('ada')))[0]).toBe(200)
})

test('neither a key nor a token that was made from a login enrols another key', async () => {
  await at.api('PUT', 'sys/policies/acl/makes', {
    policy: 'path "auth/token/create*" { capabilities = ["update", "sudo"] }',
  })
  const bea = await seat('bea', { policies: ['keys', 'makes'] })
  const { key } = await keys.enrol(bea)
  expect((await begins(await keys.logIn(key)))[0]).toBe(403)
  for (const path of ['auth/token/create', 'auth/token/create-orphan']) {
    const { client_token: token } = (await bea.api('POST', path, { policies: ['keys'] })).json.auth
    const child: Person['api'] = (method, to, body) => at.api(method, to, body, { 'X-Vault-Token': token })
    expect((await begins({ ...bea, api: child }))[0], path).toBe(403)
  }
})

test('an enrolment is ended by whoever began it, once, in time, and with their newest challenge', async () => {
  const [cas, dan] = [await seat('cas'), await seat('dan')]
  const begin = async (person: Person) =>
    (await person.api('POST', 'auth/webauthn/register/begin')).json.data.options
  const finish = (person: Person, credential: unknown) =>
    person.api('POST', 'auth/webauthn/register/finish', { credential, name: 'a' })
  const key = openAuthenticator()
  const [first, second] = [await begin(cas), await begin(cas)]
  const lateForTheFirst = 'this enrolment took too long, or was not begun by you: begin again'
  expect(await why(finish(cas, key.create(first)))).toBe(lateForTheFirst)
  const made = key.create(second)
  await begin(dan)
  expect(await why(finish(dan, made))).toBe(lateForTheFirst)
  expect(await why(finish(cas, key.create(second, { origin: 'https://evil.example' })))).toContain('origin')
  expect(await why(finish(cas, key.create(second, { verified: false })))).toContain('User verification')
  expect(await why(finish(cas, key.create(second, { rpId: 'evil.example' })))).toContain('not accepted')
  expect(await why(finish(cas, key.create(await keys.begin().then(forCreation))))).toBe(lateForTheFirst)
  expect((await finish(cas, made)).status).toBe(200)
  expect(await why(finish(cas, made))).toBe(lateForTheFirst)
  const third = await begin(dan)
  await at.ledger.advance(301)
  expect(await why(finish(await seat('dan'), key.create(third)))).toBe(lateForTheFirst)
})

/** A login's challenge, where an enrolment's belongs. */
const forCreation = ({ challenge }: { challenge: string }) => ({
  ...{ challenge, rp: { id: CONFIG.rp_id }, user: { id: 'AAAA' } },
})

test('a key that is enrolled already is nobody else’s, and nobody has more than ten', async () => {
  const [eva, fay] = [await seat('eva'), await seat('fay')]
  const key = openAuthenticator()
  const made = key.create((await eva.api('POST', 'auth/webauthn/register/begin')).json.data.options)
  expect(
    (await eva.api('POST', 'auth/webauthn/register/finish', { credential: made, name: 'a' })).status,
  ).toBe(200)
  const begun = (await fay.api('POST', 'auth/webauthn/register/begin')).json.data.options
  const clientDataJSON = key.create(begun).response.clientDataJSON
  const taken = { ...made, response: { ...made.response, clientDataJSON } }
  expect(await why(fay.api('POST', 'auth/webauthn/register/finish', { credential: taken, name: 'a' }))).toBe(
    'this key is enrolled already',
  )
  for (let i = 0; i < 9; i += 1) await keys.enrol(eva)
  expect(await begins(eva)).toEqual([400, expect.stringContaining('10 security keys')])
  expect((await keys.tryLogIn(key, { credential: made.id })).status).toBe(200)
})

test('a key gives the groups of the newest login at the provider, whether or not that one still stands', async () => {
  const gil = await seat('gil', { groups: ['oncall', 'owners'] })
  const { key } = await keys.enrol(gil)
  const early = await keys.logIn(key)
  expect(await groupsOf(early)).toEqual(['oncall', 'owners'])
  await at.ledger.advance(1)
  const later = await seat('gil', { groups: ['owners'] })
  expect((await later.api('POST', 'auth/token/revoke-self')).status).toBe(204)
  expect(await groupsOf(await keys.logIn(key))).toEqual(['owners'])
})

const ROLE = {
  user_claim: 'sub',
  groups_claim: 'groups',
  allowed_redirect_uris: `${ORIGIN}/ui/oidc/callback`,
}
const write = async (path: string, fields: object) => {
  const { status, text } = await at.api('POST', path, fields)
  expect(status, text).toBe(204)
}

test('groups that were lost are lost by whichever role that was learnt', async () => {
  const { key } = await keys.enrol(await seat('lea', { groups: ['oncall', 'owners'] }))
  await at.ledger.advance(1)
  await seat('lea', { groups: ['owners'], metadata: { role: 'everybody' } })
  const byKey = await keys.logIn(key)
  expect(await groupsOf(byKey)).toEqual(['owners'])
  expect((await byKey.api('GET', 'auth/token/lookup-self')).json.data.meta.role).toBe('people')
  await write('auth/oidc/role/people', { ...ROLE, bound_claims: { groups: 'oncall' } })
  expect(await why(keys.tryLogIn(key))).toContain('no longer takes you')
  await write('auth/oidc/role/people', { ...ROLE, bound_claims: {} })
  expect((await keys.tryLogIn(key)).status).toBe(200)
})

test('what the provider has said is read as the role says by now, or refused', async () => {
  const { key } = await keys.enrol(await seat('mia', { groups: ['oncall'] }))
  await write('auth/oidc/role/people', { ...ROLE, groups_claim: '' })
  expect(await groupsOf(await keys.logIn(key))).toEqual([])
  for (const change of [
    { groups_claim: 'teams' },
    { user_claim: 'iss' },
    { claim_mappings: { groups: 'g' } },
  ]) {
    await write('auth/oidc/role/people', { ...ROLE, ...change })
    expect(await why(keys.tryLogIn(key)), JSON.stringify(change)).toContain('no longer takes you')
    await write('auth/oidc/role/people', { ...ROLE, claim_mappings: {} })
  }
  expect(await groupsOf(await keys.logIn(key))).toEqual(['oncall'])
})

test('a key opens nothing where neither its mount nor the role at the provider would', async () => {
  const { key } = await keys.enrol(await seat('noa'))
  const bound = async (role: string[], mount: string[]) => {
    await write('auth/oidc/role/people', { ...ROLE, token_bound_cidrs: role })
    await write('auth/webauthn/config', { ...CONFIG, token_bound_cidrs: mount })
    return keys.tryLogIn(key)
  }
  expect((await bound(['10.0.0.0/8'], [])).status).toBe(403)
  expect((await bound(['10.0.0.0/8'], ['127.0.0.0/8'])).status).toBe(400)
  const { status, json } = await bound(['127.0.0.0/8'], ['127.0.0.1', '10.0.0.0/8'])
  expect(status).toBe(200)
  const { data } = (
    await at.api('GET', 'auth/token/lookup-self', undefined, { 'X-Vault-Token': json.auth.client_token })
  ).json
  expect(data.bound_cidrs).toEqual(['127.0.0.1'])
  expect((await bound([], [])).status).toBe(200)
})

test('an enrolment ends with the login by which it was begun, and with its mount', async () => {
  const oli = await seat('oli')
  const begun = async () => {
    const { options } = (await oli.api('POST', 'auth/webauthn/register/begin')).json.data
    const { rows } = await at.ledger.ledger.query<{ mountId: string; entityId: string; tokenId: string }>(
      `select w.mount_id as "mountId", w.entity_id as "entityId", encode(k.id, 'hex') as "tokenId"
       from leasehold.token k join leasehold.webauthn_enrolment w on w.entity_id = k.entity_id
       where k.accessor = $1`,
      [oli.accessor],
    )
    const [row] = rows
    if (!row) throw new Error('nothing was begun')
    const { tokenId, ...where } = row
    return { tokenId, enrolment: { ...where, challenge: challengeHash(options.challenge) } }
  }
  const first = await begun()
  expect(await takeEnrolment(at.ledger.ledger, first.enrolment, first.tokenId)).toBe(true)
  const second = await begun()
  const elsewhere = { ...second.enrolment, mountId: 'gone' }
  expect(await takeEnrolment(at.ledger.ledger, elsewhere, second.tokenId)).toBe(false)
  expect((await oli.api('POST', 'auth/token/revoke-self')).status).toBe(204)
  expect(await takeEnrolment(at.ledger.ledger, second.enrolment, second.tokenId)).toBe(false)
})

test('a key gives nothing once its person has not been seen at the provider for too long, however often it is used', async () => {
  const { key } = await keys.enrol(await seat('hal'))
  await at.ledger.advance(20 * 86_400)
  await keys.logIn(key)
  await at.ledger.advance(10 * 86_400 - 600)
  const last = await keys.logIn(key)
  const { explicit_max_ttl: left } = (await last.api('GET', 'auth/token/lookup-self')).json.data
  expect(left).toBeLessThanOrEqual(600)
  await at.ledger.advance(601)
  expect((await last.api('GET', 'auth/token/lookup-self')).status).toBe(403)
  expect(await why(keys.tryLogIn(key))).toContain('too long ago')
  await seat('hal')
  expect((await keys.tryLogIn(key)).status).toBe(200)
})

test('a key gives nothing to whom the role no longer takes, or whose provider is another now', async () => {
  const { key } = await keys.enrol(await seat('ina'))
  await write('auth/oidc/role/people', { ...ROLE, bound_claims: { sub: 'somebody-else' } })
  expect(await why(keys.tryLogIn(key))).toContain('no longer takes you')
  expect((await at.api('DELETE', 'auth/oidc/role/people')).status).toBe(204)
  expect(await why(keys.tryLogIn(key))).toContain('is no more')
  await write('auth/oidc/role/people', ROLE)
  expect((await keys.tryLogIn(key)).status).toBe(200)
  const config = {
    oidc_discovery_url: 'https://other.example',
    oidc_client_id: 'leasehold',
    oidc_client_secret: 'known to the test only',
    skip_jwks_validation: true,
  }
  await write('auth/oidc/config', config)
  expect(await why(keys.tryLogIn(key))).toContain('log in at your identity provider first')
  await write('auth/oidc/config', { ...config, oidc_discovery_url: 'https://issuer.example' })
  expect((await keys.tryLogIn(key)).status).toBe(200)
})

test('whom their provider has disabled gets nothing by a key', async () => {
  const { key } = await keys.enrol(await seat('kai'))
  await at.ledger.ledger.query(
    `insert into leasehold.disabled_person (id, person, disabled, event, jti, said_at, mount)
     values ('one', 'https://issuer.example#kai', true, 'account-disabled', 'j', leasehold.ledger_now(), 'auth/oidc/')`,
  )
  const { status, json } = await keys.tryLogIn(key)
  expect([status >= 400, json.auth ?? null]).toEqual([true, null])
  await at.ledger.ledger.query('delete from leasehold.disabled_person')
  expect((await keys.tryLogIn(key)).status).toBe(200)
})

test('with the provider’s mount go the logins by keys of those whom it knew, and the keys themselves', async () => {
  const { key } = await keys.enrol(await seat('jon'))
  const byKey = await keys.logIn(key)
  const kept = async () => {
    const { rows } = await at.ledger.ledger.query<{ mount: string }>(
      'select m.path as mount from leasehold.webauthn_key w join leasehold.mount m on m.id = w.mount_id',
    )
    return new Set(rows.map(({ mount }) => mount))
  }
  await write('sys/auth/second', { type: 'webauthn' })
  await at.ledger.ledger.query(
    `insert into leasehold.webauthn_key select 'copy', m.id, w.credential_id, w.public_key, w.counter, w.aaguid,
       w.transports, w.device_type, w.backed_up, w.name, w.entity_id, w.role, w.person
     from leasehold.webauthn_key w, leasehold.mount m where m.path = 'auth/second/' limit 1`,
  )
  expect(await kept()).toEqual(new Set(['auth/webauthn/', 'auth/second/']))
  expect((await at.api('DELETE', 'sys/auth/second')).status).toBe(204)
  expect(await kept()).toEqual(new Set(['auth/webauthn/']))
  expect((await at.api('DELETE', 'sys/auth/oidc')).status).toBe(204)
  expect(await kept()).toEqual(new Set())
  expect((await byKey.api('GET', 'auth/token/lookup-self')).status).toBe(403)
  expect(await why(keys.tryLogIn(key))).toContain('the security key was not accepted')
})
