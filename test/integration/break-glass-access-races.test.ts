import { afterEach, beforeEach, expect, test } from 'vitest'
import { until } from '../support/processes.ts'
import { type AccessWorld, expectOnRecord, openAccessWorld } from './break-glass-access-world.ts'

let at: AccessWorld

beforeEach(async () => {
  at = await openAccessWorld({ max_live: 50 })
})
afterEach(() => at.close())

const ROUNDS = 6

/** What each account of a grant is worth, when the grant has none to give. */
async function expectNothingLeft(id: string): Promise<void> {
  for (const { account, state } of await at.leases(id)) {
    expect(state).toBe('revoked')
    expect(await at.target.account(account)).toBe('absent')
  }
}

test('activate and revoke at once: what is given out is ended, and nothing stays', async () => {
  // Fewer: the end of a lease that was being made waits until its create can no longer arrive.
  for (let round = 0; round < 3; round += 1) {
    const { id } = await at.approved()
    const [activated] = await Promise.all([at.act(at.rita, id, 'activate'), revokeOnceActivating(id)])
    expect([200, 409, 500]).toContain(activated.status)
    await at.ledger.advance(25)
    await at.comesTo(id, 'review_due', 'activation_failed')
    await expectNothingLeft(id)
    await expectOnRecord(at, id)
  }
}, 180_000)

/** Tried until there is something to revoke. */
async function revokeOnceActivating(id: string): Promise<void> {
  for (;;) {
    const { status } = await at.act(at.sam, id, 'end')
    if (status === 200) return
    expect(status).toBe(409)
  }
}

test('suspend and collect at once: no credential that works is out after the suspension', async () => {
  for (let round = 0; round < ROUNDS; round += 1) {
    const { request } = await at.active()
    const [collected, suspended] = await Promise.all([
      at.act(at.rita, request.id, 'collect'),
      at.act(at.sam, request.id, 'suspend', { reason: 'odd queries' }),
    ])
    expect(suspended.status).toBe(200)
    await at.ledger.advance(25)
    await at.sweep()
    await at.sweep()
    if (collected.status === 200) {
      expect(await at.target.account(collected.json.data.credentials[0].data.username)).toBe('absent')
    }
    await expectNothingLeft(request.id)
    expect(await at.look(request.id)).toMatchObject({ state: 'suspended' })
    await at.act(at.sam, request.id, 'end')
  }
})

test('collected twice at once: what is handed out last is all that is left, and one account a role', async () => {
  for (let round = 0; round < ROUNDS; round += 1) {
    const { request } = await at.active()
    const collected = await Promise.all([
      at.act(at.rita, request.id, 'collect'),
      at.act(at.rita, request.id, 'collect'),
    ])
    await at.ledger.advance(25)
    await at.sweep()
    await at.sweep()
    const given = collected.flatMap(({ status, json }) =>
      status === 200 ? [json.data.credentials[0].data.username] : [],
    )
    const live = (await at.leases(request.id)).filter(({ state }) => state === 'active')
    expect(given.length).toBeGreaterThan(0)
    expect(live).toHaveLength(1)
    expect(given).toContain(live[0]?.account)
    for (const { account, state } of await at.leases(request.id)) {
      expect(await at.target.account(account)).toBe(state === 'active' ? 'enabled' : 'absent')
    }
    await at.act(at.sam, request.id, 'end')
  }
}, 180_000)

test('more time and the end at once: one of them wins, and the end moves only with its row', async () => {
  for (let round = 0; round < ROUNDS; round += 1) {
    const { request } = await at.active()
    const { id, expires_at } = request
    await at.ledger.advance(25 * 60)
    const { rita, ann } = await at.logInAgain()
    const nina = await at.people.person('nina', { groups: ['owners'] })
    const asked = (await at.act(rita, id, 'extend', { duration: '5m', reason: 'still stuck' })).json.data
    const { plan_hash } = asked.extensions[0]
    await at.act(ann, id, 'approve-extension', { plan_hash })
    const sam = await at.people.person('sam', { groups: ['security'] })
    const [extended, ended] = await Promise.all([
      at.act(nina, id, 'approve-extension', { plan_hash }),
      at.act(sam, id, 'end'),
    ])
    expect(ended.status).toBe(200)
    const after = await at.look(id)
    const hasExtended = after.events.some(({ event }: { event: string }) => event === 'extend')
    expect(extended.status === 200).toBe(hasExtended)
    expect(after.expires_at !== expires_at).toBe(hasExtended)
    expect(after.extensions).toMatchObject([{ state: hasExtended ? 'approved' : 'expired' }])
    expect(after.state).toBe('review_due')
    await expectNothingLeft(id)
    await expectOnRecord(at, id)
  }
})

test('a vote that is lost while a target takes its time is missing at the end', async () => {
  const { request, credentials } = await at.active()
  const { id, expires_at } = request
  await at.ledger.advance(25 * 60)
  const { rita, ann } = await at.logInAgain()
  const nina = await at.people.person('nina', { groups: ['owners'] })
  const asked = (await at.act(rita, id, 'extend', { duration: '5m', reason: 'still stuck' })).json.data
  const { plan_hash } = asked.extensions[0]
  await at.act(ann, id, 'approve-extension', { plan_hash })

  await at.target.sql(`begin; alter role "${credentials[0]?.data.username}" connection limit 5`)
  const deciding = at.act(nina, id, 'approve-extension', { plan_hash })
  await until('the target is asked', async () => (await waitingOnTarget()) > 0)
  await at.api('POST', 'auth/token/revoke-accessor', { accessor: ann.accessor })
  await at.target.sql('rollback')
  expect((await deciding).status).toBe(409)
  expect((await at.look(id)).expires_at).toBe(expires_at)
})

const waitingOnTarget = async (): Promise<number> =>
  (await at.target.sql(`select from pg_stat_activity where wait_event_type = 'Lock'`)).length

test('many workers look at the same grants at once: each thing happens once', async () => {
  const others = [await at.another(), await at.another()]
  const made = [await at.active(), await at.active(), await at.active()]
  await at.ledger.advance(30 * 60 + 1)
  await Promise.all([at.broker, ...others].map((broker) => broker.sweep.once()))
  await at.ledger.advance(5)
  for (const { request } of made) {
    await at.comesTo(request.id, 'review_due')
    await expectNothingLeft(request.id)
    await expectOnRecord(at, request.id)
  }
})
