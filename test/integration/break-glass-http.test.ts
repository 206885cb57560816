import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { POLICY, REASON } from './break-glass-world.ts'

let broker: TestBroker
beforeAll(async () => {
  broker = await openTestBroker()
  await broker.api('POST', 'sys/auth/oidc', { type: 'oidc' })
  await broker.api('PUT', 'sys/policies/acl/break-glass', {
    policy: `path "break-glass/*" { capabilities = ["create", "read", "update", "delete", "list"] }`,
  })
  await broker.api('POST', 'break-glass/policies/orders', { ...POLICY, roles: 'database/creds/*' })
})
afterAll(() => broker.close())

type Person = { name: string; groups?: string[]; kind?: string; ago?: number }

/** A token as an OIDC login would have left it. */
async function logIn({ name, groups = [], kind = 'human', ago = 0 }: Person): Promise<string> {
  const made = await broker.api('POST', 'auth/token/create', { policies: ['break-glass'] })
  const token = made.json.auth.client_token as string
  const identity = {
    kind,
    metadata: {},
    mount: 'auth/oidc/',
    mountAccessor: 'oidc_1',
    subject: name,
    groups,
    claims: { iss: 'https://issuer.example', sub: name },
    authTime: Math.floor((await broker.ledger.now()).getTime() / 1_000) - ago,
    amr: ['pwd', 'otp'],
  }
  await broker.ledger.ledger.query(
    `insert into leasehold.entity (id, mount_id, subject, kind)
     select $1, id, $1, 'human' from leasehold.mount where path = 'auth/oidc/' on conflict do nothing`,
    [`entity-${name}`],
  )
  await broker.ledger.ledger.query(
    `update leasehold.token set identity = $2, entity_id = $3, display_name = $4,
       path = 'auth/oidc/oidc/callback', parent_id = null
     where id = $1`,
    [createHash('sha256').update(token).digest(), identity, `entity-${name}`, name],
  )
  return token
}

const as = async (person: Person, method: string, path: string, body?: unknown, headers = {}) =>
  broker.api(method, `break-glass/${path}`, body, { 'X-Vault-Token': await logIn(person), ...headers })

const RITA = { name: 'rita' }
const ANN = { name: 'ann', groups: ['oncall'] }
const OLGA = { name: 'olga', groups: ['owners'] }

const ask = async (changes: Record<string, unknown> = {}, headers = {}) => {
  const body = {
    policy: 'orders',
    roles: 'database/creds/app',
    reason: REASON,
    ticket: 'INC-7',
    duration: '10m',
  }
  return as(RITA, 'POST', 'requests', { ...body, ...changes }, headers)
}

describe('over the wire', () => {
  test('a request is asked for, listed, approved by two people and then theirs to activate', async () => {
    const made = await ask()
    expect(made).toMatchObject({ status: 200, json: { data: { state: 'pending', duration_seconds: 600 } } })
    const { id, plan_hash } = made.json.data
    const inbox = await as(ANN, 'LIST', 'requests?view=inbox')
    expect(inbox.json.data).toMatchObject({ requests: [{ id }], counts: { inbox: 1 }, cursor: null })

    const yes = { plan_hash, comment: 'seen the graphs' }
    expect(await as(ANN, 'POST', `requests/${id}/approve`, yes)).toMatchObject({
      status: 200,
      json: { data: { state: 'pending', quorum: { approvers: 1, met: false } } },
    })
    const approved = await as(OLGA, 'POST', `requests/${id}/approve`, { ...yes, version: 2 })
    expect(approved.json.data).toMatchObject({
      state: 'approved',
      quorum: { met: true },
      allowed: ['withdraw'],
    })
    expect((await as(RITA, 'GET', `requests/${id}`)).json.data.allowed).toEqual(
      expect.arrayContaining(['cancel']),
    )
    expect(await as(RITA, 'POST', `requests/${id}/cancel`, {})).toMatchObject({
      status: 200,
      json: { data: { state: 'cancelled' } },
    })
  })

  test('identity is never taken from the body', async () => {
    const made = await ask({ requester: { id: 'entity-boss' }, requester_id: 'entity-boss' })
    expect(made.json.data.requester).toMatchObject({ id: 'entity-rita', subject: 'rita', kind: 'human' })
    const { id, plan_hash } = made.json.data
    const forged = {
      plan_hash,
      voter_id: 'entity-ann',
      voter: { id: 'entity-ann', groups: ['oncall'] },
      approvers: ['ann'],
    }
    expect(await as({ ...RITA, groups: ['oncall'] }, 'POST', `requests/${id}/approve`, forged)).toMatchObject(
      {
        status: 403,
        json: { errors: ['nobody has a vote on their own request'] },
      },
    )
    expect(await as({ name: 'eve' }, 'POST', `requests/${id}/approve`, forged)).toMatchObject({ status: 404 })
    expect(await as({ ...ANN, kind: 'workload' }, 'POST', `requests/${id}/approve`, forged)).toMatchObject({
      status: 404,
    })
    // Root sees it, and has no vote either.
    expect((await broker.api('GET', `break-glass/requests/${id}`)).status).toBe(200)
    expect((await broker.api('POST', `break-glass/requests/${id}/approve`, forged)).status).toBe(403)
    expect((await as(RITA, 'GET', `requests/${id}`)).json.data).toMatchObject({ votes: [], version: 1 })
    await as(RITA, 'POST', `requests/${id}/cancel`, {})
  })

  test('every refusal names the grant on the audit log, and every move has one event of its request', async () => {
    const { id, plan_hash } = (await ask()).json.data
    const late = await as({ ...ANN, ago: 3_600 }, 'POST', `requests/${id}/approve`, { plan_hash })
    expect(late).toMatchObject({
      status: 403,
      json: { errors: ['log in again: your login is older than the 5 minutes allowed'] },
    })
    await as(ANN, 'POST', `requests/${id}/deny`, { plan_hash, comment: 'no' })
    const { rows } = await broker.ledger.ledger.query<{ body: string }>(
      `select body::text as body from leasehold.audit_event where body::text like $1 order by at_time, writer, seq`,
      [`%${id}%`],
    )
    const events = rows.map(({ body }) => JSON.parse(body))
    expect(events).toContainEqual(
      expect.objectContaining({
        who: expect.objectContaining({ subject: 'ann', kind: 'human' }),
        outcome: expect.objectContaining({ status: 403 }),
        details: expect.objectContaining({ grant_id: id, action: 'approve' }),
      }),
    )
    const moves = events.filter(({ details }) => details?.grant_id === id && details.to !== undefined)
    expect(moves.map(({ details }) => [details.event, details.from, details.to])).toEqual([
      ['submit', null, 'pending'],
      ['deny', 'pending', 'denied'],
    ])
    expect(moves.at(-1).details).toMatchObject({ comment: 'no', sets: ['oncall'] })
  })

  test('a lost race, a stale plan and a missing field are told apart', async () => {
    const { id, plan_hash } = (await ask({}, { 'Leasehold-Idempotency-Key': 'k1' })).json.data
    expect(await ask({}, { 'Leasehold-Idempotency-Key': 'k1' })).toMatchObject({
      status: 409,
      json: { data: { id, state: 'pending' } },
    })
    expect((await as(ANN, 'POST', `requests/${id}/approve`, {})).status).toBe(400)
    expect(await as(ANN, 'POST', `requests/${id}/deny`, { plan_hash })).toMatchObject({ status: 400 })
    expect(await as(ANN, 'POST', `requests/${id}/approve`, { plan_hash: 'f'.repeat(64) })).toMatchObject({
      status: 409,
      json: { errors: ['the plan has changed'] },
    })
    expect(
      await as(ANN, 'POST', `requests/${id}/approve`, { plan_hash, narrow: { duration: '11m' } }),
    ).toMatchObject({ status: 400 })
    expect(
      (await as(ANN, 'POST', `requests/${id}/approve`, { plan_hash, comment: 'x'.repeat(2_001) })).status,
    ).toBe(400)
    expect(await as(ANN, 'GET', 'requests/0000')).toMatchObject({ status: 404 })
    await as(RITA, 'POST', `requests/${id}/cancel`, {})
  })

  test('policies are written with sudo alone, and read without secrets', async () => {
    const hook = { name: 'hook', type: 'webhook', url: 'https://hook.example/', secret: 'of the hook' }
    expect((await as(RITA, 'POST', 'policies/mine', POLICY)).status).toBe(403)
    expect((await as(RITA, 'DELETE', 'policies/orders')).status).toBe(403)
    await broker.api('POST', 'break-glass/policies/other', { ...POLICY, notify: [hook], pending_ttl: '10m' })
    const read = await as(RITA, 'GET', 'policies/other')
    expect(read.json.data).toMatchObject({ name: 'other', version: 1, pending_ttl: 600 })
    expect(read.text).not.toContain('of the hook')
    expect((await as(RITA, 'LIST', 'policies')).json.data.keys).toEqual(['orders', 'other'])
    expect((await broker.api('DELETE', 'break-glass/policies/other')).status).toBe(204)
    expect((await as(RITA, 'GET', 'policies/other')).status).toBe(404)
    expect(
      await broker.api('POST', 'break-glass/policies/x', { ...POLICY, ticket_pattern: '(a+)+' }),
    ).toMatchObject({ status: 400, json: { errors: [expect.stringContaining('"ticket_pattern"')] } })
  })

  test('no mount may be put over it, and policy comes before it tells what exists', async () => {
    expect((await broker.api('POST', 'sys/mounts/break-glass', { type: 'database' })).status).toBe(400)
    expect((await broker.api('POST', 'sys/mounts/break-glass/x', { type: 'database' })).status).toBe(400)
    const bare = await broker.api('POST', 'auth/token/create', { policies: ['default'] })
    const headers = { 'X-Vault-Token': bare.json.auth.client_token }
    expect((await broker.api('GET', 'break-glass/nothing', undefined, headers)).status).toBe(403)
    expect((await broker.api('GET', 'break-glass/eligible', undefined, headers)).status).toBe(403)
  })
})
