import { afterEach, beforeEach, expect, test } from 'vitest'
import { startTestPostgres, type TestPostgres } from '../support/servers.ts'
import { type AccessWorld, detailsOf, expectOnRecord, openAccessWorld } from './break-glass-access-world.ts'

let postgres: TestPostgres
let at: AccessWorld

beforeEach(async () => {
  postgres = await startTestPostgres()
  at = await openAccessWorld({}, { targetServer: postgres.url() })
})
afterEach(async () => {
  await at.close()
  await postgres.remove()
})

/** In force, and its target gone when it is to end. */
async function stuck(): Promise<{ id: string; username: string }> {
  const { request, credentials } = await at.active()
  const { id } = request
  await postgres.stop('immediate')
  await at.act(at.sam, id, 'end')
  expect((await at.look(id)).state).toBe('ending')
  await at.ledger.advance(61)
  await at.sweep()
  await at.ledger.advance(15)
  await at.comesTo(id, 'ending_stuck')
  return { id, username: credentials[0]?.data.username ?? '' }
}

test('a target that is away: the request says stuck, nothing new is given there, and it ends when it is back', async () => {
  const waiting = await at.approved()
  const { id, username } = await stuck()
  expect((await at.look(id)).events.at(-1)).toMatchObject({
    event: 'stuck',
    detail: { leases: 1, leases_open: 1 },
  })
  await at.logInAgain()
  const rita = await at.people.person('rita')
  const refused = await at.act(rita, waiting.id, 'activate')
  expect([refused.status, refused.text]).toEqual([409, expect.stringContaining('not proved')])

  await postgres.restart()
  await at.ledger.advance(16)
  await at.comesTo(id, 'review_due')
  expect((await at.look(id)).events.at(-1)).toMatchObject({
    event: 'proved_gone',
    from: 'ending_stuck',
    detail: { stuck_seconds: expect.any(Number) },
  })
  expect(await at.leases(id)).toMatchObject([{ state: 'revoked' }])
  expect((await at.act(rita, waiting.id, 'activate')).status).toBe(200)
  const { rows } = await at.ledger.ledger.query<{ account: string }>(
    `select account from leasehold.lease where state <> 'revoked'`,
  )
  expect(rows.map(({ account }) => account)).not.toContain(username)
  await expectOnRecord(at, id)
})

test('an officer and an owner, two people, give a target up', async () => {
  await at.target.sql(`create role reports login; grant reports to ${at.target.admin} with admin option`)
  const account = { db_name: 'db', username: 'reports', rotation_period: '1h' }
  expect((await at.api('POST', 'database/static-roles/reports', account)).text).toBe('')
  const { id } = await stuck()
  const why = { reason: 'the disk is gone', evidence: 'INC-12, photographs' }
  const sam = await at.people.person('sam', { groups: ['security'] })
  const sven = await at.people.person('sven', { groups: ['security'] })
  const olga = await at.people.person('olga', { groups: ['owners'] })
  expect((await at.act(sam, id, 'abandon', { reason: 'gone' })).status).toBe(400)
  expect((await at.act(sam, id, 'abandon', why)).json.data.state).toBe('ending_stuck')
  expect((await at.act(sven, id, 'abandon', why)).json.data.state).toBe('ending_stuck')
  // What was seen there has to be rotated all the same, once it can be.
  await at.ledger.ledger.query('update leasehold.access_grant set force_rotation = true')
  const abandoned = (await at.act(olga, id, 'abandon', why)).json.data
  expect(abandoned.state).toBe('review_due')
  expect(detailsOf(abandoned, 'ask_abandon')).toMatchObject([{ sets: ['officers'] }, { sets: ['officers'] }])
  expect(detailsOf(abandoned, 'abandon')).toMatchObject([{ ...why, sets: ['owners'] }])
  const { rows } = await at.ledger.ledger.query('select forced from leasehold.rotation')
  expect(rows).toEqual([{ forced: true }])
  await postgres.restart()
})
