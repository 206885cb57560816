import type { Db } from '../ledger/db.ts'
import { findGrantLeases } from '../ledger/grant-leases.ts'
import { insertReview, putBlock } from '../ledger/grant-reviews.ts'
import { type Grant, grantEvents } from '../ledger/grants.ts'
import { BrokerError } from '../lib/errors.ts'
import { ACTION } from './access-actions.ts'
import type { AccessParts } from './access-parts.ts'
import { type Act, act } from './actions.ts'
import { shownActor } from './actor.ts'
import { nextLook, reviewDeadlines } from './clock.ts'
import { won } from './deciding.ts'
import { rotateAfter } from './ending.ts'
import { conflict, type Situation } from './situation.ts'

/** What a reviewer ticks; `rotate`: what was seen has to be rotated. */
export type Checklist = Readonly<Record<(typeof CHECKS)[number], boolean>>
export const CHECKS = ['actions_match_reason', 'ticket_true', 'data_touched', 'follow_up', 'rotate'] as const

export type ReviewGiven = {
  outcome: 'ok' | 'flagged'
  checklist: Checklist
  finding: string
  caseId: string
  /** The ticket, which nobody could check then, was looked up by the reviewer. */
  ticketVerified: boolean
  /** How many of the grant's events they have read: all there are, or they have not opened the record. */
  eventsSeen: number | undefined
}

export type Reviews = {
  /** Rows 34 and 35; signed, so that it can be told later that nobody has changed it. */
  review(ask: Act & ReviewGiven): Promise<void>
  /** Row 37. What was found stays on record. */
  reopen(ask: Act & { reason: string }): Promise<void>
}

const REVIEW_TYPE = 'leasehold-review+jws'

export function createReviews(parts: AccessParts): Reviews {
  const { ledger, moves } = parts
  return {
    review: ({ actor, grantId, version, ...given }) =>
      act(ledger, { actor, grantId, version }, ACTION.review, async (db, situation) => {
        const { grant } = situation
        mustBeGood(given, situation)
        await mustHaveRead(db, situation, given)
        const { outcome, checklist, finding, caseId } = given
        const isFlagged = outcome === 'flagged'
        const rotates = checklist.rotate && !grant.forceRotation
        const ticketState = ticketStateAfter(grant, given)
        won(
          await moves.record(db, {
            grant,
            event: isFlagged ? 'review_flagged' : 'review_ok',
            to: isFlagged ? 'closed_flagged' : 'closed_ok',
            who: 'reviewer',
            actor,
            set: { ...(rotates && { forceRotation: true }), ticketState },
            detail: { outcome, checklist, finding, case_id: caseId, ticket_state: ticketState },
          }),
        )
        await sign(parts, db, situation, { ...given, ticketState })
        if (rotates) await rotateAfter(db, grant)
        if (isFlagged) {
          const reason = `misuse was found in ${grant.id}`
          await putBlock(db, { requesterId: grant.requesterId, grantId: grant.id, reason })
        }
        return undefined
      }),
    reopen: ({ reason, ...ask }) =>
      act(ledger, ask, ACTION.reopen, async (db, { grant, policy, actor }) => {
        const { told_of_review: _, ...detail } = grant.detail
        const due = { ...reviewDeadlines(grant, policy.spec), detail }
        const nextActionAt = nextLook({ ...grant, ...due, state: 'review_due' })
        const reopened = { event: 'reopen', to: 'review_due', who: 'officer' } as const
        const set = { ...due, nextActionAt }
        won(await moves.record(db, { grant, ...reopened, actor, set, detail: { reason } }))
        await insertReview(db, {
          grantId: grant.id,
          reviewerId: actor.id,
          reviewer: shownActor(actor),
          outcome: 'reopened',
          checklist: {},
          finding: reason,
          caseId: '',
          jws: null,
          at: grant.now,
        })
        return undefined
      }),
  }
}

const ticketStateAfter = (
  { ticketState }: Pick<Grant, 'ticketState'>,
  { ticketVerified }: Pick<ReviewGiven, 'ticketVerified'>,
): Grant['ticketState'] => (ticketVerified && ticketState === 'unverified' ? 'verified' : ticketState)

/** Throws, naming the field, unless it says all that a review has to. */
function mustBeGood(
  { outcome, checklist, finding, caseId, ticketVerified }: ReviewGiven,
  { grant }: Situation,
) {
  if (outcome === 'flagged') {
    if (finding === '') throw field('finding', 'is required: what was found?')
    if (caseId === '') throw field('case_id', 'is required: in which case is it followed up?')
    return
  }
  const open = CHECKS.find((name) => name !== 'rotate' && !checklist[name])
  if (open) throw field('checklist', `${open} has not been ticked`)
  if (grant.forceRotation && !checklist.rotate) {
    throw field('checklist', 'rotate has not been ticked: what was seen has to be rotated')
  }
  if (grant.ticketState === 'unverified' && !ticketVerified) {
    throw field('ticket_verified', 'is required: nobody could check the ticket then')
  }
  if (grant.ratification === 'due') throw conflict('it has yet to be ratified, or not')
}

/** Nothing is found to be as it should be by somebody who has not read what happened. */
async function mustHaveRead(db: Db, { grant }: Situation, { outcome, eventsSeen }: ReviewGiven) {
  if (outcome !== 'ok') return
  if (eventsSeen === undefined) throw field('events_seen', 'is required: how many events have you read?')
  if (eventsSeen !== (await grantEvents(db, grant.id)).length) {
    throw conflict('the record of the request has other events than those you have read: look at it again')
  }
}

const field = (name: string, what: string): BrokerError =>
  new BrokerError('invalid_request', `Field validation failed: field "${name}" ${what}`)

/** What was found, about which access, by whom: everything that a later reader needs to know it was this one. */
async function sign(
  { signer }: AccessParts,
  db: Db,
  situation: Situation,
  given: ReviewGiven & Pick<Grant, 'ticketState'>,
): Promise<void> {
  const { grant, actor } = situation
  const { outcome, checklist, finding, caseId, ticketState } = given
  const [leases, events] = [await findGrantLeases(db, grant.id), await grantEvents(db, grant.id)]
  const payload = {
    iss: signer.issuer,
    request_id: grant.id,
    plan_hash: grant.planHash,
    lane: grant.lane,
    requester: grant.requesterId,
    ticket_state: ticketState,
    reviewer: { id: actor.id, ...shownActor(actor) },
    outcome,
    checklist,
    finding,
    case_id: caseId,
    reviewed_at: grant.now.toISOString(),
    started_at: grant.startedAt?.toISOString() ?? null,
    ended_at: grant.endedAt?.toISOString() ?? null,
    end_reason: grant.endReason,
    ratification: grant.ratification,
    leases: leases.map(({ leaseId, endedAt }) => ({
      lease_id: leaseId,
      ended_at: endedAt?.toISOString() ?? null,
    })),
    events: events.length,
  }
  const jws = await signer.sign(new TextEncoder().encode(JSON.stringify(payload)), REVIEW_TYPE)
  await insertReview(db, {
    grantId: grant.id,
    reviewerId: actor.id,
    reviewer: shownActor(actor),
    outcome,
    checklist,
    finding,
    caseId,
    jws,
    at: grant.now,
  })
}
