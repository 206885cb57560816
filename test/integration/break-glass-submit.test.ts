import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Actor } from '../../src/breakglass/actor.ts'
import { type BreakGlassWorld, openBreakGlassWorld, REASON, ROLE, refusalOf } from './break-glass-world.ts'

let world: BreakGlassWorld
let [requester, oncall] = [] as unknown as [Actor, Actor]

beforeEach(async () => {
  world = await openBreakGlassWorld()
  await world.write('orders')
  requester = await world.person('rita', ['developers'])
  oncall = await world.person('ann', ['oncall'])
})
afterEach(() => world.close())

const submit = (
  idempotencyKey: string | undefined,
  changes: Record<string, unknown> = {},
  server = world.requests,
) =>
  server.submit(
    {
      policy: 'orders',
      roles: [ROLE],
      reason: REASON,
      ticket: 'INC-1',
      durationSeconds: undefined,
      lane: undefined,
      ...changes,
    },
    { actor: requester, idempotencyKey },
  )

test('the plan says what would be given, and its hash is of all that is voted on', async () => {
  const grant = await world.ask(requester, { durationSeconds: 600 })
  expect(grant.plan).toMatchObject({
    policy: { name: 'orders', version: 1 },
    lane: 'break_glass',
    duration_seconds: 600,
    reason: REASON,
    ticket: 'INC-4711',
    roles: [
      {
        path: ROLE,
        version: 1,
        target: 'orders',
        engine: 'postgres',
        environment: 'prod',
        privileges: ['member of app_admins'],
        revocability: 'immediate',
      },
    ],
  })
  const hashes = new Set([grant.planHash])
  for (const changes of [{ durationSeconds: 601 }, { reason: `${REASON}!` }]) {
    await world.requests.cancel({ actor: requester, grantId: grant.id }).catch(() => {})
    hashes.add((await world.ask(requester, { durationSeconds: 600, ...changes })).planHash)
  }
  expect(hashes.size).toBe(3)
})

test('markup in what people write is text, kept and answered as it is', async () => {
  const reason = `<script>alert("${'x'.repeat(10)}")</script> & <img src=x onerror=y>`
  const { id } = await world.ask(requester, { reason })
  const view = await world.requests.view(id, { actor: requester, seesAll: false })
  expect(view).toMatchObject({ reason, plan: { reason } })
})

describe('an ask is refused', () => {
  test.each([
    ['reason', { reason: 'short' }, 'must have at least 20 characters'],
    ['reason', { reason: `    ${' '.repeat(40)}x` }, 'must have at least 20 characters'],
    ['reason', { reason: 'x'.repeat(2_001) }, 'must have at most 2000 characters'],
    ['ticket', { ticket: '' }, 'is required'],
    ['ticket', { ticket: 'CHG-1' }, 'must match INC-\\d{1,8}'],
    ['ticket', { ticket: 'x'.repeat(129) }, 'must have at most 128 characters'],
    ['duration', { durationSeconds: 14_401 }, 'may be 4h at most'],
    ['roles', { roles: [] }, 'is required'],
    ['roles', { roles: ['database/creds/other'] }, 'the policy does not offer "database/creds/other"'],
    ['roles', { roles: ['database/creds/app-none'] }, 'the policy does not offer "database/creds/app-none"'],
    ['lane', { lane: 'sealed' as const }, 'the policy has no sealed lane'],
  ])('for its %s: %j', async (field, changes, what) => {
    expect(await refusalOf(submit(undefined, changes))).toMatchObject({
      code: 'invalid_request',
      message: `Field validation failed: field "${field}" ${what}`,
    })
    expect(await world.sql('select id from leasehold.access_grant')).toEqual([])
  })

  test('to whom the policy does not let ask, as to whom there is no such policy', async () => {
    await world.write('orders', { requesters: { groups: ['sre'] } })
    const robot = await world.person('robot', ['sre'], { kind: 'workload' })
    for (const doing of [
      () => submit(undefined),
      () => submit(undefined, { policy: 'none' }),
      () => world.ask(robot),
    ]) {
      expect(await refusalOf(doing())).toEqual({
        code: 'permission_denied',
        message: 'permission denied',
        data: undefined,
      })
    }
  })

  test('when the incident system knows no such ticket, and let be when it cannot be asked', async () => {
    await world.write('orders', { ticket_check_url: 'https://incidents.example/' })
    world.ticket.answer = 'refused'
    expect(await refusalOf(submit(undefined))).toMatchObject({ message: expect.stringContaining('"ticket"') })
    world.ticket.answer = 'unverified'
    expect(await submit(undefined)).toMatchObject({ ticketState: 'unverified' })
  })

  test('to who is blocked, and while a review of theirs or of the role is overdue', async () => {
    const earlier = await world.ask(oncall)
    await world.sql(`update leasehold.access_grant set state = 'review_overdue' where id = $1`, [earlier.id])
    expect(await refusalOf(submit(undefined))).toMatchObject({
      code: 'permission_denied',
      message: `the review of an earlier request for ${ROLE} is overdue`,
    })
    expect(await refusalOf(world.ask(oncall, { roles: ['database/creds/app-reader'] }))).toMatchObject({
      message: 'the review of an earlier request of yours is overdue',
    })
    await world.sql(
      `insert into leasehold.grant_block (requester_id, grant_id, reason) values ($1, $2, 'misuse')`,
      [requester.id, earlier.id],
    )
    expect(await refusalOf(submit(undefined, { roles: ['database/creds/app-reader'] }))).toMatchObject({
      message: expect.stringContaining('you are blocked since'),
    })
  })
})

test('no more than so many are open at once, from whichever server they are asked for', async () => {
  const other = world.another()
  const asked = await Promise.allSettled(
    Array.from({ length: 8 }, (_, i) => submit(undefined, {}, i % 2 ? other.requests : world.requests)),
  )
  expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
  expect(await world.sql('select id from leasehold.access_grant')).toHaveLength(3)
})

test('an idempotency key makes one request, whichever server hears it first', async () => {
  const other = world.another()
  const asked = await Promise.allSettled([
    submit('key'),
    submit('key', {}, other.requests),
    submit('key', {}, other.requests),
  ])
  const made = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  expect(made).toHaveLength(1)
  expect(await refusalOf(submit('key'))).toMatchObject({
    code: 'conflict',
    data: { id: made[0]?.id, state: 'pending' },
  })
})

test('a policy without approval lets a request through at once, and says so', async () => {
  await world.write('orders', { lane: 'standard', approvals: null, min_approvers: 0 })
  const grant = await world.ask(requester)
  expect(grant).toMatchObject({ state: 'approved', lane: 'standard' })
  const [event] = await world.sql<{ detail: object }>('select detail from leasehold.grant_event')
  expect(event?.detail).toMatchObject({ auto: 'policy' })
})

describe('the sealed lane', () => {
  const sealed = { lane: 'sealed' as const }
  const withKey = { amr: ['hwk'] }

  test('takes a key in hardware, and one other person with one', async () => {
    await world.write('orders', { sealed: true })
    expect(await refusalOf(submit(undefined, sealed))).toMatchObject({
      code: 'permission_denied',
      message: 'log in again with a second factor bound to hardware (hwk)',
    })
    const asking = await world.person('rita', [], withKey)
    const grant = await world.ask(asking, sealed)
    expect(grant).toMatchObject({ state: 'pending', lane: 'sealed', durationSeconds: 900 })
    const seen = { grantId: grant.id, planHash: grant.planHash, comment: '' }

    expect(await refusalOf(world.requests.approve({ actor: oncall, ...seen }))).toMatchObject({
      message: 'permission denied',
    })
    expect(await refusalOf(world.requests.witness({ actor: oncall, ...seen }))).toMatchObject({
      message: expect.stringContaining('bound to hardware'),
    })
    expect(await refusalOf(world.requests.witness({ actor: asking, ...seen }))).toMatchObject({
      message: 'nobody has a vote on their own request',
    })
    await world.requests.witness({ actor: await world.person('ann', ['oncall'], withKey), ...seen })
    expect(await world.grant(grant.id)).toMatchObject({
      state: 'approved',
      ratification: 'due',
      forceRotation: false,
    })
  })

  test('lets one go alone only where the policy says so, and then all they saw is rotated', async () => {
    await world.write('orders', { sealed: true, sealed_solo: true })
    const grant = await world.ask(await world.person('rita', [], withKey), sealed)
    expect(grant).toMatchObject({ state: 'approved', ratification: 'due', forceRotation: true })
    await world.requests.lookAtWaiting(grant.id)
    expect((await world.grant(grant.id)).state).toBe('approved')
  })
})

describe('what one sees', () => {
  const ids = async (actor: Actor, view: 'inbox' | 'mine' | 'all' | 'reviews' = 'all', seesAll = false) => {
    const ask = { view, states: [], policy: undefined, role: undefined, requester: undefined }
    const page = await world.requests.list({ actor, seesAll }, { ...ask, limit: 50, cursor: undefined })
    return { ids: page.requests.map(({ id }) => id), counts: page.counts }
  }

  test('is what one asked for, and where one has a part', async () => {
    const grant = await world.ask(requester)
    const stranger = await world.person('eve', ['developers'])
    expect(await ids(requester)).toEqual({
      ids: [grant.id],
      counts: { inbox: 0, mine_open: 1, reviews_due: 0, reviews_overdue: 0 },
    })
    expect(await ids(oncall, 'inbox')).toMatchObject({ ids: [grant.id], counts: { inbox: 1, mine_open: 0 } })
    expect(await ids(stranger)).toMatchObject({ ids: [], counts: { inbox: 0 } })
    expect((await ids(stranger, 'all', true)).ids).toEqual([grant.id])
    expect(await world.requests.view(grant.id, { actor: stranger, seesAll: false })).toBeUndefined()
    expect(
      await refusalOf(
        world.requests.approve({ actor: stranger, grantId: grant.id, planHash: grant.planHash, comment: '' }),
      ),
    ).toMatchObject({ code: 'not_found', message: '' })
  })

  test('offers what would be let be, and says why not', async () => {
    const { id, planHash } = await world.ask(requester)
    const offered = async (actor: Actor) => {
      const view = await world.requests.view(id, { actor, seesAll: false })
      return { allowed: view?.allowed, refused: view?.refused }
    }
    const stale = { ...oncall, auth_time: (oncall.auth_time ?? 0) - 3_600 }
    const again = 'log in again: your login is older than the 5 minutes allowed'
    expect(await offered(requester)).toEqual({
      allowed: ['cancel'],
      refused: { approve: 'nobody has a vote on their own request' },
    })
    expect(await offered(oncall)).toEqual({ allowed: ['approve', 'deny'], refused: {} })
    expect(await offered(stale)).toEqual({ allowed: [], refused: { approve: again, deny: again } })
    expect((await ids(stale, 'inbox')).ids).toEqual([id])
    await world.requests.approve({ actor: oncall, grantId: id, planHash, comment: 'yes' })
    expect(await offered(oncall)).toEqual({
      allowed: ['deny', 'withdraw'],
      refused: { approve: 'you have voted already' },
    })
    expect((await ids(oncall, 'inbox')).ids).toEqual([])
    const view = await world.requests.view(id, { actor: requester, seesAll: false })
    expect(view?.quorum).toMatchObject({
      words: '1 of oncall and 1 of owners, 2 people',
      met: false,
      approvers: 1,
      tree: {
        ...{ needed: 2, have: 1, met: false },
        all_of: [
          { set: 'oncall', needed: 1, have: 1, met: true, voters: ['ann'] },
          { set: 'owners', needed: 1, have: 0, met: false, voters: [], may_still_vote: ['owners'] },
        ],
      },
    })
  })

  test('comes in pages, each request once', async () => {
    await world.write('orders', { max_live: 10 })
    for (let i = 0; i < 5; i += 1) await world.ask(requester)
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const page = await world.requests.list(
        { actor: requester, seesAll: false },
        {
          view: 'mine',
          states: ['pending'],
          policy: 'orders',
          role: ROLE,
          requester: 'rita',
          limit: 2,
          cursor,
        },
      )
      seen.push(...page.requests.map(({ id }) => id))
      cursor = page.cursor ?? undefined
    } while (cursor !== undefined)
    expect(new Set(seen).size).toBe(5)
    expect(seen).toHaveLength(5)
  })
})

test('a drill is the same to people, takes no ticket, and ends in how long each step took', async () => {
  const grant = await world.ask(requester, { lane: 'drill', ticket: '' })
  await world.test.advance(90)
  const fresh = await world.person('ann', ['oncall'])
  await world.requests.approve({ actor: fresh, grantId: grant.id, planHash: grant.planHash, comment: '' })
  const view = await world.requests.view(grant.id, { actor: requester, seesAll: false })
  expect(view?.drill).toEqual({
    steps: [
      { event: 'submit', state: 'pending', by: 'rita', after_seconds: 0 },
      { event: 'approve', state: 'pending', by: 'ann', after_seconds: 90 },
    ],
  })
})

test('who may ask is told what for', async () => {
  const [policy] = await world.requests.eligible(requester)
  expect(policy).toMatchObject({
    name: 'orders',
    lane: 'break_glass',
    approvals_words: '1 of oncall and 1 of owners, 2 people',
    blocked: null,
    limits: { max_duration_seconds: 14_400, ticket_pattern: 'INC-\\d{1,8}', drill: true },
  })
  expect(policy?.roles.map(({ path }) => path)).toEqual([ROLE, 'database/creds/app-reader'])
})

test('secrets of a policy are in the secret store, and stay when they are not sent again', async () => {
  const notify = [{ name: 'hook', type: 'webhook', url: 'https://hook.example/' }]
  await world.write('orders', { notify: [{ ...notify[0], secret: 'key of the hook' }] })
  await world.write('orders', { notify })
  const { id } = (await world.policies.find('orders')) ?? { id: '' }
  expect(world.secrets.get(`break-glass/${id}/hook`)).toBe('key of the hook')
  await world.write('orders', { notify: [{ ...notify[0], url: 'https://elsewhere.example/' }] })
  const moved = (await world.policies.find('orders')) ?? { id: '' }
  expect(world.secrets.has(`break-glass/${moved.id}/hook`)).toBe(false)
  const rows = await world.sql<{ text: string }>(
    `select spec::text as text from leasehold.break_glass_policy`,
  )
  expect(rows.map(({ text }) => text).join()).not.toContain('key of the hook')
})
