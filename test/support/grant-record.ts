import { GRANT, type Grant } from '../../src/ledger/grants.ts'
import type { Name } from './grant-people.ts'
import type { Asked, GrantWorld } from './grant-world.ts'

/** What the ledger and the target hold of a grant. */

type Move = { event: string; from: string | null; to: string }
export type EventRow = Move & {
  number: number
  who: string | null
  /** What the audit log has of moves, written by the transaction of this one. */
  audited: (Move & { grant: string })[]
}
export type VoteRow = {
  round: number
  number: number
  decision: string
  voterId: string
  voter: {
    id: string
    display_name: Name
    kind: string
    person: string
    auth_time: number | null
    amr: string[]
  }
  planHash: string
  castAt: number
  ended: boolean
}

export type GrantRecord = {
  grant: Grant
  events: EventRow[]
  votes: VoteRow[]
  extensions: { round: number; state: string; seconds: number; planHash: string }[]
  leases: { id: string; state: string; targetId: string; endReason: string | null; expiresAt: number }[]
  reviews: { reviewer: { display_name: Name }; outcome: string; signed: boolean }[]
  /** Accounts on the target; `works` while one can log in by them. */
  accounts: { leaseId: string; works: boolean }[]
}

const listOf = (row: string, of: string): string => `(select coalesce(json_agg(${row}), '[]') from ${of})`

/** One question, so that it is one moment that is looked at. A fresh cluster is in its first epoch of transactions. */
const RECORD = `select ${GRANT},
  ${listOf(
    `json_build_object('number', e.number, 'event', e.event, 'from', e.from_state, 'to', e.to_state,
       'who', e.detail ->> 'who', 'audited', ${listOf(
         `json_build_object('event', d ->> 'event', 'from', d ->> 'from', 'to', d ->> 'to', 'grant', d ->> 'grant_id')`,
         `leasehold.audit_event a, jsonb_extract_path(a.body::jsonb, 'details') d
          where a.written_by = e.xmin::text::xid8 and d ? 'event'`,
       )}) order by e.number`,
    'leasehold.grant_event e where e.grant_id = g.id',
  )} as events,
  ${listOf(
    `json_build_object('round', v.round, 'number', v.number, 'decision', v.decision, 'voterId', v.voter_id,
       'voter', v.voter, 'planHash', v.plan_hash, 'castAt', extract(epoch from v.cast_at),
       'ended', v.ended_at is not null) order by v.round, v.number`,
    'leasehold.grant_vote v where v.grant_id = g.id',
  )} as votes,
  ${listOf(
    `json_build_object('round', x.round, 'state', x.state, 'seconds', x.seconds, 'planHash', x.plan_hash)
       order by x.round`,
    'leasehold.grant_extension x where x.grant_id = g.id',
  )} as extensions,
  ${listOf(
    `json_build_object('id', l.id, 'state', l.state, 'targetId', l.target_id, 'endReason', l.end_reason,
       'expiresAt', extract(epoch from l.expires_at)) order by l.issued_at, l.id`,
    'leasehold.lease l where l.grant_id = g.id',
  )} as leases,
  ${listOf(
    `json_build_object('reviewer', r.reviewer, 'outcome', r.outcome, 'signed', r.jws is not null) order by r.number`,
    'leasehold.grant_review r where r.grant_id = g.id',
  )} as reviews
  from leasehold.access_grant g where g.id = $1`

type Row = Grant & Omit<GrantRecord, 'grant' | 'accounts'>

export async function recordOf({ lease }: GrantWorld, { id }: Pick<Asked, 'id'>): Promise<GrantRecord> {
  const { rows } = await lease.test.ledger.query(RECORD, [id])
  const row = rows[0] as unknown as Row | undefined
  if (!row) throw new Error(`no grant ${id}`)
  const { events, votes, extensions, leases, reviews, ...grant } = row
  const own = new Set(leases.map((one) => one.id))
  const accounts = [...lease.target.accounts.values()]
    .filter(({ leaseId }) => own.has(leaseId))
    .map(({ leaseId, login }) => ({ leaseId, works: login }))
  return { grant, events, votes, extensions, leases, reviews, accounts }
}

/** Of what happened since, the names. */
export const eventsSince = ({ events }: GrantRecord, before: GrantRecord | undefined): string[] =>
  events.filter(({ number }) => number > (before?.grant.version ?? 0)).map(({ event }) => event)

/** Everything that must be as it was where nothing has changed. */
export const unchanged = ({ grant, ...rest }: GrantRecord) => {
  const { now: _, nextActionAt: __, claimedBy: ___, fence: ____, ...row } = grant
  return { ...rest, grant: row }
}

/** Who has said this and stands by it, in the round. */
export const standing = (
  { votes }: Pick<GrantRecord, 'votes'>,
  round: number,
  ...decisions: string[]
): VoteRow[] =>
  votes.filter((vote) => vote.round === round && !vote.ended && decisions.includes(vote.decision))

/** Moves on the audit log about grants that no grant has made: of the whole ledger. */
export async function strayMoves({ lease }: GrantWorld): Promise<number> {
  const { rows } = await lease.test.ledger.query<{ count: string }>(
    `select count(*) from leasehold.audit_event a, jsonb_extract_path(a.body::jsonb, 'details') d
     where d ? 'event' and d ? 'grant_id' and not exists (
       select from leasehold.grant_event e
       where e.grant_id = d ->> 'grant_id' and e.event = d ->> 'event' and e.xmin::text::xid8 = a.written_by)`,
  )
  return Number(rows[0]?.count)
}
