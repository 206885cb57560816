import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Actor, isSamePerson } from '../../src/breakglass/actor.ts'
import type { Policy } from '../../src/breakglass/policies.ts'
import { isMet } from '../../src/breakglass/quorum.ts'
import { actorOfVote, standingVotes, votersOf } from '../../src/breakglass/standing.ts'
import {
  type Capacity,
  type GrantEvent,
  type GrantState,
  rowOf,
  TERMINAL,
} from '../../src/breakglass/states.ts'
import { grantVotes } from '../../src/ledger/grant-votes.ts'
import { type Grant, grantEvents } from '../../src/ledger/grants.ts'
import { httpStatus } from '../../src/lib/errors.ts'
import { type BreakGlassWorld, openBreakGlassWorld } from './break-glass-world.ts'

let world: BreakGlassWorld
beforeAll(async () => {
  world = await openBreakGlassWorld()
})
afterAll(() => world.close())

const PEOPLE: Record<string, string[]> = {
  rita: ['oncall', 'owners', 'security'],
  ann: ['oncall'],
  olga: ['owners'],
  both: ['oncall', 'owners'],
  sam: ['security'],
  eve: [],
}

type Step = { by: string; does: string; server: 0 | 1 }

const step: fc.Arbitrary<Step> = fc.record({
  by: fc.constantFrom(...Object.keys(PEOPLE)),
  does: fc.constantFrom(
    ...[
      'approve',
      'approve',
      'approve',
      'narrow',
      'deny',
      'withdraw',
      'cancel',
      'witness',
      'look',
      'wait',
      'role',
    ],
  ),
  server: fc.constantFrom(0, 1),
})

/** Does it, and answers whether it was let be; what is refused is refused as the wire knows it. */
async function take({ by, does }: Step, id: string, requests: BreakGlassWorld['requests']): Promise<boolean> {
  const actor = await world.person(by, PEOPLE[by])
  const { planHash, durationSeconds } = await world.grant(id)
  const seen = { actor, grantId: id, planHash, comment: 'c' }
  const doing: Record<string, () => Promise<unknown>> = {
    approve: () => requests.approve(seen),
    narrow: () => requests.approve({ ...seen, narrow: { durationSeconds: durationSeconds - 1 } }),
    deny: () => requests.deny(seen),
    withdraw: () => requests.withdraw(seen),
    cancel: () => requests.cancel(seen),
    witness: () => requests.witness(seen),
    look: () => requests.lookAtWaiting(id),
    wait: () => world.test.advance(240),
    role: () => (by === 'eve' ? world.changeRole() : Promise.resolve()),
  }
  try {
    await doing[does]?.()
    return true
  } catch (error) {
    expect([400, 403, 404, 409]).toContain(httpStatus(error))
    return false
  }
}

async function holdsTrue(grant: Grant, policy: Policy): Promise<void> {
  const events = await grantEvents(world.test.ledger, grant.id)
  expect(events.map(({ number }) => number)).toEqual(Array.from({ length: grant.version }, (_, i) => i + 1))
  let state: string | null = null
  for (const { event, from, to, detail } of events) {
    expect(from).toBe(state)
    expect(from !== null && TERMINAL.has(from as GrantState)).toBe(false)
    const who = (from === null ? 'requester' : detail.who) as Capacity
    const move = { event: event as GrantEvent, from: from as GrantState | null, to: to as GrantState }
    expect(rowOf({ ...move, who, lane: grant.lane as 'standard' })).toBeDefined()
    state = to
  }
  expect(state).toBe(grant.state)

  const votes = await grantVotes(world.test.ledger, grant.id)
  expect(votes.some(({ voter }) => isSamePerson(actorOfVote(voter), grant.requester as Actor))).toBe(false)
  const standing = standingVotes({ grant, votes })
  expect(new Set(standing.map(({ voterId }) => voterId)).size).toBe(standing.length)
  const enough = isMet(policy.spec.approvals, policy.spec.min_approvers, votersOf(standing))
  if (grant.state === 'approved') expect(enough).toBe(true)
  if (grant.state === 'pending') expect(enough).toBe(false)
  expect(grant.nextActionAt === null).toBe(TERMINAL.has(grant.state as GrantState))
}

test.each(['break_glass', 'standard'] as const)(
  'whatever people do to a %s request, in whatever order and from whichever server',
  async (lane) => {
    const limits =
      lane === 'standard' ? { deny_threshold: 2, min_approvers: 1, narrowing_keeps_votes: true } : {}
    await world.write(lane, { lane, max_live: 100, ...limits })
    const policy = (await world.policies.find(lane)) as Policy
    const servers = [world.requests, world.another().requests] as const
    let reached = new Set<string>()
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(step, { minLength: 1, maxLength: 3 }), { maxLength: 8 }),
        async (rounds) => {
          const requester = await world.person('rita', PEOPLE.rita)
          const { id } = await world.ask(requester, { policy: lane })
          for (const together of rounds) {
            const before = await world.grant(id)
            await Promise.all(together.map((one) => take(one, id, servers[one.server])))
            const after = await world.grant(id)
            await holdsTrue(after, policy)
            if (TERMINAL.has(before.state as GrantState)) expect(after.version).toBe(before.version)
            reached = reached.add(after.state)
          }
          await take({ by: 'rita', does: 'cancel', server: 0 }, id, world.requests)
        },
      ),
      { numRuns: 40 },
    )
    expect([...reached]).toEqual(expect.arrayContaining(['pending', 'approved', 'cancelled']))
  },
  120_000,
)
