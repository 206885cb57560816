import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EngineError } from '../../src/engine/engine.ts'
import { faultKey } from '../support/fake-engine.ts'
import { type LeaseProcess, type LeaseWorld, openLeaseWorld } from '../support/lease-world.ts'

/** What the test remembers of the past: the rest is read from the ledger and the target. */
type Model = { leaseIds: string[]; revoked: Set<string> }
type Machine = { world: LeaseWorld; processes: LeaseProcess[] }
type Move = { name: string; run: (machine: Machine, model: Model) => Promise<unknown> }

const any = () => true
const pick = <T>(list: readonly T[], at: number): T | undefined => list[at % Math.max(1, list.length)]

const issue = (times: number): Move => ({
  name: `issue x${times}`,
  run: async ({ world }, model) => {
    const results = await Promise.allSettled(Array.from({ length: times }, () => world.take()))
    for (const result of results) if (result.status === 'fulfilled') model.leaseIds.push(result.value.leaseId)
  },
})
const renew = (at: number, incrementSeconds: number): Move => ({
  name: `renew ${at} by ${incrementSeconds}`,
  run: ({ processes }, { leaseIds }) => {
    const renewing = pick(processes, at)?.renew({
      leaseId: pick(leaseIds, at) ?? '',
      incrementSeconds,
      mayTouch: any,
      stillAllowed: async () => true,
    })
    return Promise.allSettled([renewing])
  },
})
const revoke = (at: number, now: boolean): Move => ({
  name: `revoke ${at}`,
  run: ({ world }, { leaseIds }) => {
    const which = { ids: [(pick(leaseIds, at) ?? '').split('/').at(-1) ?? ''] }
    return now ? world.ender.endNow(which, 'revoked') : world.ender.doom(which, 'revoked')
  },
})
const advance = (seconds: number): Move => ({
  name: `advance ${seconds}`,
  run: ({ world }) => world.test.advance(seconds),
})
const sweep = (both: boolean): Move => ({
  name: both ? 'both sweep' : 'one sweeps',
  run: ({ processes }) => Promise.all(processes.slice(0, both ? 2 : 1).map((each) => each.sweep.once())),
})
const fail = (method: string): Move => ({
  name: `${method} fails`,
  run: async ({ world }) =>
    world.target.faults.set(faultKey(method), new EngineError('failed', `planted in ${method}`)),
})
const heal: Move = { name: 'heal', run: async ({ world }) => world.target.faults.clear() }
const power = (down: boolean): Move => ({
  name: down ? 'down' : 'up',
  run: async ({ world }) => {
    world.target.down = down
  },
})

const move = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 4 }).map(issue) },
  {
    weight: 4,
    arbitrary: fc.tuple(fc.nat(9), fc.integer({ min: 1, max: 900 })).map(([at, by]) => renew(at, by)),
  },
  { weight: 2, arbitrary: fc.tuple(fc.nat(9), fc.boolean()).map(([at, now]) => revoke(at, now)) },
  { weight: 3, arbitrary: fc.constantFrom(1, 30, 61, 700).map(advance) },
  { weight: 4, arbitrary: fc.boolean().map(sweep) },
  {
    weight: 2,
    arbitrary: fc.constantFrom('create', 'extend', 'disable', 'disconnect', 'remove', 'verify').map(fail),
  },
  { weight: 2, arbitrary: fc.constant(heal) },
  { weight: 1, arbitrary: fc.boolean().map(power) },
)

type Row = { id: string; state: string; account: string; late: boolean; ended: boolean; receipts: number }

async function rows({ world }: Machine): Promise<Row[]> {
  const { rows } = await world.ledger.query<Row>(
    `select l.id, l.state, l.account, l.expires_at > l.hard_expires_at as late,
       l.access_ended_at is not null as ended,
       (select count(*)::int from leasehold.receipt r where r.lease_id = l.id) as receipts
     from leasehold.lease l`,
  )
  return rows
}

/** What must be true after every move, whatever failed. */
async function checkAlways(machine: Machine, model: Model): Promise<void> {
  const leases = await rows(machine)
  const live = new Set(leases.filter(({ state }) => state !== 'revoked').map(({ account }) => account))
  const { accounts } = machine.world.target
  for (const name of accounts.keys()) expect(live.has(name), 'an account without a live lease').toBe(true)
  for (const { id, state, account, late, ended, receipts } of leases) {
    expect(late, 'a lease past its bound').toBe(false)
    if (model.revoked.has(id)) expect(state, 'a lease that came back').toBe('revoked')
    if (state === 'revoked') model.revoked.add(id)
    expect(receipts).toBe(state === 'revoked' ? 1 : 0)
    if (ended) expect(accounts.get(account)?.login ?? false, 'access that came back').toBe(false)
  }
}

/** With everything in order again and time gone by, nothing is left. */
async function checkEnd(machine: Machine, model: Model): Promise<void> {
  machine.world.target.faults.clear()
  machine.world.target.down = false
  await machine.world.test.advance(3_600)
  for (let round = 0; round < 3; round += 1) await machine.processes[0]?.sweep.once()
  await checkAlways(machine, model)
  expect(machine.world.target.accounts.size).toBe(0)
  for (const { state } of await rows(machine)) expect(state).toBe('revoked')
}

test('whatever is asked, fails and is retried, in any order: accounts end, and ended ones stay ended', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(move, { minLength: 5, maxLength: 30 }), async (moves) => {
      const world = await openLeaseWorld({ ttl: 60, max: 600 })
      try {
        const machine = { world, processes: [world, await world.process('second')] }
        const model: Model = { leaseIds: [], revoked: new Set() }
        for (const { run } of moves) {
          await run(machine, model)
          await checkAlways(machine, model)
        }
        await checkEnd(machine, model)
      } finally {
        await world.close()
      }
    }),
    { numRuns: 25, interruptAfterTimeLimit: 100_000, markInterruptAsFailure: false },
  )
}, 180_000)
