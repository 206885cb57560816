import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiAnswer, openTestBroker, type TestBroker } from '../support/broker.ts'
import { contractProblems } from '../support/contract.ts'

// What the operators' pages list, over HTTP on a real ledger: leases, one of them, targets, and counts over time.

let at: TestBroker
beforeAll(async () => {
  at = await openTestBroker()
  for (const role of ['app', 'other', 'app-admin']) {
    await at.api('POST', `database/roles/${role}`, {
      db_name: 'db',
      member_of: at.target.readers,
      default_ttl: '5m',
      max_ttl: '10m',
    })
  }
  await at.api('POST', 'sys/policies/acl/user', { policy: USER })
})
afterAll(() => at.close())

const USER = `path "database/creds/*" { capabilities = ["read"] }
  path "auth/token/create" { capabilities = ["update"] }`
const LEASES = 'sys/leasehold/leases'

/** As root or with another token; the answer is held against openapi.yaml. */
async function ask(method: string, path: string, body?: object, token = at.root): Promise<ApiAnswer> {
  const answer = await at.api(method, path, body, { 'X-Vault-Token': token })
  const requestBody = body === undefined ? undefined : JSON.stringify(body)
  const exchange = { method, url: `${at.url}/v1/${path}`, requestBody, responseBody: answer.text }
  expect(contractProblems({ ...exchange, status: answer.status, headers: answer.headers })).toEqual([])
  return answer
}

async function tokenOf(policies: string, maker = at.root): Promise<string> {
  const made = await at.api('POST', 'auth/token/create', { policies, ttl: '1h' }, { 'X-Vault-Token': maker })
  return made.json.auth.client_token
}

async function issue(token = at.root, role = 'app'): Promise<string> {
  const { status, json } = await at.api('GET', `database/creds/${role}`, undefined, {
    'X-Vault-Token': token,
  })
  expect(status).toBe(200)
  return json.lease_id
}

type Row = { lease_id: string; id: string; next_action_at: string; principal: string }
const idsOf = ({ json }: ApiAnswer): string[] => json.data.leases.map(({ lease_id }: Row) => lease_id)
const idOf = (leaseId: string): string => leaseId.slice(leaseId.lastIndexOf('/') + 1)
const list = async (query = '', token = at.root, path = LEASES): Promise<string[]> =>
  idsOf(await ask('GET', `${path}${query}`, undefined, token))

/** All pages of it; `between` happens after each. */
async function paged(query: string, between = async (_page: number): Promise<void> => {}): Promise<string[]> {
  const seen: string[] = []
  let cursor = ''
  for (let page = 1; ; page += 1) {
    const answer = await ask('GET', `${LEASES}?${query}&cursor=${cursor}`)
    expect(answer.status).toBe(200)
    seen.push(...idsOf(answer))
    if (answer.json.data.cursor === null) return seen
    cursor = answer.json.data.cursor
    await between(page)
  }
}

describe('the list of leases', () => {
  let mine: string
  let theirs: string
  let admin: string
  let principal: string
  beforeAll(async () => {
    const user = await tokenOf('user')
    mine = await issue(user, 'other')
    theirs = await issue()
    admin = await issue(at.root, 'app-admin')
    principal = (await ask('GET', `${LEASES}/${mine}`)).json.data.principal
  })

  test('shows each with whose it is, where it is and what happens next', async () => {
    const { json } = await ask('GET', LEASES)
    const row = json.data.leases.find(({ lease_id }: Row) => lease_id === mine)
    expect(row).toMatchObject({
      id: idOf(mine),
      path: 'database/creds/other',
      role: 'other',
      mount: 'database/',
      target: 'db',
      engine: 'postgres',
      principal,
      principal_name: 'token',
      state: 'active',
      stuck: false,
      attempts: 0,
      last_error: '',
      grant_id: null,
      next_action_at: expect.any(String),
    })
    expect(await at.target.account(row.account)).toBe('enabled')
    expect(json.data.cursor).toBeNull()
  })

  test('is narrowed by each filter alone and by several at once', async () => {
    expect(await list(`?principal=${principal}`)).toEqual([mine])
    expect((await list('?prefix=database/creds/app')).sort()).toEqual([theirs, admin].sort())
    expect(await list('?prefix=database/creds/app-')).toEqual([admin])
    expect(await list(`?prefix=${mine}`)).toEqual([mine])
    expect(await list('?prefix=database/creds/%25')).toEqual([])
    expect(await list('?target=db&mount=database')).toHaveLength(3)
    expect(await list('?target=db&mount=elsewhere/')).toEqual([])
    expect(await list('?target=nowhere')).toEqual([])
    expect(await list('?grant=nothing')).toEqual([])
    expect(await list(`?principal=${principal}&prefix=database/creds/app`)).toEqual([])
    expect(await list('?state=active')).toHaveLength(3)
    expect(await list('?state=revoking,stuck,issuing')).toEqual([])
  })

  test.each([
    ['limit=0', 'limit'],
    ['limit=201', 'limit'],
    ['state=gone', 'state'],
    ['state=revoked,active', 'state'],
    ['cursor=nonsense', 'cursor'],
    [`cursor=${Buffer.from('["2026-01-01T00:00:00.000000Z","a;b"]').toString('base64url')}`, 'cursor'],
  ])('refuses %s, and names what is wrong', async (query, name) => {
    const { status, json } = await ask('GET', `${LEASES}?${query}`)
    expect([status, json.errors[0].startsWith(`${name}:`)]).toEqual([400, true])
  })

  test('shows nothing to whom no policy lets see it', async () => {
    const user = await tokenOf('default,user')
    for (const path of [LEASES, 'sys/leasehold/targets', 'sys/leasehold/summary']) {
      expect([path, (await ask('GET', path, undefined, user)).status]).toEqual([path, 403])
    }
    expect(await list('', user, `${LEASES}-self`)).toEqual([])
  })

  test('tells stuck leases apart, with their error', async () => {
    await at.ledger.ledger.query(
      `update leasehold.lease set state = 'revoking', attempts = 6, last_error = 'cannot' where id = $1`,
      [idOf(admin)],
    )
    expect(await list('?state=stuck')).toEqual([admin])
    expect(await list('?state=revoking')).toEqual([admin])
    expect(await list('?state=active,stuck&prefix=database/creds/app')).toHaveLength(2)
    const [target] = (await ask('GET', 'sys/leasehold/targets')).json.data.targets
    expect(target).toMatchObject({
      mount: 'database/',
      name: 'db',
      engine: 'postgres',
      leases: { live: 3, stuck: 1 },
      stuck: [{ lease_id: admin, error: 'cannot', attempts: 6 }],
      freeze: { frozen: false },
    })
  })
})

describe('pages of the list', () => {
  test('hold each lease that stays as it is exactly once, while others come, go and are renewed', async () => {
    const before = new Set(await list('?limit=200'))
    const stay: string[] = []
    const move: string[] = []
    for (let i = 0; i < 6; i += 1) {
      stay.push(await issue())
      move.push(await issue())
    }
    const [renewed = '', ...ended] = move
    const seen = await paged('limit=2', async (page) => {
      await issue()
      if (page === 1) await at.api('POST', 'sys/leases/renew', { lease_id: renewed, increment: 600 })
      const lease_id = ended.pop()
      if (lease_id) await at.api('POST', 'sys/leases/revoke', { lease_id, sync: true })
    })
    for (const leaseId of stay) expect(seen.filter((each) => each === leaseId)).toHaveLength(1)
    for (const leaseId of before) expect(seen).toContain(leaseId)
  })

  test('come in the order of what happens soonest, and of the ended the last first', async () => {
    const { leases } = (await ask('GET', `${LEASES}?limit=200`)).json.data
    const times = leases.map(({ next_action_at }: Row) => next_action_at)
    expect(times).toEqual([...times].sort())
    const first = await issue()
    const second = await issue()
    for (const lease_id of [first, second])
      await at.api('POST', 'sys/leases/revoke', { lease_id, sync: true })
    expect((await list('?state=revoked')).slice(0, 2)).toEqual([second, first])
    expect(await paged('state=revoked&limit=1')).toEqual(await list('?state=revoked&limit=200'))
    expect(await list(`?state=revoked&prefix=${first}`)).toEqual([first])
  })
})

describe('the leases of the caller', () => {
  test('are those of its own token, and of nobody else in its tree, where there was no login', async () => {
    const [app, stranger] = [await tokenOf('default,user'), await tokenOf('default,user')]
    const child = await tokenOf('default,user', app)
    const leases = [await issue(app), await issue(child, 'other')]
    await issue(stranger)
    expect(await list('', app, `${LEASES}-self`)).toEqual([leases[0]])
    expect(await list('', child, `${LEASES}-self`)).toEqual([leases[1]])
    expect(await list('?prefix=database/creds/other', app, `${LEASES}-self`)).toEqual([])
    expect(await list(`?principal=any`, stranger, `${LEASES}-self`)).toHaveLength(1)
  })
})

describe('one lease', () => {
  test('is shown with its holder, its rule, its steps and its receipt', async () => {
    const user = await tokenOf('default,user')
    const leaseId = await issue(user)
    await at.api('POST', 'sys/leases/renew', { lease_id: leaseId, increment: 600 })
    const live = (await ask('GET', `${LEASES}/${idOf(leaseId)}`, undefined, user)).json.data
    expect(live).toMatchObject({
      lease_id: leaseId,
      renewable: true,
      holder: { display_name: 'token', kind: 'workload', mount: 'auth/token/' },
      allowed_by: { policy: 'user' },
      receipt: null,
      may: { renew: true, revoke: true },
    })
    expect(live.timeline.map(({ what }: { what: string }) => what)).toEqual(['issued', 'renewed'])
    await at.api('POST', 'sys/leases/revoke', { lease_id: leaseId, sync: true })
    const ended = (await ask('GET', `${LEASES}/${leaseId}`, undefined, user)).json.data
    expect(ended).toMatchObject({
      state: 'revoked',
      end_reason: 'revoked',
      may: { renew: false, revoke: false },
    })
    expect(ended.receipt).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/)
    const steps = ended.timeline.map(({ what }: { what: string }) => what)
    for (const step of ['disable', 'disconnect', 'verify', 'access_ended', 'ended'])
      expect(steps).toContain(step)
  })

  test('of somebody else looks as one that there is not, to whom no policy shows it', async () => {
    const stranger = await tokenOf('default')
    const theirs = await issue()
    const none = `database/creds/app/${'z'.repeat(24)}`
    const [foreign, unknown] = await Promise.all(
      [theirs, none].map((id) => ask('GET', `${LEASES}/${id}`, undefined, stranger)),
    )
    expect([foreign?.status, foreign?.text]).toEqual([403, unknown?.text])
    expect((await ask('GET', `${LEASES}/${none}`)).status).toBe(404)
    expect((await ask('GET', `${LEASES}/database/creds/other/${idOf(theirs)}`)).status).toBe(404)
  })
})

describe('ending many leases at once', () => {
  const revoke = (ids: unknown, token = at.root) => ask('POST', `${LEASES}/revoke`, { ids }, token)

  test('answers for each, and each that was begun ends by itself', async () => {
    const [whole, short, over] = [await issue(), await issue(), await issue()]
    await at.api('POST', 'sys/leases/revoke', { lease_id: over, sync: true })
    const none = 'z'.repeat(24)
    const { status, json } = await revoke([whole, idOf(short), over, none])
    expect([status, json.data.started, json.data.outcomes]).toEqual([
      200,
      2,
      [
        { id: whole, lease_id: whole, outcome: 'started' },
        { id: idOf(short), lease_id: short, outcome: 'started' },
        { id: over, lease_id: over, outcome: 'already_ended' },
        { id: none, lease_id: null, outcome: 'unknown' },
      ],
    ])
    await at.broker.sweep.once()
    for (const leaseId of [whole, short]) {
      expect((await ask('GET', `${LEASES}/${leaseId}`)).json.data.state).toBe('revoked')
    }
  })

  test('leaves those of others alone, and does not say whether they are there', async () => {
    const user = await tokenOf('default,user')
    const [own, theirs] = [await issue(user), await issue()]
    const none = 'z'.repeat(24)
    const { json } = await revoke([own, theirs, idOf(theirs), none], user)
    expect(json.data.outcomes).toEqual([
      { id: own, lease_id: own, outcome: 'started' },
      ...[theirs, idOf(theirs), none].map((id) => ({ id, lease_id: null, outcome: 'denied' })),
    ])
    expect((await ask('GET', `${LEASES}/${theirs}`)).json.data.state).toBe('active')
  })

  test.each([
    ['none', []],
    ['too many', Array.from({ length: 501 }, (_, i) => `id${i}`)],
    ['what is no list', { a: 1 }],
    ['what are no texts', [{ a: 1 }]],
  ])('refuses %s', async (_, ids) => {
    expect((await at.api('POST', `${LEASES}/revoke`, { ids })).status).toBe(400)
  })
})

describe('counts over time', () => {
  test('are those of the rows', async () => {
    const other = await at.another()
    const { url } = await other.listen({ host: '127.0.0.1', port: 0 })
    const { ledger } = at.ledger
    const counted = async <Row>(sql: string) => (await ledger.query(sql)).rows[0] as Row
    for (const [window, seconds, buckets] of [
      ['hour', 60, 61],
      ['day', 900, 97],
      ['week', 10_800, 57],
    ] as const) {
      const answer = await fetch(`${url}/v1/sys/leasehold/summary?window=${window}`, {
        headers: { 'X-Vault-Token': at.root },
      })
      const { data } = (await answer.json()) as { data: Summary }
      const rows = await counted<Record<string, number>>(`select
        count(*) as issued, count(*) filter (where state = 'revoked') as ended,
        count(*) filter (where state <> 'revoked') as live,
        count(*) filter (where state = 'active') as active,
        count(*) filter (where state = 'revoking') as revoking,
        count(*) filter (where state = 'revoking' and attempts >= 6) as stuck from leasehold.lease`)
      const sum = (name: 'issued' | 'ended') => data.buckets.reduce((total, each) => total + each[name], 0)
      expect([window, data.bucket_seconds, data.truncated]).toEqual([window, seconds, false])
      expect([buckets, buckets - 1]).toContain(data.buckets.length)
      expect([sum('issued'), sum('ended')]).toEqual([Number(rows.issued), Number(rows.ended)])
      const last = data.buckets.at(-1)
      expect([last?.live, last?.ending]).toEqual([Number(rows.live), Number(rows.revoking)])
      expect(data.counts).toMatchObject({
        issuing: 0,
        active: Number(rows.active),
        revoking: Number(rows.revoking),
        stuck: Number(rows.stuck),
        capped: false,
      })
      expect(data.issue_rate_per_minute).toBeGreaterThan(0)
    }
    await other.close()
  })

  test('have the time from expiry to the end of access, of leases that expired', async () => {
    const leaseId = await issue()
    await at.ledger.advance(601)
    await at.broker.sweep.once()
    const [row] = (
      await at.ledger.ledger.query<{ ms: number }>(
        `select extract(epoch from access_ended_at - expires_at)::float8 * 1000 as ms from leasehold.lease
         where id = $1`,
        [idOf(leaseId)],
      )
    ).rows
    const other = await at.another()
    const { url } = await other.listen({ host: '127.0.0.1', port: 0 })
    const answer = await fetch(`${url}/v1/sys/leasehold/summary`, { headers: { 'X-Vault-Token': at.root } })
    const { data } = (await answer.json()) as { data: Summary }
    const told = data.buckets.flatMap(({ lag_max_ms }) => (lag_max_ms === null ? [] : [lag_max_ms]))
    expect(told).toHaveLength(1)
    expect(told[0]).toBeGreaterThanOrEqual(Math.round(row?.ms ?? Number.POSITIVE_INFINITY))
    await other.close()
  })
})

type Summary = {
  bucket_seconds: number
  truncated: boolean
  buckets: { issued: number; ended: number; live: number; ending: number; lag_max_ms: number | null }[]
  counts: Record<string, number>
  issue_rate_per_minute: number
}
