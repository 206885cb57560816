import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Person } from '../support/glass-people.ts'
import { type JwksServer, newSigningKey, type SigningKey, startJwksServer } from '../support/oidc-issuer.ts'
import { AUDIENCE, CAEP, RISC, type Transmitter, transmitter } from '../support/security-events.ts'
import { type AccessWorld, expectOnRecord, openAccessWorld } from './break-glass-access-world.ts'

// What issuers say of people, and what becomes of what those asked for, have and have agreed to. The people come in by
// `auth/oidc/`; what their issuer says of them by another mount.

/** As the people of the world have it in their logins. */
const ISSUER = 'https://issuer.example'

let at: AccessWorld
let key: SigningKey
let keys: JwksServer
let idp: Transmitter
/** Somebody of whom no earlier test has heard. */
let asker: Person
let name: string
let count = 0

beforeAll(async () => {
  const hook = { name: 'hook', type: 'webhook', url: 'https://127.0.0.1:1/', events: ['lose_vote'] }
  at = await openAccessWorld({ max_live: 20, deny_threshold: 1, notify: [hook] })
  key = await newSigningKey('events')
  keys = await startJwksServer([key])
  await at.api('POST', 'sys/auth/idp', { type: 'jwt' })
  const written = await at.api('POST', 'auth/idp/config', {
    jwks_url: keys.url,
    bound_issuer: ISSUER,
    event_audience: AUDIENCE,
  })
  expect(written.text).toBe('')
  idp = transmitter(at, { issuer: ISSUER, key, mount: 'idp' })
})
afterAll(async () => {
  await at.close()
  await keys.stop()
})
beforeEach(async () => {
  count += 1
  name = `asker-${count}`
  asker = await at.people.person(name)
})

const approve = async (id: string, ...voters: Person[]) => {
  for (const voter of voters) {
    const { plan_hash } = await at.look(id)
    expect(await at.act(voter, id, 'approve', { plan_hash })).toMatchObject({ status: 200 })
  }
}

/** A mount for events of the same issuer, whose configuration says where its keys are. Answers its name. */
async function another(path: string, { url }: JwksServer): Promise<string> {
  await at.api('POST', `sys/auth/${path}`, { type: 'jwt' })
  const config = { jwks_url: url, bound_issuer: ISSUER, event_audience: AUDIENCE }
  expect((await at.api('POST', `auth/${path}/config`, config)).text).toBe('')
  return path
}

/** The words that keep the asker out. */
async function disabledBy(): Promise<{ id: string; mount: string }[]> {
  const { status, json } = await at.api('LIST', 'break-glass/disabled-people')
  const people: { id: string; person: string; mount: string }[] = status === 404 ? [] : json.data.people
  return people.filter(({ person }) => person === `${ISSUER}#${name}`)
}

/** Of the events on record about the token with this `jti`. */
async function detailsOf(jti: string): Promise<object[]> {
  const { rows } = await at.ledger.ledger.query<{ body: string }>(
    `select body from leasehold.audit_event where strpos(body, $1) > 0 and type = 'request'`,
    [jti],
  )
  return rows.map(({ body }) => JSON.parse(body).details)
}

/** People with logins of just now. */
async function voters() {
  const ann = await at.people.person(`ann-${count}`, { groups: ['oncall'] })
  const olga = await at.people.person(`olga-${count}`, { groups: ['owners'] })
  return { ann, olga }
}

async function approved(): Promise<string> {
  const { ann, olga } = await voters()
  const { id } = await at.ask(asker)
  await approve(id, ann, olga)
  return id
}

async function active(): Promise<string> {
  const id = await approved()
  expect(await at.act(asker, id, 'activate')).toMatchObject({ status: 200 })
  return id
}

const events = async (id: string) => (await at.look(id)).events as { event: string; detail: object }[]
const isIn = async ({ api }: Person) => (await api('GET', 'auth/token/lookup-self')).status

/** Another server is at it: no row tells how far it has got. */
const asIfActivating = (id: string) =>
  at.ledger.ledger.query(
    `update leasehold.access_grant set state = 'activating', version = version + 1,
       next_action_at = leasehold.ledger_now() + interval '1 minute' where id = $1`,
    [id],
  )

describe('an account that was disabled', () => {
  test('voids what its owner asked for, ends what they have, in whatever state, and keeps them out', async () => {
    const pending = (await at.ask(asker)).id
    const [ready, making, used, suspended] = [
      await approved(),
      await approved(),
      await active(),
      await active(),
    ]
    await asIfActivating(making)
    await at.act(at.sam, suspended, 'suspend', { reason: 'odd queries' })
    await idp.says(`${RISC}account-disabled`, name, { reason: 'hijacking' })

    expect(await isIn(asker)).toBe(403)
    for (const id of [pending, ready]) {
      expect(await at.look(id)).toMatchObject({ state: 'voided', end_reason: 'requester_disabled' })
      expect((await events(id)).at(-1)).toMatchObject({ event: 'void', detail: { who: 'identity' } })
    }
    for (const id of [used, suspended]) {
      expect(await at.comesTo(id, 'review_due')).toMatchObject({ end_reason: 'requester_disabled' })
      expect((await at.leases(id)).every(({ state }) => state === 'revoked')).toBe(true)
      await expectOnRecord(at, id)
    }
    expect(await at.comesTo(making, 'review_due')).toMatchObject({ end_reason: 'requester_disabled' })
    await expectOnRecord(at, pending)

    await expect(at.people.person(name)).rejects.toThrow('the issuer has disabled this account')
    const [known] = (await at.api('LIST', 'break-glass/disabled-people')).json.data.people
    expect(known).toMatchObject({
      person: `${ISSUER}#${name}`,
      event: `${RISC}account-disabled`,
      mount: 'auth/idp/',
    })

    await idp.says(`${RISC}account-enabled`, name)
    expect(await isIn(await at.people.person(name))).toBe(200)
    expect((await at.api('LIST', 'break-glass/disabled-people')).status).toBe(404)
  })

  test('ends tokens that were made from its own, orphans and all, and leases that outlive tokens', async () => {
    await at.api('PUT', 'sys/policies/acl/free', {
      policy: `path "*" { capabilities = ["create", "read", "update", "sudo"] }`,
    })
    await at.api('POST', 'database/roles/outlives', {
      db_name: 'db',
      member_of: at.target.readers,
      lease_outlives_token: true,
    })
    const free = await at.people.person(name, { policies: ['free'] })
    const orphan = (await free.api('POST', 'auth/token/create-orphan', {})).json.auth.client_token
    const read = await free.api('GET', 'database/creds/outlives')
    expect(read, read.text).toMatchObject({ status: 200 })
    await idp.says(`${RISC}account-purged`, name)
    const { status } = await at.api('GET', 'auth/token/lookup-self', undefined, { 'X-Vault-Token': orphan })
    expect(status).toBe(403)
    await at.sweep()
    expect(await at.target.account(read.json.data.username)).toBe('absent')
  })

  test('is lifted by an operator, and by no older word of the issuer', async () => {
    const iat = Math.floor((await at.ledger.now()).getTime() / 1_000)
    await idp.says(`${RISC}account-disabled`, name)
    await idp.says(`${RISC}account-enabled`, name, {}, { iat: iat - 10 })
    await expect(at.people.person(name)).rejects.toThrow('disabled')
    const [{ id }] = (await at.api('LIST', 'break-glass/disabled-people')).json.data.people
    expect((await asker.api('DELETE', `break-glass/disabled-people/${id}`)).status).toBe(403)
    expect((await at.api('DELETE', `break-glass/disabled-people/${id}`)).status).toBe(204)
    expect((await at.api('DELETE', `break-glass/disabled-people/${id}`)).status).toBe(404)
    expect(await isIn(await at.people.person(name))).toBe(200)
    // One that comes late tells of what was.
    await idp.says(`${RISC}account-enabled`, name)
    await idp.says(`${RISC}account-disabled`, name, {}, { iat: iat - 10 })
    expect(await isIn(await at.people.person(name))).toBe(200)
  })

  test('is open again only by word of the mount that said it was not', async () => {
    const own = await newSigningKey('rogue')
    const rogueKeys = await startJwksServer([own])
    try {
      const rogue = await another('rogue', rogueKeys)
      const told = transmitter(at, { issuer: ISSUER, key: own, mount: rogue })
      await idp.says(`${RISC}account-disabled`, name)
      // Whoever may write a configuration speaks for any issuer: first as if it had been their word all along.
      await told.says(`${RISC}account-disabled`, name)
      await told.says(`${RISC}account-enabled`, name, {}, { jti: `rogue-${count}` })
      await expect(at.people.person(name)).rejects.toThrow('the issuer has disabled this account')
      expect(await detailsOf(`rogue-${count}`)).toMatchObject([{ enabled: false }])
      expect(await disabledBy()).toMatchObject([{ mount: 'auth/idp/' }])
      await idp.says(`${RISC}account-enabled`, name)
      expect(await isIn(await at.people.person(name))).toBe(200)
    } finally {
      await rogueKeys.stop()
    }
  })

  test('is not closed again by the same word at another mount, once an operator has lifted it', async () => {
    const mount = await another('second', keys)
    const iat = Math.floor((await at.ledger.now()).getTime() / 1_000)
    const token = (issuedAt: number) =>
      idp.token({
        sub_id: { format: 'iss_sub', iss: ISSUER, sub: name },
        events: { [`${RISC}account-disabled`]: {} },
        iat: issuedAt,
      })
    const second = transmitter(at, { issuer: ISSUER, key, mount })
    const [early, late] = [await token(iat - 20), await token(iat - 10)]
    for (const to of [idp, second]) expect((await to.push(early)).status).toBe(202)
    expect((await idp.push(late)).status).toBe(202)
    const [known, ...more] = await disabledBy()
    expect(more).toHaveLength(1)
    expect((await at.api('DELETE', `break-glass/disabled-people/${known?.id}`)).status).toBe(204)
    const again = await at.people.person(name)
    for (const to of [idp, second]) expect((await to.push(late)).status).toBe(202)
    expect(await isIn(again)).toBe(200)
    expect(await disabledBy()).toEqual([])
    // What the issuer says from now on is heard.
    await second.says(`${RISC}account-disabled`, name, {}, { iat: iat + 30 })
    expect(await isIn(again)).toBe(403)
    await second.says(`${RISC}account-enabled`, name, {}, { iat: iat + 30 })
  })

  test('takes its votes with it: the request waits again for another', async () => {
    const { ann, olga } = await voters()
    const { id } = await at.ask(asker)
    await approve(id, ann, olga)
    await idp.says(`${RISC}account-disabled`, `olga-${count}`)
    expect(await at.look(id)).toMatchObject({ state: 'pending' })
    expect((await events(id)).at(-1)).toMatchObject({
      event: 'lose_vote',
      detail: { who: 'identity', because: 'the voter was disabled', issuer: ISSUER },
    })
    expect((await at.act(asker, id, 'activate')).status).toBe(409)
    await approve(id, await at.people.person(`omar-${count}`, { groups: ['owners'] }))
    expect((await at.look(id)).state).toBe('approved')
    await expectOnRecord(at, id)
  })
})

test('somebody whom an operator reports is out of all they asked for at once, each on record by itself', async () => {
  const [one, two] = [await active(), (await at.ask(asker)).id]
  const { requester } = await at.look(one)
  const answer = await at.api('POST', `break-glass/disabled-requesters/${requester.id}`)
  expect(answer.json.data.requests).toEqual([one, two])
  expect(await at.comesTo(one, 'review_due')).toMatchObject({ end_reason: 'requester_disabled' })
  for (const id of [one, two]) await expectOnRecord(at, id)
})

describe('sessions that were revoked', () => {
  test('end tokens and votes; whoever logs in anew votes anew', async () => {
    const { ann, olga } = await voters()
    const { id } = await at.ask(asker)
    await approve(id, ann, olga)
    await idp.says(`${CAEP}session-revoked`, `ann-${count}`, { initiating_entity: 'admin' })
    expect(await isIn(ann)).toBe(403)
    expect(await at.look(id)).toMatchObject({ state: 'pending' })
    await approve(id, (await voters()).ann)
    expect((await at.look(id)).state).toBe('approved')
  })

  test('end the leases of the token, and leave what was asked for', async () => {
    const id = await active()
    await idp.says(`${RISC}sessions-revoked`, name)
    await at.sweep()
    expect(await at.look(id)).toMatchObject({ state: 'active' })
    expect((await at.leases(id)).map(({ state }) => state)).toEqual(['revoked'])
  })

  test('take back a yes to more time, and not one that was counted', async () => {
    const id = await active()
    await at.ledger.advance(21 * 60)
    const again = await at.people.person(name)
    const asked = await at.act(again, id, 'extend', { duration: '5m', reason: 'still stuck' })
    expect(asked, asked.text).toMatchObject({ status: 200 })
    const { plan_hash } = (await at.look(id)).extensions[0]
    const nora = await at.people.person(`nora-${count}`, { groups: ['oncall'] })
    expect(await at.act(nora, id, 'approve-extension', { plan_hash })).toMatchObject({ status: 200 })
    for (const voter of [`nora-${count}`, `ann-${count}`]) await idp.says(`${CAEP}session-revoked`, voter)
    const { olga } = await voters()
    expect(await at.act(olga, id, 'approve-extension', { plan_hash })).toMatchObject({ status: 200 })
    expect(await at.look(id)).toMatchObject({ state: 'active', extensions: [{ state: 'pending' }] })
    const lost = (await events(id)).filter(({ event }) => event === 'lose_vote')
    expect(lost).toHaveLength(1)
    expect((await at.look(id)).deliveries).toMatchObject([{ destination: 'hook', event: 'lose_vote' }])
    await expectOnRecord(at, id)
  })
})

describe('a warning', () => {
  test.each([
    [`${CAEP}risk-level-change`, { principal: 'USER', current_level: 'HIGH', previous_level: 'LOW' }],
    [`${CAEP}device-compliance-change`, { current_status: 'not-compliant', previous_status: 'compliant' }],
    [`${RISC}credential-compromise`, { credential_type: 'password' }],
  ])('suspends what is active, with its evidence: %s', async (type, payload) => {
    const id = await active()
    const waiting = (await at.ask(asker)).id
    await idp.says(type, name, payload, { jti: `warning-${count}` })
    expect(await at.look(id)).toMatchObject({ state: 'suspended' })
    expect((await events(id)).at(-1)).toMatchObject({
      event: 'suspend',
      detail: { who: 'system', issuer: ISSUER, jti: `warning-${count}`, event_types: [type] },
    })
    expect((await at.look(waiting)).state).toBe('pending')
    await at.sweep()
    expect((await at.leases(id)).map(({ state }) => state)).toEqual(['revoked'])
    const again = await at.people.person(name)
    expect((await at.act(again, id, 'collect')).status).toBe(409)
    const [sam, sven] = [
      await at.people.person('sam', { groups: ['security'] }),
      await at.people.person('sven', { groups: ['security'] }),
    ]
    await at.act(sam, id, 'resume', { comment: 'talked to them' })
    expect((await at.look(id)).state).toBe('suspended')
    await at.act(sven, id, 'resume', { comment: 'so did I' })
    expect((await at.look(id)).state).toBe('active')
    await expectOnRecord(at, id)
  })

  test('lets what is only being made fail', async () => {
    const id = await approved()
    await asIfActivating(id)
    await idp.says(`${CAEP}risk-level-change`, name, { principal: 'USER', current_level: 'HIGH' })
    expect(await at.comesTo(id, 'review_due')).toMatchObject({ end_reason: 'activation_failed' })
  })

  test.each([
    [`${CAEP}risk-level-change`, { principal: 'USER', current_level: 'MEDIUM' }],
    [`${CAEP}device-compliance-change`, { current_status: 'compliant' }],
    [`${CAEP}assurance-level-change`, { current_level: 'nist-aal1' }],
    ['https://schemas.openid.net/secevent/ssf/event-type/verification', { state: 'xyz' }],
  ])('that is none, or of a kind not known, changes nothing: %s', async (type, payload) => {
    const id = await active()
    await idp.says(type, name, payload)
    expect((await at.look(id)).state).toBe('active')
    expect(await isIn(asker)).toBe(200)
  })
})

test('what an issuer says of the people of another, or of nobody, changes nothing and is on record', async () => {
  const subjects = [
    { format: 'iss_sub', iss: 'https://elsewhere.example', sub: name },
    { format: 'iss_sub', iss: `${ISSUER}#x`, sub: name },
    { format: 'email', email: `${name}@example.com` },
    { format: 'phone_number', phone_number: '+1 206' },
    { format: 'complex', device: { format: 'opaque', id: name } },
    'everybody',
  ]
  for (const [i, sub_id] of subjects.entries()) {
    const jti = `nobody-${i}-of-${count}`
    await idp.says(`${RISC}account-disabled`, name, {}, { jti, sub_id })
    expect(await isIn(asker), JSON.stringify(sub_id)).toBe(200)
    const { rows } = await at.ledger.ledger.query<{ body: string }>(
      'select body from leasehold.audit_event where strpos(body, $1) > 0',
      [jti],
    )
    const [event, ...more] = rows.map(({ body }) => JSON.parse(body))
    expect(more).toEqual([])
    expect(event).toMatchObject({
      type: 'request',
      what: { path: 'auth/idp/events' },
      details: { jti, issuer: ISSUER, subject_known: false, repeated: false },
    })
  }
})

test('other ways to name a person mean the same one', async () => {
  const type = `${CAEP}session-revoked`
  const iss_sub = { format: 'iss_sub', iss: ISSUER, sub: name }
  for (const claims of [
    { sub_id: { format: 'opaque', id: name } },
    { sub_id: { format: 'complex', user: iss_sub, session: { format: 'opaque', id: 'sid-1' } } },
    { sub_id: undefined, events: { [type]: { subject: iss_sub } } },
    {
      sub_id: undefined,
      events: { [type]: { subject: { subject_type: 'iss-sub', iss: ISSUER, sub: name } } },
    },
  ]) {
    const person = await at.people.person(name)
    await idp.says(type, name, {}, claims)
    expect(await isIn(person), JSON.stringify(claims)).toBe(403)
  }
})

test('the audit event of a token says what it did', async () => {
  const id = await active()
  await idp.says(`${RISC}account-disabled`, name, {}, { jti: `told-${count}` })
  expect(await detailsOf(`told-${count}`)).toEqual([
    {
      issuer: ISSUER,
      jti: `told-${count}`,
      event_types: [`${RISC}account-disabled`],
      subject: `${ISSUER}#${name}`,
      subject_known: true,
      repeated: false,
      disabled: true,
      ended_requests: [id],
      lost_votes: [],
      security_keys_removed: 0,
      tokens_ended: 1,
      leases_ending: 1,
    },
  ])
})

test('a login and a vote that meet the event are before it or after it, and never beside it', async () => {
  const { ann } = await voters()
  const { id, plan_hash } = await at.ask(asker)
  const token = await idp.token({
    sub_id: { format: 'iss_sub', iss: ISSUER, sub: `ann-${count}` },
    events: { [`${RISC}account-disabled`]: {} },
  })
  const outcomes = await Promise.allSettled([
    at.act(ann, id, 'approve', { plan_hash }),
    ...Array.from({ length: 8 }, () => at.people.person(`ann-${count}`, { groups: ['oncall'] })),
    ...Array.from({ length: 3 }, () => idp.push(token)),
  ])
  for (const outcome of outcomes.slice(-3)) expect(outcome).toMatchObject({ value: { status: 202 } })
  for (const outcome of outcomes.slice(1, -3)) {
    if (outcome.status === 'fulfilled') expect(await isIn(outcome.value as Person)).toBe(403)
  }
  await approve(id, await at.people.person(`olga-${count}`, { groups: ['owners'] }))
  // Whichever came first, it takes another of `oncall`.
  expect((await at.look(id)).state).toBe('pending')
})
