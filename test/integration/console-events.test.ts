import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { openBrowser, type Stream, type StreamEvent } from './console-world.ts'

let at: TestBroker
const open: Stream[] = []
beforeAll(async () => {
  at = await openTestBroker()
})
afterEach(() => {
  for (const stream of open.splice(0)) stream.close()
})
afterAll(() => at.close())

const follow = async (token = at.root) => {
  const browser = openBrowser(at.url)
  await browser.signIn(token)
  const stream = await browser.follow()
  open.push(stream)
  return { browser, stream }
}
const named = (event: string) => (got: StreamEvent) => got.event === event
const about = (topic: string) => (got: StreamEvent) => got.event === 'change' && got.data.topic === topic
const idOf = (leaseId: string) => leaseId.slice(leaseId.lastIndexOf('/') + 1)

async function tokenWith(policy: string, name: string): Promise<string> {
  await at.api('POST', `sys/policies/acl/${name}`, { policy })
  const made = await at.api('POST', 'auth/token/create', { policies: name, ttl: '1h' })
  return made.json.auth.client_token
}

describe('an open page', () => {
  test('is greeted with the time of the ledger, and told it again', async () => {
    const { stream } = await follow()
    const hello = await stream.next(named('hello'))
    expect(hello.data.heartbeat_seconds).toBe(10)
    const now = await at.ledger.now()
    expect(Math.abs(Date.parse(hello.data.now) - now.getTime())).toBeLessThan(60_000)
    expect(Date.parse((await stream.next(named('heartbeat'))).data.now)).not.toBeNaN()
  })

  test('is told of leases that are made, renewed and ended', async () => {
    const { stream } = await follow()
    await stream.next(named('hello'))
    const made = (await at.api('GET', 'database/creds/app')).json
    const told = async () => {
      const { data } = await stream.next(
        (got) => about('leases')(got) && got.data.ids?.includes(idOf(made.lease_id)),
      )
      return data.ids
    }
    expect(await told()).toContain(idOf(made.lease_id))
    await at.api('POST', 'sys/leases/renew', { lease_id: made.lease_id })
    await told()
    await at.api('POST', 'sys/leases/revoke', { lease_id: made.lease_id })
    await told()
  })

  test('is told of what another server process does', async () => {
    const { stream } = await follow()
    await stream.next(named('hello'))
    const other = await at.another()
    const { url } = await other.listen({ host: '127.0.0.1', port: 0 })
    const answer = await fetch(`${url}/v1/database/creds/app`, { headers: { 'X-Vault-Token': at.root } })
    const { lease_id } = (await answer.json()) as { lease_id: string }
    await stream.next((got) => about('leases')(got) && got.data.ids?.includes(idOf(lease_id)))
    await other.close()
  })

  test('is told of a target that was changed', async () => {
    const { stream } = await follow()
    await stream.next(named('hello'))
    await at.api('POST', 'database/config/db/reconcile', {})
    await stream.next(about('targets'))
  })

  test('is told of moves of grants', async () => {
    const { stream } = await follow()
    await stream.next(named('hello'))
    const id = await grantRow()
    await stream.next((got) => about('grants')(got) && got.data.ids?.includes(id))
  })

  test('hears nothing of what is only read, its own reading least of all', async () => {
    const { browser, stream } = await follow()
    await stream.next(named('hello'))
    for (const path of ['sys/leasehold/leases', 'sys/leasehold/targets', 'sys/mounts']) {
      expect((await browser.visit('GET', `/ui/v1/${path}`)).status).toBe(200)
    }
    const { lease_id } = (await at.api('GET', 'database/creds/app')).json
    const first = await stream.next(named('change'))
    expect(first.data).toEqual({ topic: 'leases', ids: [idOf(lease_id)] })
  })

  test('is told no ids of what its person may not see', async () => {
    const token = await tokenWith('path "sys/leasehold/targets" { capabilities = ["read"] }', 'targets-only')
    const { stream } = await follow(token)
    await stream.next(named('hello'))
    await at.api('GET', 'database/creds/app')
    expect((await stream.next(about('leases'))).data).toEqual({ topic: 'leases', ids: null })
  })
})

describe('the stream ends', () => {
  test('when the token is revoked', async () => {
    const token = await tokenWith('path "x" { capabilities = ["read"] }', 'short')
    const { stream } = await follow(token)
    await stream.next(named('hello'))
    await at.api('POST', 'auth/token/revoke', { token })
    expect((await stream.next(named('end'))).data).toEqual({ reason: 'session_over' })
    await stream.ended
  })

  test('when somebody signs out in another tab', async () => {
    const { browser, stream } = await follow()
    await stream.next(named('hello'))
    await browser.visit('DELETE', '/ui/session')
    expect((await stream.next(named('end'))).data).toEqual({ reason: 'session_over' })
    await stream.ended
  })

  test('when the server shuts down, which does not wait for it', async () => {
    const other = await at.another()
    const listening = await other.listen({ host: '127.0.0.1', port: 0 })
    const browser = openBrowser(listening.url)
    await browser.signIn(at.root)
    const stream = await browser.follow()
    await stream.next(named('hello'))
    const closing = other.close()
    expect((await stream.next(named('end'))).data).toEqual({ reason: 'shutdown' })
    await Promise.all([closing, stream.ended])
  })
})

test('nobody follows who is not signed in', async () => {
  const stream = await openBrowser(at.url).follow()
  expect(stream.status).toBe(401)
  stream.close()
})

test('one session has so many open pages, and room again when one is closed', async () => {
  const browser = openBrowser(at.url)
  await browser.signIn(at.root)
  const streams = await Promise.all(Array.from({ length: 8 }, () => browser.follow()))
  open.push(...streams)
  await Promise.all(streams.map((stream) => stream.next(named('hello'))))
  const more = await browser.visit('GET', '/ui/events')
  expect([more.status, more.headers['retry-after']]).toEqual([429, '5'])
  streams[0]?.close()
  await expect
    .poll(async () => {
      const stream = await browser.follow()
      open.push(stream)
      return stream.status
    })
    .toBe(200)
})

/** A grant with one event, as moves of grants leave them. */
async function grantRow(): Promise<string> {
  const { ledger } = at.ledger
  const id = 'g'.repeat(24)
  await ledger.query(
    `insert into leasehold.break_glass_policy (id, name, version, spec) values ('p', 'p', 1, '{}')`,
  )
  await ledger.query(
    `insert into leasehold.access_grant (id, policy_id, lane, state, requester_id, requester, plan, plan_hash, reason,
       duration_seconds, requested_at, pending_expires_at)
     values ($1, 'p', 'standard', 'pending', 'r', '{}', '{}', 'h', 'why', 60, now(), now())`,
    [id],
  )
  await ledger.query(
    `insert into leasehold.grant_event (grant_id, number, event, to_state) values ($1, 1, 'asked', 'pending')`,
    [id],
  )
  return id
}
