import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { migrate } from '../../src/ledger/migrate.ts'
import { findToken } from '../../src/ledger/tokens.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'
import { aTokenStore } from '../support/tokens.ts'
import { type Holder, openQuotaWorld, type QuotaWorld, tally } from './quotas-world.ts'

// A token that no login made is one principal with all that is made under it, and no other.

let world: QuotaWorld

beforeAll(async () => {
  world = await openQuotaWorld()
  await world.ledger.ledger.query(`update public.test_clock set stopped_at = date_trunc('second', now())`)
  const maker = `path "database/creds/*" { capabilities = ["read"] }
    path "auth/token/create" { capabilities = ["update"] }
    path "auth/token/create-orphan" { capabilities = ["update"] }
    path "auth/token/create/*" { capabilities = ["update"] }
    path "sys/wrapping/wrap" { capabilities = ["update"] }`
  const sudo = `path "auth/token/create-orphan" { capabilities = ["update", "sudo"] }`
  await world.api('POST', 'sys/policies/acl/maker', { policy: maker })
  await world.api('POST', 'sys/policies/acl/minter', { policy: sudo })
  await world.api('POST', 'auth/token/roles/loose', { orphan: true })
})
afterAll(() => world.close())
beforeEach(() => world.ledger.advance(3_600))
afterEach(async () => {
  await world.dropQuotas()
  await world.api('PUT', 'sys/leases/revoke-prefix/database')
  expect(await world.live()).toBe(0)
})

async function made(by: string, fields: object = {}, path = 'auth/token/create'): Promise<Holder> {
  const { status, json, text } = await world.api('POST', path, fields, { 'X-Vault-Token': by })
  if (status !== 200) throw new Error(text)
  return { token: json.auth.client_token, accessor: json.auth.accessor }
}

/** Made by root, and able to make others. */
const aMaker = (policies = ['maker']) => made(world.root, { policies })

const ESCAPES: [string, (from: Holder) => Promise<Holder>][] = [
  ['a child', ({ token }) => made(token)],
  ['a child of a child', async ({ token }) => made((await made(token)).token)],
  ['a batch token', ({ token }) => made(token, { type: 'batch' })],
  ['a batch token of a child', async ({ token }) => made((await made(token)).token, { type: 'batch' })],
  ['an orphan', ({ token }) => made(token, {}, 'auth/token/create-orphan')],
  ['an orphan by a role', ({ token }) => made(token, {}, 'auth/token/create/loose')],
  [
    'a child of an orphan of a child',
    async ({ token }) => made((await made((await made(token)).token, {}, 'auth/token/create-orphan')).token),
  ],
]

describe.each(ESCAPES)('%s', (_, another) => {
  test('counts with its maker for a quota on each principal', async () => {
    await world.quota('lease-count', 'each', { principal: '*', max_leases: 2 })
    const maker = await aMaker()
    const other = await another(maker)
    const statuses = []
    for (const who of [maker, other, other, maker]) statuses.push((await world.take(who)).status)
    expect(statuses).toEqual([200, 200, 429, 429])
    // Made now, it is no way out either.
    expect((await world.take(await another(other).catch(() => another(maker)))).status).toBe(429)
  })

  test('counts with its maker for a rate by principal', async () => {
    const maker = await aMaker()
    const other = await another(maker)
    await world.quota('rate-limit', 'each', {
      path: 'database',
      rate: 3,
      interval: 60,
      group_by: 'principal',
    })
    const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => world.take(i % 2 ? maker : other)))
    expect(tally(answers)).toEqual({ 200: 3, 429: 5 })
  })

  test('shares its maker’s idempotency keys', async () => {
    const maker = await aMaker()
    const first = await world.take(maker, { key: 'job' })
    const again = await world.take(await another(maker), { key: 'job' })
    expect([again.status, again.json.data]).toEqual([409, { lease_id: first.json.lease_id, state: 'active' }])
  })

  test('may not touch a lease of its maker, nor its maker one of its', async () => {
    const maker = await aMaker()
    const other = await another(maker)
    for (const [holder, asker] of [
      [maker, other],
      [other, maker],
    ] as const) {
      const { lease_id } = (await world.take(holder)).json
      for (const verb of ['lookup', 'renew', 'revoke']) {
        const asked = (by: Holder) =>
          world.api('PUT', `sys/leases/${verb}`, { lease_id }, { 'X-Vault-Token': by.token })
        expect((await asked(asker)).status).toBe(403)
      }
      const own = (verb: string) =>
        world.api('PUT', `sys/leases/${verb}`, { lease_id }, { 'X-Vault-Token': holder.token })
      expect((await own('lookup')).json.data.state).toBe('active')
      expect((await own('revoke')).status).toBe(204)
    }
  })
})

test('of one tree a token may not revoke the lease of its sibling', async () => {
  const maker = await aMaker()
  const [one, other] = [await made(maker.token), await made(maker.token)]
  const { lease_id } = (await world.take(one)).json
  const asked = await world.api('PUT', 'sys/leases/revoke', { lease_id }, { 'X-Vault-Token': other.token })
  expect(asked.status).toBe(403)
  expect(await world.live()).toBe(1)
})

test('what root makes begins a tree each time, and root stays itself', async () => {
  await world.quota('lease-count', 'each', { principal: '*', max_leases: 1 })
  const [one, other] = [await aMaker(), await aMaker()]
  const batch = await made(world.root, { policies: ['maker'], type: 'batch' })
  const rootChild = await made(world.root, { policies: ['root'] })
  const ofRootChild = await made(rootChild.token, { policies: ['maker'] })
  const statuses = []
  for (const who of [one, other, batch, ofRootChild, one, other, batch, ofRootChild]) {
    statuses.push((await world.take(who)).status)
  }
  expect(statuses).toEqual([200, 200, 200, 200, 429, 429, 429, 429])
  const root = { token: world.root, accessor: '' }
  expect(tally([await world.take(root), await world.take(root)])).toEqual({ 200: 2 })
  const { accessor } = (await world.api('GET', 'auth/token/lookup-self')).json.data
  expect(await world.count(`from leasehold.lease where principal_id = '${accessor}'`)).toBe(2)
})

test('an orphan begins a tree where sudo lets its maker make it', async () => {
  await world.quota('lease-count', 'each', { principal: '*', max_leases: 1 })
  const minter = await aMaker(['maker', 'minter'])
  const orphans = await Promise.all(
    [1, 2].map(() => made(minter.token, { policies: ['maker'] }, 'auth/token/create-orphan')),
  )
  const child = await made(minter.token, { policies: ['maker'] })
  const statuses = []
  for (const who of [minter, ...orphans, child]) statuses.push((await world.take(who)).status)
  expect(statuses).toEqual([200, 200, 200, 429])
})

test('children that outlive their maker go on counting together', async () => {
  await world.quota('lease-count', 'each', { principal: '*', max_leases: 1 })
  const maker = await aMaker()
  const [one, other] = [await made(maker.token), await made(maker.token)]
  expect((await world.api('POST', 'auth/token/revoke-orphan', { token: maker.token })).status).toBe(204)
  expect([(await world.take(one)).status, (await world.take(other)).status]).toEqual([200, 429])
})

test('a quota on one principal is on the whole tree, by the accessor of its first token', async () => {
  const maker = await aMaker()
  await world.quota('lease-count', 'one', { principal: maker.accessor, max_leases: 1 })
  const child = await made(maker.token)
  expect([(await world.take(child)).status, (await world.take(maker)).status]).toEqual([200, 429])
  expect((await world.take(await aMaker())).status).toBe(200)
})

test('tokens from before trees were kept count as those made now', async () => {
  const at: TestLedger = await openTestLedger()
  const { root, make } = await aTokenStore(at.ledger)
  const first = await make({ policies: ['a'] })
  const child = await make({}, first.principal)
  const grandchild = await make({}, child.principal)
  const batch = await make({ type: 'batch' }, grandchild.principal)
  const orphan = await make({ orphan: true, sudo: true }, child.principal)
  const batchOfRoot = await make({ policies: ['a'], type: 'batch' })
  const otherRoot = await make({ policies: ['root'] })
  const ofOtherRoot = await make({ policies: ['a'] }, otherRoot.principal)
  const all = [first, child, grandchild, batch, orphan, batchOfRoot, otherRoot, ofOtherRoot]
  const kept = () =>
    Promise.all([root.tokenId, ...all.map(({ entry }) => entry.id)].map((id) => findToken(at.ledger, id)))
  const trees = async () => (await kept()).map((token) => token?.treeId)
  const now = await trees()

  await at.ledger.query(`delete from leasehold.migration where number = 13`)
  await at.ledger.query('alter table leasehold.token drop column tree_id')
  await at.ledger.query('alter table leasehold.wrapped drop column principal_id')
  await migrate(at.ledger)
  expect(await trees()).toEqual(now)
  const { accessor } = first.entry
  expect(now).toEqual([null, null, accessor, accessor, accessor, null, null, null, null])
  await at.close()
})
