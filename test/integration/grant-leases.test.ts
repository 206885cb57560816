import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { insertIntents } from '../../src/ledger/lease-issue.ts'
import { principalId } from '../../src/policy/principal.ts'
import type { TestBroker } from '../support/broker.ts'
import { anIntent, type Seeded, untilSomeoneWaits } from '../support/ledger-rows.ts'
import { type GrantRow, insertLiveGrant, setGrantState } from '../support/live-grant.ts'
import { APP, creds, given, type Holder, openPolicyWorld, type PolicyWorld, rule } from './policies-world.ts'

let world: PolicyWorld
let at: TestBroker

beforeAll(async () => {
  world = await openPolicyWorld()
  at = world.at
})
afterAll(() => world.close())

const LEASES = rule('sys/leases/*', 'update')
const idOf = async ({ accessor }: Holder) => principalId(await at.broker.tokens.holderOf(accessor))
const grantFor = async (some: Holder, row: Omit<GrantRow, 'requesterId'> = {}) =>
  insertLiveGrant(at.ledger.ledger, { requesterId: await idOf(some), ...row })
const lookup = async (lease_id: string) => (await at.api('POST', 'sys/leases/lookup', { lease_id })).json.data
const simulate = async ({ accessor }: Holder, path = APP) =>
  (await at.api('POST', 'sys/policies/simulate', { path, accessor })).json.data

describe('a rule that says "only under break-glass"', () => {
  test('refuses without a grant, and gives a lease of the grant with one', async () => {
    const some = await world.holder(given('approval.live'), LEASES)
    expect((await creds(some)).status).toBe(403)
    expect(await simulate(some)).not.toHaveProperty('grant')

    const { id } = await grantFor(some, { seconds: 30, approvers: ['alice', 'bob'] })
    const { status, json } = await creds(some)
    expect(status).toBe(200)
    expect(json.leasehold.limited_by).toBe('grant')
    expect(json.lease_duration).toBeLessThanOrEqual(30)
    const { rows } = await at.ledger.ledger.query(
      'select expires_at from leasehold.access_grant where id = $1',
      [id],
    )
    expect(await lookup(json.lease_id)).toMatchObject({
      grant_id: id,
      limited_by: 'grant',
      hard_expires_at: rows[0]?.expires_at.toISOString(),
    })
    expect(await simulate(some)).toMatchObject({ allowed: true, grant: { id } })

    const renewed = await some.api('POST', 'sys/leases/renew', { lease_id: json.lease_id })
    expect([renewed.status, renewed.json.errors]).toEqual([200, undefined])
    await setGrantState(at.ledger.ledger, id, 'ending')
    const refused = await some.api('POST', 'sys/leases/renew', { lease_id: json.lease_id })
    expect(refused.status).toBe(400)
    expect(refused.text).toContain('grant it belongs to is not active')
  })

  test('sees reason, ticket and who approved', async () => {
    const some = await world.holder(
      given(
        `approval.ticket == 'INC-7' && approval.approvers.exists(a, a == 'alice') && size(approval.approvers) == 1`,
      ),
    )
    await grantFor(some, { ticket: 'INC-7', approvers: ['alice'] })
    expect((await creds(some)).status).toBe(200)
  })

  test.each([
    ['another path', { paths: ['database/creds/other'] }],
    ['a suspended grant', { state: 'suspended' }],
    ['one that is only approved', { state: 'approved' }],
    ['one that is being activated', { state: 'activating' }],
    ['one that is ending', { state: 'ending' }],
    ['a drill', { lane: 'drill' }],
    ['one past its end that nobody has ended yet', { seconds: -1 }],
  ])('is not satisfied by %s', async (_, row) => {
    const some = await world.holder(given('approval.live'))
    await grantFor(some, row)
    expect((await creds(some)).status).toBe(403)
  })

  test("is not satisfied by another person's grant", async () => {
    const [one, other] = [
      await world.holder(given('approval.live')),
      await world.holder(given('approval.live')),
    ]
    await grantFor(one)
    expect((await creds(other)).status).toBe(403)
    expect((await creds(one)).status).toBe(200)
  })

  test('a lease that the rule did not need the grant for is not owned by it', async () => {
    const some = await world.holder(
      rule(APP, 'read'),
      rule('database/creds/other', 'read', `condition = "approval.live"`),
    )
    await grantFor(some)
    expect((await lookup((await creds(some)).json.lease_id)).grant_id).toBeNull()
  })
})

describe('issuing under a grant and ending it', () => {
  const seeded = async (): Promise<Seeded & { tokenId: string; now: Date }> => {
    const { rows } = await at.ledger.ledger.query(
      `select r.id as "roleId", r.mount_id as "mountId", t.id as "targetId", encode(k.id, 'hex') as "tokenId",
         leasehold.ledger_now() as now
       from leasehold.role r join leasehold.target t on t.mount_id = r.mount_id, leasehold.token k
       where r.name = 'app' and r.replaced_at is null and k.ended_at is null limit 1`,
    )
    return { ...(rows[0] as Seeded & { tokenId: string; now: Date }), path: APP }
  }

  test('whoever comes after the end of the grant is left out, also when both are at it', async () => {
    const seed = await seeded()
    const { id: grantId } = await insertLiveGrant(at.ledger.ledger, { requesterId: 'somebody' })
    const intent = () => anIntent(seed, seed.tokenId, seed.now, { grantId })
    expect((await insertIntents(at.ledger.ledger, [intent()])).size).toBe(1)

    let issuing: Promise<Set<string>> | undefined
    await at.ledger.ledger.transaction(async (db) => {
      await db.query(`update leasehold.access_grant set state = 'ending' where id = $1`, [grantId])
      issuing = insertIntents(at.ledger.ledger, [intent()])
      await untilSomeoneWaits(at.ledger.ledger)
    })
    expect((await issuing)?.size).toBe(0)
  })

  test('whoever ends the grant finds the lease that was being written meanwhile', async () => {
    const seed = await seeded()
    const { id: grantId } = await insertLiveGrant(at.ledger.ledger, {
      requesterId: 'somebody',
      state: 'activating',
    })
    let ending: Promise<unknown> | undefined
    const intent = anIntent(seed, seed.tokenId, seed.now, { grantId })
    await at.ledger.ledger.transaction(async (db) => {
      expect((await insertIntents(db, [intent])).size).toBe(1)
      ending = at.ledger.ledger.transaction(async (other) => {
        await other.query(`update leasehold.access_grant set state = 'ending' where id = $1`, [grantId])
        return (await other.query('select id from leasehold.lease where grant_id = $1', [grantId])).rows
      })
      await untilSomeoneWaits(at.ledger.ledger)
    })
    expect(await ending).toEqual([{ id: intent.id }])
  })

  test('one whose grant is over is left out alone', async () => {
    const seed = await seeded()
    const { id: over } = await insertLiveGrant(at.ledger.ledger, {
      requesterId: 'somebody',
      state: 'closed_ok',
    })
    const [bad, plain] = [
      anIntent(seed, seed.tokenId, seed.now, { grantId: over, idempotencyKey: '00' }),
      anIntent(seed, seed.tokenId, seed.now),
    ]
    expect(await insertIntents(at.ledger.ledger, [bad, plain])).toEqual(new Set([plain.id]))
  })
})
