import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Listener, openListener } from '../support/http-listener.ts'
import { type AccessWorld, detailsOf, expectOnRecord, openAccessWorld } from './break-glass-access-world.ts'

let at: AccessWorld
let incidents: Listener
/** Whether the incident system answers, and whether the incident is open by it. */
let says: 'open' | 'closed' | 'nothing'

beforeEach(async () => {
  says = 'open'
  incidents = await openListener(async (res) => {
    if (says === 'nothing') return void res.destroy()
    const as_of = (await at.ledger.now()).toISOString()
    const open = says === 'open'
    res.writeHead(200).end(JSON.stringify({ valid: true, open, responders: [{ subject: 'rita' }], as_of }))
  })
  at = await openAccessWorld({
    ticket_check_url: incidents.url,
    on_call: { set: 'oncall', roles: ['database/creds/app'] },
  })
})
afterEach(async () => {
  await at.close()
  await incidents.close()
})

/** By the incident system and one other person. */
async function approved() {
  const { id, plan_hash, votes } = await at.ask(at.rita, { ticket: 'INC-1' })
  expect(votes).toMatchObject([{ decision: 'on_call', evidence: { ticket: 'INC-1' } }])
  const { status, json } = await at.act(at.olga, id, 'approve', { plan_hash })
  expect([status, json.data.state]).toEqual([200, 'approved'])
  return id as string
}
const made = () => at.ledger.ledger.query('select from leasehold.lease').then(({ rows }) => rows.length)

test('a requester who still is on call gets in, by what was said when they came for it', async () => {
  const id = await approved()
  await at.ledger.advance(4 * 60)
  const { status, json } = await at.act((await at.logInAgain()).rita, id, 'activate')
  expect([status, json.data.request.state]).toEqual([200, 'active'])
  const active = await at.look(id)
  const [vote] = active.votes
  // What it was let in on, and not only what the vote was cast on.
  expect(detailsOf(active, 'activate')).toEqual([{ who: 'requester', evidence: vote.evidence }])
  const { as_of, checked_at } = vote.evidence
  expect(Date.parse(checked_at) - Date.parse(vote.cast_at)).toBeGreaterThanOrEqual(4 * 60_000)
  expect(Date.parse(as_of)).toBeGreaterThanOrEqual(Date.parse(checked_at))
  await expectOnRecord(at, id)
})

test('the incident is over when they come for it: nothing is made, and people have to decide', async () => {
  const id = await approved()
  says = 'closed'
  const { status, json } = await at.act(at.rita, id, 'activate')
  expect([status, json.errors]).toEqual([409, ['the request is pending: the incident is not open']])
  expect(await made()).toBe(0)
  expect(await at.look(id)).toMatchObject({ state: 'pending', approved_at: null, activate_by: null })
  await expectOnRecord(at, id)

  const { plan_hash } = await at.look(id)
  await at.act(at.ann, id, 'approve', { plan_hash })
  expect((await at.act(at.rita, id, 'activate')).status).toBe(200)
})

test('others have agreed as well: it is theirs to say', async () => {
  const id = (await at.ask(at.rita, { ticket: 'INC-1' })).id
  const { plan_hash } = await at.look(id)
  // Of the set whose seat the incident system has; then of the other one.
  await at.act(at.ann, id, 'approve', { plan_hash })
  await at.act(at.olga, id, 'approve', { plan_hash })
  says = 'closed'
  expect((await at.act(at.rita, id, 'activate')).status).toBe(200)
  expect((await at.look(id)).events.map(({ event }: { event: string }) => event)).toContain('lose_vote')
})

test('an incident system that is down holds up nobody for as long as its word counts', async () => {
  const id = await approved()
  says = 'nothing'
  await at.ledger.advance(4 * 60)
  expect((await at.act((await at.logInAgain()).rita, id, 'activate')).status).toBe(200)
})

test('and no longer', async () => {
  const id = await approved()
  says = 'nothing'
  await at.ledger.advance(5 * 60 + 1)
  const { status, json } = await at.act((await at.logInAgain()).rita, id, 'activate')
  expect([status, json.errors]).toEqual([
    409,
    ['the request is pending: what is known of who is on call is too old'],
  ])
  expect(await made()).toBe(0)
})

test('nobody makes us ask but the requester, who may activate', async () => {
  const id = await approved()
  const asked = incidents.heard.length
  for (const person of [at.ann, at.olga, at.vera, await at.people.person('eve')]) {
    expect([403, 404]).toContain((await at.act(person, id, 'activate')).status)
  }
  expect(incidents.heard).toHaveLength(asked)
})

test('a worker’s round casts what a server could not', async () => {
  says = 'nothing'
  const { id, votes } = await at.ask(at.rita, { ticket: 'INC-1' })
  expect(votes).toEqual([])
  says = 'open'
  await at.ledger.advance(31)
  await at.sweep()
  await expect
    .poll(async () => (await at.look(id)).votes)
    .toMatchObject([{ decision: 'on_call', current: true }])
  await expectOnRecord(at, id)
})

test.each([
  [1, 200],
  [2, 403],
])('conditions see the one person who has agreed, and no machine: %i is %i', async (count, status) => {
  const role = { db_name: 'db', member_of: at.target.readers }
  await at.api('POST', 'database/roles/app', {
    ...role,
    condition: `size(approval.approvers) == ${count} && approval.approvers.exists(a, a == 'olga')`,
  })
  const id = await approved()
  expect((await at.act(at.rita, id, 'activate')).status).toBe(status)
})

test('more time is for people alone to give', async () => {
  const id = await approved()
  await at.act(at.rita, id, 'activate')
  await at.ledger.advance(21 * 60)
  const { rita, ann, olga } = await at.logInAgain()
  expect((await at.act(rita, id, 'extend', { duration: '10m', reason: 'still at it' })).status).toBe(200)
  const [{ plan_hash }] = (await at.look(id)).extensions
  await at.act(olga, id, 'approve-extension', { plan_hash })
  await at.sweep()
  expect((await at.look(id)).extensions).toMatchObject([
    { state: 'pending', votes: [{ decision: 'approve' }] },
  ])
  await at.act(ann, id, 'approve-extension', { plan_hash })
  expect((await at.look(id)).extensions).toMatchObject([{ state: 'approved' }])
})

test('more time is for an incident that goes on, or whose system cannot be asked', async () => {
  const id = await approved()
  const { status, json } = await at.act(at.rita, id, 'activate')
  expect(status).toBe(200)
  const { duration_seconds } = json.data.request
  await at.ledger.advance(duration_seconds * 0.75)
  const { rita, ann } = await at.logInAgain()
  const more = { duration: '1m', reason: 'still stuck' }
  says = 'closed'
  const over = await at.act(rita, id, 'extend', more)
  expect([over.status, over.json.errors]).toEqual([
    409,
    ['the incident system says that the incident is over'],
  ])
  expect((await at.look(id)).extensions).toEqual([])
  says = 'nothing'
  expect((await at.act(rita, id, 'extend', more)).status).toBe(200)
  await at.act(ann, id, 'deny-extension', { comment: 'no' })
  says = 'open'
  expect((await at.act(rita, id, 'extend', more)).status).toBe(200)
})

test('a ticket that nobody could check, and its reviewer did: the event says so, and what they signed', async () => {
  says = 'nothing'
  const { request } = await at.active({ ticket: 'INC-1' })
  expect(request.ticket_state).toBe('unverified')
  const { events } = (await at.act(at.rita, request.id, 'end')).json.data
  const checklist = {
    ...{ actions_match_reason: true, ticket_true: true, data_touched: true, follow_up: true },
    rotate: false,
  }
  const review = { outcome: 'ok', checklist, events_seen: events.length }
  expect((await at.act(at.vera, request.id, 'review', review)).text).toContain('ticket_verified')
  const reviewed = await at.act(at.vera, request.id, 'review', { ...review, ticket_verified: true })
  expect(reviewed.json.data).toMatchObject({ state: 'closed_ok', ticket_state: 'verified' })
  expect(detailsOf(reviewed.json.data, 'review_ok')).toMatchObject([{ ticket_state: 'verified' }])
  const [, payload = ''] = reviewed.json.data.reviews[0].jws.split('.')
  expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({ ticket_state: 'verified' })
})
