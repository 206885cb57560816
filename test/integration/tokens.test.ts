import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createTokenStore } from '../../src/identity/tokens.ts'
import type { Ledger } from '../../src/ledger/db.ts'
import { activate, insertIntents } from '../../src/ledger/lease-issue.ts'
import { updateMount } from '../../src/ledger/mounts.ts'
import { endTrees } from '../../src/ledger/token-ending.ts'
import { insertToken, lockLiveToken, spendUses } from '../../src/ledger/tokens.ts'
import { newId } from '../../src/lib/ids.ts'
import { NO_LOGIN } from '../../src/policy/principal.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'
import { anIntent, type Seeded, seedRole, untilSomeoneWaits } from '../support/ledger-rows.ts'
import { type aRequest, aTokenStore, type Made, prove as proveBy, SOMEWHERE } from '../support/tokens.ts'

let world: TestLedger
let ledger: Ledger
let tokens: Awaited<ReturnType<typeof aTokenStore>>

beforeEach(async () => {
  world = await openTestLedger({ stopped: true })
  ledger = world.ledger
  tokens = await aTokenStore(ledger)
})
afterEach(() => world.close())

const INVALID = { code: 'permission_denied', message: 'invalid token' }
const refusal = (message: string) => ({ code: 'invalid_request', message })
const prove = (text: string | undefined, from = SOMEWHERE) => proveBy(tokens.store, text, from)

/** Leases in state active, one for each token. */
async function leasesOf(seeded: Seeded, made: Made[], changes: { outlivesToken?: boolean } = {}) {
  const now = await world.now()
  const intents = made.map(({ entry }) => anIntent(seeded, entry.id, now, changes))
  await insertIntents(ledger, intents)
  await activate(
    ledger,
    intents.map(({ id }, oid) => ({ id, targetRef: String(oid), expiresAt: null })),
  )
  return intents.map(({ id }) => id)
}

async function stateOf(leaseId: string | undefined): Promise<unknown> {
  const { rows } = await ledger.query(
    `select state, end_reason, next_action_at <= leasehold.ledger_now() as due from leasehold.lease where id = $1`,
    [leaseId],
  )
  return rows[0]
}

const DOOMED = { state: 'revoking', end_reason: 'token_ended', due: true }

describe('proving a token', () => {
  test('says whose it is', async () => {
    const { text, entry } = await tokens.make({ policies: ['app'], displayName: 'build 7', ttlSeconds: 600 })
    expect(await prove(text)).toEqual({
      tokenId: entry.id,
      accessor: entry.accessor,
      displayName: 'token-build-7',
      policies: ['app', 'default'],
      tokenExpiresAt: entry.expiresAt,
      tokenHardExpiresAt: entry.hardExpiresAt,
      metadata: {},
      lastUse: false,
      entityId: '',
      treeId: entry.accessor,
      identity: NO_LOGIN,
    })
  })

  test.each([undefined, '', 'lh.nobody', ' ', '\u0000'])('%j proves nothing', async (text) => {
    await expect(prove(text)).rejects.toMatchObject(INVALID)
  })

  test('the text is nowhere in the ledger', async () => {
    const { text } = await tokens.make()
    const { rows } = await ledger.query(`select k::text as row from leasehold.token k`)
    expect(JSON.stringify(rows)).not.toContain(text)
  })

  test('a token is over at its end, before any sweep', async () => {
    const { text } = await tokens.make({ policies: ['app'], ttlSeconds: 60 })
    await world.advance(59.9)
    await prove(text)
    await world.advance(0.1)
    await expect(prove(text)).rejects.toMatchObject(INVALID)
  })

  test('a token is over when one above it is, before any sweep', async () => {
    const above = await tokens.make({ ttlSeconds: 60 })
    const between = await tokens.make({ ttlSeconds: 600 }, above.principal)
    const below = await tokens.make({ ttlSeconds: 600 }, between.principal)
    await world.advance(61)
    await expect(prove(below.text)).rejects.toMatchObject(INVALID)
    await expect(tokens.make({}, below.principal)).rejects.toMatchObject(
      refusal('parent token lookup failed: no parent found'),
    )
  })

  test('requests that arrive together share a look-up', async () => {
    const { text } = await tokens.make()
    let statements = 0
    const counted: Ledger = {
      ...ledger,
      query: ((...args: Parameters<Ledger['query']>) => {
        statements += 1
        return ledger.query(...args)
      }) as Ledger['query'],
    }
    const store = createTokenStore(counted, () => {})
    const callers = Array.from({ length: 100 }, (_, i) => proveBy(store, i % 2 ? text : 'lh.bad'))
    const proven = await Promise.allSettled(callers)

    expect(proven.filter(({ status }) => status === 'fulfilled')).toHaveLength(50)
    expect(statements).toBe(1)
  })

  test.each([
    ['10.1.2.3', true],
    ['::ffff:10.1.2.3', true],
    ['fd00::1', true],
    ['10.2.0.1', false],
    ['::ffff:10.2.0.1', false],
    ['fe00::1', false],
    ['', false],
  ])('from %s, bound to two networks: %s', async (address, good) => {
    await tokens.store.roles.write('bound', { tokenBoundCidrs: ['10.1.0.0/16', 'fd00::/8'] })
    const { text } = await tokens.make({
      policies: ['app'],
      roleName: 'bound',
      path: 'auth/token/create/bound',
      numUses: 1,
    })
    if (!good) {
      await expect(prove(text, address)).rejects.toMatchObject(INVALID)
      // The wrong address took no use.
      return void (await prove(text, '10.1.9.9'))
    }
    expect(await prove(text, address)).toMatchObject({ lastUse: true })
  })
})

describe('a token with limited uses', () => {
  test('lets exactly so many of many requests pass, and one knows that it is the last', async () => {
    const other = createTokenStore(world.another(), () => {})
    const { text } = await tokens.make({ policies: ['app'], numUses: 3 })
    const requests = Array.from({ length: 40 }, (_, i) => proveBy(i % 2 ? tokens.store : other, text))
    const passed = (await Promise.allSettled(requests)).flatMap((each) =>
      each.status === 'fulfilled' ? [each.value.lastUse] : [],
    )

    expect(passed.sort()).toEqual([false, false, true])
    await expect(prove(text)).rejects.toMatchObject(INVALID)
  })

  test('that another server is taking from meanwhile lets only the rest pass', async () => {
    const { text, entry } = await tokens.make({ policies: ['app'], numUses: 3 })
    let requests: Promise<PromiseSettledResult<unknown>[]> | undefined
    await ledger.transaction(async (db) => {
      await spendUses(db, [{ id: entry.id, uses: 1 }])
      requests = Promise.allSettled([prove(text), prove(text), prove(text)])
      await untilSomeoneWaits(ledger)
    })
    expect((await requests)?.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected'])
  })

  test('ends with its last use, and its leases with it', async () => {
    const seeded = await seedRole(ledger)
    const made = await tokens.make({ policies: ['app'], numUses: 2 })
    const [lease] = await leasesOf(seeded, [made])

    await prove(made.text)
    expect(await stateOf(lease)).toMatchObject({ state: 'active' })
    const last = await prove(made.text)

    expect(last.lastUse).toBe(true)
    expect(await stateOf(lease)).toEqual(DOOMED)
    expect(tokens.woken).toEqual([[seeded.targetId]])
    expect(await insertIntents(ledger, [anIntent(seeded, last.tokenId, await world.now())])).toEqual(
      new Set(),
    )
    expect(await tokens.store.lookupSelf(last)).toMatchObject({ usesLeft: 0, live: false })
  })

  test('cannot make another', async () => {
    const { principal } = await tokens.make({ numUses: 5 })
    await expect(tokens.make({}, principal)).rejects.toMatchObject(
      refusal('restricted use token cannot generate child tokens'),
    )
  })
})

describe('making a token', () => {
  test('under root gives the policies asked for, and default, and warns of those that do not exist', async () => {
    const { entry, warnings } = await tokens.make({ policies: [' B', 'a', 'A'] })
    expect(entry).toMatchObject({ policies: ['a', 'b', 'default'], type: 'service', displayName: 'token' })
    expect(entry.expiresAt).toEqual(entry.hardExpiresAt)
    expect(warnings).toEqual(['Policy "a" does not exist', 'Policy "b" does not exist'])
  })

  test('without default on request', async () => {
    const { entry } = await tokens.make({ policies: ['a', 'default'], noDefaultPolicy: true })
    expect(entry.policies).toEqual(['a'])
  })

  test('under another token gives no more than that one has', async () => {
    const app = await tokens.make({ policies: ['a', 'b'] })
    expect((await tokens.make({}, app.principal)).entry.policies).toEqual(['a', 'b', 'default'])
    expect((await tokens.make({ policies: ['a'] }, app.principal)).entry.policies).toEqual(['a', 'default'])
    for (const policies of [['c'], ['root'], ['a', 'c']]) {
      await expect(tokens.make({ policies }, app.principal)).rejects.toMatchObject(
        refusal('child policies must be subset of parent'),
      )
    }
    const bare = await tokens.make({ policies: ['a'], noDefaultPolicy: true })
    expect((await tokens.make({ policies: ['a'] }, bare.principal)).entry.policies).toEqual(['a'])
  })

  test.each([
    [{ id: 'mine' }, 'root or sudo privileges required to specify token id'],
    [{ noParent: true }, 'root or sudo privileges required to create orphan token'],
    [{ periodSeconds: 60 }, 'root or sudo privileges required to create periodic token'],
    [{ numUses: -1 }, 'number of uses cannot be negative'],
    [{ type: 'other' }, `invalid 'token_type' value`],
    [{ entityAlias: 'x' }, `'entity_alias' is only allowed in combination with token role`],
    [{ type: 'batch', numUses: 1 }, 'batch tokens cannot have "num_uses" set'],
    [{ type: 'batch', explicitMaxTtlSeconds: 1 }, 'batch tokens cannot have "explicit_max_ttl" set'],
    [{ roleName: 'none' }, 'unknown role none'],
  ])('%j is refused to a token without sudo', async (changes, message) => {
    const { principal } = await tokens.make({ policies: ['app'] })
    await expect(tokens.make(changes, principal)).rejects.toMatchObject(refusal(message))
    const { rows } = await ledger.query('select count(*) as made from leasehold.token')
    expect(rows).toEqual([{ made: 2 }])
  })

  test('with a text of its own works once for ever', async () => {
    const { text } = await tokens.make({ id: 'my-own', policies: ['app'] })
    expect(text).toBe('my-own')
    await prove('my-own')
    await tokens.store.revoke('my-own')
    await expect(tokens.make({ id: 'my-own' })).rejects.toMatchObject(
      refusal('cannot create a token with a duplicate ID'),
    )
    await expect(prove('my-own')).rejects.toMatchObject(INVALID)
    await expect(tokens.make({ id: 'with space' })).rejects.toMatchObject({ code: 'invalid_request' })
  })

  test('of type batch: no accessor, no renewal, no children, and it ends with its parent', async () => {
    const parent = await tokens.make({ policies: ['app'] })
    const batch = await tokens.make({ type: 'batch', ttlSeconds: 60 }, parent.principal)
    expect(batch.entry).toMatchObject({
      accessor: null,
      renewable: false,
      hardExpiresAt: batch.entry.expiresAt,
    })
    await expect(tokens.store.renew(batch.text, 10)).rejects.toMatchObject(
      refusal('batch tokens cannot be renewed'),
    )
    await expect(tokens.make({}, batch.principal)).rejects.toMatchObject(
      refusal('batch tokens cannot create more tokens'),
    )
    await tokens.store.revoke(parent.text)
    await expect(prove(batch.text)).rejects.toMatchObject(INVALID)
    await expect(tokens.make({ type: 'batch' })).rejects.toMatchObject(
      refusal('batch tokens cannot be root tokens'),
    )
  })

  test('keeps to the maximum of the token mount', async () => {
    const config = { default_lease_ttl: 600, max_lease_ttl: 3_600 }
    await updateMount(ledger, { id: 'token', description: '', config, options: null })
    expect(await tokens.make({ policies: ['app'] })).toMatchObject({ entry: { ttlSeconds: 600 } })
    const { entry, warnings } = await tokens.make({ policies: ['default'], ttlSeconds: 7_200 })
    expect(entry.ttlSeconds).toBe(3_600)
    expect(warnings).toEqual([
      'TTL of "2h" exceeded the effective max_ttl of "1h"; TTL value is capped accordingly',
    ])
  })
})

describe('a root token', () => {
  test('without a TTL never ends and cannot be renewed', async () => {
    const { entry, text, principal } = await tokens.make({ policies: ['root', 'app'] })
    expect(entry).toMatchObject({
      policies: ['root'],
      expiresAt: null,
      hardExpiresAt: null,
      renewable: false,
    })
    await world.advance(100 * 365 * 86_400)
    expect(await prove(text)).toMatchObject({ tokenExpiresAt: null })
    await expect(tokens.store.renewSelf(principal, 60)).rejects.toMatchObject(
      refusal('lease is not renewable'),
    )
  })

  test('with a TTL ends, and cannot make one that does not', async () => {
    const { principal, entry } = await tokens.make({ policies: ['root'], ttlSeconds: 600 })
    expect(entry).toMatchObject({ renewable: true, ttlSeconds: 600 })
    await expect(tokens.make({}, principal)).rejects.toMatchObject(
      refusal('expiring root tokens cannot create non-expiring root tokens'),
    )
    expect((await tokens.make({ explicitMaxTtlSeconds: 300 }, principal)).entry).toMatchObject({
      policies: ['root'],
      ttlSeconds: 300,
    })
  })

  test('of a given text is the same one, however many ask, and good again after it was revoked', async () => {
    const made = await Promise.all(Array.from({ length: 8 }, () => tokens.store.createRootToken('root')))
    expect(new Set(made.map(({ accessor }) => accessor)).size).toBe(1)
    expect(await prove('root')).toMatchObject({ policies: ['root'], displayName: 'root' })

    await tokens.store.revoke('root')
    await expect(prove('root')).rejects.toMatchObject(INVALID)
    await tokens.store.createRootToken('root')
    await prove('root')
  })

  test('is not made of the text of a lesser token', async () => {
    await tokens.make({ id: 'shared', policies: ['app'] })
    await expect(tokens.store.createRootToken('shared')).rejects.toThrow('not a root token')
    expect(await prove('shared')).toMatchObject({ policies: ['app', 'default'] })
  })
})

describe('the end of a token', () => {
  test('ends all below it and every lease they made, and nothing else', async () => {
    const seeded = await seedRole(ledger)
    const top = await tokens.make()
    const middle = await tokens.make({ policies: ['app'] }, top.principal)
    const leaf = await tokens.make({ type: 'batch' }, middle.principal)
    const orphan = await tokens.make({ orphan: true }, top.principal)
    const beside = await tokens.make()
    const leases = await leasesOf(seeded, [top, middle, leaf, orphan, beside])
    const [outliving] = await leasesOf(seeded, [middle], { outlivesToken: true })

    await tokens.store.revoke(top.text)

    for (const { text } of [top, middle, leaf]) await expect(prove(text)).rejects.toMatchObject(INVALID)
    for (const { text } of [orphan, beside]) await prove(text)
    expect(await Promise.all(leases.slice(0, 3).map(stateOf))).toEqual([DOOMED, DOOMED, DOOMED])
    for (const lease of [...leases.slice(3), outliving]) {
      expect(await stateOf(lease)).toMatchObject({ state: 'active' })
    }
    expect(tokens.woken).toEqual([[seeded.targetId]])
  })

  test('by accessor, by itself, and once more for nothing', async () => {
    const one = await tokens.make()
    const two = await tokens.make()
    expect(await tokens.store.revokeAccessor(one.principal.accessor)).toBe(true)
    expect(await tokens.store.revokeAccessor(one.principal.accessor)).toBe(false)
    expect(await tokens.store.revokeAccessor('nobody')).toBe(false)
    await tokens.store.revokeSelf(two.principal)
    await tokens.store.revoke(two.text)
    await tokens.store.revoke('lh.never-was')
    for (const { text } of [one, two]) await expect(prove(text)).rejects.toMatchObject(INVALID)
    expect(tokens.woken).toEqual([])
  })

  test('alone leaves those below it as orphans', async () => {
    const seeded = await seedRole(ledger)
    const top = await tokens.make()
    const below = await tokens.make({}, top.principal)
    const leases = await leasesOf(seeded, [top, below])

    await tokens.store.revokeOrphan(top.text)

    await expect(prove(top.text)).rejects.toMatchObject(INVALID)
    expect(await tokens.store.lookup(below.text)).toMatchObject({ parentId: null, live: true })
    expect(await stateOf(leases[0])).toEqual(DOOMED)
    expect(await stateOf(leases[1])).toMatchObject({ state: 'active' })
    await expect(tokens.store.revokeOrphan(top.text)).rejects.toMatchObject(
      refusal('token to revoke not found'),
    )
  })

  test('reaches a token that is just being made below it', async () => {
    const top = await tokens.make()
    const middle = await tokens.make({}, top.principal)
    const newborn = { ...middle.entry, id: 'ab'.repeat(32), accessor: newId(), parentId: middle.entry.id }
    let ending: Promise<void> | undefined
    await ledger.transaction(async (db) => {
      await lockLiveToken(db, middle.entry.id, 'share')
      ending = tokens.store.revoke(top.text)
      await untilSomeoneWaits(ledger)
      await insertToken(db, newborn)
    })
    await ending

    const { rows } = await ledger.query(
      `select ended_at is not null as ended from leasehold.token where id = $1`,
      [Buffer.from(newborn.id, 'hex')],
    )
    expect(rows).toEqual([{ ended: true }])
  })

  test('waits for a lease that is just being written, and ends it', async () => {
    const seeded = await seedRole(ledger)
    const { text, entry } = await tokens.make()
    const intent = anIntent(seeded, entry.id, await world.now())
    let ending: Promise<void> | undefined
    await ledger.transaction(async (db) => {
      expect(await insertIntents(db, [intent])).toEqual(new Set([intent.id]))
      ending = tokens.store.revoke(text)
      await untilSomeoneWaits(ledger)
    })
    await ending
    expect(await stateOf(intent.id)).toEqual(DOOMED)
  })

  test('under way lets no lease be written any more', async () => {
    const seeded = await seedRole(ledger)
    const { entry } = await tokens.make()
    const intent = anIntent(seeded, entry.id, await world.now())
    let written: Promise<Set<string>> | undefined
    await ledger.transaction(async (db) => {
      await endTrees(db, [entry.id])
      written = insertIntents(ledger, [intent])
      await untilSomeoneWaits(ledger)
    })
    expect(await written).toEqual(new Set())
  })

  test('racing many leases and children leaves none of them alive', async () => {
    const seeded = await seedRole(ledger)
    const other = createTokenStore(world.another(), () => {})
    const now = await world.now()
    const tops = await Promise.all(Array.from({ length: 12 }, () => tokens.make()))
    await Promise.allSettled(
      tops.flatMap(({ text, principal, entry }) => [
        insertIntents(ledger, [anIntent(seeded, entry.id, now)]),
        tokens.make({}, principal),
        other.revoke(text),
        insertIntents(ledger, [anIntent(seeded, entry.id, now)]),
        tokens.store.revoke(text),
        tokens.make({}, principal),
      ]),
    )

    const { rows: leases } = await ledger.query(
      `select id from leasehold.lease where state in ('issuing', 'active')`,
    )
    const { rows: alive } = await ledger.query(
      `select id from leasehold.token where ended_at is null and parent_id = any($1)`,
      [tops.map(({ entry }) => Buffer.from(entry.id, 'hex'))],
    )
    expect(leases).toEqual([])
    expect(alive).toEqual([])
  })

  test('of whole crossing trees at once is no deadlock', async () => {
    const other = createTokenStore(world.another(), () => {})
    const top = await tokens.make()
    const level = await Promise.all(Array.from({ length: 6 }, () => tokens.make({}, top.principal)))
    const leaves = await Promise.all(level.map(({ principal }) => tokens.make({}, principal)))
    const all = [...leaves, ...level, top]
    await Promise.all(
      all.flatMap(({ text }, i) => [(i % 2 ? other : tokens.store).revoke(text), other.revoke(text)]),
    )
    for (const { text } of all) await expect(prove(text)).rejects.toMatchObject(INVALID)
  })
})

describe('the sweep', () => {
  test('ends tokens whose time is over, once, whoever sweeps', async () => {
    const seeded = await seedRole(ledger)
    const other = createTokenStore(world.another(), () => {})
    const { rows } = await ledger.query<{ id: string }>(
      `insert into leasehold.token (id, accessor, type, policies, path, display_name, renewable, ttl_seconds, expires_at)
       select sha256(n::text::bytea), 'a' || n, 'service', '{app}', 'auth/token/create', 'token', true, 60,
         leasehold.ledger_now() + interval '60 seconds'
       from generate_series(1, 500) n returning encode(id, 'hex') as id`,
    )
    const now = await world.now()
    const intents = rows.slice(0, 50).map(({ id }) => anIntent(seeded, id, now))
    await insertIntents(ledger, intents)
    const living = await tokens.make({ policies: ['app'], ttlSeconds: 120 })
    expect(await tokens.store.endExpiredTokens()).toBe(0)

    await world.advance(61)
    const counts = await Promise.all([tokens.store.endExpiredTokens(), other.endExpiredTokens()])

    expect(counts[0] + counts[1]).toBe(500)
    expect(await stateOf(intents[0]?.id)).toEqual(DOOMED)
    const { rows: left } = await ledger.query(
      `select from leasehold.lease where end_reason is distinct from 'token_ended'`,
    )
    expect(left).toEqual([])
    await prove(living.text)
    expect(await tokens.store.endExpiredTokens()).toBe(0)
  })

  test('ends what hangs on an expired token too', async () => {
    const top = await tokens.make({ ttlSeconds: 60 })
    const below = await tokens.make({ ttlSeconds: 6_000 }, top.principal)
    await world.advance(61)
    expect(await tokens.store.endExpiredTokens()).toBe(2)
    expect(await tokens.store.lookupSelf({ ...below.principal, lastUse: true })).toMatchObject({
      live: false,
    })
  })
})

describe('renewing a token', () => {
  test('counts from now, with the TTL it was made with when none is asked', async () => {
    const { text, principal } = await tokens.make({ policies: ['app'], ttlSeconds: 600 })
    await world.advance(300)
    const renewed = await tokens.store.renew(text, undefined)
    expect(renewed).toMatchObject({ ttlSeconds: 600, warnings: [] })
    expect(await tokens.store.renewAccessor(principal.accessor, 30)).toMatchObject({ ttlSeconds: 30 })
    await world.advance(31)
    await expect(tokens.store.renewSelf(principal, 30)).rejects.toMatchObject(refusal('token not found'))
    await expect(tokens.store.renewAccessor(principal.accessor, 30)).rejects.toMatchObject(
      refusal('invalid accessor'),
    )
  })

  test('stops at the explicit maximum', async () => {
    const { text, entry } = await tokens.make({
      policies: ['app'],
      ttlSeconds: 600,
      explicitMaxTtlSeconds: 900,
    })
    await world.advance(590)
    expect(await tokens.store.renew(text, 600)).toMatchObject({
      ttlSeconds: 310,
      warnings: ['TTL of "10m" exceeded the effective max_ttl of "5m10s"; TTL value is capped accordingly'],
    })
    expect(await prove(text)).toMatchObject({ tokenHardExpiresAt: entry.hardExpiresAt })
    await world.advance(309.5)
    await expect(tokens.store.renew(text, 600)).rejects.toMatchObject(
      refusal('past the max TTL, cannot renew'),
    )
  })

  test('of a period goes on for ever', async () => {
    const { text, entry } = await tokens.make({ policies: ['app'], periodSeconds: 3_600 })
    expect(entry).toMatchObject({ ttlSeconds: 3_600, hardExpiresAt: null })
    for (let hours = 0; hours < 2_000; hours += 500) {
      await world.advance(3_000)
      expect(await tokens.store.renew(text, 5)).toMatchObject({ ttlSeconds: 3_600 })
    }
  })

  test('is refused to one made without', async () => {
    const { text, entry } = await tokens.make({ policies: ['app'], ttlSeconds: 600, renewable: false })
    expect(entry.hardExpiresAt).toEqual(entry.expiresAt)
    await expect(tokens.store.renew(text, 10)).rejects.toMatchObject(refusal('lease is not renewable'))
  })

  test('by many at once leaves one end, one of those answered', async () => {
    const { text } = await tokens.make({ policies: ['app'], ttlSeconds: 600 })
    const renewed = await Promise.all([10, 20, 30, 40].map((seconds) => tokens.store.renew(text, seconds)))
    const { expiresAt } = await tokens.store.lookup(text)
    expect(renewed.map(({ entry }) => entry.expiresAt)).toContainEqual(expiresAt)
  })
})

describe('a token role', () => {
  const byRole = (changes: Parameters<typeof aRequest>[0] = {}, maker?: Made) =>
    tokens.make({ path: 'auth/token/create/ci', roleName: 'ci', ...changes }, maker?.principal)

  test('keeps the fields that a change leaves out, also when two change it at once', async () => {
    await Promise.all([
      tokens.store.roles.write('ci', { orphan: true }),
      tokens.store.roles.write('ci', { tokenPeriod: 60 }),
      tokens.store.roles.write('ci', { allowedPolicies: ['B', 'a'] }),
    ])
    expect(await tokens.store.roles.read('ci')).toMatchObject({
      orphan: true,
      tokenPeriod: 60,
      allowedPolicies: ['a', 'b'],
      renewable: true,
    })
    expect(await tokens.store.roles.list()).toEqual(['ci'])
    await tokens.store.roles.remove('ci')
    expect(await tokens.store.roles.read('ci')).toBeUndefined()
  })

  test('gives what it allows, whatever the caller has', async () => {
    await tokens.store.roles.write('ci', { allowedPolicies: ['build'], allowedPoliciesGlob: ['stage-*-ro'] })
    const app = await tokens.make({ policies: ['app'] })
    expect((await byRole({}, app)).entry.policies).toEqual(['build', 'default'])
    expect((await byRole({ policies: ['stage-7-ro'] }, app)).entry.policies).toEqual([
      'default',
      'stage-7-ro',
    ])
    for (const name of ['stage-7-rw', 'app', 'stage--r', 'stage-ro']) {
      await expect(byRole({ policies: [name] }, app)).rejects.toThrow(
        `must be subset of the role's allowed policies (["build" "default"]) or glob policies (["stage-*-ro"])`,
      )
    }
  })

  test('never gives root to one who is not', async () => {
    await tokens.store.roles.write('ci', { allowedPolicies: ['root'], disallowedPolicies: [] })
    const app = await tokens.make({ policies: ['app'] })
    await expect(byRole({ policies: ['root'] }, app)).rejects.toMatchObject(
      refusal('root tokens may not be created without parent token being root'),
    )
  })

  test('holds back what it forbids', async () => {
    await tokens.store.roles.write('ci', { disallowedPolicies: ['app'], disallowedPoliciesGlob: ['adm*'] })
    const app = await tokens.make({ policies: ['app'] })
    await expect(byRole({}, app)).rejects.toMatchObject(
      refusal('token policy "app" is disallowed by this role'),
    )
    await expect(byRole({ policies: ['admin'] }, app)).rejects.toMatchObject(
      refusal('token policy "admin" is disallowed by this role'),
    )
  })

  test('sets the terms: orphan, path, uses, the tighter times; and tightening it reaches tokens that are out', async () => {
    await tokens.store.roles.write('ci', {
      orphan: true,
      pathSuffix: 'v1',
      tokenNumUses: 9,
      tokenExplicitMaxTtl: 7_200,
    })
    const { entry, text, warnings } = await byRole({
      policies: ['default'],
      numUses: 20,
      explicitMaxTtlSeconds: 3_600,
      ttlSeconds: 600,
    })
    expect(entry).toMatchObject({ parentId: null, path: 'auth/token/create/ci/v1', usesLeft: 9, role: 'ci' })
    expect(warnings).toEqual([
      'Explicit max TTL specified both during creation call and in role; using the lesser value of 3600 seconds',
    ])
    await tokens.store.roles.write('ci', { tokenExplicitMaxTtl: 60 })
    expect(await tokens.store.renew(text, 600)).toMatchObject({ ttlSeconds: 60 })
    await tokens.store.roles.remove('ci')
    await expect(tokens.store.renew(text, 600)).rejects.toMatchObject(
      refusal('original token role "ci" could not be found, not renewing'),
    )
  })

  test.each([
    [{ tokenBoundCidrs: ['10.0.0.0/33'] }, 'token_bound_cidrs'],
    [{ tokenBoundCidrs: ['example.com'] }, 'token_bound_cidrs'],
    [{ tokenNumUses: -1 }, 'token_num_uses'],
    [{ pathSuffix: '../x' }, 'path suffix'],
    [{ pathSuffix: 'a..b' }, 'path suffix'],
    [{ tokenType: 'batch' as const }, 'non-orphan'],
    [{ tokenType: 'batch' as const, orphan: true }, 'renewable'],
  ])('%j is refused and not kept', async (changes, words) => {
    await expect(tokens.store.roles.write('ci', changes)).rejects.toThrow(words)
    expect(await tokens.store.roles.read('ci')).toBeUndefined()
  })
})

test('accessors of all live tokens are listed, and find them', async () => {
  const made = await tokens.make({ displayName: 'here' })
  const gone = await tokens.make({ ttlSeconds: 60 })
  await world.advance(61)
  expect((await tokens.store.listAccessors()).sort()).toEqual(
    [tokens.root.accessor, made.principal.accessor].sort(),
  )
  expect(await tokens.store.lookupAccessor(made.principal.accessor)).toMatchObject({
    displayName: 'token-here',
  })
  await expect(tokens.store.lookupAccessor(gone.principal.accessor)).rejects.toMatchObject(
    refusal('invalid accessor'),
  )
  await expect(tokens.store.lookup(gone.text)).rejects.toMatchObject({
    code: 'permission_denied',
    message: 'bad token',
  })
})
