import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { type Login, openPeople, type People, type Person } from '../support/glass-people.ts'
import { openListener } from '../support/http-listener.ts'

/**
 * Of what hurts the users of the peers, the rows about emergency access, each a test named after its row and asked over
 * HTTP. What a row says of leases without a grant is in known-complaints.test.ts.
 */

let at: TestBroker
let people: People
let oncall: Person
let owner: Person
let officer: Person

const POLICY = {
  roles: ['database/creds/app', 'database/creds/other'],
  sets: {
    oncall: { groups: ['oncall'] },
    owners: { groups: ['owners'] },
    officers: { groups: ['security'] },
  },
  approvals: {
    all_of: [
      { set: 'oncall', count: 1 },
      { set: 'owners', count: 1 },
    ],
  },
  security_officers: ['officers'],
  target_owners: ['owners'],
  max_live: 20,
  sealed: true,
}
const REASON = 'orders are stuck in the queue since 02:40'

beforeAll(async () => {
  at = await openTestBroker({ worker: true, sweepIntervalMs: 200 })
  people = await openPeople(at)
  await at.api('POST', 'database/roles/other', { db_name: 'db', member_of: at.target.readers })
  await writePolicy('prod')
  oncall = await people.person('olga', { groups: ['oncall'] })
  owner = await people.person('owen', { groups: ['owners'] })
  officer = await people.person('sam', { groups: ['security'] })
})
afterAll(() => at.close())

async function writePolicy(name: string, changes: object = {}): Promise<void> {
  const { status, text } = await at.api('POST', `break-glass/policies/${name}`, { ...POLICY, ...changes })
  if (status >= 300) throw new Error(text)
}

let askers = 0
const asker = (login: Login = {}): Promise<Person> => {
  askers += 1
  return people.person(`asker-${askers}`, login)
}
const ask = ({ api }: Person, fields: object = {}) =>
  api('POST', 'break-glass/requests', {
    ...{ policy: 'prod', roles: ['database/creds/app'], reason: REASON, ticket: 'INC-1' },
    ...fields,
  })
// biome-ignore lint/suspicious/noExplicitAny: what a test expects of it is the test's to say
type Asked = any
const asked = async (person: Person, fields: object = {}): Promise<Asked> => {
  const { status, json, text } = await ask(person, fields)
  if (status !== 200) throw new Error(text)
  return json.data
}
const act = ({ api }: Person, { id, plan_hash }: Asked, action: string, fields: object = {}) =>
  api('POST', `break-glass/requests/${id}/${action}`, { plan_hash, ...fields })
const seen = async ({ id }: Asked): Promise<Asked> =>
  (await at.api('GET', `break-glass/requests/${id}`)).json.data
const approved = async (person: Person, fields: object = {}): Promise<Asked> => {
  const request = await asked(person, fields)
  await act(oncall, request, 'approve')
  return (await act(owner, request, 'approve')).json.data
}
const active = async (person: Person, fields: object = {}): Promise<Asked> => {
  const { status, json, text } = await act(person, await approved(person, fields), 'activate')
  if (status !== 200) throw new Error(text)
  return { ...json.data.request, credentials: json.data.credentials }
}
const userOf = ({ credentials }: Asked) => credentials[0].data as { username: string; password: string }
const stateOf = async (request: Asked): Promise<string> => (await seen(request)).state

describe('row 9: emergency access ends when it is taken back', () => {
  test.each([
    ['given back by who asked', 'end', 'asker'],
    ['revoked by one of its approvers', 'end', 'approver'],
    ['revoked by a security officer', 'end', 'officer'],
    ['suspended', 'suspend', 'officer'],
  ])('%s: its session is cut, its account is gone, and only then is that said', async (_, action, by) => {
    const person = await asker()
    const request = await active(person)
    const session = await at.target.logIn(userOf(request))
    const cut = new Promise<void>((resolve) => void session.once('end', () => resolve()))
    const actors = { asker: person, approver: oncall, officer }
    const answer = await act(actors[by as keyof typeof actors], request, action, { reason: 'enough of it' })
    expect(answer.status).toBe(200)
    await cut
    await expect.poll(() => at.target.account(userOf(request).username)).toBe('absent')
    if (action === 'suspend') return
    await expect.poll(() => stateOf(request)).toBe('review_due')
    expect((await seen(request)).leases).toMatchObject([{ state: 'revoked' }])
  })

  test.each(['cancel', 'deny'])('%s: what was never collected never can be', async (action) => {
    const person = await asker()
    const request = await asked(person)
    await act(oncall, request, 'approve')
    await act(action === 'cancel' ? person : owner, request, action, { comment: 'no' })
    expect((await act(owner, request, 'approve')).status).toBe(409)
    expect((await act(person, request, 'activate')).status).toBe(409)
  })

  test('a lease of it cannot be kept by renewing it', async () => {
    const person = await asker()
    const request = await active(person, { duration: '5m' })
    const [{ lease_id }] = request.credentials
    await person.api('POST', 'sys/leases/renew', { lease_id, increment: '4h' })
    const { json } = await at.api('POST', 'sys/leases/lookup', { lease_id })
    expect(json.data.hard_expires_at <= request.expires_at).toBe(true)
    expect(json.data.grant_id).toBe(request.id)
  })
})

describe('row 10: an approval cannot be forged or skipped', () => {
  test('by what a body says', async () => {
    const person = await asker({ groups: ['oncall', 'owners'] })
    const request = await asked(person, { state: 'approved', approvers: ['olga'], requester: 'olga' })
    expect(request.state).toBe('pending')
    const forged = { voter: 'olga', voter_id: 'olga', approver: 'olga', actor: { id: 'olga' } }
    expect((await act(person, request, 'approve', forged)).status).toBe(403)
    expect((await act(person, request, 'activate')).status).toBe(409)
    expect((await seen(request)).votes).toEqual([])
  })

  test('by one person in two groups, who counts once', async () => {
    const both = await people.person('both', { groups: ['oncall', 'owners'] })
    const request = await asked(await asker())
    expect((await act(both, request, 'approve')).json.data.state).toBe('pending')
    expect((await act(both, request, 'approve')).status).toBe(409)
    expect((await act(owner, request, 'approve')).json.data.state).toBe('approved')
  })

  test('by who asked, after another login', async () => {
    await people.person('again', { groups: ['oncall'] })
    const request = await asked(await people.person('again', { groups: ['oncall'] }))
    const later = await people.person('again', { groups: ['oncall', 'owners'] })
    expect((await act(later, request, 'approve')).status).toBe(403)
  })

  test('by a machine, by a stale login, or by root', async () => {
    const request = await asked(await asker())
    const machine = await people.person('robot', { kind: 'workload', groups: ['oncall'] })
    const stale = await people.person('stale', { groups: ['oncall'], ageSeconds: 3_600 })
    const single = await people.person('single', { groups: ['oncall'], amr: ['pwd'] })
    const root: Person = { api: at.api, token: at.root, accessor: '' }
    for (const one of [machine, stale, single, root]) {
      expect((await act(one, request, 'approve')).status).toBeOneOf([403, 404])
    }
    expect((await seen(request)).votes).toEqual([])
  })

  test('where no policy covers the role: nothing is asked for, and nothing given', async () => {
    expect((await ask(await asker(), { roles: ['database/creds/none'] })).status).toBe(400)
    expect((await ask(await asker(), { policy: 'none' })).status).toBe(403)
  })
})

test('row 25: of two overlapping accesses of one person, the end of one leaves the other', async () => {
  const person = await asker()
  const [first, second] = [await active(person), await active(person)]
  expect(userOf(first).username).not.toBe(userOf(second).username)
  const session = await at.target.logIn(userOf(second))
  await act(person, first, 'end', { reason: 'done with it' })
  await expect.poll(() => at.target.account(userOf(first).username)).toBe('absent')
  expect((await session.query('select note from orders')).rows).toEqual([{ note: 'first' }])
  expect(await stateOf(second)).toBe('active')
  await session.end()
})

describe('row 26: with no approver awake there is a way, and nobody needs to approve themselves', () => {
  test('two people with hardware keys get in for a quarter of an hour, and it has to be ratified', async () => {
    const person = await asker({ amr: ['pwd', 'hwk'] })
    const request = await asked(person, { lane: 'sealed' })
    expect((await act(person, request, 'witness')).status).toBe(403)
    const soft = await people.person('soft', { groups: ['oncall'] })
    expect((await act(soft, request, 'witness')).status).toBe(403)
    const witness = await people.person('wendy', { groups: ['oncall'], amr: ['pwd', 'hwk'] })
    expect((await act(witness, request, 'witness')).json.data.state).toBe('approved')
    const { status, json } = await act(person, request, 'activate')
    expect(status).toBe(200)
    expect(json.data.request).toMatchObject({ state: 'active', ratification: 'due' })
    expect(json.data.request.duration_seconds).toBeLessThanOrEqual(900)
  })
})

describe('row 27: the clocks of a request', () => {
  test('its time begins when it is collected, not when it was asked for', async () => {
    const person = await asker()
    const request = await approved(person, { duration: '20m' })
    const { json } = await act(person, request, 'activate')
    const { started_at, expires_at, requested_at } = json.data.request
    expect(Date.parse(expires_at) - Date.parse(started_at)).toBe(20 * 60_000)
    expect(Date.parse(started_at)).toBeGreaterThan(Date.parse(requested_at))
  })

  test('how long it waits is the policy’s to say', async () => {
    await writePolicy('hasty', { pending_ttl: '2m' })
    const { requested_at, pending_expires_at } = await asked(await asker(), { policy: 'hasty' })
    expect(Date.parse(pending_expires_at) - Date.parse(requested_at)).toBe(120_000)
  })

  test('an approver may make it shorter, and never longer', async () => {
    const request = await asked(await asker(), { duration: '20m' })
    expect((await act(oncall, request, 'approve', { narrow: { duration: '30m' } })).status).toBe(400)
    const { json } = await act(oncall, request, 'approve', { narrow: { duration: '10m' } })
    expect(json.data).toMatchObject({ duration_seconds: 600, state: 'pending' })
    expect(json.data.plan_hash).not.toBe(request.plan_hash)
  })
})

test('row 28: an open incident and being on call approve nothing by themselves', async () => {
  const incidents = await openListener((res) => void res.writeHead(200).end('{"valid":true}'))
  try {
    await writePolicy('checked', { ticket_check_url: incidents.url })
    const person = await asker({ groups: ['oncall'] })
    const request = await asked(person, { policy: 'checked' })
    expect(request).toMatchObject({ state: 'pending', ticket_state: 'verified', votes: [] })
    expect((await act(person, request, 'approve')).status).toBe(403)
    expect(JSON.parse(incidents.heard[0]?.body ?? '')).toMatchObject({ ticket: 'INC-1', policy: 'checked' })
  } finally {
    await incidents.close()
  }
})

describe('row 29: approvals as people have them', () => {
  test('this or that set, a reason that has to be given, a ticket of a pattern', async () => {
    await writePolicy('either', {
      approvals: {
        any_of: [
          { set: 'oncall', count: 2 },
          { set: 'owners', count: 2 },
        ],
      },
      ticket_pattern: 'INC-\\d{1,8}',
    })
    const person = await asker()
    expect((await ask(person, { policy: 'either', reason: 'because' })).status).toBe(400)
    expect((await ask(person, { policy: 'either', ticket: 'JIRA 7' })).status).toBe(400)
    const request = await asked(person, { policy: 'either' })
    await act(oncall, request, 'approve')
    expect((await act(owner, request, 'approve')).json.data.state).toBe('pending')
    const second = await people.person('oscar', { groups: ['owners'] })
    expect((await act(second, request, 'approve')).json.data.state).toBe('approved')
  })

  test('an inbox, for those whose voice it waits for', async () => {
    const { id } = await asked(await asker())
    const inbox = async ({ api }: Person): Promise<string[]> =>
      (await api('GET', 'break-glass/requests?view=inbox&limit=200')).json.data.requests.map(
        (one: { id: string }) => one.id,
      )
    expect(await inbox(oncall)).toContain(id)
    expect(await inbox(await asker())).not.toContain(id)
  })

  test('everybody hears of it, signed, and whether they did is on record', async () => {
    const hook = await openListener()
    try {
      await writePolicy('told', { notify: [{ name: 'hook', type: 'webhook', url: hook.url, secret: 'k' }] })
      const person = await asker()
      const request = await asked(person, { policy: 'told' })
      await act(oncall, request, 'approve')
      const told = () => hook.heard.map(({ body }) => JSON.parse(body).event).sort()
      await expect.poll(told).toEqual(['approve', 'submit'])
      for (const { headers } of hook.heard) expect(headers['leasehold-signature']).toMatch(/^t=\d+,v1=/)
      const log = () => person.api('GET', `break-glass/deliveries?request=${request.id}`)
      await expect
        .poll(async () => (await log()).json.data.deliveries.map(({ state }: { state: string }) => state))
        .toEqual(['delivered', 'delivered'])
      const stranger = await asker()
      expect((await stranger.api('GET', `break-glass/deliveries?request=${request.id}`)).status).toBe(404)
      expect((await stranger.api('GET', 'break-glass/deliveries')).status).toBe(400)
    } finally {
      await hook.close()
    }
  })
})

test('row 38: access is not shown as over while its account cannot be proved gone', async () => {
  const person = await asker()
  const request = await active(person)
  // Nobody can tell what is on the target.
  await at.target.sql(`alter role ${at.target.admin} nologin`)
  await at.target.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity where usename = '${at.target.admin}'`,
  )
  try {
    await act(person, request, 'end', { reason: 'done with it' })
    const now = await seen(request)
    expect(now.state).toBeOneOf(['ending', 'ending_stuck'])
    expect(now.ended_at).toBeNull()
    expect(now.leases).toMatchObject([{ state: 'revoking' }])
  } finally {
    await at.target.sql(`alter role ${at.target.admin} login`)
  }
  await at.api('POST', 'sys/leases/revoke', { lease_id: request.credentials[0].lease_id })
  await expect.poll(() => stateOf(request), { timeout: 20_000 }).toBe('review_due')
  expect(await at.target.account(userOf(request).username)).toBe('absent')
})

test('row 40: emergency access can be tried out before it is needed, and says how long it took', async () => {
  const person = await asker()
  const request = await asked(person, { lane: 'drill', ticket: '' })
  await act(oncall, request, 'approve')
  await act(owner, request, 'approve')
  expect((await act(person, request, 'activate')).status).toBe(200)
  await act(person, request, 'end', { reason: 'the drill is over' })
  await expect.poll(() => stateOf(request)).toBeOneOf(['review_due', 'closed_ok'])
  const { drill, lane } = await seen(request)
  expect(lane).toBe('drill')
  expect(drill.steps.map(({ event }: { event: string }) => event)).toEqual(
    expect.arrayContaining(['submit', 'approve', 'activate', 'activated', 'return', 'proved_gone']),
  )
  for (const { after_seconds } of drill.steps) expect(after_seconds).toBeGreaterThanOrEqual(0)
})
