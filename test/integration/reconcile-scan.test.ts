import { afterEach, beforeEach, expect, test } from 'vitest'
import { openTrail } from '../../src/audit/trail.ts'
import { EngineError, type Survey } from '../../src/engine/engine.ts'
import { createReconciler, type Reconciler } from '../../src/lease/reconcile/reconciler.ts'
import { newId } from '../../src/lib/ids.ts'
import { createLogger } from '../../src/lib/log.ts'
import { faultKey } from '../support/fake-engine.ts'
import { type LeaseWorld, openLeaseWorld } from '../support/lease-world.ts'

/** Scans and canaries against a target in memory, which does what a real one does only rarely. */

let world: LeaseWorld
let reconciler: Reconciler
beforeEach(async () => {
  world = await openLeaseWorld()
  world.target.type.canaryRole = {}
  reconciler = reconcilerOf(world)
})
afterEach(() => world.close())

const reconcilerOf = ({ ledger, targets, ender, target }: LeaseWorld, worker = 'first'): Reconciler =>
  createReconciler({
    ledger,
    trail: openTrail(ledger),
    targets,
    ender,
    engineTypes: [target.type],
    wake: () => {},
    log: createLogger('silent', 'json'),
    worker,
    intervalMs: 3_600_000,
  })

const scan = async (endUnknown: 'all' | Set<string> = new Set()) =>
  (await reconciler.now(world.mount.id, 'db', endUnknown))?.reconcile
const canary = async () => (await reconciler.now(world.mount.id, 'db', new Set()))?.canary
const putAccount = (name: string, leaseId: string) =>
  world.target.accounts.set(name, { name, leaseId, login: true, sessions: 0, lifetimeMs: 60_000 })
const putStranger = (leaseId: string) => putAccount(`v_other_${leaseId}`, leaseId)
const nothing = { count: 0, some: [] }

test('an account whose lease is just being issued is none of ours to end', async () => {
  let letGo = () => {}
  const held = new Promise<void>((resolve) => {
    letGo = resolve
  })
  const reached = new Promise<void>((resolve) => {
    world.target.gate = async (method) => {
      if (method !== 'create') return
      resolve()
      await held
    }
  })
  const taking = world.take()
  await reached
  const { rows } = await world.ledger.query(`select id, account from leasehold.lease where state = 'issuing'`)
  putAccount(rows[0]?.account, rows[0]?.id)
  world.target.type.canaryRole = undefined as never
  const report = await scan()

  expect(report?.found).toMatchObject({ orphan: nothing, unknown: nothing })
  letGo()
  await taking
})

test('accounts of live leases of another connection are counted, and left alone', async () => {
  const { leaseId } = await world.take()
  await world.ledger.query(`update leasehold.lease set target_id = 'another' where kind = 'issued'`)
  expect(await scan('all')).toMatchObject({ elsewhere: 1, found: { orphan: nothing, unknown: nothing } })

  expect([...world.target.accounts.values()].map(({ leaseId: id }) => id)).toEqual([
    leaseId.split('/').at(-1),
  ])
})

test('thousands of unknown accounts are counted, a hundred are named, and none is touched', async () => {
  for (let n = 0; n < 1_234; n += 1) putStranger(newId())
  const report = await scan()

  expect(report?.accounts).toBe(1_234)
  expect(report?.found?.unknown.count).toBe(1_234)
  expect(report?.found?.unknown.some).toHaveLength(100)
  expect(world.target.accounts.size).toBe(1_234)
  const [first] = world.target.accounts.keys()
  await scan(new Set([first ?? '']))
  await world.sweep.once()
  expect(world.target.accounts.size).toBe(1_233)
  expect((await scan('all'))?.found).toMatchObject({ orphan: { count: 1_233 }, unknown: nothing })
})

test('without proof of which server it is, a lease without an account is told of and not closed', async () => {
  const { leaseId } = await world.take()
  const survey: Survey = { look: async (leases) => leases.map(() => null), judge: () => ({ changes: [] }) }
  for (const target of world.targets.all()) target.engine.survey = survey
  world.target.accounts.clear()
  const status = await reconciler.now(world.mount.id, 'db', new Set())

  expect(status?.warnings).toEqual([expect.stringContaining('1 live leases have no account here')])
  expect(status?.reconcile?.found?.account_gone).toEqual(nothing)
  expect(await world.book.find(leaseId, () => true)).toMatchObject({ state: 'active' })
})

test('a lease that is renewed while it is looked at is not judged by what it was', async () => {
  const { leaseId } = await world.take()
  const survey: Survey = {
    async look(leases) {
      await world.renew({
        leaseId,
        incrementSeconds: 300,
        mayTouch: () => true,
        stillAllowed: async () => true,
      })
      return leases.map(({ account }) => ({ account, enabled: true, traits: {} }))
    },
    judge: () => ({ changes: ['it looks short'] }),
  }
  for (const target of world.targets.all()) target.engine.survey = survey
  const report = await scan()

  expect(report?.found?.foreign_change).toEqual(nothing)
  expect(await world.book.find(leaseId, () => true)).toMatchObject({ state: 'active' })
})

test('a canary that cannot be ended is told of with its error, and tried again before there is another', async () => {
  world.target.faults.set(faultKey('remove'), new EngineError('denied', 'planted'))
  expect(await canary()).toMatchObject({ state: 'failed', failed_at: 'end', error: 'planted' })
  await world.test.advance(1_000)
  expect(await canary()).toMatchObject({ state: 'failed', failed_at: 'end', error: 'planted' })
  expect(world.target.accounts.size).toBe(1)
  expect((await reconciler.status(world.mount.id, 'db'))?.revocable).toBe(false)
  world.target.faults.clear()
  await world.test.advance(1_000)

  expect(await canary()).toMatchObject({ state: 'ended' })
  expect(world.target.accounts.size).toBe(0)
})

test('an engine without a role that gives nothing makes none', async () => {
  delete world.target.type.canaryRole
  expect(await canary()).toMatchObject({ state: 'unsupported' })

  expect((await reconciler.status(world.mount.id, 'db'))?.revocable).toBeNull()
  expect(world.target.calls.filter(({ method }) => method === 'create')).toEqual([])
})

test('what one worker has claimed, no other gets, until it has been silent for too long', async () => {
  const second = reconcilerOf(world, 'second')
  await world.test.advance(3_700)
  const [mine, theirs] = await Promise.all([reconciler.due(), second.due()])
  expect([...mine, ...theirs].map(({ name }) => name.split(' ')[0]).sort()).toEqual(['canary', 'reconcile'])
  expect(await second.due()).toEqual([])
  await world.test.advance(16 * 60)
  const again = await second.due()
  expect(again).toHaveLength(2)
  await Promise.all(again.map(({ run }) => run()))
  // The first one wakes up, and finds that its result is not wanted any more.
  world.target.down = true
  await Promise.all([...mine, ...theirs].map(({ run }) => run()))

  expect(await reconciler.status(world.mount.id, 'db')).toMatchObject({
    revocable: true,
    reconcile: { running: false, accounts: expect.any(Number) },
  })
})

test('a target that is down fails alone, and is tried again sooner', async () => {
  world.target.down = true
  const status = await reconciler.now(world.mount.id, 'db', new Set())

  expect(status).toMatchObject({
    revocable: false,
    canary: { state: 'failed', failed_at: 'open' },
    reconcile: { error: 'the target does not answer', last_success_at: null },
  })
  const waitMs = Date.parse(status?.reconcile?.next_at ?? '') - (await world.test.now()).getTime()
  expect(waitMs).toBeLessThan(10 * 60_000)
})

test('a process that is about to end does not begin another page', async () => {
  await world.take()
  reconciler.stop()
  expect((await scan())?.error).toBe('the process is stopping')
  expect(await reconciler.due()).toEqual([])
})
