import { afterEach, beforeEach, expect, test } from 'vitest'
import { type AccessWorld, detailsOf, expectOnRecord, openAccessWorld } from './break-glass-access-world.ts'

let at: AccessWorld

beforeEach(async () => {
  at = await openAccessWorld({ sealed: true })
})
afterEach(() => at.close())

/** In force on the word of its requester and a witness, both with a key in hand. */
async function sealed() {
  const rita = await at.people.person('rita', { amr: ['hwk'] })
  const witness = await at.people.person('walt', { groups: ['owners'], amr: ['hwk'] })
  const { id, plan_hash } = await at.ask(rita, { lane: 'sealed', duration: '15m' })
  expect((await at.act(witness, id, 'witness', { plan_hash })).json.data.state).toBe('approved')
  // A second factor that somebody could have read out over the phone opens nothing.
  expect((await at.act(at.rita, id, 'activate')).status).toBe(403)
  const activated = await at.act(rita, id, 'activate')
  expect(activated.json.data.request).toMatchObject({ state: 'active', ratification: 'due' })
  return { id, plan_hash, witness, username: activated.json.data.credentials[0].data.username as string }
}

test('ratified by as many as it would have taken, none of whom opened it', async () => {
  const { id, plan_hash, witness } = await sealed()
  const comment = 'seen'
  expect((await at.act(witness, id, 'ratify', { plan_hash, comment })).status).toBe(403)
  expect((await at.act(at.ann, id, 'ratify', { plan_hash: 'another', comment })).status).toBe(409)
  expect((await at.act(at.ann, id, 'ratify', { plan_hash, comment })).json.data.ratification).toBe('due')
  expect((await at.act(at.ann, id, 'ratify', { plan_hash, comment })).status).toBe(409)
  const ratified = (await at.act(at.olga, id, 'ratify', { plan_hash, comment })).json.data
  expect(ratified).toMatchObject({ state: 'active', ratification: 'ratified' })
  expect(detailsOf(ratified, 'ratify')).toMatchObject([
    { comment, sets: ['oncall'], ratified: false },
    { comment, sets: ['owners'], ratified: true },
  ])
  await expectOnRecord(at, id)
})

test('refused by one: it ends at once, and what was seen is to be rotated', async () => {
  const { id, plan_hash, username } = await sealed()
  const refused = await at.act(at.ann, id, 'refuse-ratification', { plan_hash, comment: 'no incident' })
  expect(refused.json.data).toMatchObject({
    state: 'review_due',
    ratification: 'refused',
    force_rotation: true,
    end_reason: 'ratification_refused',
  })
  expect(detailsOf(refused.json.data, 'refuse_ratification')).toMatchObject([
    { comment: 'no incident', sets: ['oncall'] },
  ])
  expect(await at.target.account(username)).toBe('absent')
  await expectOnRecord(at, id)
})

test('ratified by nobody in time: that is on the review, which has to see to the rotation', async () => {
  const { id } = await sealed()
  await at.ledger.advance(15 * 60)
  await at.comesTo(id, 'ending', 'review_due')
  await at.ledger.advance(5)
  await at.comesTo(id, 'review_due')
  const checklist = {
    actions_match_reason: true,
    ticket_true: true,
    data_touched: true,
    follow_up: true,
    rotate: false,
  }
  const early = await at.act(at.vera, id, 'review', { outcome: 'ok', checklist })
  expect([early.status, early.text]).toEqual([409, expect.stringContaining('ratified')])
  await at.ledger.advance(86_400)
  await at.sweep()
  expect(await at.look(id)).toMatchObject({ ratification: 'overdue', force_rotation: true })
  const vera = await at.people.person('vera', { groups: ['audit'] })
  expect((await at.act(vera, id, 'review', { outcome: 'ok', checklist })).text).toContain('rotate')
  const events_seen = (await at.look(id)).events.length
  const rotated = { outcome: 'ok', checklist: { ...checklist, rotate: true }, events_seen }
  expect((await at.act(vera, id, 'review', rotated)).json.data.state).toBe('closed_ok')
  await expectOnRecord(at, id)
})
