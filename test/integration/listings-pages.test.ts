import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { countGrants, type GrantFilter, listGrants } from '../../src/ledger/grant-listing.ts'
import { listLiveLeases } from '../../src/ledger/lease-listing.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'
import { anIntent, seedRole } from '../support/ledger-rows.ts'

// Pages of lists whose rows stand at one time by the thousand: each row comes once, in one order, whichever way the
// ledger goes about it.

let at: TestLedger
const LEASES = 12_000
const TARGETS = 2

beforeAll(async () => {
  at = await openTestLedger()
  const seeded = await seedRole(at.ledger)
  const other = await seedRole(at.ledger, { mount: 'team-b/' })
  const { hardLimitedBy } = anIntent(seeded, 'ab', new Date())
  // One in ten is of a role, a principal and a token of its own; of the others half end at one and the same time.
  await at.ledger.query(
    `insert into leasehold.lease (id, path, mount_id, role_id, target_id, token_id, principal_id, account, target_ref, state,
       issued_at, expires_at, hard_expires_at, hard_limited_by, create_deadline, next_action_at, attempts)
     select md5(i::text), $1 || case when i % 10 = 0 then 'few' else 'many' end, $2, $3,
       case when i % ${TARGETS} = 0 then $4 else $5 end, case when i % 10 = 0 then '\\xcd'::bytea else '\\xab' end,
       case when i % 10 = 0 then 'few' else 'many' end, 'v_' || i, i::text,
       case when i % 1000 = 7 then 'revoking' else 'active' end, now(), ends, now() + interval '12 hours', $6, now(), ends,
       case when i % 2000 = 7 then 6 else 0 end
     from generate_series(1, ${LEASES}) i cross join lateral (
       select date_trunc('hour', now()) + interval '2 hours'
         + case when i % 4 < 2 then interval '0' else i / 100 * interval '1 microsecond' end as ends) w`,
    ['database/creds/', seeded.mountId, seeded.roleId, seeded.targetId, other.targetId, hardLimitedBy],
  )
  await at.ledger.query('analyze leasehold.lease')
})
afterAll(() => at.close())

type Question = Partial<Parameters<typeof listLiveLeases>[1]>

async function paged(question: Question, limit = 500): Promise<string[]> {
  const seen: string[] = []
  for (let after: { at: string; id: string } | undefined; ; ) {
    const page = await listLiveLeases(at.ledger, {
      states: ['issuing', 'active', 'revoking'],
      ...question,
      after,
      limit,
    })
    seen.push(...page.map(({ id }) => id))
    const last = page.at(-1)
    if (!last || page.length < limit) return seen
    after = { at: last.place, id: last.id }
  }
}

describe('leases of one time', () => {
  test.each<[string, Question, string]>([
    ['all', {}, 'true'],
    ['of the role that has most', { prefix: 'database/creds/many' }, `principal_id = 'many'`],
    ['of the role that has few', { prefix: 'database/creds/few' }, `principal_id = 'few'`],
    ['of every role', { prefix: 'database/' }, 'true'],
    ['of the principal that has most', { principalId: 'many' }, `principal_id = 'many'`],
    ['of the principal that has few', { principalId: 'few' }, `principal_id = 'few'`],
    ['of the token that has most', { tokenId: 'ab' }, `principal_id = 'many'`],
    ['of the token that has few', { principalId: 'few', tokenId: 'cd' }, `principal_id = 'few'`],
    ['of a token, but not of that principal', { principalId: 'few', tokenId: 'ab' }, 'false'],
    [
      'of the principal that has most, on one target',
      { principalId: 'many', mountPath: 'database/' },
      `principal_id = 'many' and target_id = (select t.id from leasehold.target t
         join leasehold.mount m on m.id = t.mount_id where m.path = 'database/')`,
    ],
    ['ending', { states: ['revoking'] }, `state = 'revoking'`],
    [
      'ending, of the role that has most',
      { states: ['revoking'], prefix: 'database/creds/many' },
      `state = 'revoking'`,
    ],
    ['stuck', { states: ['stuck'] }, 'attempts >= 6'],
    ['stuck, of the principal that has most', { states: ['stuck'], principalId: 'many' }, 'attempts >= 6'],
    ['of a principal that has none', { principalId: 'nobody' }, 'false'],
  ])('come each once and in order: %s', async (_, question, condition) => {
    const { rows } = await at.ledger.query<{ id: string }>(
      `select id from leasehold.lease where ${condition} order by next_action_at, id`,
    )
    expect(await paged(question)).toEqual(rows.map(({ id }) => id))
  })
})

describe('requests of one time', () => {
  const STATES = ['pending', 'approved', 'active', 'review_due', 'closed_ok']
  const REQUESTS = 60
  beforeAll(async () => {
    await at.ledger.query(
      `insert into leasehold.break_glass_policy (id, name, version, spec) values ('p', 'p', 1, '{}'), ('q', 'q', 1, '{}')`,
    )
    await at.ledger.query(
      `insert into leasehold.access_grant (id, policy_id, lane, state, requester_id, requester, plan, plan_hash, reason,
         duration_seconds, requested_at, pending_expires_at)
       select 'g' || i, case when i % 3 = 0 then 'q' else 'p' end, 'break_glass', ($1::text[])[1 + i % 5], 'r' || i % 4,
         jsonb_build_object('person', 'iss#' || i % 6), '{"policy": {"name": "p"}, "roles": []}', 'h', 'why', 60,
         date_trunc('hour', now()) + i / 20 * interval '1 millisecond', now()
       from generate_series(1, ${REQUESTS}) i`,
      [STATES],
    )
  })

  const own = { requesterId: 'r1', person: 'iss#3' }
  const sight = { all: false, ...own, policyIds: ['q'], sealedPolicyIds: [] } as const
  const MINE = `(requester_id = 'r1' or requester ->> 'person' = 'iss#3')`
  const anything: GrantFilter = {
    ...{ mine: false, states: null, policy: null, role: null, requester: null, after: null },
    limit: 7,
  }

  const idsOf = async (filter: Partial<GrantFilter>, all = false): Promise<string[]> => {
    const seen: string[] = []
    for (let after: GrantFilter['after'] = null; ; ) {
      const page = await listGrants(at.ledger, all ? { all } : sight, own, { ...anything, ...filter, after })
      seen.push(...page.map(({ id }) => id))
      const last = page.at(-1)
      if (!last || page.length < anything.limit) return seen
      after = { requestedAt: last.requestedAt, id: last.id }
    }
  }

  test.each<[string, Partial<GrantFilter>, string]>([
    ['all', {}, 'true'],
    [
      'of several states, one of them twice',
      { states: ['pending', 'active', 'pending'] },
      `state in ('pending', 'active')`,
    ],
    ['of no state', { states: [] }, 'false'],
    ["one's own", { mine: true }, MINE],
    ["one's own of a state", { mine: true, states: ['closed_ok'] }, `${MINE} and state = 'closed_ok'`],
    ['of a requester', { requester: 'r2', states: STATES }, `requester_id = 'r2'`],
  ])('come each once and in order: %s', async (_, filter, condition) => {
    const expected = async (seen: string) => {
      const { rows } = await at.ledger.query<{ id: string }>(
        `select id from leasehold.access_grant where ${condition} and ${seen} order by requested_at desc, id desc`,
      )
      return rows.map(({ id }) => id)
    }
    expect(await idsOf(filter, true)).toEqual(await expected('true'))
    expect(await idsOf(filter)).toEqual(await expected(`(policy_id = 'q' or ${MINE})`))
  })

  test('are counted as they are listed', async () => {
    const counted = await countGrants(at.ledger, sight, own, STATES)
    for (const state of STATES) {
      const [all, mine] = [await idsOf({ states: [state] }), await idsOf({ states: [state], mine: true })]
      expect(counted).toContainEqual({ state, all: all.length, mine: mine.length })
    }
  })
})
