import { compactVerify, importJWK, type JWK } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { EngineError } from '../../src/engine/engine.ts'
import type { ReceiptPayload } from '../../src/lease/receipts.ts'
import { faultKey } from '../support/fake-engine.ts'
import { type LeaseWorld, openLeaseWorld } from '../support/lease-world.ts'

let world: LeaseWorld
beforeEach(async () => {
  world = await openLeaseWorld()
})
afterEach(() => world.close())

const anyone = () => true
const stillAllowed = async () => true
const find = (leaseId: string) => world.book.find(leaseId, anyone)

async function receiptOf(leaseId: string): Promise<ReceiptPayload> {
  const jws = await world.book.receipt(leaseId)
  const key = await importJWK(world.receipts.jwks().keys[0] as JWK, 'EdDSA')
  const { payload } = await compactVerify(jws ?? '', key)
  return JSON.parse(new TextDecoder().decode(payload)) as ReceiptPayload
}

describe('issuing', () => {
  test('makes an account that the ledger names, and hands out its secret once', async () => {
    const issued = await world.take()

    const lease = await find(issued.leaseId)
    expect(lease.state).toBe('active')
    expect([...world.target.accounts.keys()]).toEqual([lease.account])
    expect(issued.terms.ttlSeconds).toBe(60)
    expect(String(issued.secret.password)).toBe('[sensitive]')
    const { rows } = await world.ledger.query('select * from leasehold.lease')
    expect(JSON.stringify(rows)).not.toContain('pw-')
  })

  test('writes the intent before it touches the target', async () => {
    let rowsBefore = -1
    world.target.gate = async (method) => {
      if (method !== 'create') return
      rowsBefore =
        (await world.ledger.query(`select from leasehold.lease where state = 'issuing'`)).rowCount ?? 0
    }
    await world.take()

    expect(rowsBefore).toBe(1)
  })

  test('an unknown role changes nothing', async () => {
    await expect(world.issue(await world.ask('nope'))).rejects.toMatchObject({
      code: 'invalid_request',
      message: 'unknown role: nope',
    })

    expect((await world.ledger.query('select from leasehold.lease')).rowCount).toBe(0)
    expect(world.target.calls).toEqual([])
  })

  test('requests that arrive together share the round trip to the target, and a bad one fails alone', async () => {
    world.target.faults.set('planted', new Error('never matched'))
    const all = await Promise.all(Array.from({ length: 40 }, () => world.take()))

    expect(new Set(all.map(({ leaseId }) => leaseId)).size).toBe(40)
    const creates = world.target.calls.filter(({ method }) => method === 'create')
    expect(creates.length).toBeLessThan(20)
  })

  test('a target that fails leaves a lease that is ended, and an answer that says so', async () => {
    world.target.faults.set(faultKey('create'), new EngineError('denied', 'no CREATEROLE'))
    await expect(world.take()).rejects.toMatchObject({ code: 'invalid_request', message: 'no CREATEROLE' })
    world.target.faults.clear()
    await world.sweep.once()
    await world.test.advance(60)
    await world.sweep.once()

    const { rows } = await world.ledger.query('select state, end_reason from leasehold.lease')
    expect(rows).toEqual([{ state: 'revoked', end_reason: 'issue_failed' }])
  })

  test('an account whose lease was ended while it was being made is not handed out, and goes', async () => {
    world.target.gate = async (method) => {
      if (method === 'create') await world.ender.doom({ mountId: world.mount.id }, 'mount_disabled')
    }
    await expect(world.take()).rejects.toMatchObject({
      message: 'the lease was ended while it was being issued',
    })
    await world.sweep.once()

    expect(world.target.accounts.size).toBe(0)
  })

  test('a target that stays silent is left alone after a few tries, and tried again later', async () => {
    world.target.down = true
    for (let i = 0; i < 3; i += 1) await expect(world.take()).rejects.toThrow('does not answer')
    const asked = world.target.calls.length
    await expect(world.take()).rejects.toThrow('paused')

    expect(world.target.calls.length).toBe(asked)
  })
})

describe('renewing', () => {
  test('counts from now, on the target first', async () => {
    const { leaseId } = await world.take()
    await world.test.advance(30)
    const terms = await world.renew({ leaseId, incrementSeconds: 120, mayTouch: anyone, stillAllowed })

    expect(terms.ttlSeconds).toBe(120)
    const lease = await find(leaseId)
    expect((lease.expiresAt.getTime() - lease.now.getTime()) / 1_000).toBeGreaterThan(118)
    const extended = [...world.target.accounts.values()][0]?.lifetimeMs ?? 0
    expect(extended).toBeGreaterThan(119_000)
  })

  test('never passes the role maximum, and says what limited it', async () => {
    const { leaseId } = await world.take()
    const terms = await world.renew({ leaseId, incrementSeconds: 3_600, mayTouch: anyone, stillAllowed })

    expect(terms.limitedBy).toBe('role_max')
    const lease = await find(leaseId)
    expect(lease.expiresAt.getTime() - lease.issuedAt.getTime()).toBeLessThanOrEqual(600_000)
    expect(terms.warnings.join()).toContain('TTL of "1h" exceeded the effective max_ttl of "9m')
  })

  test('of many at once, the last word on the target is the last in the ledger', async () => {
    const { leaseId } = await world.take()
    const increments = Array.from({ length: 8 }, (_, i) => 100 + i * 10)
    const results = await Promise.allSettled(
      increments.map((incrementSeconds) =>
        world.renew({ leaseId, incrementSeconds, mayTouch: anyone, stillAllowed }),
      ),
    )

    expect(results.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0)
    const lease = await find(leaseId)
    const onTarget = ([...world.target.accounts.values()][0]?.lifetimeMs ?? 0) / 1_000
    expect(Math.abs(onTarget - (lease.expiresAt.getTime() - lease.now.getTime()) / 1_000)).toBeLessThan(5)
  })

  test('a failed extension leaves the end where it was', async () => {
    const { leaseId } = await world.take()
    const before = await find(leaseId)
    world.target.down = true
    await expect(
      world.renew({ leaseId, incrementSeconds: 300, mayTouch: anyone, stillAllowed }),
    ).rejects.toThrow('failed to renew entry')

    expect((await find(leaseId)).expiresAt).toEqual(before.expiresAt)
  })

  test.each([
    ['lease expired', 61],
    ['lease not found', 0],
  ])('%s', async (message, seconds) => {
    const { leaseId } = await world.take()
    if (seconds === 0) await world.ender.endNow({ under: 'database' }, 'revoked')
    await world.test.advance(seconds)

    await expect(
      world.renew({ leaseId, incrementSeconds: 10, mayTouch: anyone, stillAllowed }),
    ).rejects.toMatchObject({
      code: 'invalid_request',
      message,
    })
  })

  test('the version of the role it was made by counts, whatever became of the role', async () => {
    const { leaseId } = await world.take()
    await world.roles.write(world.mount, 'app', { maxTtlSeconds: 61, fields: {} })
    await world.roles.remove(world.mount.id, 'app')

    expect(
      (await world.renew({ leaseId, incrementSeconds: 300, mayTouch: anyone, stillAllowed })).ttlSeconds,
    ).toBe(300)
  })
})

describe('ending', () => {
  test('at its time, by the sweep alone, step by step, with a receipt anyone can check', async () => {
    const { leaseId } = await world.take()
    await world.sweep.once()
    expect(world.target.accounts.size).toBe(1)
    await world.test.advance(62)
    await world.sweep.once()

    expect(world.target.accounts.size).toBe(0)
    const receipt = await receiptOf(leaseId)
    expect(receipt).toMatchObject({ lease_id: leaseId, reason: 'expired', target: 'db', residual: [] })
    expect(receipt.steps.map(({ step }) => step)).toEqual(['disable', 'disconnect', 'remove', 'verify'])
    const lease = await find(leaseId)
    expect(lease.state).toBe('revoked')
    expect(receipt.ended_at).toBe(lease.accessEndedAt?.toISOString())
  })

  test('a failed step is tried again for ever, and never re-opens access', async () => {
    const { leaseId } = await world.take()
    world.target.faults.set(faultKey('remove'), new EngineError('blocked', 'owns a table'))
    await world.test.advance(62)
    for (let attempt = 1; attempt <= 12; attempt += 1) {
      await world.sweep.once()
      const lease = await find(leaseId)
      expect(lease).toMatchObject({ state: 'revoking', attempts: attempt, lastError: 'owns a table' })
      expect(lease.accessEndedAt).not.toBeNull()
      await world.test.advance(16 * 60)
    }
    expect([...world.target.accounts.values()].every(({ login }) => !login)).toBe(true)
    expect(await world.book.stuck(null)).toHaveLength(1)
    world.target.faults.clear()
    await world.sweep.once()

    expect((await find(leaseId)).state).toBe('revoked')
  })

  test('what waited for a silent target is tried at its first answer', async () => {
    const { leaseId } = await world.take()
    world.target.down = true
    await world.test.advance(62)
    await world.sweep.once()
    await world.test.advance(1)
    expect((await find(leaseId)).attempts).toBe(1)
    world.target.down = false
    await world.sweep.once() // asks the target; its answer brings the lease forward
    await expect
      .poll(async () => {
        await world.sweep.once()
        return (await find(leaseId)).state
      })
      .toBe('revoked')
  })

  test('everything a token made ends with it', async () => {
    const principal = await world.childOfRoot({ ttlSeconds: 3_600 })
    const { leaseId } = await world.take(principal)
    await world.tokens.revokeSelf(principal)
    await world.sweep.once()

    expect(await find(leaseId)).toMatchObject({ state: 'revoked', endReason: 'token_ended' })
  })

  test('of two processes on the same rows, each lease is ended once', async () => {
    await Promise.all(Array.from({ length: 30 }, () => world.take()))
    const second = await world.process('second')
    await world.test.advance(62)
    await Promise.all([world.sweep.once(), second.sweep.once(), world.sweep.once(), second.sweep.once()])

    expect(world.target.accounts.size).toBe(0)
    const { rows } = await world.ledger.query(
      `select count(*)::int as revoked, count(jws)::int as receipts from leasehold.lease
       left join leasehold.receipt on lease_id = id where state = 'revoked'`,
    )
    expect(rows).toEqual([{ revoked: 30, receipts: 30 }])
  })

  test('a worker at a slow target keeps its claim as long as it works', async () => {
    await world.take()
    const second = await world.process('second')
    await world.test.advance(62)
    const secondsLeft = async () => {
      const { rows } = await world.ledger.query<{ left: number }>(
        `select extract(epoch from next_action_at - leasehold.ledger_now())::float8 as left from leasehold.lease`,
      )
      return rows[0]?.left
    }
    world.target.gate = async (method) => {
      if (method !== 'disable') return
      world.target.gate = async () => {}
      await world.test.advance(15)
      await expect.poll(secondsLeft, { timeout: 30_000 }).toBeGreaterThan(15)
      await world.test.advance(15)
      await second.sweep.once()
    }
    await world.sweep.once()

    expect(world.target.calls.filter(({ method }) => method === 'disable')).toHaveLength(1)
  })

  test('a worker that lost its claim writes nothing', async () => {
    const { leaseId } = await world.take()
    const second = await world.process('second')
    await world.test.advance(62)
    let overtaken = false
    world.target.gate = async (method) => {
      if (method !== 'disconnect' || overtaken) return
      overtaken = true
      await world.test.advance(120) // the claim has lapsed; somebody else takes it and finishes
      await second.sweep.once()
    }
    await world.sweep.once()

    const lease = await find(leaseId)
    expect(lease.state).toBe('revoked')
    expect(lease.steps.map(({ step }) => step)).toEqual(['disable', 'disconnect', 'remove', 'verify'])
  })
})

test('a change made through one server holds at the next request to another', async () => {
  const other = await world.process('other')
  await other.issue(await world.ask('app'))
  await world.roles.write(world.mount, 'app', { defaultTtlSeconds: 7, fields: {} })
  expect((await other.issue(await world.ask('app'))).terms.ttlSeconds).toBe(7)

  await world.mounts.disable('database/')
  const { reading } = await world.ask('app')
  expect(await other.mounts.resolve('database/creds/app', reading)).toBeUndefined()
})
