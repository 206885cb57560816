import { CHECKS, type Checklist } from '../breakglass/review.ts'
import { action, type Parts, present, REASON, refused, VERSION } from './break-glass-action.ts'
import { viewerOf } from './break-glass-caller.ts'
import { bool, defaulted, type Fields, int, map, oneOf, required, text } from './fields.ts'
import { type Answer, handle, type Route } from './route.ts'

/** Looking at access after its end, and what comes of that; relative to `break-glass/`. */
export const breakGlassReviewRoutes = (parts: Parts): Route[] => [
  ...reviewRoutes(parts),
  { path: 'drills', on: { read: handle({}, () => drills(parts)) } },
  ...blockRoutes(parts),
]

const REVIEW = {
  ...VERSION,
  outcome: required(oneOf('ok', 'flagged'), 'missing outcome: ok or flagged'),
  checklist: required(map, 'missing checklist'),
  finding: defaulted(text, ''),
  case_id: defaulted(text, ''),
  ticket_verified: defaulted(bool, false),
  events_seen: int,
  plan_hash: text,
} satisfies Fields

const reviewRoutes = (parts: Parts): Route[] => [
  action(parts, 'review', REVIEW, (act, fields) =>
    parts.grantAccess.review({
      ...act,
      outcome: fields.outcome,
      checklist: checklistOf(fields.checklist),
      finding: fields.finding.trim(),
      caseId: fields.case_id.trim(),
      ticketVerified: fields.ticket_verified,
      eventsSeen: fields.events_seen,
    }),
  ),
  action(parts, 'reopen', REASON, (act, { reason }) =>
    parts.grantAccess.reopen({ ...act, reason: present('reason', reason) }),
  ),
]

async function drills({ grantAccess }: Parts): Promise<Answer> {
  const { drills, gaps } = await grantAccess.drills()
  return {
    data: {
      drills: drills.map((drill) => ({
        id: drill.id,
        policy: drill.policy,
        state: drill.state,
        requested_at: drill.requestedAt.toISOString(),
        seconds_to_first_vote: drill.toFirstVote,
        seconds_to_approval: drill.toApproval,
        seconds_to_access: drill.toAccess,
        seconds_to_proved_gone: drill.toProvedGone,
        seconds_to_review: drill.toReview,
      })),
      gaps: gaps.map(({ policy, lastDrillAt }) => ({
        policy,
        last_drill_at: lastDrillAt?.toISOString() ?? null,
      })),
    },
  }
}

/** Every box is ticked or not: one that is left out was not looked at. */
function checklistOf(sent: Readonly<Record<string, unknown>>): Checklist {
  const unknown = Object.keys(sent).find((name) => !(CHECKS as readonly string[]).includes(name))
  if (unknown !== undefined) throw refused('checklist', `has ${JSON.stringify(unknown)}, which is no check`)
  return Object.fromEntries(
    CHECKS.map((name) => {
      const value = sent[name]
      if (typeof value !== 'boolean') throw refused('checklist', `${name} must be true or false`)
      return [name, value]
    }),
  ) as Checklist
}

const blockRoutes = ({ grantAccess: { blocks } }: Parts): Route[] => [
  {
    path: 'blocks',
    on: {
      list: handle({}, async (call) => {
        const { actor, seesAll } = await viewerOf(call)
        const all = await blocks.list(actor, { all: seesAll })
        return {
          data: {
            keys: [...new Set(all.map(({ requesterId }) => requesterId))],
            blocks: all.map(({ requesterId, requester, grantId, reason, since }) => ({
              requester_id: requesterId,
              requester: { display_name: requester.display_name, subject: requester.subject },
              grant_id: grantId,
              reason,
              since: since.toISOString(),
            })),
          },
        }
      }),
    },
  },
  {
    path: 'blocks/:requester',
    on: {
      delete: handle({ grant_id: text }, async (call) => {
        const { actor, seesAll } = await viewerOf(call)
        const which = { requesterId: call.capture('requester'), grantId: call.fields.grant_id }
        await blocks.settle(actor, which, { all: seesAll })
        return undefined
      }),
    },
  },
]
