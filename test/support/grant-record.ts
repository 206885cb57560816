import { expect } from 'vitest'
import type { Grant } from '../../src/ledger/grants.ts'
import { known, type Name } from './grant-people.ts'
import type { Asked, GrantWorld } from './grant-world.ts'

/** What the ledger and the target hold of a grant, and what must be true of it whatever was done. */

type EventRow = { number: number; event: string; from: string | null; to: string }
type VoteRow = {
  round: number
  decision: string
  voterId: string
  voter: { display_name: Name; kind: string; person: string }
  planHash: string
  ended: boolean
}

export type GrantRecord = {
  grant: Grant
  events: EventRow[]
  votes: VoteRow[]
  extensions: { state: string; seconds: number }[]
  /** Accounts on the target; `works` while one can log in by them. */
  accounts: { leaseId: string; works: boolean }[]
  audited: { event: string; from: string | null; to: string }[]
}

export async function recordOf(
  { lease, grant }: GrantWorld,
  { id }: Pick<Asked, 'id'>,
): Promise<GrantRecord> {
  const { ledger } = lease.test
  const rows = async <Row>(sql: string): Promise<Row[]> =>
    (await ledger.query(sql, [id])).rows as unknown as Row[]
  const [row, events, votes, extensions, leases, audited] = await Promise.all([
    grant(id),
    rows<EventRow>(
      `select number, event, from_state as "from", to_state as "to" from leasehold.grant_event where grant_id = $1 order by number`,
    ),
    rows<VoteRow>(
      `select round, decision, voter_id as "voterId", voter, plan_hash as "planHash", ended_at is not null as ended
       from leasehold.grant_vote where grant_id = $1 order by round, number`,
    ),
    rows<{ state: string; seconds: number }>(
      `select state, seconds from leasehold.grant_extension where grant_id = $1 order by round`,
    ),
    rows<{ id: string }>(`select id from leasehold.lease where grant_id = $1`),
    rows<{ event: string; from: string | null; to: string }>(
      `select body::jsonb #>> '{details,event}' as event, body::jsonb #>> '{details,from}' as "from",
         body::jsonb #>> '{details,to}' as "to"
       from leasehold.audit_event
       where body::text like '%' || $1 || '%' and body::jsonb #>> '{details,grant_id}' = $1
         and body::jsonb #> '{details,event}' is not null`,
    ),
  ])
  const own = new Set(leases.map((one) => one.id))
  const accounts = [...lease.target.accounts.values()]
    .filter(({ leaseId }) => own.has(leaseId))
    .map(({ leaseId, login }) => ({ leaseId, works: login }))
  return { grant: row, events, votes, extensions, accounts, audited }
}

const TERMINAL = [
  'denied',
  'cancelled',
  'expired',
  'voided',
  'activation_failed',
  'closed_ok',
  'closed_flagged',
]
const MAY_HAVE_ACCOUNTS = ['activating', 'active', 'suspended', 'ending', 'ending_stuck']

/** `before`: as it was when these were last true. */
export function holdsTrue(record: GrantRecord, before: GrantRecord | undefined, asked: Asked): void {
  const { grant, events } = record
  expect(
    events.map(({ number }) => number),
    'one event for each version',
  ).toEqual(Array.from({ length: grant.version }, (_, i) => i + 1))
  events.forEach(({ from }, i) => {
    expect(from, 'events follow from each other').toBe(i === 0 ? null : events[i - 1]?.to)
  })
  expect(events.at(-1)?.to).toBe(grant.state)
  const moves = ({ event, from, to }: Omit<EventRow, 'number'>) => `${event}: ${from} to ${to}`
  expect(record.audited.map(moves).sort(), 'one audit event for each move').toEqual(events.map(moves).sort())

  const isAbandoned = events.some(({ event }) => event === 'abandon')
  if (!MAY_HAVE_ACCOUNTS.includes(grant.state) && !isAbandoned) {
    expect(record.accounts, `accounts of a grant that is ${grant.state}`).toEqual([])
  }
  if (grant.state === 'suspended') {
    expect(
      record.accounts.filter(({ works }) => works),
      'a login that works while suspended',
    ).toEqual([])
  }
  quorumHolds(record, asked)
  if (before) wentRight(record, before)
}

function wentRight({ grant, events, extensions }: GrantRecord, before: GrantRecord): void {
  const since = events.filter(({ number }) => number > before.grant.version)
  if (TERMINAL.includes(before.grant.state)) {
    expect(
      since.slice(0, 1).filter(({ event }) => event !== 'reopen'),
      'an end that is final',
    ).toEqual([])
    if (before.grant.state !== 'closed_ok') expect(since).toEqual([])
  }
  const [from, to] = [before.grant.expiresAt?.getTime(), grant.expiresAt?.getTime()]
  if (from !== undefined && to !== from) {
    expect(
      since.map(({ event }) => event),
      'an end moves by an extension alone',
    ).toContain('extend')
    const approved = extensions.filter(({ state }) => state === 'approved')
    expect(approved.reduce((sum, { seconds }) => sum + seconds, 0)).toBe(grant.extendedSeconds)
  }
}

/** Of everybody's votes that stand, those for the grant as it is now: distinct people, none of them who asked. */
function quorumHolds({ grant, votes }: GrantRecord, { lane, requester }: Asked): void {
  for (const { voter, voterId } of votes) {
    expect(voter.kind, 'who votes is a person').toBe('human')
    expect(voterId, 'nobody votes on their own request').not.toBe(requester)
    expect(voter.person).not.toBe(`https://issuer.example#${requester}`)
  }
  const standing = votes.filter(
    ({ round, ended, decision }) => round === 0 && !ended && ['approve', 'witness'].includes(decision),
  )
  const humans = standing.map(({ voter }) => known(voter.display_name).human)
  expect(new Set(humans).size, 'one person, one vote').toBe(humans.length)
  if (!['approved', 'activating', 'active', 'suspended'].includes(grant.state)) return
  expect(
    standing.every(({ planHash }) => planHash === grant.planHash),
    'all for one plan',
  ).toBe(true)
  expect(humans.length).toBeGreaterThanOrEqual(lane === 'break_glass' ? 2 : 1)
  if (lane !== 'break_glass') return
  const groups = standing.flatMap(({ voter }) => known(voter.display_name).groups)
  expect(groups).toEqual(expect.arrayContaining(['oncall', 'owners']))
}
