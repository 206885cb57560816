import { createPrivateKey } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { AAGUID, openAuthenticator, type Twist } from '../support/authenticator.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { type Authority, newAuthority } from '../support/certificates.ts'
import { type Login, openPeople, type People, type Person } from '../support/glass-people.ts'
import { CONFIG, type KeyWorld, ORIGIN, openKeyWorld } from './auth-webauthn-world.ts'

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

let number = 0
const somebody = (login?: Login) => {
  number += 1
  return seat(`person-${number}`, login)
}
const enrolled = async (login?: Login) => {
  const person = await somebody(login)
  return { person, ...(await keys.enrol(person)) }
}

/** Why the newest refused login was refused, as the record has it. */
async function reason(): Promise<string> {
  const { rows } = await at.ledger.ledger.query<{ body: string }>(
    `select body from leasehold.audit_event where type = 'login' order by at desc limit 1`,
  )
  return JSON.parse(rows[0]?.body ?? '{}').details?.reason
}

const refused = async (answer: ReturnType<TestBroker['api']>, why: string) => {
  const { status, json } = await answer
  expect(json?.auth ?? null).toBeNull()
  expect([status, await reason(), json.errors]).toEqual([400, why, [expect.any(String)]])
}

const configured = async (changes: object, work: () => Promise<void>) => {
  expect((await at.api('POST', 'auth/webauthn/config', { ...CONFIG, ...changes })).status).toBe(204)
  await work()
  expect((await at.api('POST', 'auth/webauthn/config', CONFIG)).status).toBe(204)
}

test('what was shown once is shown in vain again, by keys that count and by keys that do not', async () => {
  for (const counter of [1, 0]) {
    const key = Object.assign(openAuthenticator(), { counter })
    await keys.enrol(await somebody(), key)
    const options = await keys.begin()
    const shown = key.get(options)
    expect((await keys.finish(shown)).status).toBe(200)
    await refused(keys.finish(shown), 'challenge_spent')
    await refused(keys.finish(key.get(options)), 'challenge_spent')
  }
})

test('of many who show the same answer at once, one is let in', async () => {
  const key = Object.assign(openAuthenticator(), { counter: 0 })
  await keys.enrol(await somebody(), key)
  const shown = key.get(await keys.begin())
  const answers = await Promise.all(Array.from({ length: 8 }, () => keys.finish(shown)))
  expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(400)])
})

test('a challenge is good for its mount, for a login, and for five minutes', async () => {
  const { person, key } = await enrolled()
  await at.api('POST', 'sys/auth/second', { type: 'webauthn' })
  await at.api('POST', 'auth/second/config', CONFIG)
  await refused(keys.finish(key.get(await keys.begin('second'))), 'challenge_unusable')
  const { options } = (await person.api('POST', 'auth/webauthn/register/begin')).json.data
  await refused(keys.tryLogIn(key, { challenge: options.challenge }), 'challenge_unusable')
  await refused(keys.tryLogIn(key, { challenge: 'AAAA' }), 'challenge_unusable')
  const late = await keys.begin()
  const bent = Buffer.from(late.challenge, 'base64url')
  bent[31] = (bent[31] ?? 0) ^ 1
  await refused(keys.tryLogIn(key, { challenge: bent.toString('base64url') }), 'challenge_unusable')
  await at.ledger.advance(301)
  await refused(keys.finish(key.get(late)), 'challenge_unusable')
  expect((await keys.tryLogIn(key)).status).toBe(200)
})

test('asking for challenges leaves nothing behind', async () => {
  const count = async () => {
    const { rows } = await at.ledger.ledger.query<{ n: number }>(
      `select (select count(*) from leasehold.webauthn_spent) + (select count(*) from leasehold.webauthn_enrolment)
         + (select count(*) from leasehold.audit_event) as n`,
    )
    return rows[0]?.n
  }
  const before = await count()
  for (let i = 0; i < 5; i += 1) await keys.begin()
  expect(await count()).toBe(before)
})

test('what was begun, and what was used up, is dropped when its time is over', async () => {
  const { person, key } = await enrolled()
  await person.api('POST', 'auth/webauthn/register/begin')
  expect((await keys.tryLogIn(key)).status).toBe(200)
  const left = async () => {
    const { rows } = await at.ledger.ledger.query<{ begun: number; spent: number }>(
      `select (select count(*) from leasehold.webauthn_enrolment) as begun,
         (select count(*) from leasehold.webauthn_spent) as spent`,
    )
    return rows[0]
  }
  const before = await left()
  expect([before?.begun, before?.spent]).not.toContain(0)
  await at.ledger.advance(3_600)
  await at.broker.sweep.once()
  expect(await left()).toEqual({ begun: 0, spent: 0 })
})

test.each([
  ['another site', { origin: 'https://leasehold.example.evil.example' }],
  ['another port of ours', { origin: `${ORIGIN}:8443` }],
  ['another domain of the key', { rpId: 'evil.example' }],
  ['an owner who is not verified', { verified: false }],
  ['nobody there', { present: false }],
  ['a signature by another key', { forged: true }],
  ['the answer to an enrolment', { type: 'webauthn.create' }],
])('a login with %s is refused', async (_, twist) => {
  const { key } = await enrolled()
  await refused(keys.tryLogIn(key, twist), 'not_verified')
  expect((await keys.tryLogIn(key)).status).toBe(200)
})

test('whoever mixes two people up, and whoever shows what no key said, is refused', async () => {
  const [one, two] = [await enrolled(), await enrolled()]
  const stolen = two.key.get(await keys.begin())
  const mixed = { ...one.key.get(await keys.begin()), id: stolen.id, rawId: stolen.id }
  await refused(keys.finish(mixed), 'wrong_person')
  await refused(keys.finish({ ...mixed, response: { ...mixed.response, userHandle: null } }), 'not_verified')
  await refused(keys.tryLogIn(one.key, { userHandle: 'AAAA' }), 'wrong_person')
  for (const credential of [{}, { id: 'x' }, { id: 1, response: {} }]) {
    await refused(keys.finish(credential), 'malformed')
  }
  const long = { ...stolen, response: { ...stolen.response, clientDataJSON: 'x'.repeat(20_000) } }
  await refused(keys.finish(long), 'malformed')
  await refused(keys.finish({ ...stolen, id: 'AAAA', rawId: 'AAAA' }), 'unknown_key')
})

test('a copy of a key shows itself by what it counts, and then not by a forged answer', async () => {
  const { key } = await enrolled()
  await keys.logIn(key, { counter: 10 })
  await refused(keys.tryLogIn(key, { counter: 9 }), 'counter_regressed')
  await refused(keys.tryLogIn(key, { counter: 10 }), 'counter_regressed')
  await refused(keys.tryLogIn(key, { counter: 0 }), 'counter_regressed')
  await refused(keys.tryLogIn(key, { counter: 5, forged: true }), 'not_verified')
  await keys.logIn(key, { counter: 11 })
})

test('a key that can be copied is not enrolled, nor taken once it can be', async () => {
  const person = await somebody()
  for (const twist of [{ eligible: true }, { eligible: true, backedUp: true }]) {
    const { status, json } = await keys.tryEnrol(person, undefined, twist)
    expect([status, json.errors[0]]).toEqual([400, expect.stringContaining('can be copied')])
  }
  const { key } = await keys.enrol(person)
  await refused(keys.tryLogIn(key, { eligible: true, backedUp: true }), 'not_hardware_bound')
})

test('where copies are allowed, a key that can be copied says so, and no other becomes one', async () => {
  await configured({ require_hardware_bound: false }, async () => {
    const person = await somebody()
    const soft = openAuthenticator()
    const { id } = await keys.enrol(person, soft, { eligible: true, backedUp: true })
    const { accessor } = await keys.logIn(soft, { eligible: true, backedUp: true })
    const { rows } = await at.ledger.ledger.query<{ amr: string[] }>(
      `select identity -> 'amr' as amr from leasehold.token where accessor = $1`,
      [accessor],
    )
    expect(rows[0]?.amr).toEqual(['swk', 'user', 'mfa'])
    expect((await person.api('GET', `auth/webauthn/keys/${id}`)).json.data.hardware_bound).toBe(false)
    const { key } = await keys.enrol(person)
    await refused(keys.tryLogIn(key, { eligible: true }), 'not_hardware_bound')
    await refused(keys.tryLogIn(soft, { eligible: false }), 'not_hardware_bound')
  })
  const other = openAuthenticator()
  await configured({ require_hardware_bound: false }, async () => {
    await keys.enrol(await somebody(), other, { eligible: true, backedUp: true })
  })
  await refused(keys.tryLogIn(other, { eligible: true, backedUp: true }), 'not_hardware_bound')
})

test('a key with more of an id than there is, or with an answer without end, is not enrolled', async () => {
  const person = await somebody()
  const why = async (answer: ReturnType<TestBroker['api']>) => {
    const { status, json } = await answer
    return [status, json.errors?.[0]]
  }
  const tooLong = [400, expect.stringContaining('too long')]
  expect(await why(keys.tryEnrol(person, undefined, { idBytes: 1_024 }))).toEqual(tooLong)
  const { options } = (await person.api('POST', 'auth/webauthn/register/begin')).json.data
  const made = openAuthenticator().create(options)
  const credential = { ...made, clientExtensionResults: { padding: 'x'.repeat(16_384) } }
  const finish = person.api('POST', 'auth/webauthn/register/finish', { credential, name: 'a' })
  expect(await why(finish)).toEqual(tooLong)
  const { key } = await keys.enrol(person, undefined, { idBytes: 1_023 })
  expect((await keys.tryLogIn(key)).status).toBe(200)
})

test('where models are named, a key has to say which it is, in what it signs', async () => {
  await configured({ allowed_aaguids: AAGUID.toUpperCase() }, async () => {
    const person = await somebody()
    const why = async (twist: object) => (await keys.tryEnrol(person, undefined, twist)).json.errors[0]
    expect(await why({})).toContain('does not say what model')
    const other = '00000000-0000-0000-0000-000000000001'
    expect(await why({ statement: 'self', aaguid: other })).toContain('keys of this model')
    expect((await keys.tryEnrol(person, undefined, { statement: 'self' })).status).toBe(200)
  })
})

test('where makers are named, a key shows that one of them made it', async () => {
  const [maker, stranger] = [newAuthority('maker'), newAuthority('somebody')]
  const made = (by: Authority) => {
    const { cert, key } = by.issueForKeys('batch 7')
    const certificates = [Buffer.from(cert.replace(/-----[^-]+-----|\s/g, ''), 'base64')]
    return { statement: { key: createPrivateKey(key), certificates } }
  }
  await configured({ attestation_ca_pem: [maker.cert] }, async () => {
    const person = await somebody()
    const why = async (twist: Twist) => (await keys.tryEnrol(person, undefined, twist)).json.errors[0]
    expect(await why({})).toContain('does not say what model')
    expect(await why({ statement: 'self' })).toContain('no certificate of its maker')
    expect(await why(made(stranger))).toContain('the security key was not accepted')
    const { status, text } = await keys.tryEnrol(person, undefined, made(maker))
    expect(status, text).toBe(200)
  })
})
