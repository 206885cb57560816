import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { openPeople, type People, type Person } from '../support/glass-people.ts'
import { type JwksServer, newSigningKey, startJwksServer } from '../support/oidc-issuer.ts'
import { AUDIENCE, CAEP, RISC, type Transmitter, transmitter } from '../support/security-events.ts'
import { type KeyWorld, openKeyWorld } from './auth-webauthn-world.ts'

// What issuers say of people, and what becomes of their security keys: of those as well that somebody else has enrolled.

const ISSUER = 'https://issuer.example'

let at: TestBroker
let people: People
let keys: KeyWorld
let issuer: JwksServer
let idp: Transmitter
beforeAll(async () => {
  at = await openTestBroker()
  people = await openPeople(at)
  keys = await openKeyWorld(at)
  const key = await newSigningKey('events')
  issuer = await startJwksServer([key])
  await at.api('POST', 'sys/auth/idp', { type: 'jwt' })
  const config = { jwks_url: issuer.url, bound_issuer: ISSUER, event_audience: AUDIENCE }
  expect((await at.api('POST', 'auth/idp/config', config)).text).toBe('')
  idp = transmitter(at, { issuer: ISSUER, key, mount: 'idp' })
})
afterAll(async () => {
  await at.close()
  await issuer.stop()
})

const seat = (name: string): Promise<Person> =>
  people.person(name, { policies: ['keys'], metadata: { role: 'people' } })

const keysOf = async (person: Person): Promise<string[]> =>
  (await person.api('LIST', 'auth/webauthn/keys')).json?.data?.keys ?? []

const PROVIDER_FIRST = 'log in at your identity provider first, and then by your security key'
const errorOf = async (answer: ReturnType<TestBroker['api']>) => (await answer).json.errors?.[0]

test.each([
  ['a credential that was found elsewhere', [`${RISC}credential-compromise`]],
  [
    'an account that was disabled, and is enabled again',
    [`${RISC}account-disabled`, `${RISC}account-enabled`],
  ],
])('%s takes every key of its person, also one by a login that is over', async (name, types) => {
  const other = await seat('somebody-else')
  const { id } = await keys.enrol(other)
  const thief = await seat(name)
  const { key } = await keys.enrol(thief)
  const byKey = await keys.logIn(key)
  expect((await thief.api('POST', 'auth/token/revoke-self')).status).toBe(204)
  await at.ledger.advance(1)
  for (const type of types) await idp.says(type, name)
  expect((await byKey.api('GET', 'auth/token/lookup-self')).status).toBe(403)
  expect(await errorOf(keys.tryLogIn(key))).toBe('the security key was not accepted')
  expect(await keysOf(await seat(name))).toEqual([])
  expect(await errorOf(keys.tryLogIn(key))).toBe('the security key was not accepted')
  expect(await keysOf(other)).toContain(id)
})

test.each([`${CAEP}session-revoked`, `${RISC}sessions-revoked`])(
  'after %s a key gives nothing by any login before it, and what the next one says',
  async (type) => {
    const name = type.replaceAll('/', '-')
    const person = await seat(name)
    const { key, id } = await keys.enrol(person)
    expect((await person.api('POST', 'auth/token/revoke-self')).status).toBe(204)
    expect((await keys.tryLogIn(key)).status).toBe(200)
    await at.ledger.advance(1)
    await idp.says(type, name)
    expect(await errorOf(keys.tryLogIn(key))).toBe(PROVIDER_FIRST)
    await at.ledger.advance(1)
    expect(await keysOf(await seat(name))).toEqual([id])
    expect((await keys.tryLogIn(key)).status).toBe(200)
  },
)

test('a warning alone neither signs anybody out nor takes their key', async () => {
  const { key } = await keys.enrol(await seat('warned'))
  await idp.says(`${CAEP}risk-level-change`, 'warned', { current_level: 'HIGH' })
  expect((await keys.tryLogIn(key)).status).toBe(200)
})

test('that somebody was signed out is kept for as long as a login before it could say anything', async () => {
  const marks = async () => {
    const { rows } = await at.ledger.ledger.query('select from leasehold.signed_out_person')
    return rows.length
  }
  await keys.enrol(await seat('kept'))
  await idp.says(`${CAEP}session-revoked`, 'kept')
  await at.ledger.advance(90 * 86_400)
  await at.broker.sweep.once()
  expect(await marks()).toBeGreaterThan(0)
  await at.ledger.advance(11 * 86_400)
  await at.broker.sweep.once()
  expect(await marks()).toBe(0)
})
