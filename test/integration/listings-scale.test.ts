import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Db } from '../../src/ledger/db.ts'
import { blockedAmong } from '../../src/ledger/grant-reviews.ts'
import { findLeaseOwners, listEndedLeases, listLiveLeases } from '../../src/ledger/lease-listing.ts'
import { firstCounted } from '../../src/ledger/lease-summary.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'
import { anIntent, seedRole } from '../support/ledger-rows.ts'

// What lists and charts read of a large ledger: pages by an index, whatever they are narrowed by.

let at: TestLedger
const LEASES = 20_000

beforeAll(async () => {
  at = await openTestLedger()
  const seeded = await seedRole(at.ledger)
  const { hardLimitedBy, path } = anIntent(seeded, 'ab', new Date())
  await at.ledger.query(
    `insert into leasehold.lease (id, path, mount_id, role_id, target_id, token_id, principal_id, account, target_ref, state,
       issued_at, expires_at, hard_expires_at, hard_limited_by, create_deadline, next_action_at, access_ended_at, ended_at,
       end_reason)
     select lpad(i::text, 24, '0'), $1 || (i % 50), $2, $3, $4, '\\xab', 'p' || i % 500, 'v_' || i, i::text,
       case when i % 2 = 0 then 'active' else 'revoked' end,
       now(), now() + i * interval '1 second', now() + interval '12 hours', $5, now(),
       case when i % 2 = 0 then now() + i * interval '1 second' end,
       case when i % 2 = 1 then now() - i * interval '1 second' end,
       case when i % 2 = 1 then now() - i * interval '1 second' end, case when i % 2 = 1 then 'expired' end
     from generate_series(1, ${LEASES}) i`,
    [path, seeded.mountId, seeded.roleId, seeded.targetId, hardLimitedBy],
  )
  await at.ledger.query('analyze leasehold.lease')
})
afterAll(() => at.close())

/** How the ledger goes about it, which plans for any value. */
async function planOf(ask: (db: Db) => Promise<unknown>): Promise<string> {
  const plans: string[] = []
  const explaining: Db = {
    query: (sql, values = []) =>
      at.ledger.transaction(async (db) => {
        const given = values.map((value) => {
          if (value === null) return 'null'
          const text = Array.isArray(value)
            ? `{${value.join()}}`
            : value instanceof Date
              ? value.toISOString()
              : value
          return pg.escapeLiteral(String(text))
        })
        await db.query(`prepare asked as ${sql}`)
        const { rows } = await db.query<{ 'QUERY PLAN': string }>(`explain execute asked (${given.join()})`)
        plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'))
        await db.query('deallocate asked')
        return { rows: [{}] } as never
      }),
  }
  await ask(explaining)
  return plans[0] ?? ''
}

const live = { states: ['issuing', 'active', 'revoking'], after: undefined, limit: 51 } as const
const place = { at: '2026-01-01T00:00:00.000000Z', id: 'x' }

describe('a page is read by an index', () => {
  test.each<[string, string, Parameters<typeof listLiveLeases>[1]]>([
    ['the first one', 'lease_due', live],
    ['a later one', 'lease_due', { ...live, after: place }],
    ['of some states', 'lease_due', { ...live, states: ['revoking', 'stuck'] }],
    ['of the stuck alone', 'lease_stuck', { ...live, states: ['stuck'] }],
    ['of a target', 'lease_due', { ...live, targetName: 'shop', mountPath: 'database/' }],
    ['of a principal', 'lease_principal', { ...live, principalId: 'p1' }],
    [
      'of a principal and more',
      'lease_principal',
      { ...live, principalId: 'p1', prefix: 'database/', targetName: 'shop' },
    ],
    ['of a role', 'lease_wire_id', { ...live, prefix: 'database/creds/app1/' }],
    ['of a grant', 'lease_grant', { ...live, grantId: 'g' }],
    ['of a token', 'lease_token', { ...live, principalId: 'p1', tokenId: 'ab' }],
  ])('%s, by %s', async (_, index, question) => {
    const plan = await planOf((db) => listLiveLeases(db, question))
    expect(plan).toMatch(new RegExp(`Index (Only )?Scan (using|on) ${index}\\b`))
    expect(plan).not.toContain('Seq Scan on lease ')
  })

  test('of the ended, too, and where counting begins', async () => {
    for (const ask of [
      (db: Db) => listEndedLeases(db, { after: undefined, limit: 51 }),
      (db: Db) => listEndedLeases(db, { after: place, limit: 51, principalId: 'p1' }),
      (db: Db) => firstCounted(db, 3_600),
    ]) {
      const plan = await planOf(ask)
      expect(plan).toMatch(/Index (Only )?Scan (Backward )?(using|on) lease_ended\b/)
      expect(plan).not.toContain('Seq Scan on lease ')
    }
    expect(await planOf((db) => findLeaseOwners(db, ['a', 'b']))).toContain('lease_pkey')
  })
})

test('whether somebody is blocked is asked of the blocks, not of all requests there ever were', async () => {
  const plan = await planOf((db) => blockedAmong(db, [{ id: 'a', person: 'iss#a' }]))
  expect(plan).toMatch(/access_grant_pkey[^\n]*\n\s*Index Cond: \(id = b\.grant_id\)/)
})

test('a prefix is that and nothing else', async () => {
  const found = await listLiveLeases(at.ledger, { ...live, prefix: 'database/creds/app12/', limit: 1_000 })
  expect(found).toHaveLength(LEASES / 50)
  expect(new Set(found.map(({ path }) => path))).toEqual(new Set(['database/creds/app12']))
  expect(await listLiveLeases(at.ledger, { ...live, prefix: 'database/creds/app_' })).toEqual([])
})

test('the first page and a narrowed one are whole and in order', async () => {
  const first = await listLiveLeases(at.ledger, live)
  expect(first).toHaveLength(51)
  expect(first.map(({ id }) => Number(id))).toEqual(Array.from({ length: 51 }, (_, i) => 2 * (i + 1)))
  const narrowed = await listLiveLeases(at.ledger, { ...live, principalId: 'p2', limit: 200 })
  expect(narrowed).toHaveLength(LEASES / 500)
})
