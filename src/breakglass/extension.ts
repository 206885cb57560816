import { createHash } from 'node:crypto'
import { canonicalJson } from '../audit/canonical.ts'
import type { Db } from '../ledger/db.ts'
import {
  decideExtension,
  findPendingExtension,
  type GrantExtension,
  insertExtension,
} from '../ledger/grant-extensions.ts'
import { findGrantLeases, moveLeaseEnds } from '../ledger/grant-leases.ts'
import type { Grant } from '../ledger/grants.ts'
import { formatDuration } from '../lib/duration.ts'
import { BrokerError } from '../lib/errors.ts'
import { ACTION, pendingExtension, secondsLeft } from './access-actions.ts'
import type { AccessParts } from './access-parts.ts'
import { type Act, act, situationFor } from './actions.ts'
import { isSamePerson } from './actor.ts'
import { nextLook } from './clock.ts'
import { deciding, won } from './deciding.ts'
import { setsOf } from './eligibility.ts'
import { stateRefusal } from './moves.ts'
import { isMet } from './quorum.ts'
import { conflict, type Situation } from './situation.ts'
import { actorOfVote, votersOf } from './standing.ts'
import { type CheckTicket, checkTicketOf } from './ticket-check.ts'
import { castVote, standingOf, withVoteOf } from './votes-cast.ts'
import { after } from './waiting.ts'

export type Extensions = {
  /** Row 19. */
  ask(ask: Act & { seconds: number; reason: string }): Promise<void>
  /** Row 20, once enough people say so: on the targets first, then in the ledger. `planHash` is the extension's. */
  approve(ask: Act & { planHash: string; comment: string }): Promise<void>
  /** Row 21; the old end stands. */
  deny(ask: Act & { comment: string }): Promise<void>
  /** Row 21, by the clock. */
  expire(grant: Grant): Promise<void>
}

export function createExtensions(parts: AccessParts): Extensions {
  const { ledger, moves } = parts
  return {
    ask: (ask) => askForMore(parts, ask),
    approve: (ask) => approve(parts, ask),
    deny: (ask) =>
      act(ledger, ask, ACTION.denyExtension, async (db, situation) => {
        const { grant, actor } = situation
        const extension = pendingOf(situation)
        const { round, planHash } = extension
        won(
          await moves.record(db, {
            ...moved(grant, 'deny_extension'),
            who: 'approver',
            actor,
            detail: { round, ...voteIn(situation, extension, ask.comment) },
          }),
        )
        await castVote(db, situation, { round, planHash, decision: 'deny', comment: ask.comment })
        await decided(db, extension, 'denied')
        return undefined
      }),
    expire: (grant) =>
      moves.byItself(async (db) => {
        const done = await moves.record(db, {
          ...moved(grant, 'expire_extension'),
          who: 'system',
          actor: null,
        })
        const pending = done && (await findPendingExtension(db, grant.id))
        if (pending) await decideExtension(db, pending, 'expired')
      }),
  }
}

/** Nobody waits for a decision any more. */
function moved<E extends string>(grant: Grant, event: E) {
  const detail = withoutDeadline(grant)
  return {
    grant,
    event,
    to: 'active',
    set: { detail, nextActionAt: nextLook({ ...grant, detail }) },
  } as const
}

async function askForMore(
  { ledger, moves, checkTicket, wakeLook }: AccessParts,
  { seconds, reason, ...ask }: Act & { seconds: number; reason: string },
): Promise<void> {
  await mustBeGoingOn(checkTicket, await situationFor(ledger, ask, ACTION.extend))
  await act(ledger, ask, ACTION.extend, async (db, situation) => {
    const { grant, policy, actor } = situation
    const left = secondsLeft({ grant, policy })
    if (seconds < 1 || seconds > left) {
      throw new BrokerError(
        'invalid_request',
        `Field validation failed: field "duration": there is at most ${formatDuration(left)} more`,
      )
    }
    const expires = after(grant.now, policy.spec.pending_ttl)
    const detail = { ...grant.detail, extension_expires_at: expires.toISOString() }
    const set = { detail, nextActionAt: nextLook({ ...grant, detail }) }
    const asked = { event: 'ask_extension', to: 'active', who: 'requester' } as const
    won(await moves.record(db, { grant, ...asked, actor, set, detail: { seconds, reason } }))
    const planHash = extensionHash(grant, { seconds, reason })
    const round = await insertExtension(db, { grantId: grant.id, seconds, reason, planHash })
    if (round === undefined) throw conflict('more time has been asked for already')
    wakeLook(set.nextActionAt, grant.now)
    return undefined
  })
}

/** More time is for an incident that goes on: of one that is over its system says so, if it can be asked. */
async function mustBeGoingOn(checkTicket: CheckTicket, { grant, policy }: Situation): Promise<void> {
  if (policy.spec.ticket_check_url === '' || grant.ticket === '' || grant.lane === 'drill') return
  const { state, isOver } = await checkTicketOf(checkTicket, policy, grant)
  if (state === 'refused' || isOver) throw conflict('the incident system says that the incident is over')
}

/** What people vote on: so much more of this very plan, for this reason. */
const extensionHash = (
  { id, planHash, expiresAt }: Grant,
  more: { seconds: number; reason: string },
): string =>
  createHash('sha256')
    .update(canonicalJson({ request: id, plan: planHash, from: expiresAt?.toISOString() ?? '', ...more }))
    .digest('hex')

type Approval = Act & { planHash: string; comment: string }

async function approve(parts: AccessParts, ask: Approval): Promise<void> {
  const { ledger, moves } = parts
  // Read outside any transaction: a vote that decides changes nothing before the targets have agreed.
  const seen = await situationFor(ledger, ask, ACTION.approveExtension)
  mustHaveSeen(pendingOf(seen), ask.planHash)
  if (isEnough(seen, pendingOf(seen))) return extend(parts, ask, seen)
  await act(ledger, ask, ACTION.approveExtension, async (db, situation) => {
    const { grant, votes, actor } = situation
    const extension = pendingOf(situation)
    mustHaveSeen(extension, ask.planHash)
    if (isEnough(situation, extension)) throw conflict('others have just voted: vote again')
    const { round, planHash } = extension
    const detail = {
      round,
      votes: standingOf(votes, round, 'approve').length + 1,
      ...voteIn(situation, extension, ask.comment),
    }
    const voted = { event: 'approve_extension', to: 'active', who: 'approver' } as const
    won(await moves.record(db, { grant, ...voted, actor, detail }))
    await castVote(db, situation, { round, planHash, decision: 'approve', comment: ask.comment })
    return undefined
  })
}

function mustHaveSeen({ planHash }: GrantExtension, sent: string): void {
  if (sent !== planHash) throw conflict('the plan has changed: what is asked for is not what you have seen')
}

/** Of a vote on more time, what its event says besides: the plan of the request is not what it was for. */
const voteIn = ({ actor, policy }: Situation, { planHash }: GrantExtension, comment: string) => ({
  ...(comment !== '' && { comment }),
  sets: setsOf(actor, policy.spec),
  extension_hash: planHash,
})

/** What somebody has said to the request itself, whether or not it still counts. */
const FIRST_VOTE: ReadonlySet<string> = new Set(['approve', 'deny', 'witness'])

/** The same quorum as before, of whom at least one has not decided about this access yet. */
function isEnough({ policy, votes, actor }: Situation, { round }: GrantExtension): boolean {
  const before = votes
    .filter((vote) => vote.round === 0 && FIRST_VOTE.has(vote.decision))
    .map(({ voter }) => actorOfVote(voter))
  const now = withVoteOf(actor, policy, standingOf(votes, round, 'approve'))
  const isNew = ({ voter }: (typeof now)[number]) =>
    !before.some((other) => isSamePerson(actorOfVote(voter), other))
  const { approvals, min_approvers } = policy.spec
  return isMet(approvals, min_approvers, votersOf(now)) && now.some(isNew)
}

/**
 * The targets agree first: a database that cuts accounts off by itself must never be earlier than the ledger. A lease
 * that cannot be made longer keeps its end, and the access goes on without it: the event says which to collect anew.
 */
async function extend(parts: AccessParts, ask: Approval, seen: Situation): Promise<void> {
  const { ledger, moves, grantLeases } = parts
  const { seconds } = pendingOf(seen)
  const from = seen.grant.expiresAt
  if (!from) throw stateRefusal(seen.grant)
  const until = after(from, seconds)
  const ends = await grantLeases.extendOnTargets(seen.grant.id, until)
  const anew = (await findGrantLeases(ledger, seen.grant.id))
    .filter(({ id, state }) => state === 'active' && !ends.some((end) => end.id === id))
    .map(({ leaseId }) => leaseId)
  const { extended, written } = await deciding(ledger, async (db) => {
    const situation = await situationFor(db, ask, ACTION.approveExtension)
    const { grant, actor } = situation
    const extension = pendingOf(situation)
    mustHaveSeen(extension, ask.planHash)
    // A target may have taken long, and votes have been lost meanwhile.
    if (!isEnough(situation, extension)) throw conflict('others no longer vote for it: vote again')
    const detail = withoutDeadline(grant)
    const set = { expiresAt: until, extendedSeconds: grant.extendedSeconds + seconds, detail }
    const extended = won(
      await moves.record(db, {
        grant,
        event: 'extend',
        to: 'active',
        who: 'approver',
        actor,
        set: { ...set, nextActionAt: nextLook({ ...grant, ...set }) },
        detail: {
          round: extension.round,
          seconds,
          expires_at: until.toISOString(),
          ...voteIn(situation, extension, ask.comment),
          ...(anew.length > 0 && { collect_anew: anew }),
        },
      }),
    )
    const { round, planHash } = extension
    await castVote(db, situation, { round, planHash, decision: 'approve', comment: ask.comment })
    await decided(db, extension, 'approved')
    return { extended, written: await moveLeaseEnds(db, grant.id, ends) }
  })
  for (const { id, targetId, expiresAt } of ends) {
    if (written.has(id)) parts.wakeAt(targetId, expiresAt, expiresAt.getTime() - extended.now.getTime())
  }
  parts.wakeLook(extended.nextActionAt, extended.now)
}

function pendingOf(situation: Situation): GrantExtension {
  const extension = pendingExtension(situation)
  if (!extension) throw conflict('nobody has asked for more time')
  return extension
}

async function decided(db: Db, extension: GrantExtension, state: 'approved' | 'denied'): Promise<void> {
  if ((await decideExtension(db, extension, state)) === 0) throw conflict('it has been decided already')
}

function withoutDeadline({ detail: { extension_expires_at: _, ...rest } }: Grant): Grant['detail'] {
  return rest
}
