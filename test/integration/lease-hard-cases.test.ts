import { afterEach, beforeEach, expect, test } from 'vitest'
import { EngineError } from '../../src/engine/engine.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { type FakeAccount, faultKey } from '../support/fake-engine.ts'
import { type LeaseWorld, openLeaseWorld } from '../support/lease-world.ts'

/** What an independent reader found to break the lease layer, each kept as the test that showed it. */

let world: LeaseWorld
beforeEach(async () => {
  world = await openLeaseWorld()
})
afterEach(() => world.close())

const find = (leaseId: string) => world.book.find(leaseId, () => true)
const idOf = (leaseId: string) => leaseId.split('/').at(-1) ?? ''
const only = () => [...world.target.accounts.values()][0] as FakeAccount
const targetId = async () => {
  const { rows } = await world.ledger.query<{ id: string }>(
    `select id from leasehold.target where name = 'db' and removed_at is null`,
  )
  return rows[0]?.id ?? ''
}
const count = async (what: string) => {
  const { rows } = await world.ledger.query<{ count: number }>(`select count(*)::int as count from ${what}`)
  return rows[0]?.count
}
const configure = (url: string) =>
  world.enrolment.write(world.mount, 'db', { verify: false, fields: { connection_url: url } })

test('a connection pointed at another server leaves its leases where they were made', async () => {
  await configure('first')
  const before = await targetId()
  const { leaseId } = await world.take()
  await configure('second')
  expect(await targetId()).not.toBe(before)
  await world.process('later').then(({ ender }) => ender.endNow({ ids: [idOf(leaseId)] }, 'revoked'))

  expect(world.target.opened.at(-1)).toMatchObject({ connection_url: 'first' })
  await world.take()
  expect(world.target.opened.at(-1)).toMatchObject({ connection_url: 'second' })
})

test('one slow removal holds up nobody else losing access', async () => {
  const slow = await world.take()
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  world.target.gate = async (method) => {
    if (method === 'remove') await held
  }
  await world.ender.doom({ ids: [idOf(slow.leaseId)] }, 'revoked')
  await world.ender.drain(await targetId())
  const other = await world.take()
  await world.ender.doom({ ids: [idOf(other.leaseId)] }, 'revoked')
  await world.ender.drain(await targetId())

  expect(await find(other.leaseId)).toMatchObject({ state: 'revoking', accessEndedAt: expect.any(Date) })
  expect(await find(slow.leaseId)).toMatchObject({ state: 'revoking' })
  release()
  await world.ender.idle()
  expect(world.target.accounts.size).toBe(0)
})

test('access that came back while a removal was stuck is ended again, and the receipt says when', async () => {
  const { leaseId } = await world.take()
  world.target.faults.set(faultKey('remove'), new EngineError('blocked', 'owns a table'))
  await world.test.advance(62)
  await world.sweep.once()
  const first = (await find(leaseId)).accessEndedAt as Date
  await world.test.advance(100)
  only().login = true
  only().sessions = 1
  await world.sweep.once()
  world.target.faults.clear()
  await world.test.advance(3_600)
  await world.sweep.once()

  const lease = await find(leaseId)
  expect(lease.state).toBe('revoked')
  expect(Number(lease.accessEndedAt) - Number(first)).toBeGreaterThan(90_000)
  expect(Number(lease.accessEndedAt) - Number(first)).toBeLessThan(1_000_000)
  expect(lease.steps.map(({ step }) => step)).toEqual(['disable', 'disconnect', 'remove', 'verify'])
  expect(lease.steps[1]?.evidence).toMatchObject({ sessions_ended: 1 })
})

test('a proof that stays pending after the create deadline counts as a failure, and is seen', async () => {
  const { leaseId } = await world.take()
  world.target.faults.set(faultKey('verify'), new EngineError('pending', 'somebody holds the lock'))
  await world.test.advance(62)
  await world.sweep.once()

  expect(await find(leaseId)).toMatchObject({ attempts: 1, lastError: 'somebody holds the lock' })
})

test('an account made after its lease was given up does not stay', async () => {
  world.target.gate = async (method) => {
    if (method !== 'create') return
    world.target.gate = async () => {}
    await world.test.advance(25)
    await world.sweep.once()
  }
  await expect(world.take()).rejects.toThrow('ended while it was being issued')

  await expect.poll(() => world.target.accounts.size).toBe(0)
  await world.test.advance(60)
  await world.sweep.once()
  const { rows } = await world.ledger.query('select state from leasehold.lease')
  expect(rows).toEqual([{ state: 'revoked' }])
})

test('an account that was absent when its access was cut and came after is cut again before it is removed', async () => {
  let created = () => {}
  const landing = new Promise<void>((resolve) => {
    created = resolve
  })
  world.target.gate = async (method) => {
    if (method === 'create') await landing
  }
  const asked = world.take().catch(() => {})
  await expect.poll(() => count('leasehold.lease')).toBe(1)
  await world.ender.doom({ mountId: world.mount.id }, 'mount_disabled')
  await world.sweep.once()
  created()
  await asked
  await world.test.advance(60)
  await world.sweep.once()

  expect(world.target.accounts.size).toBe(0)
  const { rows } = await world.ledger.query('select state from leasehold.lease')
  expect(rows).toEqual([{ state: 'revoked' }])
})

test('no lease comes to be under a mount that has just been disabled', async () => {
  await world.mounts.disable('database/')
  await expect(world.take()).rejects.toMatchObject({ code: 'unavailable' })

  expect(await count('leasehold.lease')).toBe(0)
  expect(world.target.accounts.size).toBe(0)
})

test('writers of one connection take turns, and leave no credential behind', async () => {
  await Promise.all(
    Array.from({ length: 12 }, (_, i) =>
      world.enrolment.write(world.mount, 'db', {
        verify: false,
        password: sensitive(`pw-${i}`),
        fields: {},
      }),
    ),
  )

  expect(await count(`leasehold.sealed_secret where name like 'target/%'`)).toBe(1)
})

test('a target that is down gets no rows, and leases without access do not freeze it', async () => {
  world.target.down = true
  for (let i = 0; i < 3; i += 1) await expect(world.take()).rejects.toThrow('does not answer')
  const rows = await count('leasehold.lease')
  for (let i = 0; i < 5; i += 1) await expect(world.take()).rejects.toThrow('paused')

  expect(await count('leasehold.lease')).toBe(rows)
})
