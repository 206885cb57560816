import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createAuditLog } from '../../src/audit/log.ts'
import { type AuditQuestion, findAuditEvents } from '../../src/ledger/audit-search.ts'
import type { Db } from '../../src/ledger/db.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { contractProblems } from '../support/contract.ts'
import { type AuditWorld, anEvent, openAuditWorld } from './audit-log-world.ts'

// What the audit log answers, from the ledger and over HTTP.

describe('questions to the ledger', () => {
  let world: AuditWorld
  beforeEach(async () => {
    world = await openAuditWorld()
  })
  afterEach(() => world.close())

  test('are answered page by page, each event once, whatever the size of a page', async () => {
    const ids = Array.from({ length: 25 }, (_, i) => `r${i}`)
    await Promise.all(ids.map((request_id) => world.trail.record(anEvent({ request_id }))))
    // Many of one time, and of several chains.
    await world.sql(`update leasehold.audit_event set at_time = date_trunc('minute', at_time)`)
    const log = createAuditLog(world.test.ledger)
    for (const limit of [1, 7, 25, 100]) {
      const seen: unknown[] = []
      let page: Partial<AuditQuestion> | undefined = {}
      while (page) {
        const { events, next } = await log.find({ limit, ...page })
        expect(events.length).toBeLessThanOrEqual(limit)
        seen.push(...events.map(({ body }) => (body as { request_id: string }).request_id))
        page = next
      }
      expect(seen.sort()).toEqual([...ids].sort())
    }
  })

  test('go on behind an event that somebody dated for ever, and show what is no JSON any more', async () => {
    await world.record('r1', 'r2', 'r3')
    await world.sql(`update leasehold.audit_event set at_time = 'infinity', body = 'gone' where seq > 1`)
    const log = createAuditLog(world.test.ledger)
    const first = await log.find({ limit: 2 })
    expect(first.events.map(({ body }) => body)).toEqual([
      expect.objectContaining({ request_id: 'r1' }),
      'gone',
    ])
    expect(await log.find({ limit: 2, ...first.next })).toMatchObject({
      events: [{ seq: 3 }],
      next: undefined,
    })
  })

  test.each<[string, Partial<AuditQuestion>]>([
    ['audit_event_lease', { leaseId: 'database/creds/app/1' }],
    ['audit_event_lease', { leaseId: 'database/creds/app/1', principal: 'p1', target: 'db' }],
    ['audit_event_principal', { principal: 'p1', from: '2026-01-01T00:00:00.000000Z' }],
    ['audit_event_target', { target: 'db', type: 'lease_step' }],
    ['audit_event_path', { path: 'database/creds/', newest: true }],
    ['audit_event_path', { path: 'database/creds/', from: '2026-01-01T00:00:00.000000Z' }],
    ['audit_event_grant', { grant: 'g1', path: 'break-glass/' }],
    ['audit_event_grant', { grant: 'g1', principal: 'p1' }],
    ['audit_event_at', { from: '2026-01-01T00:00:00.000000Z', to: 'infinity' }],
    ['audit_event_at', { after: { at: '2026-01-01T00:00:00.000000Z', writer: 'w', seq: 3 } }],
  ])('are answered by the index %s: %o', async (index, question) => {
    const { ledger } = world.test
    await ledger.query(`insert into leasehold.audit_event
        (writer, seq, at, body, hash, at_time, type, principal, lease_id, target)
      select 'w', i, '', '{}', '', now() - i * interval '1 second', 'request', 'p' || i % 50, 'l' || i, 't' || i % 50
      from generate_series(1, 2000) i`)
    await ledger.query('analyze leasehold.audit_event')
    const plans: string[] = []
    const explaining: Db = {
      query: (sql, values = []) =>
        ledger.transaction(async (db) => {
          const given = values.map((value) => (value === null ? 'null' : pg.escapeLiteral(String(value))))
          await db.query(`prepare asked as ${sql}`)
          const { rows } = await db.query<{ 'QUERY PLAN': string }>(`explain execute asked (${given.join()})`)
          plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'))
          return { rows: [] } as never
        }),
    }
    await findAuditEvents(explaining, { limit: 100, ...question })
    expect(plans[0]).toMatch(new RegExp(`Index Scan (using|on) ${index}\\b`))
    expect(plans[0]).not.toContain('Seq Scan')
  })
})

function cursor(members: unknown[]): string {
  return Buffer.from(JSON.stringify(members)).toString('base64url')
}

describe('questions over HTTP', () => {
  let broker: TestBroker
  beforeAll(async () => {
    broker = await openTestBroker()
  })
  afterAll(() => broker.close())

  const LOG = 'sys/leasehold/audit'

  /** What is asked, as root, and held against openapi.yaml. */
  const ask = async (method: string, path: string, body?: object) => {
    const answer = await broker.api(method, path, body)
    const requestBody = body === undefined ? undefined : JSON.stringify(body)
    const exchange = { method, url: `${broker.url}/v1/${path}`, requestBody, responseBody: answer.text }
    expect(contractProblems({ ...exchange, status: answer.status, headers: answer.headers })).toEqual([])
    return answer
  }

  const as = async (policy: string) => {
    await broker.api('PUT', 'sys/policies/acl/reader', { policy })
    const { json } = await broker.api('POST', 'auth/token/create', { policies: ['reader'] })
    return { 'X-Vault-Token': json.auth.client_token as string }
  }

  test('find what was done, by lease and by time, and page through it', async () => {
    const issued = await broker.api('GET', 'database/creds/app')
    expect(issued.status).toBe(200)
    const { lease_id } = issued.json
    const found = await ask('GET', `${LOG}?lease_id=${lease_id}`)
    expect(found.json.data.events.length).toBeGreaterThan(0)
    for (const { body } of found.json.data.events) expect(body).toMatchObject({ lease_id })
    expect(found.json.data.next).toBeNull()

    const seen: string[] = []
    const all = (await ask('GET', `${LOG}?limit=1000`)).json.data.events
    for (let next = ''; next !== null; ) {
      // Each of these requests is an event too, and yet there is an end.
      const page = await ask(
        'GET',
        `${LOG}?limit=1&to=${next ? '' : all.at(-1).at}&after=${next}`.replace('to=&', ''),
      )
      expect(page.json.data.events.length).toBe(1)
      seen.push(...page.json.data.events.map(({ hash }: { hash: string }) => hash))
      next = page.json.data.next
    }
    expect(seen).toEqual(all.map(({ hash }: { hash: string }) => hash))
    expect((await ask('GET', `${LOG}?from=2999-01-01T00:00:00%2B01:00`)).json.data.events).toEqual([])
  })

  test.each([
    ['limit=0', 'limit: expected a number from 1 to 1000'],
    ['limit=1001', 'limit: expected a number from 1 to 1000'],
    ['from=yesterday', 'from: expected a time in RFC 3339'],
    ['to=2026-01-01', 'to: expected a time in RFC 3339'],
    ['to=2026-13-01T00:00:00Z', 'to: expected a time in RFC 3339'],
    ['from=0000-01-01T00:00:00Z', 'from: expected a time in RFC 3339'],
    ['from=0001-01-01T00:00:00%2B01:00', 'from: expected a time in RFC 3339'],
    ['after=nonsense', 'after: expected what an earlier answer gave as next'],
    [`after=${cursor(['2026-02-30T00:00:00.000000Z', 'w', 1, 'infinity'])}`, 'after: expected'],
    [`after=${cursor(['0000-01-01T00:00:00.000000Z', 'w', 1, 'infinity'])}`, 'after: expected'],
    [`after=${cursor(['2026-02-28T00:00:00.000000Z', 'w\0', 1, 'infinity'])}`, 'after: expected'],
    [`after=${cursor(['2026-02-28T00:00:00.000000Z', 'w', 1e30, 'infinity'])}`, 'after: expected'],
    [`after=${cursor(['2026-02-28T00:00:00.000000Z', 'w', 1, 'for ever'])}`, 'after: expected'],
    [`after=${cursor([])}`, 'after: expected'],
    ['type=other', 'type'],
  ])('refuse %s', async (query, text) => {
    const { status, json } = await ask('GET', `${LOG}?${query}`)
    expect(status).toBe(400)
    expect(json.errors.join()).toContain(text)
  })

  test('need sudo', async () => {
    const plain = await as(`path "sys/leasehold/audit" { capabilities = ["read"] }`)
    expect((await broker.api('GET', LOG, undefined, plain)).status).toBe(403)
    const sudo = await as(`path "sys/leasehold/audit" { capabilities = ["read", "sudo"] }`)
    expect((await broker.api('GET', LOG, undefined, sudo)).status).toBe(200)
  })

  test('get the newest checkpoint, which a process leaves behind when it ends', async () => {
    await (await broker.another()).close()
    const { status, json } = await ask('GET', `${LOG}/checkpoint`)
    expect(status).toBe(200)
    const { number, hash, checkpoint } = json.data
    expect([number, hash]).toEqual([expect.any(Number), expect.stringMatching(/^[0-9a-f]{64}$/)])
    const payload = JSON.parse(Buffer.from(checkpoint.split('.')[1], 'base64url').toString())
    expect(payload.number).toBe(number)
  })

  test('get how the log stands: its chains, its newest checkpoint, about how many events', async () => {
    await (await broker.another()).close()
    const { status, json } = await ask('GET', `${LOG}/state`)
    const newest = (await ask('GET', `${LOG}/checkpoint`)).json.data
    expect([status, json.data.checkpoint]).toEqual([
      200,
      { number: newest.number, hash: newest.hash, made_at: expect.any(String) },
    ])
    const { rows } = await broker.ledger.ledger.query<{ writer: string; seq: number }>(
      'select writer, max(seq) as seq from leasehold.audit_event group by writer',
    )
    expect(json.data.events_estimate).toBeGreaterThan(0)
    expect(json.data.writers.length).toBe(rows.length)
    for (const { writer, last_seq } of json.data.writers) {
      const now = rows.find((row) => row.writer === writer)
      expect(Number(now?.seq)).toBeGreaterThanOrEqual(last_seq)
    }
    const plain = await as(`path "sys/leasehold/audit/state" { capabilities = ["read"] }`)
    expect((await broker.api('GET', `${LOG}/state`, undefined, plain)).status).toBe(403)
  })

  test('get the hash of a value, the same from every process', async () => {
    const input = 'a value'
    const { status, json } = await ask('POST', 'sys/audit-hash/leasehold', { input })
    expect([status, json.data.hash]).toEqual([200, expect.stringMatching(/^hmac-sha256:[0-9a-f]{64}$/)])
    const { url } = await (await broker.another()).listen({ host: '127.0.0.1', port: 0 })
    const other = await fetch(`${url}/v1/sys/audit-hash/leasehold`, {
      method: 'PUT',
      headers: { 'X-Vault-Token': broker.root },
      body: JSON.stringify({ input }),
    })
    expect(((await other.json()) as { data: unknown }).data).toEqual(json.data)
    const sink = { type: 'file', options: { file_path: 'discard' } }
    expect((await broker.api('POST', 'sys/audit/kept', sink)).status).toBe(204)
    expect((await ask('PUT', 'sys/audit-hash/kept', { input })).json.data).toEqual(json.data)
    expect((await ask('POST', 'sys/audit-hash/leasehold', { input: 'another' })).json.data).not.toEqual(
      json.data,
    )
  })

  test.each([
    ['sys/audit-hash/leasehold', {}, 'the "input" parameter is empty'],
    ['sys/audit-hash/nowhere', { input: 'x' }, 'unknown audit backend "nowhere/"'],
  ])('get no hash from %s with %o', async (path, body, text) => {
    const { status, json } = await ask('POST', path, body)
    expect([status, json.errors]).toEqual([400, [text]])
  })
})
