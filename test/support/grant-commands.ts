import type fc from 'fast-check'
import { expect } from 'vitest'
import { EngineError } from '../../src/engine/engine.ts'
import { within } from '../../src/lib/pause.ts'
import { faultKey } from './fake-engine.ts'
import { attempt, type Seen, type Try } from './grant-acts.ts'
import { agrees, wasHeard } from './grant-agreement.ts'
import { disabling, hearing, type Word } from './grant-hearing.ts'
import { holdsTrue } from './grant-invariants.ts'
import { alter, block, type Gate, goneUnlessActive, holdCreates, leaveGroups, say } from './grant-meddling.ts'
import {
  type Breakage,
  type Expected,
  type Ground,
  isTooLate,
  type LaneName,
  type Model,
  newModel,
} from './grant-model.ts'
import type { Name } from './grant-people.ts'
import { eventsSince, type GrantRecord, recordOf, unchanged } from './grant-record.ts'
import { RULES } from './grant-rules.ts'
import { deadlinesOf, releasing, timersOf } from './grant-timers.ts'
import { type Asked, asRequest, type GrantServer, type GrantWorld } from './grant-world.ts'

/** What may happen to a grant, each thing told to the model and done to the real one, and compared. */

export type Real = {
  world: GrantWorld
  asked: Asked
  last: GrantRecord
  /** An activation that the target keeps waiting, and the server at which somebody asked for it. */
  held?: { gate: Gate; at: 0 | 1; status: Promise<number | undefined> } | undefined
}
export type Command = fc.AsyncCommand<Model, Real>

export async function begin(world: GrantWorld, lane: LaneName): Promise<{ model: Model; real: Real }> {
  const asked = await world.ask(lane)
  const real = { world, asked, last: await recordOf(world, asked) }
  const model = newModel(lane)
  expect(real.last.grant.state).toBe(model.state)
  holdsTrue(real.last, undefined, asked)
  return { model, real }
}

/** Whatever was planted is mended, and whoever waits goes on. */
export async function clear({ world, held }: Real): Promise<void> {
  world.lease.target.faults.clear()
  world.refuses.begin = false
  held?.gate.open()
  await held?.status
}

/** The same of one that nobody looks at any more: its target is none that rounds go to. */
export async function finish(real: Real): Promise<void> {
  await clear(real)
  await real.world.retire(real.asked)
}

/** Longer than anything here takes, on whatever machine. */
const HANG_MS = 30_000

/** What never comes to an end says so, and is stopped: else nothing after it would either. */
const command = (name: string, run: (model: Model, real: Real) => Promise<void>): Command => ({
  check: () => true,
  async run(model, real) {
    const running = run(model, real)
    if (await within(running, HANG_MS)) return
    running.catch(() => {})
    const { world, asked } = real
    const { state, nextActionAt, now } = await world.grant(asked.id)
    for (const { access } of world.servers) void access.due.stop()
    const look = `to be looked at at ${nextActionAt?.toISOString()}, and it is ${now.toISOString()}`
    throw new Error(`${name}: not done after ${HANG_MS / 1_000} s; the request is ${state}, ${look}`)
  },
  toString: () => name,
})

type Came = { expected: Expected; status: number | undefined; what: string; heard?: GrantServer['heard'] }

/** Compares what has come of it, takes over what the model left open, and checks what must always be true. */
async function settle(model: Model, real: Real, { expected, status, what, heard }: Came): Promise<void> {
  const { last } = real
  const record = await recordOf(real.world, real.asked)
  const { state, nextActionAt, requestedAt } = record.grant
  const told = `${what} of a ${model.lane} request that is ${model.state}, ${JSON.stringify({ status, state })}`
  if (expected.kind === 'refused') {
    expect([400, 403, 404, 409], told).toContain(status)
    expect(unchanged(record), told).toEqual(unchanged(last))
  } else {
    if (expected.kind === 'done') expect(status, told).toBeUndefined()
    if (expected.kind === 'lapsed') expect(status, told).toBe(409)
    if (expected.kind === 'failed') expect(status, told).toBeDefined()
    expect(expected.to, told).toContain(state)
    expected.after?.(model, state, eventsSince(record, last))
    model.state = state
  }
  real.last = record
  holdsTrue(record, last, real.asked)
  agrees(model, record, told)
  if (heard) wasHeard(heard, record, last, told)
  model.lookBy = nextActionAt
    ? (nextActionAt.getTime() - requestedAt.getTime()) / 1_000
    : Number.POSITIVE_INFINITY
}

const serverOf = ({ world }: Real, at: 0 | 1): GrantServer => {
  const server = world.servers[at]
  server.heard.looks.length = 0
  server.heard.targets.length = 0
  return server
}

const seenIn = ({ grant, extensions }: GrantRecord): Seen => ({
  ...grant,
  extensionHash: extensions.find(({ state }) => state === 'pending')?.planHash,
})

const wordsOf = ({ by, does, login, seen }: Try, at: 0 | 1) =>
  `${by} tries ${does} (${login}, ${seen}, ${at})`

/** Somebody tries something: one of them is always whoever they are, and never whom a body names. */
export const trying = (ask: Try, at: 0 | 1): Command =>
  command(wordsOf(ask, at), (model, real) => tryNow(model, real, ask, at))

async function tryNow(model: Model, real: Real, ask: Try, at: 0 | 1): Promise<void> {
  const what = wordsOf(ask, at)
  const expected = RULES[ask.does](model, ask)
  const { last, world, asked } = real
  const server = serverOf(real, at)
  const status = await attempt(world, server, asked, ask, seenIn(last))
  await settle(model, real, { expected, status, what, heard: server.heard })
  const isCast = ({ round, number }: GrantRecord['votes'][number]) =>
    !last.votes.some((one) => one.round === round && one.number === number)
  for (const { voter } of real.last.votes.filter(isCast)) {
    // Votes for the plan as it was are cast again for less, by those who had cast them.
    const isKept = ask.does === 'narrow' && last.votes.some((one) => one.voterId === voter.id)
    if (!isKept) expect(voter.display_name, what).toBe(ask.by)
  }
}

/** Somebody tries what is resolved only then, by the model as it is. */
export const deciding = (name: string, askOf: (model: Model) => Try | undefined, at: 0 | 1): Command => {
  let words = name
  const { run, ...rest } = command(name, async (model, real) => {
    const ask = askOf(model)
    if (!ask) return
    words = wordsOf(ask, at)
    await tryNow(model, real, ask, at)
  })
  return { ...rest, run, toString: () => words }
}

export const passing = (which: number, before: boolean): Command =>
  command(`time to ${before ? 'just before ' : ''}deadline ${which}`, async (model, { world }) => {
    const deadlines = deadlinesOf(model)
    const at = deadlines[which % Math.max(1, deadlines.length)]
    const seconds = at === undefined ? 31 : Math.max(0, at - model.now - (before ? 1 : 0))
    await world.advance(seconds)
    model.now += seconds
  })

export const waiting = (seconds: number): Command =>
  command(`wait ${seconds}`, async (model, { world }) => {
    await world.advance(seconds)
    model.now += seconds
  })

export const round = (at: 0 | 1): Command =>
  command(`timers of ${at}`, async (model, real) => {
    const expected = timersOf(model)
    const server = serverOf(real, at)
    await real.world.round(server)
    const what = `a round of timers ${model.now} s after it was asked`
    await settle(model, real, { expected, status: undefined, what, heard: server.heard })
    const { nextActionAt, now } = real.last.grant
    const works = real.last.accounts.filter((account) => account.works)
    if (model.state === 'suspended') expect(works, 'a login that works after a round').toEqual([])
    if (nextActionAt)
      expect(nextActionAt.getTime(), 'nothing that is due is left').toBeGreaterThan(now.getTime())
  })

export const inTurn = (...commands: readonly Command[]): Command => ({
  check: () => true,
  async run(model, real) {
    for (const one of commands) await one.run(model, real)
  },
  toString: () => commands.map(String).join(', then '),
})

export const changing = (what: Ground): Command =>
  command(`change the ${what}`, async (model, { world, asked }) => {
    if (model.changed.has('target')) return
    if (what === 'policy') await world.editPolicy(asked)
    else if (what === 'role') await world.editRole(asked)
    else await world.retire(asked)
    model.changed.add(what)
  })

export const breaking = (what: Breakage): Command =>
  command(`break ${what}`, async (model, { world }) => {
    if (what === 'begin') world.refuses.begin = true
    else world.lease.target.faults.set(faultKey(what), new EngineError('failed', `planted in ${what}`))
    model.broken.add(what)
  })

export const mending: Command = command('mend', async (model, { world }) => {
  world.lease.target.faults.clear()
  world.refuses.begin = false
  // Its leases are tried again when their backoff is over.
  if (model.broken.has('remove') && !['active', 'activating'].includes(model.state))
    model.dirty ||= model.live
  model.broken.clear()
})

export const blocking = (name: Name): Command =>
  command(`${name} is blocked`, async (model, { world, asked }) => {
    await block(world, asked, name)
    model.blocked.add(name)
  })

export const leaving = (name: Name): Command =>
  command(`${name} leaves every group`, async (model, { world, asked }) => {
    if (!model.left.has(name)) await leaveGroups(world, asked, name)
    model.left.add(name)
  })

export const altering: Command = command('the account is altered', async (model, { world, asked }) => {
  await alter(world, asked)
  if (!model.live) return
  Object.assign(model, { altered: true, live: false, dirty: true })
})

export const disabled: Command = command('the requester is disabled', async (model, real) => {
  const expected = disabling(model)
  const actor = real.world.actor('eve', 'key', real.asked)
  const { access } = serverOf(real, 0)
  const ended = await asRequest(() => access.requesterDisabled(actor, real.asked.requester))
  expect(ended).toEqual(expected.kind === 'done' ? [real.asked.id] : [])
  const status = expected.kind === 'done' ? undefined : 409
  await settle(model, real, { expected, status, what: 'disabling its requester' })
})

export const told = (word: Word, of: Name, at: 0 | 1): Command =>
  command(`its issuer says ${word} of ${of} (${at})`, async (model, real) => {
    const expected = hearing(model, word, of)
    const server = serverOf(real, at)
    await say(real.world, server, real.asked, { word, of })
    await settle(model, real, {
      expected,
      status: undefined,
      what: `hearing ${word} of ${of}`,
      heard: server.heard,
    })
  })

const ACTIVATE: Try = { does: 'activate', by: 'rita', login: 'key', seen: 'right' }

/** An activation that stays half-way, for whatever comes next, until `released`. */
export const beginning = (at: 0 | 1): Command =>
  command(`rita begins to activate (${at})`, async (model, real) => {
    const expected = RULES.activate(model, ACTIVATE)
    if (expected.kind !== 'done' || model.lane === 'drill') return tryNow(model, real, ACTIVATE, at)
    const gate = holdCreates(real.world)
    const server = serverOf(real, at)
    const status = attempt(real.world, server, real.asked, ACTIVATE, seenIn(real.last))
    real.held = { gate, at, status }
    await Promise.race([gate.arrived, status])
    const begun: Expected = {
      kind: 'done',
      to: ['activating'],
      after: (after) => {
        after.heldSince = after.now
        after.isDoomed = false
      },
    }
    await settle(model, real, { expected: begun, status: undefined, what: 'beginning', heard: server.heard })
  })

export const released: Command = command('the target answers again', async (model, real) => {
  if (!real.held) return
  const expected = releasing(model)
  const { gate, status } = real.held
  if (isTooLate(model)) {
    real.world.lease.target.faults.set(faultKey('create'), new EngineError('late', 'after its deadline'))
  }
  gate.open()
  real.held = undefined
  const answered = await status
  if (isTooLate(model) && !model.broken.has('create'))
    real.world.lease.target.faults.delete(faultKey('create'))
  await goneUnlessActive(real.world, real.asked)
  await settle(model, real, { expected, status: answered, what: 'releasing what makes the account' })
})
