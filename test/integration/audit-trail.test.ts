import { CompactSign, exportJWK, generateKeyPair } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createCheckpoints } from '../../src/audit/checkpoints.ts'
import type { AuditEvent } from '../../src/audit/event.ts'
import { type Audited, aJob, auditedLedger, onBehalfOf } from '../../src/audit/request.ts'
import { openTrail, type Trail } from '../../src/audit/trail.ts'
import { verifyLog } from '../../src/audit/verify.ts'
import { auditCheckpoints, auditEvents, type StoredAuditEvent } from '../../src/ledger/audit.ts'
import { findAuditEvents } from '../../src/ledger/audit-search.ts'
import { ledgerFlight } from '../../src/ledger/flight.ts'
import { createLogger } from '../../src/lib/log.ts'
import { failed, ok } from '../../src/lib/result.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'

// The log on a real ledger: events and what they are about are committed together, and what is done to them is found.

let world: TestLedger
let trail: Trail
beforeEach(async () => {
  world = await openTestLedger()
  trail = openTrail(world.ledger)
  await world.ledger.query('create table leasehold.thing (name text primary key)')
})
afterEach(() => world.close())

const anEvent = (changes: Partial<AuditEvent> = {}): AuditEvent => ({
  type: 'request',
  what: { operation: 'update', path: 'sys/thing' },
  outcome: { status: 204 },
  ...changes,
})
const put = (name: string) => `insert into leasehold.thing (name) values ('${name}')`
const things = async () => (await world.ledger.query('select from leasehold.thing')).rowCount
async function events() {
  const found: StoredAuditEvent[] = []
  for await (const event of auditEvents(world.ledger)) found.push(event)
  return found
}

const keys = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
const jwks = { keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'k', alg: 'EdDSA' }] }
const sign = (payload: Uint8Array, typ: string) =>
  new CompactSign(payload).setProtectedHeader({ alg: 'EdDSA', kid: 'k', typ }).sign(keys.privateKey)

const checkpoint = () =>
  createCheckpoints({
    ledger: world.ledger,
    sign,
    issuer: 'test',
    log: createLogger('silent', 'json'),
  }).make()
const verify = () =>
  verifyLog(
    { checkpoints: auditCheckpoints(world.ledger), events: auditEvents(world.ledger) },
    { keys: jwks },
  )

describe('an event and its change', () => {
  test('are there together or not at all', async () => {
    await trail.commit(async (db) => {
      await db.query(put('a'))
      return { result: undefined, events: [anEvent()] }
    })
    await expect(
      trail.commit(async (db) => {
        await db.query(put('b'))
        await db.query(put('a'))
        return { result: undefined, events: [anEvent()] }
      }),
    ).rejects.toThrow('duplicate key')
    expect([await things(), (await events()).length]).toEqual([1, 1])

    await world.ledger.query('alter table leasehold.audit_event add constraint full_up check (seq < 2)')
    await expect(
      trail.commit(async (db) => {
        await db.query(put('c'))
        return { result: undefined, events: [anEvent()] }
      }),
    ).rejects.toThrow('full_up')
    expect([await things(), (await events()).length]).toEqual([1, 1])
  })

  test('many at once leave chains that hold, whichever of them failed', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 60 }, (_, i) =>
        trail.commit(async (db) => {
          await db.query(put(`n${i % 45}`))
          return { result: undefined, events: [anEvent({ request_id: `r${i}` })] }
        }),
      ),
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(45)
    await Promise.all(Array.from({ length: 50 }, (_, i) => trail.record(anEvent({ request_id: `s${i}` }))))
    await trail.close()
    await checkpoint()

    const report = await verify()
    expect(report).toMatchObject({ problemsTotal: 0, uncheckpointed: 0, checkpoints: 1 })
    expect(report.events).toBeGreaterThanOrEqual(95)
  })
})

test.each([
  [
    'an edited',
    `update leasehold.audit_event set body = replace(body, 'sys/thing', 'sys/other') where seq = 2`,
  ],
  ['a back-dated', `update leasehold.audit_event set at = '2001-01-01T00:00:00.000000Z' where seq = 2`],
  ['a hidden-by-principal', `update leasehold.audit_event set principal = 'nobody' where seq = 2`],
  ['a hidden-by-lease', `update leasehold.audit_event set lease_id = 'x' where seq = 2`],
  ['a hidden-by-target', `update leasehold.audit_event set target = 'x' where seq = 2`],
  ['a hidden-by-type', `update leasehold.audit_event set type = 'system' where seq = 2`],
  ['a hidden-by-time', `update leasehold.audit_event set at_time = '2001-01-01' where seq = 2`],
  ['a dropped', `delete from leasehold.audit_event where seq = 2`],
  ['a dropped last', `delete from leasehold.audit_event where seq = 3`],
])('%s event is found and named', async (_, tampering) => {
  for (const id of ['one', 'two', 'three']) await trail.record(anEvent({ request_id: id }))
  await checkpoint()
  expect((await verify()).problemsTotal).toBe(0)
  const [first] = await events()

  await world.ledger.query(tampering)
  const { problems } = await verify()
  expect(problems.length).toBeGreaterThan(0)
  expect(JSON.stringify(problems)).toContain(first?.writer)
})

describe('what a request changes first', () => {
  const request = (changes: Partial<Audited> = {}): Audited => ({
    facts: {},
    once: true,
    closed: false,
    event: () => anEvent({ request_id: 'q' }),
    ...changes,
  })

  test('is committed with its event, statement or transaction, once', async () => {
    const ledger = auditedLedger(world.ledger, trail)
    const audited = request()
    await onBehalfOf(audited, async () => {
      await ledger.query('select 1')
      expect(ledger.behalf()).toBe(audited)
      await ledger.query(put('a'))
      expect(ledger.behalf()).toBeUndefined()
      await ledger.transaction((db) => db.query(put('b')))
    })
    expect([audited.closed, await things(), (await events()).length]).toEqual([true, 2, 1])
  })

  test('takes no event when it failed, or was no change after all; outside a request nothing is recorded', async () => {
    const ledger = auditedLedger(world.ledger, trail)
    await ledger.query(put('a'))
    const failing = request()
    await expect(onBehalfOf(failing, () => ledger.query(put('a')))).rejects.toThrow('duplicate key')
    const idle = request({ event: () => undefined })
    await onBehalfOf(idle, () => ledger.transaction(async () => undefined))
    expect([failing.closed, idle.closed, (await events()).length]).toEqual([false, false, 0])
  })
})

test('of several requests in one transaction each has an event of its own, if something was done for it', async () => {
  const ledger = auditedLedger(world.ledger, trail)
  const put = ledgerFlight<string, boolean>(ledger, async (db, names) => {
    for (const name of names) await db.query('insert into leasehold.thing (name) values ($1)', [name])
    return names.map((name) => (name === 'c' ? failed(new Error('no c')) : ok(name !== 'b')))
  })
  const asked = ['a', 'b', 'c', 'd'].map((name) => ({
    name,
    audited: {
      facts: {},
      once: true,
      closed: false,
      event: () => anEvent({ request_id: name }),
    },
  }))
  const answers = await Promise.allSettled(
    asked.map(({ name, audited }) => onBehalfOf(audited, () => put(name))),
  )

  expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  expect((await events()).map(({ body }) => JSON.parse(body).request_id)).toEqual(['a', 'd'])
  expect(asked.map(({ audited }) => audited.closed)).toEqual([true, false, false, true])
})

test('each change of a job has an event', async () => {
  const ledger = auditedLedger(world.ledger, trail)
  await onBehalfOf(
    aJob(() => anEvent({ type: 'system' })),
    async () => {
      await ledger.query(put('a'))
      await ledger.query(put('b'))
    },
  )
  expect((await events()).length).toBe(2)
})

test('events are found by time, principal, lease, target and type, page by page', async () => {
  await trail.record(anEvent({ who: { principal: 'p1' }, lease_id: 'database/creds/app/1' }))
  await trail.record(anEvent({ who: { principal: 'p2' }, target: 'db' }))
  await trail.record(anEvent({ type: 'lease_step', lease_id: 'database/creds/app/1' }))
  const find = async (question: object) =>
    (await findAuditEvents(world.ledger, { limit: 10, ...question })).length
  expect(await find({})).toBe(3)
  expect(await find({ principal: 'p1' })).toBe(1)
  expect(await find({ leaseId: 'database/creds/app/1' })).toBe(2)
  expect(await find({ target: 'db' })).toBe(1)
  expect(await find({ type: 'lease_step' })).toBe(1)
  expect(await find({ from: new Date(Date.now() + 86_400_000) })).toBe(0)
  const [first] = await findAuditEvents(world.ledger, { limit: 1 })
  expect(await find({ after: first })).toBe(2)
})
