import { afterAll, beforeAll, expect, test } from 'vitest'
import { openKeyWorld, RP_ID } from '../integration/auth-webauthn-world.ts'
import { type AccessWorld, openAccessWorld } from '../integration/break-glass-access-world.ts'
import { answered, contractFetch, isOfPeople, unanswered } from '../support/contract.ts'
import type { Person } from '../support/glass-people.ts'
import { newSigningKey, startJwksServer } from '../support/oidc-issuer.ts'
import { AUDIENCE, RISC, transmitter } from '../support/security-events.ts'

// Break-glass and the listings of the console over HTTP, each answer held against openapi.yaml: every operation is asked
// once with good input at least. What the answers mean is for other tests.

let at: AccessWorld
beforeAll(async () => {
  at = await openAccessWorld({ sealed: true, max_live: 20 }, { send: contractFetch })
})
afterAll(() => at.close())

const WHY = { reason: 'the target burnt down', evidence: 'case 12' }
const comment = 'seen'
const CHECKLIST = {
  actions_match_reason: true,
  ticket_true: true,
  data_touched: true,
  follow_up: true,
  rotate: false,
}

async function does(who: Person, id: string, action: string, body: Record<string, unknown> = {}) {
  const answer = await at.act(who, id, action, body)
  expect(answer, `${action}: ${answer.text}`).toMatchObject({ status: 200 })
  return answer.json.data
}

async function gets(path: string, as: Pick<Person, 'api'> = at, method = 'GET', body?: unknown) {
  const answer = await as.api(method, path, body)
  expect(answer.status, `${method} ${path}: ${answer.text}`).toBeLessThan(300)
  return answer.json?.data
}

const hardware = (name: string, ...groups: string[]) =>
  at.people.person(name, { groups, amr: ['pwd', 'hwk'] })

test('policies', async () => {
  const { name: _, version: __, ...policy } = await gets('break-glass/policies/db')
  await gets('break-glass/policies/spare', at, 'POST', policy)
  const on_call = { set: 'oncall', roles: ['database/creds/app'] }
  const ticket_check_url = 'https://incidents.example/'
  await gets('break-glass/policies/spare', at, 'PUT', { ...policy, ticket_check_url, on_call })
  expect(await gets('break-glass/policies/spare')).toMatchObject({ on_call })
  expect((await gets('break-glass/policies', at, 'LIST')).keys).toEqual(['db', 'spare'])
  await gets('break-glass/policies/spare', at, 'DELETE')
  expect((await at.api('POST', 'break-glass/policies/wrong', { roles: 'x', lane: 'none' })).status).toBe(400)
})

test('a request while it waits', async () => {
  expect((await gets('break-glass/eligible', at.rita)).policies).toHaveLength(1)
  const [one, two] = [await at.ask(), await at.ask()]
  await does(at.ann, one.id, 'approve', { plan_hash: one.plan_hash, comment })
  await does(at.ann, one.id, 'withdraw')
  await does(at.ann, one.id, 'deny', { plan_hash: one.plan_hash, comment })
  await does(at.rita, two.id, 'cancel')
  expect((await gets('break-glass/requests?view=mine&limit=1', at.rita)).requests).toHaveLength(1)
  await gets('break-glass/requests', at, 'LIST')
  await gets(`break-glass/requests/${one.id}`, at.ann)
  await gets(`break-glass/deliveries?request=${one.id}`)
})

test('access, more of it, its end and its review', async () => {
  const { request } = await at.active()
  const { id } = request
  await does(at.rita, id, 'collect')
  await does(at.sam, id, 'suspend', { reason: 'odd queries' })
  await does(at.sam, id, 'resume', { comment })
  await does(at.sven, id, 'resume', { comment })
  await at.ledger.advance(21 * 60)
  const { rita, ann } = await at.logInAgain()
  const more = { duration: '5m', reason: 'still stuck' }
  await does(rita, id, 'extend', more)
  await does(ann, id, 'deny-extension', { comment })
  const { extensions } = await does(rita, id, 'extend', more)
  await does(ann, id, 'approve-extension', { plan_hash: extensions.at(-1).plan_hash })
  await does(rita, id, 'end', { reason: 'done' })
  await at.comesTo(id, 'review_due')
  const events_seen = (await at.look(id)).events.length
  await does(at.vera, id, 'review', { outcome: 'ok', checklist: CHECKLIST, events_seen })
  await does(at.sam, id, 'reopen', { reason: 'a second look' })
  const misuse = { outcome: 'flagged', checklist: CHECKLIST, finding: 'read too much', case_id: 'SEC-1' }
  const { requester } = await does(at.vera, id, 'review', misuse)
  const policy = 'path "break-glass/blocks/*" { capabilities = ["list", "delete"] }'
  await at.api('PUT', 'sys/policies/acl/settles', { policy })
  const sam = await at.people.person('sam', { groups: ['security'], policies: ['settles'] })
  await gets('break-glass/blocks', sam, 'LIST')
  await gets(`break-glass/blocks/${requester.id}`, sam, 'DELETE')
  await gets('break-glass/drills')
})

test('a sealed request, ratified or not, and an incident that is over', async () => {
  const [asker, witness] = [await hardware('rosa'), await hardware('walt', 'owners')]
  const { ann, olga } = await at.logInAgain()
  const sealed = async () => {
    const { id, plan_hash } = await at.ask(asker, { lane: 'sealed', duration: '15m' })
    await does(witness, id, 'witness', { plan_hash, comment })
    await does(asker, id, 'activate')
    return { id, plan_hash }
  }
  const [one, two] = [await sealed(), await sealed()]
  await does(ann, one.id, 'ratify', { plan_hash: one.plan_hash, comment })
  await does(olga, one.id, 'ratify', { plan_hash: one.plan_hash, comment })
  await does(ann, two.id, 'refuse-ratification', { plan_hash: two.plan_hash, comment })
  await does(at.sam, one.id, 'incident-closed')
})

test('an end that cannot be proved, and somebody who is no longer one of us', async () => {
  const rita = await at.people.person('rolf')
  const { ann, olga } = await at.logInAgain()
  const { id, plan_hash } = await at.ask(rita)
  await does(ann, id, 'approve', { plan_hash })
  await does(olga, id, 'approve', { plan_hash })
  const { request } = await does(rita, id, 'activate')
  await at.target.setCreateRole(false)
  await gets(`break-glass/disabled-requesters/${request.requester.id}`, at, 'POST')
  await at.ledger.advance(120)
  await at.comesTo(id, 'ending_stuck')
  const sam = await at.people.person('sam', { groups: ['security'] })
  await does(sam, id, 'abandon', WHY)
  await does((await at.logInAgain()).olga, id, 'abandon', WHY)
  await at.target.setCreateRole(true)
})

test('somebody whom their issuer has disabled', async () => {
  const key = await newSigningKey('events')
  const keys = await startJwksServer([key])
  const issuer = 'https://issuer.example'
  await gets('sys/auth/idp', at, 'POST', { type: 'jwt' })
  const config = { jwks_url: keys.url, bound_issuer: issuer, event_audience: AUDIENCE }
  await gets('auth/idp/config', at, 'POST', config)
  await transmitter(at, { issuer, key, mount: 'idp' }).says(`${RISC}account-disabled`, 'dora')
  await keys.stop()
  const { people } = await gets('break-glass/disabled-people', at, 'LIST')
  await gets(`break-glass/disabled-people/${people[0].id}`, at, 'DELETE')
})

test('control groups', async () => {
  const path = 'database/creds/guarded'
  await at.api('POST', 'database/roles/guarded', { db_name: 'db', member_of: at.target.readers })
  await gets('break-glass/policies/guarded', at, 'POST', {
    roles: [path],
    lane: 'standard',
    control_group: true,
    sets: { approvers: { groups: ['approvers'] } },
    approvals: { set: 'approvers', count: 1 },
    security_officers: ['approvers'],
  })
  await at.api('PUT', 'sys/policies/acl/reads', { policy: `path "${path}" { capabilities = ["read"] }` })
  const ada = await at.people.person('ada', { policies: ['reads'] })
  const ben = await at.people.person('ben', { groups: ['approvers'] })
  // What waits wrapped is described once, for every operation.
  const guarded = await fetch(`${at.url}/v1/${path}`, { headers: { 'X-Vault-Token': ada.token } })
  const { wrap_info } = (await guarded.json()) as { wrap_info: { accessor: string } }
  const { accessor } = wrap_info
  await gets('sys/control-group/request', ada, 'POST', { accessor })
  await gets('sys/control-group/authorize', ben, 'POST', { accessor })
})

test('security keys', async () => {
  const keys = await openKeyWorld(at)
  expect((await gets('auth/webauthn/config')).rp_id).toBe(RP_ID)
  const login = { policies: ['keys'], metadata: { role: 'people' } }
  const kim = await at.people.person('kim', login)
  const [own, lost] = [await keys.enrol(kim), await keys.enrol(kim)]
  expect((await gets('auth/webauthn/keys', kim, 'LIST')).keys).toHaveLength(2)
  await gets(`auth/webauthn/keys/${own.id}`, kim, 'POST', { name: 'spare' })
  await gets(`auth/webauthn/keys/${own.id}`, await keys.logIn(own.key))
  const [person] = (await gets('auth/webauthn/key-owners', at, 'LIST')).keys
  await gets(`auth/webauthn/key-owners/${person}/keys`, at, 'LIST')
  await gets(`auth/webauthn/key-owners/${person}/keys/${lost.id}`)
  await gets(`auth/webauthn/key-owners/${person}/keys/${lost.id}`, at, 'DELETE')
  expect((await keys.tryLogIn(lost.key)).status).toBe(400)
  await gets(`auth/webauthn/keys/${own.id}`, kim, 'DELETE')
})

test('listings', async () => {
  const { lease_id: leaseId } = (await at.api('GET', 'database/creds/app')).json
  const id = leaseId.split('/').at(-1)
  await gets('sys/leasehold/leases?limit=1')
  await gets('sys/leasehold/leases-self', await at.people.person('lea'))
  await gets(`sys/leasehold/leases/${id}`)
  await gets('sys/leasehold/targets')
  await gets('sys/leasehold/summary')
  await gets('sys/leasehold/audit/state')
  await gets('sys/leasehold/leases/revoke', at, 'POST', { ids: [leaseId] })
})

test('every operation of that part of the contract was asked, and answered as described', () => {
  expect(answered.size).toBeGreaterThan(40)
  expect(unanswered(isOfPeople)).toEqual([])
})
