import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { putBlock } from '../../src/ledger/grant-reviews.ts'
import { type AccessWorld, detailsOf, expectOnRecord, openAccessWorld } from './break-glass-access-world.ts'

let at: AccessWorld

beforeEach(async () => {
  at = await openAccessWorld()
})
afterEach(() => at.close())

test('who was approved collects an account that works, and gives it back: gone, proved, reviewed, signed', async () => {
  const { request, credentials } = await at.active()
  expect(request).toMatchObject({ state: 'active', duration_seconds: 1_800 })
  const [{ data, leasehold, connect, lease_duration }] = credentials as [(typeof credentials)[number]]
  const client = await at.target.logIn(data)
  expect((await client.query('select note from orders')).rows).toEqual([{ note: 'first' }])
  // As long as the access, though the role gives a minute.
  expect(lease_duration).toBeGreaterThan(1_700)
  expect(leasehold.hard_expires_at).toBeDefined()
  expect(new Date(String(leasehold.hard_expires_at)) <= new Date(request.expires_at)).toBe(true)
  expect(connect).toMatchObject({ host: expect.any(String), port: expect.any(Number) })

  const returned = await at.act(at.rita, request.id, 'end', { reason: 'done' })
  expect(returned.json.data).toMatchObject({ state: 'review_due', end_reason: 'returned' })
  expect(await at.target.account(data.username)).toBe('absent')
  expect(await at.leases(request.id)).toMatchObject([{ state: 'revoked', end_reason: 'grant_ended' }])
  await client.end().catch(() => {})

  const checklist = {
    actions_match_reason: true,
    ticket_true: true,
    data_touched: true,
    follow_up: true,
    rotate: false,
  }
  for (const person of [at.rita, at.ann, at.olga]) {
    expect((await at.act(person, request.id, 'review', { outcome: 'ok', checklist })).status).toBe(403)
  }
  const open = { outcome: 'ok', checklist: { ...checklist, data_touched: false } }
  expect((await at.act(at.vera, request.id, 'review', open)).text).toContain('data_touched')
  // Not before they have read what happened.
  expect((await at.act(at.vera, request.id, 'review', { outcome: 'ok', checklist })).text).toContain(
    'events_seen',
  )
  const events_seen = (await at.look(request.id)).events.length
  const stale = { outcome: 'ok', checklist, events_seen: events_seen - 1 }
  expect((await at.act(at.vera, request.id, 'review', stale)).status).toBe(409)
  const reviewed = await at.act(at.vera, request.id, 'review', { outcome: 'ok', checklist, events_seen })
  expect(reviewed.json.data.state).toBe('closed_ok')
  const [{ jws }] = reviewed.json.data.reviews
  const [header = '', payload = ''] = jws.split('.')
  expect(JSON.parse(Buffer.from(header, 'base64url').toString())).toMatchObject({
    typ: 'leasehold-review+jws',
  })
  expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({
    request_id: request.id,
    outcome: 'ok',
    plan_hash: request.plan_hash,
    ticket_state: 'none',
    leases: [{ lease_id: credentials[0]?.lease_id }],
  })
  await expectOnRecord(at, request.id)
})

test('what an activation may not do: by another, without a fresh login, against a rule that denies', async () => {
  const { id } = await at.approved()
  expect((await at.act(at.ann, id, 'activate')).status).toBe(403)
  const stale = await at.people.person('rita', { ageSeconds: 600 })
  expect((await at.act(stale, id, 'activate')).text).toContain('log in again')
  await at.api('PUT', 'sys/policies/acl/never', {
    policy: 'path "database/creds/*" { capabilities = ["deny"] }',
  })
  const denied = await at.people.person('rita', { policies: ['never'] })
  const refused = await at.act(denied, id, 'activate')
  expect([refused.status, refused.text]).toEqual([403, expect.stringContaining('denies database/creds/app')])
  expect(await at.look(id)).toMatchObject({ state: 'approved' })
  expect(await at.leases(id)).toEqual([])
})

test('the condition of a role sees the approval at activation, and refuses without the rest of it', async () => {
  const role = (condition: string) =>
    at.api('POST', 'database/roles/app', {
      db_name: 'db',
      member_of: at.target.readers,
      default_ttl: '1m',
      max_ttl: '10h',
      condition,
    })
  await role('approval.live && approval.policy == "db"')
  expect((await at.active()).request.state).toBe('active')
  await role('request.operation == "list"')
  const { id } = await at.approved()
  expect((await at.act(at.rita, id, 'activate')).text).toContain('condition of the role')
})

test('a role that changed after the approval voids it: nothing is issued', async () => {
  const { id } = await at.approved()
  await at.api('POST', 'database/roles/app', { db_name: 'db', member_of: at.target.readers, max_ttl: '9h' })
  expect((await at.act(at.rita, id, 'activate')).status).toBe(409)
  expect(await at.look(id)).toMatchObject({ state: 'voided' })
  expect(await at.leases(id)).toEqual([])
})

test('an activation of which one lease cannot be made ends what was made, and has failed', async () => {
  await at.api('POST', 'database/roles/broken', {
    db_name: 'db',
    creation_statements: [`create role "{{name}}" login password '{{password}}' in role no_such_group`],
    max_ttl: '1h',
  })
  const { id } = await at.approved({ roles: ['database/creds/app', 'database/creds/broken'] })
  expect((await at.act(at.rita, id, 'activate')).status).toBeGreaterThanOrEqual(400)
  // Whether the one that failed is there cannot be told before its create could no longer arrive.
  expect((await at.look(id)).state).toBe('ending')
  await at.ledger.advance(25)
  expect(await at.comesTo(id, 'review_due')).toMatchObject({
    end_reason: 'activation_failed',
  })
  for (const { state, account } of await at.leases(id)) {
    expect(state).toBe('revoked')
    expect(await at.target.account(account)).toBe('absent')
  }
  await expectOnRecord(at, id)
})

test('everything ends by itself at its time, by the sweep alone', async () => {
  const { request, credentials } = await at.active()
  const { username } = credentials[0]?.data ?? { username: '' }
  await at.ledger.advance(26 * 60)
  await at.sweep()
  expect((await at.look(request.id)).events.at(-1)).toMatchObject({ event: 'ending_soon' })
  await at.ledger.advance(4 * 60)
  await at.sweep()
  await at.sweep()
  await at.ledger.advance(1)
  await at.sweep()
  expect(await at.look(request.id)).toMatchObject({ state: 'review_due', end_reason: 'expired' })
  expect(await at.target.account(username)).toBe('absent')
  await at.ledger.advance(86_400)
  await at.sweep()
  expect((await at.look(request.id)).events.at(-1)).toMatchObject({ event: 'review_reminder' })
  await at.ledger.advance(2 * 86_400)
  await at.sweep()
  expect(await at.look(request.id)).toMatchObject({ state: 'review_overdue' })
  await expectOnRecord(at, request.id)
})

test('any one of those who approved, an officer or an owner takes it away, with any login', async () => {
  for (const name of ['ann', 'olga', 'sam'] as const) {
    const groups = { ann: ['oncall'], olga: ['owners'], sam: ['security'] }[name]
    const { request, credentials } = await at.active()
    const stale = await at.people.person(name, { groups, ageSeconds: 3_000, amr: ['pwd'] })
    const revoked = await at.act(stale, request.id, 'end', {})
    expect(revoked.json.data).toMatchObject({ state: 'review_due', end_reason: 'revoked' })
    expect(await at.target.account(credentials[0]?.data.username ?? '')).toBe('absent')
  }
})

test('suspended: nobody is in and nothing is given; two people let it go on, and new credentials are collected', async () => {
  const { request, credentials } = await at.active()
  const first = credentials[0]?.data ?? { username: '', password: '' }
  const client = await at.target.logIn(first)
  expect((await at.act(at.sam, request.id, 'suspend', { reason: 'odd queries' })).json.data.state).toBe(
    'suspended',
  )
  await expect(client.query('select 1')).rejects.toThrow()
  expect(await at.target.account(first.username)).toBe('absent')
  expect((await at.act(at.rita, request.id, 'collect')).status).toBe(409)

  expect((await at.act(at.rita, request.id, 'resume')).status).toBe(403)
  expect((await at.act(at.sam, request.id, 'resume')).json.data.state).toBe('suspended')
  expect((await at.act(at.sam, request.id, 'resume')).status).toBe(409)
  const resumed = (await at.act(at.sven, request.id, 'resume')).json.data
  expect(resumed.state).toBe('active')
  for (const event of ['ask_resume', 'resume']) {
    expect(detailsOf(resumed, event)).toMatchObject([{ sets: ['officers'] }])
  }
  const collected = await at.act(at.rita, request.id, 'collect')
  const second = collected.json.data.credentials[0].data
  expect(second.username).not.toBe(first.username)
  await (await at.target.logIn(second)).end()

  // What was collected before ends with the next.
  const third = (await at.act(at.rita, request.id, 'collect')).json.data.credentials[0].data
  await at.sweep()
  expect(await at.target.account(second.username)).toBe('absent')
  expect(await at.target.account(third.username)).toBe('enabled')
  await expectOnRecord(at, request.id)
})

test('more time: in the last third, by the quorum with somebody new, on the target first', async () => {
  const { request, credentials } = await at.active()
  const { id } = request
  const more = { duration: '10m', reason: 'still stuck' }
  expect((await at.act(at.rita, id, 'extend', more)).text).toContain('from')
  await at.ledger.advance(21 * 60)
  const fresh = {
    rita: await at.people.person('rita'),
    ann: await at.people.person('ann', { groups: ['oncall'] }),
    olga: await at.people.person('olga', { groups: ['owners'] }),
    new: await at.people.person('nina', { groups: ['owners'] }),
  }
  expect((await at.act(fresh.rita, id, 'extend', { ...more, duration: '3h' })).text).toContain('at most')
  const asked = (await at.act(fresh.rita, id, 'extend', more)).json.data
  const { plan_hash } = asked.extensions[0]
  expect((await at.act(fresh.ann, id, 'approve-extension', { plan_hash: asked.plan_hash })).status).toBe(409)
  const comment = 'the queue is still growing'
  await at.act(fresh.ann, id, 'approve-extension', { plan_hash, comment })
  // Both of the first vote, and nobody else: not enough.
  await at.act(fresh.olga, id, 'approve-extension', { plan_hash })
  expect(await at.look(id)).toMatchObject({ expires_at: request.expires_at })
  const extended = (await at.act(fresh.new, id, 'approve-extension', { plan_hash, comment })).json.data
  const until = new Date(new Date(request.expires_at).getTime() + 600_000)
  expect(extended).toMatchObject({ state: 'active', expires_at: until.toISOString() })
  // Of each vote what was voted on, by whom as what, and why.
  expect(detailsOf(extended, 'approve_extension')).toEqual([
    { who: 'approver', round: 1, votes: 1, comment, sets: ['oncall'], extension_hash: plan_hash },
    { who: 'approver', round: 1, votes: 2, sets: ['owners'], extension_hash: plan_hash },
  ])
  expect(detailsOf(extended, 'extend')).toMatchObject([
    { comment, sets: ['owners'], extension_hash: plan_hash },
  ])
  const [lease] = await at.leases(id)
  expect(lease?.hard_expires_at.getTime()).toBe(until.getTime())
  const [{ valid }] = (await at.target.sql<{ valid: Date }>(
    `select rolvaliduntil as valid from pg_roles where rolname = '${credentials[0]?.data.username}'`,
  )) as [{ valid: Date }]
  // The ledger's clock is ahead of the target's in this test.
  expect(valid.getTime()).toBeGreaterThan(Date.now() + 15 * 60_000)
  await expectOnRecord(at, id)
})

test('more time that was denied, or that nobody decided on: the old end stands', async () => {
  const { request } = await at.active()
  await at.ledger.advance(21 * 60)
  const rita = await at.people.person('rita')
  const more = { duration: '5m', reason: 'still stuck' }
  await at.act(rita, request.id, 'extend', more)
  const denied = (await at.act(at.ann, request.id, 'deny-extension', { comment: 'enough' })).json.data
  const [{ plan_hash: extension_hash }] = denied.extensions
  expect(detailsOf(denied, 'deny_extension')).toMatchObject([
    { comment: 'enough', sets: ['oncall'], extension_hash },
  ])
  await at.act(rita, request.id, 'extend', more)
  await at.ledger.advance(9 * 60 + 1)
  await at.sweep()
  const ended = await at.look(request.id)
  expect(ended.expires_at).toBe(request.expires_at)
  expect(ended.extensions).toMatchObject([{ state: 'denied' }, { state: 'expired' }])
})

test('more time that nobody decided on in time is not given late, though no worker has looked', async () => {
  await at.close()
  at = await openAccessWorld({ pending_ttl: '2m' })
  const { request } = await at.active()
  await at.ledger.advance(21 * 60)
  const { rita, ann } = await at.logInAgain()
  const asked = await at.act(rita, request.id, 'extend', { duration: '5m', reason: 'still stuck' })
  const { plan_hash } = asked.json.data.extensions[0]
  await at.ledger.advance(2 * 60)
  const late = await at.act(ann, request.id, 'approve-extension', { plan_hash })
  expect([late.status, late.text]).toEqual([409, expect.stringContaining('too long ago')])
})

test('an incident that is closed takes the access with it after the grace', async () => {
  const { request } = await at.active()
  await at.act(at.sam, request.id, 'incident-closed', {})
  expect(await at.look(request.id)).toMatchObject({ state: 'active' })
  await at.ledger.advance(5 * 60)
  await at.sweep()
  expect(await at.look(request.id)).toMatchObject({ end_reason: 'incident_closed' })
  const waiting = await at.ask()
  await at.act(at.sam, waiting.id, 'incident-closed', {})
  expect(await at.look(waiting.id)).toMatchObject({ state: 'voided' })
})

test('a requester who is no longer one of us loses all of it', async () => {
  const { request } = await at.active()
  const waiting = await at.ask()
  const answer = await at.api('POST', `break-glass/disabled-requesters/${request.requester.id}`)
  expect(answer.json.data.requests.sort()).toEqual([request.id, waiting.id].sort())
  expect(await at.look(request.id)).toMatchObject({ state: 'review_due', end_reason: 'requester_disabled' })
  expect(await at.look(waiting.id)).toMatchObject({ state: 'voided' })
})

test('misuse blocks its requester until an officer settles it; a closed review is opened again', async () => {
  const { request } = await at.active()
  await at.act(at.rita, request.id, 'end')
  const checklist = {
    actions_match_reason: false,
    ticket_true: true,
    data_touched: true,
    follow_up: true,
    rotate: true,
  }
  const flagged = { outcome: 'flagged', checklist, finding: 'read all customers', case_id: 'SEC-1' }
  expect((await at.act(at.vera, request.id, 'review', { ...flagged, case_id: '' })).status).toBe(400)
  await at.act(at.vera, request.id, 'review', flagged)
  expect(await at.look(request.id)).toMatchObject({ state: 'closed_flagged', force_rotation: true })
  const blocked = await at.rita.api('POST', 'break-glass/requests', {
    policy: 'db',
    roles: ['database/creds/app'],
    reason: 'once more, and quickly, please',
  })
  expect(blocked.status).toBeGreaterThanOrEqual(400)
  const listed = (await at.sam.api('LIST', 'break-glass/blocks')).json.data
  expect(listed.blocks).toMatchObject([{ requester_id: request.requester.id, grant_id: request.id }])
  const path = `break-glass/blocks/${request.requester.id}`
  expect((await at.rita.api('DELETE', path)).status).toBe(403)
  await at.api('DELETE', path)
  expect((await at.ask()).state).toBe('pending')
})

describe('misuse in two requests', () => {
  const CHECKED = { actions_match_reason: false, ticket_true: true, data_touched: true, follow_up: true }
  const officer = (name: string, login: Parameters<AccessWorld['people']['person']>[1] = {}) =>
    at.people.person(name, { groups: ['security'], policies: ['settles'], ...login })
  /** Of the policy `db` and, where it is one of two, of another with officers of its own. */
  async function flagged(...policies: string[]): Promise<{ path: string; ids: string[] }> {
    await at.api('PUT', 'sys/policies/acl/settles', {
      policy: 'path "break-glass/blocks/*" { capabilities = ["delete"] }',
    })
    const { json } = await at.api('GET', 'break-glass/policies/db')
    const { name: _, version: __, ...spec } = json.data
    await at.api('POST', 'break-glass/policies/other', {
      ...{ ...spec, max_live: 5 },
      sets: { ...spec.sets, officers: { groups: ['others'] } },
    })
    const requests = []
    for (const policy of policies) requests.push((await at.active({ policy })).request)
    for (const { id } of requests) {
      await at.act(at.rita, id, 'end')
      const given = { outcome: 'flagged', checklist: { ...CHECKED, rotate: true } }
      const { status } = await at.act(at.vera, id, 'review', {
        ...given,
        finding: 'misuse',
        case_id: 'SEC-1',
      })
      expect(status).toBe(200)
    }
    return { path: `break-glass/blocks/${requests[0].requester.id}`, ids: requests.map(({ id }) => id) }
  }
  const isBlocked = async () => {
    const { data } = (await at.rita.api('GET', 'break-glass/eligible')).json
    return data.policies.every(({ blocked }: { blocked: string | null }) => blocked !== null)
  }

  test('is settled twice, each by an officer of its own policy, before anything new is given', async () => {
    const { path, ids } = await flagged('db', 'other')
    const { keys, blocks } = (await at.api('LIST', 'break-glass/blocks')).json.data
    expect(keys).toHaveLength(1)
    expect(blocks.map(({ grant_id }: { grant_id: string }) => grant_id)).toEqual(ids)
    const listed = (await at.sam.api('LIST', 'break-glass/blocks')).json.data
    expect(listed.blocks).toMatchObject([{ grant_id: ids[0] }])

    const [sam, other] = [await officer('sam'), await officer('omar', { groups: ['others'] })]
    const both = await sam.api('DELETE', path)
    expect([both.status, both.text]).toEqual([403, expect.stringContaining('grant_id')])
    expect((await sam.api('DELETE', `${path}?grant_id=${ids[1]}`)).status).toBe(403)
    expect((await sam.api('DELETE', `${path}?grant_id=none`)).status).toBe(404)
    expect((await sam.api('DELETE', `${path}?grant_id=${ids[0]}`)).status).toBe(204)
    expect(await isBlocked()).toBe(true)
    expect((await other.api('DELETE', path)).status).toBe(204)
    expect(await isBlocked()).toBe(false)
  })

  test('is settled at once by an officer of both', async () => {
    const { path } = await flagged('db', 'other')
    expect(
      (await (await officer('sam', { groups: ['security', 'others'] })).api('DELETE', path)).status,
    ).toBe(204)
    expect(await isBlocked()).toBe(false)
  })

  test('is settled with a login as a vote takes, and by nobody who is blocked themselves', async () => {
    const { path, ids } = await flagged('db')
    for (const { why, ...login } of [
      { ageSeconds: 3_600, why: /your login is older/ },
      { amr: ['pwd'], why: /second factor/ },
    ]) {
      const answer = await (await officer('sven', login)).api('DELETE', path)
      expect([answer.status, answer.text]).toEqual([403, expect.stringMatching(why)])
    }
    const sam = await officer('sam')
    const { json } = await at.api('POST', 'auth/token/lookup', { token: sam.token })
    const own = { requesterId: json.data.entity_id, grantId: ids[0] ?? '', reason: 'misuse' }
    await putBlock(at.ledger.ledger, own)
    const answer = await sam.api('DELETE', path)
    expect([answer.status, answer.text]).toEqual([403, expect.stringContaining('you are blocked')])
    expect(await isBlocked()).toBe(true)
    expect((await (await officer('sven')).api('DELETE', path)).status).toBe(204)
  })
})

test('the answer with the credentials may wait wrapped, and is opened once', async () => {
  const { id } = await at.approved()
  const wrapped = await at.rita.api(
    'POST',
    `break-glass/requests/${id}/activate`,
    {},
    { 'X-Vault-Wrap-TTL': '60' },
  )
  expect(wrapped.json.wrap_info.token).toBeDefined()
  expect(wrapped.text).not.toContain('password')
  const unwrapped = await at.api('POST', 'sys/wrapping/unwrap', undefined, {
    'X-Vault-Token': wrapped.json.wrap_info.token,
  })
  await (await at.target.logIn(unwrapped.json.data.credentials[0].data)).end()
})
