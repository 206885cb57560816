import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Actor } from '../../src/breakglass/actor.ts'
import { grantVotes } from '../../src/ledger/grant-votes.ts'
import { grantEvents } from '../../src/ledger/grants.ts'
import { type BreakGlassWorld, openBreakGlassWorld, ROLE, refusalOf } from './break-glass-world.ts'

let world: BreakGlassWorld
let [requester, oncall, owner, officer] = [] as unknown as [Actor, Actor, Actor, Actor]

beforeEach(async () => {
  world = await openBreakGlassWorld()
  await world.write('orders')
  requester = await world.person('rita')
  oncall = await world.person('ann', ['oncall'])
  owner = await world.person('olga', ['owners'])
  officer = await world.person('sam', ['security'])
})
afterEach(() => world.close())

const approve = (
  actor: Actor,
  { id, planHash }: { id: string; planHash: string },
  changes: Record<string, unknown> = {},
  server: Pick<BreakGlassWorld, 'requests'> = world,
) => server.requests.approve({ actor, grantId: id, planHash, comment: '', ...changes })

test('two people of two sets approve, and each move has one event, one audit event and its telling', async () => {
  const grant = await world.ask(requester)
  expect(grant).toMatchObject({ state: 'pending', lane: 'break_glass', ticketState: 'none', version: 1 })
  await approve(oncall, grant)
  expect((await world.grant(grant.id)).state).toBe('pending')
  await approve(owner, grant)

  const approved = await world.grant(grant.id)
  expect(approved).toMatchObject({ state: 'approved', version: 3, approvedAt: approved.now })
  expect(approved.activateBy?.getTime()).toBe(approved.now.getTime() + 600_000)
  const events = await grantEvents(world.test.ledger, grant.id)
  expect(events.map(({ number, event, from, to }) => [number, event, from, to])).toEqual([
    [1, 'submit', null, 'pending'],
    [2, 'approve', 'pending', 'pending'],
    [3, 'approve', 'pending', 'approved'],
  ])
  expect(world.told.map(({ event }) => event)).toEqual(['submit', 'approve', 'approve'])
})

test('a move of a timer is on the audit log with the grant, in its transaction', async () => {
  const grant = await world.ask(requester)
  await world.test.advance(15 * 60)
  expect(await world.requests.lookAtWaiting(grant.id)).toBeNull()

  const rows = await world.sql<{ body: string }>(`select body::text as body from leasehold.audit_event`)
  const details = rows.map(({ body }) => JSON.parse(body) as { what: object; details: object })
  expect(details).toContainEqual(
    expect.objectContaining({
      what: { operation: 'grant_expire' },
      details: expect.objectContaining({
        grant_id: grant.id,
        from: 'pending',
        to: 'expired',
        event: 'expire',
      }),
    }),
  )
})

describe('nobody counts who may not', () => {
  test('the requester, by this login or another of theirs', async () => {
    const self = await world.person('rita', ['oncall', 'owners'])
    const grant = await world.ask(self)
    const other = await world.person('rita', ['oncall'], {
      id: 'entity-2',
      mount: 'auth/other/',
      subject: 'r',
    })

    for (const actor of [self, { ...self, accessor: 'another' }, other]) {
      expect(await refusalOf(approve(actor, grant))).toMatchObject({
        code: 'permission_denied',
        message: 'nobody has a vote on their own request',
      })
    }
    expect(await grantVotes(world.test.ledger, grant.id)).toEqual([])
  })

  test('a workload, whatever groups it has', async () => {
    const grant = await world.ask(requester)
    const robot = await world.person('robot', ['oncall'], { kind: 'workload' })
    expect(await refusalOf(approve(robot, grant))).toMatchObject({ code: 'not_found' })
    expect(await refusalOf(approve(robot, grant, { seesAll: true }))).toMatchObject({
      code: 'permission_denied',
      message: 'permission denied',
    })
  })

  test.each([
    ['logged in too long ago', { ago: 301 }, 'log in again: your login is older than the 5 minutes allowed'],
    [
      'without a second factor',
      { amr: ['pwd'] },
      'log in again with a second factor (otp, hwk, mfa, swk, sms)',
    ],
    [
      'who knows when',
      { auth_time: null },
      'log in again: your login does not say when you proved who you are',
    ],
    ['in the future', { ago: -600 }, 'log in again: your login is dated in the future'],
  ])('a login %s', async (_, { ago = 0, ...changes }: Record<string, unknown>, message) => {
    const grant = await world.ask(requester)
    const stale = await world.person('ann', ['oncall'], changes)
    if (stale.auth_time !== null) stale.auth_time -= Number(ago)
    expect(await refusalOf(approve(stale, grant))).toMatchObject({ code: 'permission_denied', message })
  })

  test('the same person twice, by two mounts and in two sets', async () => {
    const grant = await world.ask(requester)
    const both = await world.person('bob', ['oncall', 'owners'])
    const again = await world.person('bob', ['owners'], { id: 'entity-3', mount: 'auth/other/' })
    await approve(both, grant)
    for (const actor of [both, again]) {
      expect(await refusalOf(approve(actor, grant))).toMatchObject({ message: 'you have voted already' })
    }
    expect((await world.grant(grant.id)).state).toBe('pending')
  })
})

test('one person in both sets is one person: it takes another', async () => {
  await world.write('orders', { lane: 'standard', min_approvers: 1 })
  const grant = await world.ask(requester)
  await approve(await world.person('bob', ['oncall', 'owners']), grant)
  expect((await world.grant(grant.id)).state).toBe('pending')
  await approve(oncall, grant)
  expect((await world.grant(grant.id)).state).toBe('approved')
})

test('a vote on another plan, a policy that has changed and a role that has changed count for nothing', async () => {
  const grant = await world.ask(requester)
  expect(await refusalOf(approve(oncall, { ...grant, planHash: '0'.repeat(64) }))).toMatchObject({
    code: 'conflict',
    message: 'the plan has changed',
    data: { plan_hash: grant.planHash },
  })
  await approve(oncall, grant)
  await world.changeRole()
  expect(await refusalOf(approve(owner, grant))).toMatchObject({
    message: 'the request is voided: a role or its target has changed',
  })
  expect(await world.grant(grant.id)).toMatchObject({ state: 'voided', nextActionAt: null })

  const second = await world.ask(requester)
  await approve(oncall, second)
  await world.write('orders', { max_live: 4 })
  expect(await refusalOf(approve(owner, second))).toMatchObject({
    message: 'the request is voided: the policy has changed',
  })
  expect((await grantVotes(world.test.ledger, second.id)).map(({ endedBecause }) => endedBecause)).toEqual([
    'the policy has changed',
  ])
})

test('an approver who is blocked counts no more, and the grant waits for another', async () => {
  const grant = await world.ask(requester)
  await approve(oncall, grant)
  await approve(owner, grant)
  await world.sql(
    `insert into leasehold.grant_block (requester_id, grant_id, reason) values ($1, $2, 'misuse')`,
    [oncall.id, grant.id],
  )
  await world.requests.lookAtWaiting(grant.id)
  expect(await world.grant(grant.id)).toMatchObject({ state: 'pending', approvedAt: null, activateBy: null })
  await approve(await world.person('amy', ['oncall']), grant)
  expect((await world.grant(grant.id)).state).toBe('approved')
})

test('an auth mount that is taken away takes its voters with it', async () => {
  const grant = await world.ask(requester)
  await approve(await world.person('ann', ['oncall'], { mount: 'auth/other/' }), grant)
  await world.sql(`update leasehold.mount set disabled_at = now() where path = 'auth/other/'`)
  await approve(owner, grant)
  expect((await world.grant(grant.id)).state).toBe('pending')
})

describe('less than was asked', () => {
  test('is a plan of its own, for which earlier votes do not count', async () => {
    const grant = await world.ask(requester, { roles: [ROLE, 'database/creds/app-reader'] })
    await approve(oncall, grant)
    await approve(owner, grant, { narrow: { paths: ['database/creds/app-reader'], durationSeconds: 60 } })

    const narrowed = await world.grant(grant.id)
    expect(narrowed).toMatchObject({ state: 'pending', durationSeconds: 60 })
    expect(narrowed.planHash).not.toBe(grant.planHash)
    expect((narrowed.plan.roles as { path: string }[]).map(({ path }) => path)).toEqual([
      'database/creds/app-reader',
    ])
    await approve(oncall, narrowed)
    expect((await world.grant(grant.id)).state).toBe('approved')
  })

  test('keeps them where the policy says so', async () => {
    await world.write('orders', { narrowing_keeps_votes: true })
    const grant = await world.ask(requester)
    await approve(oncall, grant)
    await approve(owner, grant, { narrow: { durationSeconds: 60 } })
    const { state, planHash } = await world.grant(grant.id)
    expect(state).toBe('approved')
    const standing = (await grantVotes(world.test.ledger, grant.id)).filter(({ endedAt }) => endedAt === null)
    expect(standing.map((vote) => [vote.voterId, vote.planHash])).toEqual([
      [oncall.id, planHash],
      [owner.id, planHash],
    ])
  })

  test.each([
    [{ durationSeconds: 3_601 }, 'may only be shorter than what was asked'],
    [{ paths: ['database/creds/root'] }, 'names a role that was not asked'],
    [{ durationSeconds: 1_800 }, 'asks for no less than the plan'],
  ])('is never more: %j', async (narrow, message) => {
    const grant = await world.ask(requester)
    expect(await refusalOf(approve(oncall, grant, { narrow }))).toMatchObject({
      code: 'invalid_request',
      message: `Field validation failed: field "narrow" ${message}`,
    })
    expect((await world.grant(grant.id)).version).toBe(1)
  })
})

test('one no ends it, also that of a security officer', async () => {
  const no = { comment: 'not on a Friday' }
  for (const actor of [oncall, officer]) {
    const grant = await world.ask(requester)
    await world.requests.deny({ actor, grantId: grant.id, planHash: grant.planHash, ...no })
    expect((await world.grant(grant.id)).state).toBe('denied')
    expect(await refusalOf(approve(owner, grant))).toMatchObject({
      code: 'conflict',
      message: 'the request is denied',
      data: { state: 'denied', version: 2 },
    })
  }
})

test('whoever takes back a yes that was needed takes the grant back to waiting, until its old deadline', async () => {
  const grant = await world.ask(requester)
  await approve(oncall, grant)
  await approve(owner, grant)
  await world.requests.withdraw({ actor: owner, grantId: grant.id })
  const back = await world.grant(grant.id)
  expect(back).toMatchObject({ state: 'pending', activateBy: null, pendingExpiresAt: grant.pendingExpiresAt })
  await approve(owner, grant)
  expect((await world.grant(grant.id)).state).toBe('approved')
})

test('its requester cancels it, and nobody else', async () => {
  const grant = await world.ask(requester)
  expect(await refusalOf(world.requests.cancel({ actor: owner, grantId: grant.id }))).toMatchObject({
    code: 'permission_denied',
  })
  await world.requests.cancel({ actor: requester, grantId: grant.id })
  expect((await world.grant(grant.id)).state).toBe('cancelled')
})

describe('races, between two servers', () => {
  const ROUNDS = 15

  test('approve and expire have one winner', async () => {
    const other = world.another()
    for (let i = 0; i < ROUNDS; i += 1) {
      const fresh = [await world.person('ann', ['oncall']), await world.person('olga', ['owners'])] as const
      const grant = await world.ask(await world.person(`rita-${i}`))
      await approve(fresh[0], grant)
      // The last moment: who sees it as past and who does not is up to when their statement runs.
      await world.sql(
        `update leasehold.access_grant set pending_expires_at = leasehold.ledger_now() + interval '1 ms'
        where id = $1`,
        [grant.id],
      )
      const late = world.test.advance(1)
      const [, vote] = await Promise.allSettled([
        late.then(() => other.requests.lookAtWaiting(grant.id)),
        approve(fresh[1], grant),
      ])
      const { state } = await world.grant(grant.id)
      expect(state).toBe(vote.status === 'fulfilled' ? 'approved' : 'expired')
      const events = (await grantEvents(world.test.ledger, grant.id)).map(({ event }) => event)
      expect(events).toEqual(['submit', 'approve', state === 'approved' ? 'approve' : 'expire'])
    }
  })

  test('two last votes approve once, and neither is lost', async () => {
    const other = world.another()
    for (let i = 0; i < ROUNDS; i += 1) {
      const grant = await world.ask(await world.person(`rita-${i}`))
      await Promise.all([approve(oncall, grant), approve(owner, grant, {}, other)])
      expect((await world.grant(grant.id)).state).toBe('approved')
      expect(await grantVotes(world.test.ledger, grant.id)).toHaveLength(2)
    }
  })

  test('a vote and its withdrawal, and a double click, leave one vote or none', async () => {
    const other = world.another()
    for (let i = 0; i < ROUNDS; i += 1) {
      const grant = await world.ask(await world.person(`rita-${i}`))
      const clicks = await Promise.allSettled([
        approve(oncall, grant),
        approve(oncall, grant, {}, other),
        approve(oncall, grant),
      ])
      expect(clicks.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      await Promise.allSettled([
        world.requests.withdraw({ actor: oncall, grantId: grant.id }),
        approve(owner, grant, {}, other),
      ])
      const standing = (await grantVotes(world.test.ledger, grant.id)).filter(
        ({ endedAt }) => endedAt === null,
      )
      expect(standing.map(({ voterId }) => voterId)).toEqual([owner.id])
      expect((await world.grant(grant.id)).state).toBe('pending')
    }
  })

  test('who says which version they saw is told when it is another one', async () => {
    const grant = await world.ask(requester)
    await approve(oncall, grant, { version: 1 })
    expect(await refusalOf(approve(owner, grant, { version: 1 }))).toMatchObject({
      code: 'conflict',
      data: { state: 'pending', version: 2 },
    })
  })
})

test('the sets after the first are asked at a third and at two thirds of the time', async () => {
  await world.write('orders', { approver_sets_escalation: [['oncall'], ['owners'], ['officers']] })
  const grant = await world.ask(requester)
  expect(grant.nextActionAt?.getTime()).toBe(grant.now.getTime() + 30_000)
  for (const [seconds, escalations] of [
    [299, 0],
    [1, 1],
    [300, 2],
  ] as const) {
    await world.test.advance(seconds)
    await world.requests.lookAtWaiting(grant.id)
    expect(await world.grant(grant.id)).toMatchObject({ escalations, state: 'pending' })
  }
})
