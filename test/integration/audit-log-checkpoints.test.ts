import { decodeProtectedHeader } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { headsNamedBy } from '../../src/audit/checkpoint.ts'
import { openTrail } from '../../src/audit/trail.ts'
import { lastCheckpoint } from '../../src/ledger/audit.ts'
import { type AuditWorld, anEvent, openAuditWorld } from './audit-log-world.ts'

// Who signs the log, when, and what is signed.

let world: AuditWorld
beforeEach(async () => {
  world = await openAuditWorld()
})
afterEach(() => world.close())

const checkpoints = async () =>
  (await world.test.ledger.query<{ number: number }>('select number from leasehold.audit_checkpoint'))
    .rowCount

/** What the last checkpoint names. */
const named = async () => headsNamedBy((await lastCheckpoint(world.test.ledger)) ?? { number: 0, jws: '' })

describe('checkpoints', () => {
  test('name what moved since the last, and only when something did', async () => {
    expect(await world.checkpoints.make()).toBeUndefined()
    await world.record('r1', 'r2')
    expect(await world.checkpoints.make()).toBe(1)
    expect(await world.checkpoints.make()).toBeUndefined()
    await world.record('r3')
    expect(await world.checkpoints.make()).toBe(2)
    // Another process knows by the ledger alone what has been named.
    expect(await world.another().make()).toBeUndefined()
    expect(await world.report()).toMatchObject({
      problemsTotal: 0,
      events: 3,
      checkpoints: 2,
      uncheckpointed: 0,
    })
  })

  test('of a process that starts name what a lost one left behind, and nothing old again', async () => {
    await world.record('r1')
    await world.checkpoints.make()
    await world.test.advance(3_600)
    const lost = openTrail(world.test.ledger)
    await lost.record(anEvent())
    expect(await world.another().make()).toBe(2)
    expect(Object.values(await named())).toEqual([expect.objectContaining({ seq: 1 })])
    await lost.record(anEvent())
    await world.record('r2')
    expect(await world.checkpoints.make()).toBe(3)
    expect(Object.values(await named())).toHaveLength(2)
    expect(await world.report()).toMatchObject({ problemsTotal: 0, uncheckpointed: 0 })
  })

  test('are signed by the key of receipts, as something else', async () => {
    await world.record('r1')
    await world.checkpoints.make()
    const { jws = '' } = (await lastCheckpoint(world.test.ledger)) ?? {}
    expect(decodeProtectedHeader(jws)).toEqual({
      alg: 'EdDSA',
      kid: world.signer.jwks().keys[0]?.kid,
      typ: 'leasehold-audit-checkpoint+jws',
    })
  })

  test('of many processes at once fit together, and leave nothing out', async () => {
    const others = Array.from({ length: 6 }, () => world.another())
    for (let round = 0; round < 5; round++) {
      await Promise.all([
        ...Array.from({ length: 20 }, (_, i) =>
          world.trail.record(anEvent({ request_id: `r${round}-${i}` })),
        ),
        ...others.map((each) => each.make()),
      ])
    }
    await world.trail.close()
    await Promise.all(others.map((each) => each.stop()))
    expect(await world.report()).toMatchObject({ problemsTotal: 0, uncheckpointed: 0 })
    expect(world.said).toEqual([])
  })

  test('are made from time to time, and a last one at the end', async () => {
    const often = world.another({ intervalMs: 20 })
    often.start()
    await world.record('r1')
    await expect.poll(checkpoints).toBe(1)
    await often.stop()
    await world.record('r2')
    expect(await checkpoints()).toBe(1)
    await world.checkpoints.stop()
    expect(await checkpoints()).toBe(2)
  })

  test('that fail are told once, and tried again', async () => {
    await world.record('r1')
    await world.sql('alter table leasehold.audit_checkpoint rename to hidden')
    const often = world.another({ intervalMs: 5 })
    often.start()
    await expect.poll(() => world.said).toHaveLength(1)
    await world.sql('alter table leasehold.hidden rename to audit_checkpoint')
    await expect.poll(checkpoints).toBe(1)
    await often.stop()
    expect(world.said).toEqual([
      'no checkpoint of the audit log could be made',
      'checkpoints of the audit log are made again',
    ])
  })

  test('go on when the clock of the ledger was set back', async () => {
    await world.test.advance(120)
    await world.record('r1')
    await world.checkpoints.make()
    await world.test.advance(-60)
    await world.record('r2')
    expect(await world.checkpoints.make()).toBe(2)
    expect((await world.report()).problemsTotal).toBe(0)
  })
})
