import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTrail, type Trail } from '../../src/audit/trail.ts'
import { type Engine, EngineError, type Passwords } from '../../src/engine/engine.ts'
import { findRotation, insertRotation, requestRotation } from '../../src/ledger/rotation.ts'
import { sealedSecrets } from '../../src/ledger/sealed-secrets.ts'
import { findTargetById, putTarget } from '../../src/ledger/targets.ts'
import { newId } from '../../src/lib/ids.ts'
import { createLogger } from '../../src/lib/log.ts'
import { type Sensitive, sensitive } from '../../src/lib/sensitive.ts'
import { createRotator, type Rotator } from '../../src/rotation/rotator.ts'
import { builtinSecretStore } from '../../src/secrets/builtin/builtin-store.ts'
import { type Credentials, createCredentials } from '../../src/secrets/credentials.ts'
import { secretStores } from '../../src/secrets/stores.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'

/**
 * The steps of a rotation on a real ledger, against a target, a secret store and a trail that fail at any call, before
 * or after it took effect, or carry it out later. Whatever happens: what the store has opens the target, and once
 * nothing fails any more the two agree.
 */

let at: TestLedger
let stored: Credentials
beforeAll(async () => {
  at = await openTestLedger({ stopped: true })
  await at.ledger.query(`insert into leasehold.mount (id, path, type) values ('m', 'database/', 'database')`)
  const masterKey = sensitive(Buffer.alloc(32, 7).toString('base64'))
  const builtin = builtinSecretStore(sealedSecrets(at.ledger), { masterKey })
  stored = createCredentials(secretStores({ builtin, external: {}, default: 'builtin' }))
})
afterAll(async () => at.close())

/**
 * before, after: it fails, and had or had no effect. crash: and the process is gone. late: it takes effect later. held
 * up: its worker stands still there until others have had its claim, and goes on as if nothing had happened.
 */
type Fault = 'none' | 'before' | 'after' | 'crash before' | 'crash after' | 'late' | 'held up'
const FAULTS: Fault[] = ['none', 'none', 'none', 'before', 'after', 'crash before', 'crash after', 'late']

const CALLS = ['set', 'accepts', 'commit', 'read', 'propose', 'promote', 'withdraw'] as const
type Call = (typeof CALLS)[number]
type Faults = Record<Call, Fault[]>

class Crash extends Error {}

type World = {
  id: string
  targetId: string
  kind: 'static' | 'admin'
  /** What the target has. */
  passwords: Map<string, string>
  /** Statements that are still on their way. */
  late: (() => void)[]
  /** What goes wrong with the first, second, … call of each kind. */
  faults: Faults
  crashed: boolean
  /** Workers at work, and those of them that stand still. */
  working: number
  heldUp: (() => void)[]
}

/** One call to something outside, which may go wrong as the run says. */
async function call<T>(world: World, name: Call, act: () => Promise<T>): Promise<T> {
  if (world.crashed) throw new Crash('the process is gone')
  const fault = world.faults[name].shift() ?? 'none'
  const fail = (): Error => new EngineError('unreachable', `no answer (${fault})`)
  // An engine sends nothing so late: that is its own to test.
  if (fault === 'held up' && name !== 'set') {
    await new Promise<void>((resume) => world.heldUp.push(resume))
  }
  if (fault === 'crash before' || fault === 'crash after') world.crashed = true
  if (fault === 'before' || fault === 'crash before') throw fail()
  if (fault === 'late') {
    if (name === 'set') world.late.push(() => void act())
    else await act()
    throw fail()
  }
  const answer = await act()
  if (fault === 'after' || fault === 'crash after') throw fail()
  return answer
}

function passwordsOf(world: World): Passwords {
  return {
    set: (username, password) =>
      call(world, 'set', async () => void world.passwords.set(username, password.reveal())),
    accepts: (username, password) =>
      call(world, 'accepts', async () => world.passwords.get(username) === password.reveal()),
  }
}

function engineOf(world: World, login?: { username: string; password: Sensitive }): Engine {
  const passwords = passwordsOf(world)
  return {
    close: async () => {},
    passwords: {
      ...passwords,
      async set(username, password) {
        if (login && world.passwords.get(login.username) !== login.password.reveal()) {
          throw new EngineError('denied', 'password authentication failed')
        }
        await passwords.set(username, password)
      },
    },
  } as Engine
}

/** A worker that has just started: nothing of an earlier one is left in it. */
function workerOf(world: World, trail: Trail): Rotator {
  world.crashed = false
  const calling =
    <A extends unknown[], R>(name: Call, act: (...args: A) => Promise<R>) =>
    (...args: A) =>
      call(world, name, () => act(...args))
  const living =
    <A extends unknown[], R>(act: (...args: A) => Promise<R>) =>
    async (...args: A) => {
      if (world.crashed) throw new Crash('the process is gone')
      return act(...args)
    }
  const { ledger } = at
  return createRotator({
    ledger: {
      ...ledger,
      query: living(ledger.query) as typeof ledger.query,
      transaction: living(ledger.transaction) as typeof ledger.transaction,
    },
    trail: { commit: (work) => call(world, 'commit', () => trail.commit(work)) },
    credentials: {
      ...stored,
      read: calling('read', stored.read),
      proveWritable: living(stored.proveWritable),
      propose: calling('propose', stored.propose),
      promote: calling('promote', stored.promote),
      withdraw: calling('withdraw', stored.withdraw),
    },
    reach: { open: async () => engineOf(world), openAs: (_, admin) => engineOf(world, admin) },
    worker: newId(),
    wakeAt: () => {},
    log: createLogger('silent', 'json'),
  })
}

async function openWorld(kind: World['kind'], faults: Faults, alternate = false): Promise<World> {
  const [id, targetId] = [newId(), newId()]
  const first = await stored.keep('target', { username: 'admin', password: sensitive('first') })
  const second = await stored.keep('x', {
    username: kind === 'static' ? 'app' : 'other',
    password: sensitive('first'),
  })
  await putTarget(at.ledger, {
    ...first,
    id: targetId,
    mountId: 'm',
    name: targetId,
    engine: 'fake',
    plugin: 'fake',
    spec: { username: 'admin' },
    allowedRoles: [],
    verified: true,
    capabilities: null,
  })
  const own = kind === 'static' || alternate ? second : { secretName: null, passwordReference: null }
  await insertRotation(at.ledger, {
    ...own,
    id,
    kind,
    mountId: 'm',
    targetName: targetId,
    targetId: kind === 'admin' ? targetId : null,
    name: kind === 'static' ? id : null,
    username: kind === 'static' ? 'app' : 'admin',
    alternateUsername: alternate ? 'other' : null,
    statements: [],
    periodSeconds: 1_000_000,
    schedule: null,
    windowSeconds: null,
    automated: true,
    pairGroup: null,
    dueAt: null,
    imported: true,
  })
  const passwords = new Map(['admin', 'app', 'other'].map((name) => [name, 'first']))
  return { id, targetId, kind, passwords, late: [], faults, crashed: false, working: 0, heldUp: [] }
}

/** Which accounts the store opens, by the current password or the one that is being rotated to. */
async function storeOpens(world: World, which: ('current' | 'pending')[]): Promise<boolean> {
  const row = await findRotation(at.ledger, world.id)
  const target = await findTargetById(at.ledger, world.targetId)
  const place =
    world.kind === 'static'
      ? { secretName: row?.secretName ?? '', passwordReference: null }
      : { secretName: target?.secretName ?? '', passwordReference: null }
  for (const each of which) {
    const held = await stored.read(place, each)
    if (held && world.passwords.get(held.username ?? '') === held.password.reveal()) return true
  }
  return false
}

/** What a run says of it, at any moment: an account in use has to be open by its current password, if it is never touched. */
const expectOpen = async (world: World, alwaysCurrent: boolean): Promise<void> =>
  expect(await storeOpens(world, alwaysCurrent ? ['current'] : ['current', 'pending'])).toBe(true)

/** A worker more takes what is due, until every one is done or stands still. */
async function work(world: World, trail: Trail): Promise<void> {
  world.working += 1
  void workerOf(world, trail)
    .drain(world.targetId)
    .catch(() => {})
    .then(() => {
      world.working -= 1
    })
  await calm(world)
}

async function calm(world: World): Promise<void> {
  while (world.working > world.heldUp.length) await turn()
}

/** Those who stood still go on, while another worker begins or by themselves. */
async function goOn(world: World, trail: Trail, together: boolean): Promise<void> {
  for (const resume of world.heldUp.splice(0)) resume()
  await (together ? work(world, trail) : calm(world))
}

/** Asked for once, and looked at by one worker after another; what is late arrives as late as an engine lets it. */
async function play(world: World, trail: Trail, alwaysCurrent: boolean): Promise<void> {
  await requestRotation(at.ledger, world.id, false)
  const isDone = async () => {
    const row = await findRotation(at.ledger, world.id)
    return row?.requestedAt === null && row.phase === null && world.heldUp.length === 0
  }
  for (let round = 0; round < 40 && !(await isDone()); round += 1) {
    await work(world, trail)
    await expectOpen(world, alwaysCurrent)
    await at.advance(40)
    if (round % 2 === 1) for (const arrive of world.late.splice(0)) arrive()
    if (round % 3 === 2) await goOn(world, trail, round % 2 === 0)
    await expectOpen(world, alwaysCurrent)
    // Longer than any wait between two tries.
    if (world.late.length === 0) await at.advance(1_000)
  }
  for (const arrive of world.late.splice(0)) arrive()
  const row = await findRotation(at.ledger, world.id)
  expect(row).toMatchObject({ phase: null, requestedAt: null, claimedBy: null, lastError: null })
  expect(row?.rotations).toBeGreaterThan(0)
  await expectOpen(world, true)
}

const runOf = (kinds: readonly Fault[]) => {
  const some = (maxLength: number) => fc.array(fc.constantFrom(...kinds), { maxLength })
  return fc.record({
    set: some(3),
    accepts: some(4),
    commit: some(8),
    read: some(4),
    propose: some(2),
    promote: some(3),
    withdraw: some(2),
  })
}
const RUNS = {
  'calls that fail': runOf(FAULTS),
  'workers that are held up': runOf(['none', 'none', 'before', 'crash after', 'held up', 'held up']),
}

describe.each(Object.entries(RUNS))('whatever goes wrong: %s', (_, faults) => {
  test.each([
    ['a static role', 'static', false],
    ['an admin account alone on its target', 'admin', false],
    ['two admin accounts, of which the one in use never fails', 'admin', true],
  ] as const)(
    '%s',
    async (__, kind, alternate) => {
      const trail = openTrail(at.ledger)
      await fc.assert(
        fc.asyncProperty(faults, async (run) => {
          await play(await openWorld(kind, structuredClone(run), alternate), trail, alternate)
        }),
        { numRuns: 40 },
      )
      await trail.close()
    },
    300_000,
  )
})
