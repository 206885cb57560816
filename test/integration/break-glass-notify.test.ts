import { createHmac } from 'node:crypto'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { auditedLedger } from '../../src/audit/request.ts'
import { openTrail } from '../../src/audit/trail.ts'
import { createDeliverer, type Deliverer } from '../../src/breakglass/notify/deliverer.ts'
import { tell } from '../../src/breakglass/notify/tell.ts'
import { checkTicket } from '../../src/breakglass/ticket-check.ts'
import type { Ledger } from '../../src/ledger/db.ts'
import { findGrant, type Grant } from '../../src/ledger/grants.ts'
import { listNotifications } from '../../src/ledger/notifications.ts'
import type { Logger } from '../../src/lib/log.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { newAuthority } from '../support/certificates.ts'
import { type Listener, openListener } from '../support/http-listener.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'
import { insertLiveGrant } from '../support/live-grant.ts'

let at: TestLedger
let ledger: Ledger
let grant: Grant
let policyId: string
const opened: { close(): Promise<void> }[] = []
const deliverers: Deliverer[] = []
/** What the process's log says of failures, and in how long somebody is to look again. */
const logged: string[] = []
const wakes: number[] = []

beforeEach(async () => {
  at = await openTestLedger({ stopped: true })
  const trail = openTrail(at.ledger)
  ledger = auditedLedger(at.ledger, trail)
  opened.push({ close: () => trail.close() })
  const made = await insertLiveGrant(at.ledger, { requesterId: 'r' })
  policyId = made.policyId
  grant = (await findGrant(at.ledger, made.id)) as Grant
})
afterEach(async () => {
  for (const one of deliverers.splice(0)) await one.stop()
  logged.length = 0
  wakes.length = 0
  for (const one of opened.splice(0)) await one.close()
  await at.close()
})

const listen = async (...answer: Parameters<typeof openListener>): Promise<Listener> => {
  const listener = await openListener(...answer)
  opened.push(listener)
  return listener
}
const wants = (notify: object[]) =>
  at.ledger.query('update leasehold.break_glass_policy set spec = $2 where id = $1', [policyId, { notify }])
const deliverer = (worker = 'w1') => {
  const made = createDeliverer({
    ledger,
    worker,
    wakeIn: (ms) => void wakes.push(ms),
    log: {
      warn: ({ error }: { error: string }) => void logged.push(error),
      error: ({ error }: { error: string }) => void logged.push(error),
    } as unknown as Logger,
    async secretOf(name) {
      if (name.endsWith('/damaged')) throw new Error('damaged')
      return name === `break-glass/${policyId}/hook` ? sensitive('the key') : undefined
    },
  })
  deliverers.push(made)
  return made
}
const say = (event: 'submit' | 'approve' = 'submit') =>
  ledger.transaction((db) => tell(db, { grant, event, actor: null, detail: { note: 'x' } }))
const round = async (one = deliverer()) => {
  await Promise.all((await one.due()).map(({ run }) => run()))
}
const rows = () => listNotifications(at.ledger, { grantId: grant.id, state: null, limit: 100 })
const audited = async () =>
  (
    await at.ledger.query(
      `select body::jsonb as body from leasehold.audit_event where body like '%"notify"%'`,
    )
  ).rows

describe('what is told', () => {
  test('arrives signed, named and once', async () => {
    const hook = await listen()
    await wants([{ name: 'hook', type: 'webhook', url: `${hook.url}/in` }])
    await say()
    await round()
    await round()

    expect(hook.heard).toHaveLength(1)
    const { headers, body, path } = hook.heard[0] as Listener['heard'][number]
    expect(path).toBe('/in')
    const [, t, mac] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers['leasehold-signature'])) ?? []
    expect(mac).toBe(createHmac('sha256', 'the key').update(`${t}.${body}`).digest('hex'))
    const message = JSON.parse(body)
    expect(message).toMatchObject({
      id: headers['leasehold-delivery'],
      event: 'submit',
      request: { id: grant.id, reason: grant.reason, ticket: 'INC-1', state: 'active' },
      detail: { note: 'x' },
    })
    expect(await rows()).toMatchObject([{ id: message.id, state: 'delivered', attempts: 1, lastStatus: 204 }])
  })

  test('goes where the policy wants that event, as Slack takes it where it says so', async () => {
    const [all, votes] = [await listen(), await listen()]
    await wants([
      { name: 'all', type: 'slack', url: all.url },
      { name: 'votes', type: 'webhook', url: votes.url, events: ['approve'] },
    ])
    await say('submit')
    await say('approve')
    await round()
    expect(all.heard.map(({ body }) => Object.keys(JSON.parse(body)))).toEqual([
      ['text', 'blocks'],
      ['text', 'blocks'],
    ])
    expect(votes.heard.map(({ body }) => JSON.parse(body).event)).toEqual(['approve'])
  })

  test('is not told where the move it is about was rolled back', async () => {
    await wants([{ name: 'hook', type: 'webhook', url: 'https://hooks.example' }])
    const failing = ledger.transaction(async (db) => {
      await tell(db, { grant, event: 'submit', actor: null, detail: {} })
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await rows()).toEqual([])
  })

  test('goes to the address that the policy has today', async () => {
    const [old, fresh] = [await listen(), await listen()]
    await wants([{ name: 'hook', type: 'webhook', url: old.url }])
    await say()
    await at.ledger.query(
      'update leasehold.break_glass_policy set replaced_at = leasehold.ledger_now() where id = $1',
      [policyId],
    )
    await at.ledger.query(
      `insert into leasehold.break_glass_policy (id, name, version, spec)
       select 'next', name, 2, $2 from leasehold.break_glass_policy where id = $1`,
      [policyId, { notify: [{ name: 'hook', type: 'webhook', url: fresh.url }] }],
    )
    await round()
    expect([old.heard.length, fresh.heard.length]).toEqual([0, 1])
  })
})

describe('a destination that fails', () => {
  test.each([
    ['http://127.0.0.1:9', 'the connection was refused', '127.0.0.1:9'],
    ['https://localhost.invalid/x', 'the name was not found', 'localhost.invalid'],
  ])('is told of by what kind of failure it was: %s', async (url, words, inside) => {
    await wants([{ name: 'hook', type: 'webhook', url }])
    await say()
    await round()
    expect(await rows()).toMatchObject([{ state: 'waiting', lastStatus: null, lastError: words }])
    const { rows: record } = await at.ledger.query(
      `select (select string_agg(body::text, '') from leasehold.audit_event) || (select string_agg(detail::text, '')
         from leasehold.grant_event) || (select string_agg(last_error, '') from leasehold.notification) as text`,
    )
    expect(record[0]?.text).toContain(words)
    expect(record[0]?.text).not.toContain(inside)
    expect(logged).toEqual([expect.stringContaining(inside)])
  })

  test('is sent nothing where its certificate is nobody’s', async () => {
    const heard: string[] = []
    const server = https.createServer(newAuthority().issue('hook'), (req, res) => {
      heard.push(req.url ?? '')
      res.end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    opened.push({ close: () => new Promise((resolve) => void server.close(() => resolve())) })
    const { port } = server.address() as AddressInfo
    await wants([{ name: 'hook', type: 'webhook', url: `https://localhost:${port}/in` }])
    await say()
    await round()
    expect(heard).toEqual([])
    expect(await rows()).toMatchObject([{ state: 'waiting', lastError: expect.stringMatching(/^no TLS/) }])
  })

  test('has somebody look again when its next try is due, and is tried once for all that waits there', async () => {
    await wants([{ name: 'hook', type: 'webhook', url: 'http://127.0.0.1:9' }])
    for (let told = 0; told < 25; told += 1) await say()
    await round()
    expect((await rows()).filter(({ attempts }) => attempts > 0)).toHaveLength(1)
    expect(await deliverer().due()).toEqual([])
    expect(wakes.length).toBeGreaterThan(0)
    for (const ms of wakes) expect(ms).toBeLessThanOrEqual(1_250)
    await at.advance(2)
    expect(await deliverer().due()).toHaveLength(1)
  })

  test('is tried again later and later, each failure on record, the first on that of the grant', async () => {
    const hook = await listen((res) => void res.writeHead(503).end())
    await wants([{ name: 'hook', type: 'webhook', url: hook.url }])
    await say()
    await round()
    await round()
    expect(hook.heard).toHaveLength(1)
    await at.advance(2)
    await round()
    expect(hook.heard).toHaveLength(2)
    expect(hook.heard[0]?.headers['leasehold-delivery']).toBe(hook.heard[1]?.headers['leasehold-delivery'])
    expect(await rows()).toMatchObject([
      { state: 'waiting', attempts: 2, lastStatus: 503, lastError: 'the answer was HTTP 503' },
    ])
    expect(await audited()).toHaveLength(2)
    const { rows: events } = await at.ledger.query(
      `select event, detail from leasehold.grant_event where grant_id = $1`,
      [grant.id],
    )
    expect(events).toMatchObject([
      { event: 'delivery_failed', detail: { destination: 'hook', told: 'submit' } },
    ])
  })

  test('is given up after a day, and that is on record', async () => {
    await wants([{ name: 'hook', type: 'webhook', url: 'http://127.0.0.1:9' }])
    await say()
    await at.advance(24 * 3_600 + 1)
    await round()
    expect(await rows()).toMatchObject([{ state: 'failed', attempts: 1, nextAttemptAt: null }])
    expect((await audited()).at(-1)?.body.details).toMatchObject({ given_up: true, grant_id: grant.id })
    await round()
    expect(await rows()).toMatchObject([{ attempts: 1 }])
  })

  test('that hangs delays itself alone', async () => {
    const hanging = await listen(() => {})
    const hook = await listen()
    await wants([
      { name: 'a-hanging', type: 'webhook', url: hanging.url },
      { name: 'hook', type: 'webhook', url: hook.url },
    ])
    await say()
    const one = deliverer()
    const [first, second] = await one.due()
    const running = [first?.run(), second?.run()]
    await expect.poll(() => [hanging.heard.length, hook.heard.length]).toEqual([1, 1])
    await Promise.race(running)
    expect((await rows()).find(({ destination }) => destination === 'hook')?.state).toBe('delivered')
    await one.stop()
    await Promise.all(running)
    expect((await rows()).find(({ destination }) => destination === 'a-hanging')).toMatchObject({
      state: 'waiting',
      attempts: 0,
    })
  })

  test('is not in the way of others, however many such there are and however much waits for them', async () => {
    const hanging = await listen(() => {})
    const hook = await listen()
    const many = Array.from({ length: 40 }, (_, i) => ({
      name: `hanging-${i}`,
      type: 'webhook',
      url: hanging.url,
    }))
    await wants([...many, { name: 'hook', type: 'webhook', url: hook.url, events: ['approve'] }])
    // More than one of them is sent at once.
    for (let told = 0; told < 11; told += 1) await say('submit')
    const one = deliverer()
    await one.begin()
    const patient = { timeout: 20_000 }
    await expect.poll(() => hanging.heard.length, patient).toBeGreaterThanOrEqual(32)
    await at.advance(1)
    await say('approve')
    await one.begin()
    await expect.poll(() => hook.heard.length, patient).toBe(1)
    await one.stop()
  })

  test('has no redirect followed', async () => {
    const inside = await listen()
    const hook = await listen((res) => void res.writeHead(307, { Location: inside.url }).end())
    await wants([{ name: 'hook', type: 'webhook', url: hook.url }])
    await say()
    await round()
    expect(inside.heard).toEqual([])
    expect(await rows()).toMatchObject([{ state: 'waiting', lastError: 'the answer was HTTP 307' }])
  })

  test('is sent nothing unsigned where its key cannot be read', async () => {
    const hook = await listen()
    await wants([{ name: 'damaged', type: 'webhook', url: hook.url }])
    await say()
    await round()
    expect(hook.heard).toEqual([])
    expect(await rows()).toMatchObject([
      { state: 'waiting', lastError: 'its address or its key could not be read' },
    ])
    expect(logged).toEqual(['damaged'])
  })

  test('that takes one message and not another is sent the other all the same', async () => {
    const hook = await listen(
      (res, { body }) => void res.writeHead(body.includes('"submit"') ? 400 : 204).end(),
    )
    await wants([{ name: 'hook', type: 'webhook', url: hook.url }])
    await say('submit')
    await say('approve')
    await round()
    expect((await rows()).map(({ event, state }) => [event, state]).sort()).toEqual([
      ['approve', 'delivered'],
      ['submit', 'waiting'],
    ])
  })
})

test('of two workers each message is sent by one', async () => {
  const hook = await listen()
  await wants([{ name: 'hook', type: 'webhook', url: hook.url }])
  for (let told = 0; told < 15; told += 1) await say()
  await Promise.all([round(deliverer('w1')), round(deliverer('w2'))])
  const ids = hook.heard.map(({ headers }) => headers['leasehold-delivery'])
  expect([ids.length, new Set(ids).size]).toEqual([15, 15])
})

describe('a ticket', () => {
  const ask = {
    policy: 'prod',
    ticket: 'INC-1',
    requester: { display_name: 'Ada', subject: 'ada', mount: 'auth/oidc/', groups: ['not told'] },
    roles: ['database/creds/app'],
    lane: 'break_glass',
  }
  const json =
    (status: number, text: string) => (res: Parameters<NonNullable<Parameters<typeof openListener>[0]>>[0]) =>
      void res.writeHead(status, { 'Content-Type': 'application/json' }).end(text)

  test.each([
    [200, '{"valid":true}', 'verified'],
    [200, '{"valid":false}', 'refused'],
    [404, '', 'refused'],
    [200, '<html>log in</html>', 'unverified'],
    [200, '{"valid":"yes"}', 'unverified'],
    [204, '', 'unverified'],
    [403, '', 'unverified'],
    [500, '{"valid":true}', 'unverified'],
    [302, '', 'unverified'],
    [200, `{"valid":true,"more":"${'x'.repeat(100_000)}"}`, 'unverified'],
  ])('with the answer %i %s is %s', async (status, text, state) => {
    const system = await listen(json(status, text))
    expect(await checkTicket({ url: system.url, key: sensitive('k') }, ask)).toMatchObject({ state })
    expect(JSON.parse(system.heard[0]?.body ?? '')).toEqual({
      ...ask,
      requester: { display_name: 'Ada', subject: 'ada', mount: 'auth/oidc/' },
    })
    expect(system.heard[0]?.headers['leasehold-signature']).toMatch(/^t=\d+,v1=/)
  })

  test.each(['http://127.0.0.1:9', 'http://incidents.example', 'nonsense'])(
    'is unverified where nobody can be asked at %s',
    async (url) =>
      expect(await checkTicket({ url, key: undefined }, ask)).toEqual({ state: 'unverified', onCall: null }),
  )

  test('is unverified where the system hangs', async () => {
    const system = await listen(() => {})
    expect(await checkTicket({ url: system.url, key: undefined }, ask, 50)).toEqual({
      state: 'unverified',
      onCall: null,
    })
  })
})
