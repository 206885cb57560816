import fc from 'fast-check'
import { expect } from 'vitest'
import { EngineError } from '../../src/engine/engine.ts'
import { faultKey } from './fake-engine.ts'
import { ACTS, type ActName, attempt, type Try } from './grant-acts.ts'
import { deadlinesOf, disabling, type Expected, type Model, RULES, timersOf } from './grant-model.ts'
import { LOGINS, NAMES } from './grant-people.ts'
import { type GrantRecord, holdsTrue, recordOf } from './grant-record.ts'
import { type Asked, asRequest, type GrantServer, type GrantWorld } from './grant-world.ts'

/** What may happen to a grant, each thing told to the model and done to the real one, and compared. */

export type Real = { world: GrantWorld; asked: Asked; last: GrantRecord | undefined }
export type Command = fc.AsyncCommand<Model, Real>

const serverOf = ({ world }: Real, at: 0 | 1): GrantServer => world.servers[at]

/** Compares what has come of it, takes over what the model left open, and checks what must always be true. */
async function settle(
  model: Model,
  real: Real,
  expected: Expected,
  status: number | undefined,
  what: string,
): Promise<void> {
  const record = await recordOf(real.world, real.asked)
  const { state, version } = record.grant
  const told = `${what} of a ${model.lane} request that is ${model.state}, ${JSON.stringify({ status, state })}`
  if (expected.kind === 'refused') {
    expect([400, 403, 404, 409], told).toContain(status)
    expect([version, state], told).toEqual([real.last?.grant.version, model.state])
  } else {
    if (expected.kind === 'done') expect(status, told).toBeUndefined()
    if (expected.kind === 'lapsed') expect(status, told).toBe(409)
    if (expected.kind === 'failed') expect(status, told).toBeDefined()
    expect(expected.to, told).toContain(state)
    expected.after?.(model, state)
    model.state = state
  }
  holdsTrue(record, real.last, real.asked)
  if (['active', 'suspended'].includes(state)) {
    const { startedAt, expiresAt } = record.grant
    expect(((expiresAt?.getTime() ?? 0) - (startedAt?.getTime() ?? 0)) / 1_000, told).toBe(
      model.endsAt - model.startedAt,
    )
  }
  real.last = record
}

const command = (name: string, run: (model: Model, real: Real) => Promise<void>): Command => ({
  check: () => true,
  run,
  toString: () => name,
})

/** Somebody tries something: one of them is always whoever they are, and never whom a body names. */
export const trying = (ask: Try, at: 0 | 1): Command => {
  const name = `${ask.by} tries ${ask.does} (${ask.login}, ${ask.seen}, ${at})`
  return command(name, async (model, real) => {
    const expected = RULES[ask.does](model, ask)
    const votesBefore = real.last?.votes.length ?? 0
    const status = await attempt(real.world, serverOf(real, at), real.asked, ask)
    await settle(model, real, expected, status, name)
    const cast = real.last?.votes.slice(votesBefore) ?? []
    if (ask.does !== 'narrow') {
      for (const { voter } of cast) expect(voter.display_name, name).toBe(ask.by)
    }
  })
}

export const passing = (which: number, before: boolean): Command =>
  command(`time to ${before ? 'just before' : ''} deadline ${which}`, async (model, real) => {
    const deadlines = deadlinesOf(model)
    const at = deadlines[which % Math.max(1, deadlines.length)]
    const seconds = at === undefined ? 31 : Math.max(0, at - model.now - (before ? 1 : 0))
    await real.world.lease.test.advance(seconds)
    model.now += seconds
  })

export const waiting = (seconds: number): Command =>
  command(`wait ${seconds}`, async (model, real) => {
    await real.world.lease.test.advance(seconds)
    model.now += seconds
  })

export const round = (at: 0 | 1): Command =>
  command(`timers of ${at}`, async (model, real) => {
    const expected = timersOf(model)
    await real.world.round(serverOf(real, at))
    await settle(model, real, expected, undefined, 'a round of timers')
  })

const edit = (what: 'policy' | 'role'): Command =>
  command(`edit the ${what}`, async (model, real) => {
    await (what === 'policy' ? real.world.editPolicy(real.asked) : real.world.editRole(real.asked))
    if (model.stale?.by === 'role' && ['active'].includes(model.state)) return
    model.stale = { by: what, at: model.now }
  })

export const breaking = (what: 'create' | 'remove'): Command =>
  command(`break ${what}`, async (model, { world }) => {
    world.lease.target.faults.set(faultKey(what), new EngineError('failed', `planted in ${what}`))
    model.broken.add(what)
  })

const mending: Command = command('mend', async (model, { world }) => {
  world.lease.target.faults.clear()
  // Its leases are tried again when their backoff is over.
  if (model.broken.has('remove') && !['active', 'activating'].includes(model.state))
    model.dirty ||= model.live
  model.broken.clear()
})

const disabled: Command = command('the requester is disabled', async (model, real) => {
  const expected = disabling(model)
  const actor = await real.world.actor('eve', 'key', real.asked)
  const { access } = serverOf(real, 0)
  const ended = await asRequest(() => access.requesterDisabled(actor, real.asked.requester))
  expect(ended).toEqual(expected.kind === 'done' ? [real.asked.id] : [])
  await settle(model, real, expected, expected.kind === 'done' ? undefined : 409, 'disabling its requester')
})

const server = fc.constantFrom<0 | 1>(0, 1)
const anybody = fc.record({
  does: fc.constantFrom(...ACTS),
  by: fc.constantFrom(...NAMES),
  login: fc.oneof(
    { weight: 6, arbitrary: fc.constant('key' as const) },
    { weight: 2, arbitrary: fc.constantFrom(...LOGINS) },
  ),
  seen: fc.oneof(
    { weight: 8, arbitrary: fc.constant('right' as const) },
    { weight: 1, arbitrary: fc.constant('stale' as const) },
  ),
})

/** What those do whose business it is: without it no sequence gets far. */
const USUAL: [ActName, Try['by'][]][] = [
  ['approve', ['ann', 'olga', 'both', 'annAgain']],
  ['narrow', ['olga', 'both']],
  ['withdraw', ['ann', 'olga', 'sam']],
  ['witness', ['sam', 'vera', 'ann']],
  ['activate', ['rita']],
  ['collect', ['rita']],
  ['extend', ['rita']],
  ['approve-extension', ['ann', 'olga', 'both']],
  ['suspend', ['sam', 'otto']],
  ['resume', ['sam', 'otto']],
  ['end', ['rita', 'ann', 'sam', 'otto']],
  ['ratify', ['ann', 'olga', 'both']],
  ['abandon', ['sam', 'otto']],
  ['review-rotate', ['vera', 'both']],
  ['reopen', ['sam']],
]
const usual = fc
  .constantFrom(...USUAL)
  .chain(([does, names]) =>
    fc.constantFrom(...names).map((by): Try => ({ does, by, login: 'key', seen: 'right' })),
  )

export const anyCommand: fc.Arbitrary<Command>[] = [
  fc.tuple(usual, server).map(([ask, at]) => trying(ask, at)),
  fc.tuple(usual, server).map(([ask, at]) => trying(ask, at)),
  fc.tuple(usual, server).map(([ask, at]) => trying(ask, at)),
  fc.tuple(anybody, server).map(([ask, at]) => trying(ask, at)),
  fc.tuple(anybody, server).map(([ask, at]) => trying(ask, at)),
  fc.oneof(
    fc.tuple(fc.nat(2), fc.boolean()).map(([which, before]) => passing(which, before)),
    fc.constant(waiting(31)),
  ),
  server.map(round),
  fc.oneof(
    fc.constantFrom('policy' as const, 'role' as const).map(edit),
    fc.constantFrom('create' as const, 'remove' as const).map(breaking),
    fc.constant(mending),
    fc.constant(disabled),
  ),
]
