import { createHash } from 'node:crypto'
import { expect } from 'vitest'
import { canonicalJson } from '../../src/audit/canonical.ts'
import { FINAL, isEnough, type LaneName, LOOKED_AGAIN, WAITING } from './grant-model.ts'
import { FRESH_SECONDS, known, type Name } from './grant-people.ts'
import { eventsSince, type GrantRecord, standing, type VoteRow } from './grant-record.ts'
import type { Asked } from './grant-world.ts'

/** What must be true of a grant whatever was done to it, by the ledger and the target alone. */

const MAY_HAVE_ACCOUNTS = ['activating', 'active', 'suspended', 'ending', 'ending_stuck']
const DECIDED = ['approve', 'deny', 'witness', 'ratify', 'refuse']
const humanOf = (name: Name): string => known(name).human

/** `before`: as it was when these were last true. */
export function holdsTrue(record: GrantRecord, before: GrantRecord | undefined, asked: Asked): void {
  onRecord(record, asked)
  noCredentialOutside(record)
  for (const vote of record.votes) votedAsThemselves(vote, record, asked)
  quorumHolds(record, asked)
  endHolds(record, asked)
  reviewsHold(record)
  isLookedAfter(record)
  if (before) wentRight(record, before)
}

/** Each transition is one event, and one event of the audit log in the same transaction. */
function onRecord({ grant, events }: GrantRecord, { id }: Asked): void {
  expect(
    events.map(({ number }) => number),
    'one event for each version',
  ).toEqual(Array.from({ length: grant.version }, (_, i) => i + 1))
  events.forEach(({ from, to, event, audited }, i) => {
    expect(from, 'events follow from each other').toBe(i === 0 ? null : events[i - 1]?.to)
    // What moves nothing is noted, and says no states.
    const isNote = from === to && audited[0]?.from === null
    const states = isNote ? { from: null, to: null } : { from, to }
    expect(audited, `what the audit log has of ${event}, by its transaction`).toEqual([
      { event, grant: id, ...states },
    ])
  })
  expect(events.at(-1)?.to).toBe(grant.state)
  const hash = createHash('sha256').update(canonicalJson(grant.plan)).digest('hex')
  expect(grant.planHash, 'the hash of the plan as it is').toBe(hash)
  expect(grant.plan.duration_seconds).toBe(grant.durationSeconds)
}

function noCredentialOutside({ grant, events, accounts, leases }: GrantRecord): void {
  const { state, expiresAt } = grant
  const isAbandoned = events.some(({ event }) => event === 'abandon')
  const unproved = leases.filter((lease) => lease.state !== 'revoked')
  if (!MAY_HAVE_ACCOUNTS.includes(state) && !isAbandoned) {
    expect([accounts, unproved], `accounts and leases of a grant that is ${state}`).toEqual([[], []])
  }
  const given = leases.filter((lease) => ['issuing', 'active'].includes(lease.state))
  if (state !== 'active' && state !== 'activating') {
    expect(given, `leases in force of a grant that is ${state}`).toEqual([])
  }
  if (state === 'suspended') {
    // By the word of an issuer it is for workers, who were woken: until their next round.
    const isForWorkers = events.at(-1)?.event === 'suspend' && events.at(-1)?.who === 'system'
    const works = accounts.filter((account) => account.works && !isForWorkers)
    expect(works, 'a login that works while suspended').toEqual([])
  }
  if (grant.lane === 'drill') expect(leases, 'leases of a drill').toEqual([])
  for (const lease of expiresAt ? given : []) {
    expect(lease.expiresAt, 'a lease ends no later than its grant').toBeLessThanOrEqual(
      (expiresAt as Date).getTime() / 1_000,
    )
  }
}

/** Whoever has a vote is a person, logged in just then by what it takes, and not who asked. */
function votedAsThemselves(vote: VoteRow, { votes }: GrantRecord, { requester, number }: Asked): void {
  const { voter, voterId, decision, castAt } = vote
  const what = `${decision} by ${voter.display_name}`
  expect(voter.kind, 'who votes is a person').toBe('human')
  expect(voterId, 'nobody votes on their own request').not.toBe(requester)
  expect(voter.person, what).toBe(`https://issuer.example#${humanOf(voter.display_name)}-${number}`)
  expect(humanOf(voter.display_name)).not.toBe('rita')
  // It takes no fresh login to take access away; and one that was kept for less was cast before.
  const isRecast = votes.some((other) => other.voterId === voterId && other.number < vote.number)
  if (decision === 'refuse' || (decision === 'deny' && vote.round > 0) || isRecast) return
  const age = castAt - (voter.auth_time ?? 0)
  expect(age, `the age of a login: ${what}`).toBeLessThanOrEqual(FRESH_SECONDS)
  expect(age, `a login of the future: ${what}`).toBeGreaterThanOrEqual(-60)
  const factors = decision === 'witness' ? ['hwk'] : ['hwk', 'otp']
  expect(
    voter.amr.some((method) => factors.includes(method)),
    `a second factor: ${what}`,
  ).toBe(true)
}

/** Of everybody's votes that stand, those for the grant as it is now: distinct people, none of them who asked. */
function quorumHolds(record: GrantRecord, { lane }: Asked): void {
  const { grant } = record
  const yes = standing(record, 0, 'approve', 'witness')
  const humans = yes.map(({ voter }) => humanOf(voter.display_name))
  expect(new Set(humans).size, 'one person, one vote').toBe(humans.length)
  expect(
    yes.filter(({ planHash }) => planHash !== grant.planHash && !FINAL.includes(grant.state)),
    'votes for another plan',
  ).toEqual([])
  if (grant.ratification === 'ratified') isQuorum(standing(record, 0, 'ratify'), lane)
  if (!['approved', 'activating', 'active', 'suspended'].includes(grant.state)) return
  if (lane === 'auto' || lane === 'solo') expect(yes).toEqual([])
  else if (lane === 'sealed') expect(yes.map(({ decision }) => decision)).toEqual(['witness'])
  else isQuorum(yes, lane)
}

function isQuorum(votes: readonly VoteRow[], lane: LaneName): void {
  const names = votes.map(({ voter }) => voter.display_name)
  expect([names, isEnough({ lane }, names)], 'as many people as it takes').toEqual([names, true])
}

/** It ends when it was said that it would, but for extensions: each by a quorum with somebody new. */
function endHolds(record: GrantRecord, { lane }: Asked): void {
  const { grant, extensions, events, votes } = record
  const { startedAt, expiresAt, durationSeconds, extendedSeconds } = grant
  const approved = extensions.filter(({ state }) => state === 'approved')
  expect(extendedSeconds).toBe(approved.reduce((sum, { seconds }) => sum + seconds, 0))
  expect(events.filter(({ event }) => event === 'extend').length).toBe(approved.length)
  if (startedAt) {
    expect(((expiresAt?.getTime() ?? 0) - startedAt.getTime()) / 1_000, 'how long it lasts').toBe(
      durationSeconds + extendedSeconds,
    )
  }
  expect(extendedSeconds, 'at most as long again').toBeLessThanOrEqual(durationSeconds)
  const before = standing(record, 0, 'approve', 'witness').map(({ voter }) => humanOf(voter.display_name))
  for (const { round, planHash } of approved) {
    const yes = standing({ votes }, round, 'approve')
    expect(yes.every((vote) => vote.planHash === planHash)).toBe(true)
    isQuorum(yes, lane)
    expect(
      yes.some(({ voter }) => !before.includes(humanOf(voter.display_name))),
      'more time takes somebody new',
    ).toBe(true)
  }
}

/** Nobody reviews what they asked for, or had a voice in. */
function reviewsHold({ votes, reviews, grant }: GrantRecord): void {
  const voices = votes.filter(({ decision }) => DECIDED.includes(decision))
  const humans = ['rita', ...voices.map(({ voter }) => humanOf(voter.display_name))]
  for (const { reviewer, outcome, signed } of reviews) {
    expect(signed, 'a review is signed').toBe(outcome !== 'reopened')
    if (outcome !== 'reopened') expect(humans).not.toContain(humanOf(reviewer.display_name))
  }
  if (grant.state === 'closed_flagged') expect(reviews.at(-1)?.outcome).toBe('flagged')
}

/** As long as anything is left to happen by itself, somebody looks. */
function isLookedAfter({ grant }: GrantRecord): void {
  const { state, nextActionAt, now } = grant
  const isToBeRatified = grant.ratification === 'due' && grant.ratifyBy !== null
  const isOver = [...FINAL, 'closed_ok'].includes(state)
  if (isOver) expect(nextActionAt, `when to look at a grant that is ${state}`).toBeNull()
  else if (state !== 'review_overdue' || isToBeRatified) expect(nextActionAt).not.toBeNull()
  if (!WAITING.includes(state)) return
  const inSeconds = ((nextActionAt?.getTime() ?? Number.POSITIVE_INFINITY) - now.getTime()) / 1_000
  expect(inSeconds, 'what a request rests on is looked at again soon').toBeLessThanOrEqual(LOOKED_AGAIN)
}

function wentRight(record: GrantRecord, before: GrantRecord): void {
  const since = eventsSince(record, before)
  const { state } = before.grant
  if (FINAL.includes(state)) expect(since, 'an end that is final').toEqual([])
  if (state === 'closed_ok') expect(['reopen', undefined], 'an end that is final').toContain(since[0])
  const { grant } = record
  const [from, to] = [before.grant.expiresAt?.getTime(), grant.expiresAt?.getTime()]
  if (from !== undefined && to !== from)
    expect(since, 'an end moves by an extension alone').toContain('extend')
  if (grant.planHash !== before.grant.planHash) {
    expect(since, 'a plan changes by narrowing alone').toEqual(['narrow'])
    expect(grant.durationSeconds).toBeLessThan(before.grant.durationSeconds)
  }
}
