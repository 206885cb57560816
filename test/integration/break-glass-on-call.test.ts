import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Actor } from '../../src/breakglass/actor.ts'
import { type CheckTicket, checkTicket } from '../../src/breakglass/ticket-check.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { type Listener, openListener } from '../support/http-listener.ts'
import { type BreakGlassWorld, openBreakGlassWorld, ROLE, type Server } from './break-glass-world.ts'

let world: BreakGlassWorld
let incidents: Listener
let [rita, ann, olga] = [] as unknown as [Actor, Actor, Actor]
/** What the incident system answers: with status 200 as JSON, unless it is a number; undefined hangs up. */
let answer: unknown

const BOTH = { set: 'oncall', roles: ['database/creds/*'] }

beforeEach(async () => {
  incidents = await openListener((res) => {
    if (answer === undefined) return void res.destroy()
    if (typeof answer === 'number') return void res.writeHead(answer).end()
    res.writeHead(200).end(typeof answer === 'string' ? answer : JSON.stringify(answer))
  })
  const ask: CheckTicket = ({ name, spec }, about) =>
    checkTicket({ url: spec.ticket_check_url, key: sensitive('key') }, { policy: name, ...about })
  world = await openBreakGlassWorld([], ask)
  await write()
  rita = await world.person('rita', ['developers'])
  ann = await world.person('ann', ['oncall'])
  olga = await world.person('olga', ['owners'])
  answer = await onCall()
})
afterEach(async () => {
  await world.close()
  await incidents.close()
})

const write = (changes: Record<string, unknown> = {}) =>
  world.write('orders', { ticket_check_url: incidents.url, on_call: BOTH, ...changes })

/** An answer with everything in it, as of now or so many seconds ago. */
async function onCall(changes: Record<string, unknown> = {}, ageSeconds = 0) {
  const asOf = new Date((await world.test.now()).getTime() - ageSeconds * 1_000)
  return { valid: true, open: true, responders: ['rita'], as_of: asOf.toISOString(), ...changes }
}

type Seen = {
  state: string
  quorum: { met: boolean; approvers: number; tree: unknown }
  votes: { decision: string; current: boolean; evidence: unknown; sets: string[]; ended_because: string }[]
}
async function look(id: string): Promise<Seen> {
  return (await world.requests.view(id, { actor: rita, seesAll: true })) as unknown as Seen
}
const standing = async (id: string) => (await look(id)).votes.filter(({ current }) => current)
const vouched = async (id: string) =>
  (await standing(id)).filter(({ decision }) => decision === 'on_call').length

/** A timer's look, and what it asks. */
async function lookAt(id: string, { requests }: Pick<Server, 'requests'> = world) {
  await requests.lookAtWaiting(id)
  await requests.onCall.idle()
}
const events = async (id: string) =>
  (
    await world.sql<{ event: string; detail: Record<string, unknown>; actor: { display_name: string } }>(
      'select event, detail, actor from leasehold.grant_event where grant_id = $1 order by number',
      [id],
    )
  ).slice(1)
const approve = async (actor: Actor, id: string, changes: Record<string, unknown> = {}) =>
  world.requests.approve({
    actor,
    grantId: id,
    planHash: (await world.grant(id)).planHash,
    comment: '',
    ...changes,
  })

test('a requester who is on call for an open incident has one vote of the incident system, and no voice of their own', async () => {
  const { id } = await world.ask(rita)
  const now = (await world.test.now()).toISOString()
  const evidence = {
    ticket: 'INC-4711',
    responder: { subject: 'rita', mount: 'auth/oidc/' },
    as_of: now,
    checked_at: now,
  }
  expect(await look(id)).toMatchObject({
    state: 'pending',
    votes: [{ decision: 'on_call', voter: { display_name: 'incident system' }, sets: ['oncall'], evidence }],
    quorum: {
      met: false,
      approvers: 1,
      tree: {
        all_of: [
          { set: 'oncall', have: 1, voters: ['incident system'] },
          { set: 'owners', have: 0 },
        ],
      },
    },
  })
  expect(await events(id)).toMatchObject([
    {
      event: 'on_call_vote',
      actor: { display_name: 'incident system' },
      detail: { who: 'incident', sets: ['oncall'], evidence },
    },
  ])
  expect(incidents.heard).toHaveLength(1)
  expect(JSON.parse(incidents.heard[0]?.body ?? '')).toMatchObject({
    ticket: 'INC-4711',
    requester: { subject: 'rita', mount: 'auth/oidc/' },
    roles: [ROLE],
  })
  const [audited] = await world.sql<{ body: string }>(
    `select body::text as body from leasehold.audit_event where body::text like '%grant_on_call_vote%'`,
  )
  expect(JSON.parse(audited?.body ?? '').details).toMatchObject({ grant_id: id, evidence })

  await approve(olga, id)
  expect(await look(id)).toMatchObject({ state: 'approved', quorum: { met: true, approvers: 2 } })
})

describe('there is no such vote', () => {
  test.each([
    ['without the incident being open', { open: false }],
    ['where nothing says that it is open', { open: undefined }],
    ['where that is no yes', { open: 'true' }],
    ['for one who is no responder', { responders: ['olga'] }],
    ['where nobody is', { responders: [] }],
    ['where nothing says who is', { responders: undefined }],
    ['of a list that is none', { responders: 'rita' }],
    ['of a list that holds something else', { responders: ['rita', 7] }],
    ['for their namesake of another mount', { responders: [{ subject: 'rita', mount: 'auth/other/' }] }],
    ['for part of a name', { responders: ['rit', 'Rita', 'rita ', 'oidc#rita', ''] }],
    ['without a time', { as_of: undefined }],
    ['for a time that is none', { as_of: 'just now' }],
    ['for a time without a zone', { as_of: '2026-11-23T22:00:00' }],
    ['for a day', { as_of: '2026-11-23' }],
    ['for seconds since 1970', { as_of: 4_000_000_000 }],
  ])('%s: %j', async (_, changes) => {
    answer = await onCall(changes)
    const { id, ticketState } = await world.ask(rita)
    expect(ticketState).toBe('verified')
    await lookAt(id)
    expect(await look(id)).toMatchObject({ state: 'pending', votes: [] })
    expect(incidents.heard).toHaveLength(2)
  })

  test('of an answer that verifies no ticket, whatever else it says', async () => {
    const { id } = await world.ask(rita)
    expect(await vouched(id)).toBe(1)
    for (const other of [
      await onCall({ valid: 'true' }),
      await onCall({ valid: undefined }),
      '[]',
      'null',
      500,
    ]) {
      answer = other
      const asked = await world.ask(rita)
      expect(asked.ticketState).toBe('unverified')
      await lookAt(asked.id)
      expect(await standing(asked.id)).toEqual([])
      await world.requests.cancel({ actor: rita, grantId: asked.id })
    }
  })

  test('where schedule data is older than five minutes, or dated ahead', async () => {
    for (const ageSeconds of [301, -61]) {
      answer = await onCall({}, ageSeconds)
      expect(await vouched((await world.ask(rita)).id)).toBe(0)
    }
    answer = await onCall({}, 299)
    expect(await vouched((await world.ask(rita)).id)).toBe(1)
  })

  test('for a role that is not on the list, alone or beside one that is', async () => {
    await write({ on_call: { set: 'oncall', roles: [ROLE] } })
    for (const roles of [['database/creds/app-reader'], [ROLE, 'database/creds/app-reader']]) {
      const { id } = await world.ask(rita, { roles })
      await lookAt(id)
      expect(await vouched(id)).toBe(0)
    }
    expect(await vouched((await world.ask(rita)).id)).toBe(1)
  })

  test('where the policy does not say so, nor without a ticket', async () => {
    await write({ on_call: null })
    expect(await vouched((await world.ask(rita)).id)).toBe(0)
    await write({ ticket_required: false, ticket_pattern: '' })
    const { id } = await world.ask(rita, { ticket: '' })
    await lookAt(id)
    expect(await vouched(id)).toBe(0)
    expect(incidents.heard).toHaveLength(1)
  })

  test('in a drill, or in the sealed lane, where a human has to see it', async () => {
    await write({ sealed: true })
    const drill = await world.ask(rita, { lane: 'drill' })
    const sealed = await world.ask(await world.person('rita', [], { amr: ['hwk'] }), { lane: 'sealed' })
    for (const { id } of [drill, sealed]) {
      await lookAt(id)
      expect(await look(id)).toMatchObject({ state: 'pending', votes: [] })
    }
  })

  test('for a workload, which is nobody’s name', async () => {
    await write({ lane: 'standard', review: true, requesters: { kinds: ['human', 'workload'] } })
    const { id } = await world.ask(await world.person('rita', [], { kind: 'workload' }))
    await lookAt(id)
    expect(await look(id)).toMatchObject({ state: 'pending', votes: [] })
  })
})

test('who came by a key is the responder whom their provider’s mount knows', async () => {
  answer = await onCall({ responders: [{ subject: 'rita', mount: 'auth/oidc/' }] })
  const keyed = await world.person('rita', [], { mount: 'auth/other/', home: 'auth/oidc/' })
  expect(await vouched((await world.ask(keyed)).id)).toBe(1)
  expect(await vouched((await world.ask({ ...keyed, home: 'auth/elsewhere/' })).id)).toBe(0)
})

test.each([
  ['their subject', ['bob', 'rita']],
  ['their subject and mount', [{ subject: 'rita', mount: 'auth/oidc/' }]],
  ['the mount in short', [{ subject: 'rita', mount: 'oidc', name: 'Rita' }]],
])('the responder may be named by %s', async (_, responders) => {
  answer = await onCall({ responders })
  expect(await vouched((await world.ask(rita)).id)).toBe(1)
})

describe('it never stands for people', () => {
  const anyOf = { any_of: [{ set: 'oncall' }, { set: 'owners' }] }

  test('breaking the glass takes somebody besides it', async () => {
    await write({ approvals: anyOf })
    const { id } = await world.ask(rita)
    expect(await look(id)).toMatchObject({ state: 'pending', quorum: { met: false } })
    // A policy that the check would not have let pass.
    await world.sql(
      `update leasehold.break_glass_policy set spec = jsonb_set(spec, '{min_approvers}', '1') where replaced_at is null`,
    )
    const other = await world.ask(rita)
    await lookAt(other.id)
    expect(await look(other.id)).toMatchObject({ state: 'pending', quorum: { met: false } })
    expect(await vouched(other.id)).toBe(1)
    await approve(ann, other.id)
    expect((await look(other.id)).state).toBe('approved')
  })

  test('access of the lane standard may rest on it, where one yes is enough', async () => {
    await write({ lane: 'standard', review: true, approvals: anyOf })
    const made = await world.ask(rita)
    expect(made).toMatchObject({
      state: 'approved',
      approvedAt: expect.any(Date),
      activateBy: expect.any(Date),
    })
    expect((await look(made.id)).quorum).toMatchObject({ met: true, approvers: 1 })
    await lookAt(made.id)
    expect((await look(made.id)).state).toBe('approved')
  })

  test('it has one seat of one set, beside the people of that set', async () => {
    await write({ approvals: { all_of: [{ set: 'oncall', count: 2 }, { set: 'owners' }] }, min_approvers: 3 })
    const { id } = await world.ask(rita)
    await approve(olga, id)
    expect((await look(id)).state).toBe('pending')
    await approve(ann, id)
    expect(await look(id)).toMatchObject({ state: 'approved', quorum: { met: true, approvers: 3 } })
  })

  test('a vote of the same set makes up for none of another', async () => {
    const { id } = await world.ask(rita)
    await approve(ann, id)
    expect(await look(id)).toMatchObject({ state: 'pending', quorum: { met: false, approvers: 2 } })
  })

  test('it is no seat of a set that nobody is asked of', async () => {
    const fault = (on_call: unknown, changes = {}) => write({ on_call, ...changes })
    const refused = (what: string) => ({
      code: 'invalid_request',
      message: expect.stringContaining(`field "on_call" ${what}`),
    })
    await expect(fault({ set: 'officers', roles: ['*'] })).rejects.toMatchObject(refused('names the set'))
    await expect(fault({ set: 'none', roles: ['*'] })).rejects.toMatchObject(refused('names the set'))
    await expect(fault(BOTH, { ticket_check_url: '' })).rejects.toMatchObject(
      refused('needs ticket_check_url'),
    )
    await expect(fault(BOTH, { lane: 'standard' })).rejects.toMatchObject(refused('needs review'))
    await expect(fault({ set: 'oncall', roles: [] })).rejects.toMatchObject(refused('roles: must name'))
    await expect(fault({ set: 'oncall' })).rejects.toMatchObject(refused('roles'))
    await expect(fault({ ...BOTH, count: 2 })).rejects.toMatchObject(refused(''))
  })
})

describe('over time', () => {
  test('one who becomes a responder later has it with the next look', async () => {
    answer = await onCall({ responders: [] })
    const { id } = await world.ask(rita)
    expect(await vouched(id)).toBe(0)
    answer = await onCall()
    await lookAt(id)
    expect(await vouched(id)).toBe(1)
  })

  test('an incident system that is down is asked again', async () => {
    answer = undefined
    const { id, ticketState } = await world.ask(rita)
    expect(ticketState).toBe('unverified')
    await lookAt(id)
    expect(await look(id)).toMatchObject({ votes: [], state: 'pending' })
    answer = await onCall()
    await lookAt(id)
    expect(await vouched(id)).toBe(1)
    // What could not be checked when it was asked is still for the review.
    expect((await world.grant(id)).ticketState).toBe('unverified')
  })

  test('looks cast it once, however many there are and wherever', async () => {
    answer = await onCall({ responders: [] })
    const { id } = await world.ask(rita)
    answer = await onCall()
    const other = world.another()
    await Promise.all([lookAt(id), lookAt(id), lookAt(id, other), lookAt(id, world.another())])
    await lookAt(id, other)
    expect(await vouched(id)).toBe(1)
    expect((await events(id)).map(({ event }) => event)).toEqual(['on_call_vote'])
  })

  test('it is lost when what it rests on is older than five minutes, and had again with newer', async () => {
    const { id } = await world.ask(rita)
    await approve(olga, id)
    answer = undefined
    await world.test.advance(300)
    await lookAt(id)
    expect((await look(id)).state).toBe('approved')
    await world.test.advance(1)
    await lookAt(id)
    expect(await look(id)).toMatchObject({
      state: 'pending',
      votes: [
        { decision: 'on_call', current: false },
        { decision: 'approve', current: true },
      ],
    })
    expect((await events(id)).at(-1)).toMatchObject({
      event: 'lose_vote',
      detail: { votes: [1], who: 'system' },
    })
    await world.test.advance(1)
    answer = await onCall()
    await lookAt(id)
    expect((await look(id)).state).toBe('approved')
  })

  test('somebody who approves late does not build on it', async () => {
    const { id } = await world.ask(rita)
    answer = undefined
    await world.test.advance(301)
    await approve(await world.person('olga', ['owners']), id)
    expect((await look(id)).state).toBe('pending')
    expect(await vouched(id)).toBe(0)
  })

  test('as long as the requester is a responder it goes on, with newer evidence and no event', async () => {
    await write({ activate_within: '30m' })
    const { id } = await world.ask(rita)
    await approve(olga, id)
    for (let looked = 0; looked < 6; looked += 1) {
      await world.test.advance(130)
      answer = await onCall()
      await lookAt(id)
    }
    expect((await look(id)).state).toBe('approved')
    expect((await events(id)).map(({ event }) => event)).toEqual(['on_call_vote', 'approve'])
    const now = (await world.test.now()).toISOString()
    expect((await standing(id))[0]?.evidence).toMatchObject({ as_of: now, checked_at: now })
    const asked = incidents.heard.length
    await lookAt(id)
    expect(incidents.heard).toHaveLength(asked)
  })

  test('data that is not renewed counts no longer for being told again', async () => {
    const { id } = await world.ask(rita)
    for (const seconds of [200, 101]) {
      await world.test.advance(seconds)
      await lookAt(id)
    }
    expect(await vouched(id)).toBe(0)
  })

  test('a clock that is ahead buys no time', async () => {
    answer = await onCall({}, -59)
    const { id } = await world.ask(rita)
    expect(await vouched(id)).toBe(1)
    answer = undefined
    await world.test.advance(301)
    await lookAt(id)
    expect(await vouched(id)).toBe(0)
  })

  test.each([
    ['closed', { open: false }, 'the incident is not open'],
    ['somebody else’s', { responders: ['olga'] }, 'the requester is not one of its responders'],
    ['unknown', { valid: false }, 'the incident system knows no such ticket'],
  ])('it is lost at once when the incident is %s', async (_, changes, because) => {
    const { id } = await world.ask(rita)
    await approve(olga, id)
    await world.test.advance(130)
    answer = await onCall(changes)
    await lookAt(id)
    expect(await look(id)).toMatchObject({ state: 'pending', quorum: { approvers: 1 } })
    expect((await look(id)).votes[0]).toMatchObject({ current: false, ended_because: because })
    expect((await events(id)).at(-1)).toMatchObject({ event: 'lose_vote', detail: { because } })
  })

  test('an answer that says nothing leaves it to its age', async () => {
    const { id } = await world.ask(rita)
    for (const nothing of [{ valid: true }, 503, '<html>']) {
      await world.test.advance(90)
      answer = nothing
      await lookAt(id)
      expect(await vouched(id)).toBe(1)
    }
    await world.test.advance(90)
    await lookAt(id)
    expect(await vouched(id)).toBe(0)
  })

  test('what was asked earlier does not overrule what was learnt since', async () => {
    const { id } = await world.ask(rita)
    await world.test.advance(130)
    const held: (() => void)[] = []
    const slow = world.another()
    const before = await onCall()
    const listener = await openListener((res) => {
      held.push(() => res.writeHead(200).end(JSON.stringify(before)))
    })
    // One look hangs on its answer; meanwhile another hears that the incident is over.
    await world.sql(
      `update leasehold.break_glass_policy set spec = jsonb_set(spec, '{ticket_check_url}', to_jsonb($1::text))`,
      [listener.url],
    )
    await slow.requests.lookAtWaiting(id)
    await expect.poll(() => held.length).toBe(1)
    await world.sql(
      `update leasehold.break_glass_policy set spec = jsonb_set(spec, '{ticket_check_url}', to_jsonb($1::text))`,
      [incidents.url],
    )
    await world.test.advance(10)
    answer = await onCall({ open: false })
    await lookAt(id)
    expect(await vouched(id)).toBe(0)
    for (const send of held) send()
    await slow.requests.onCall.idle()
    expect(await vouched(id)).toBe(0)
    await listener.close()
  })

  test('a look waits for nobody’s answer', async () => {
    const listener = await openListener(() => {})
    const { id } = await world.ask(rita)
    await world.test.advance(130)
    await world.sql(
      `update leasehold.break_glass_policy set spec = jsonb_set(spec, '{ticket_check_url}', to_jsonb($1::text))`,
      [listener.url],
    )
    expect(await world.requests.lookAtWaiting(id)).toBeInstanceOf(Date)
    await expect.poll(() => listener.heard.length).toBe(1)
    await listener.close()
    await world.requests.onCall.stop()
    await lookAt(id)
    expect(await vouched(id)).toBe(1)
  })
})

describe('of a plan that was narrowed', () => {
  const narrow = { durationSeconds: 60 }

  test('it is cast anew', async () => {
    const { id } = await world.ask(rita)
    await approve(olga, id, { narrow })
    expect(await look(id)).toMatchObject({ state: 'pending', quorum: { approvers: 1 } })
    await world.test.advance(30)
    await lookAt(id)
    expect((await look(id)).state).toBe('approved')
    expect(await vouched(id)).toBe(1)
  })

  test('it stands, where the policy lets votes stand', async () => {
    await write({ narrowing_keeps_votes: true })
    const { id } = await world.ask(rita)
    await approve(olga, id, { narrow })
    expect((await look(id)).state).toBe('approved')
    expect((await standing(id)).map(({ decision, evidence }) => [decision, evidence !== null])).toEqual([
      ['on_call', true],
      ['approve', false],
    ])
  })
})

test('nobody votes as the incident system, nor takes its vote back', async () => {
  const { id } = await world.ask(rita)
  const robot = await world.person('robot', ['oncall'], { id: 'incident system', kind: 'workload' })
  for (const doing of [
    () => approve(robot, id),
    () => world.requests.withdraw({ actor: robot, grantId: id }),
    () => world.requests.withdraw({ actor: rita, grantId: id }),
  ]) {
    await expect(doing()).rejects.toMatchObject({
      code: expect.stringMatching(/not_found|permission_denied/),
    })
  }
  expect(await vouched(id)).toBe(1)
})
