import { createHash } from 'node:crypto'
import type { CheckRoleFields } from '../lease/role-fields.ts'
import { findBreakGlassPolicy } from '../ledger/break-glass-policies.ts'
import { type Db, type Ledger, lockNamed } from '../ledger/db.ts'
import { findBlockOf, overdueReview } from '../ledger/grant-reviews.ts'
import { type AskableRole, askableRoles } from '../ledger/grant-roles.ts'
import { stuckTargets } from '../ledger/grant-timers.ts'
import { countLiveGrants, findGrant, findGrantByKey, type Grant, type GrantPatch } from '../ledger/grants.ts'
import { BrokerError } from '../lib/errors.ts'
import { newId } from '../lib/ids.ts'
import type { Actor } from './actor.ts'
import { checkAsk, checkRoles, type GrantAsk } from './ask.ts'
import { loginFault, mayAsk } from './eligibility.ts'
import type { Moves } from './moves.ts'
import type { OnCall } from './on-call.ts'
import { planHash, planOf } from './plan.ts'
import { type Policy, policyOf } from './policies.ts'
import { notParty, refusedBecause } from './situation.ts'
import type { Lane } from './states.ts'
import type { CheckTicket, TicketAnswer } from './ticket-check.ts'
import { after, nextActionAt } from './waiting.ts'

export type Submit = (
  ask: GrantAsk,
  by: {
    actor: Actor
    idempotencyKey: string | undefined
    /** The wrapping accessor by which a control group knows it. */
    controlAccessor?: string | undefined
    /** It waits for people no longer than this, whatever the policy says. */
    pendingAtMostSeconds?: number | undefined
  },
) => Promise<Grant>

type Parts = {
  ledger: Ledger
  moves: Moves
  checkTicket: CheckTicket
  checkFields: CheckRoleFields
  onCall: Pick<OnCall, 'cast'>
}

/**
 * Rows 1 to 3. Who asks, and as whom, is the actor's proof alone. Throws 403 to whom the policy does not let ask, or who
 * is blocked; 400 for what it does not offer; 409 for an idempotency key used before, and past the number of live grants.
 */
export const createSubmit =
  ({ ledger, moves, checkTicket, checkFields, onCall }: Parts): Submit =>
  async (
    ask,
    { actor, idempotencyKey, controlAccessor, pendingAtMostSeconds = Number.POSITIVE_INFINITY },
  ) => {
    const key = idempotencyKey === undefined ? null : createHash('sha256').update(idempotencyKey).digest()
    if (key) await refuseRepeat(ledger, actor, key)
    const row = await findBreakGlassPolicy(ledger, ask.policy)
    const policy = row && policyOf(row)
    if (!policy || !mayAsk(actor, policy.spec)) throw notParty()
    const checked = checkAsk(ask, policy)
    const how = { lane: checked.lane, checkFields }
    const roles = checkRoles(ask, policy, how, await askableRoles(ledger, ask.roles))
    const said = await ticketAnswer(checkTicket, policy, actor, { ...checked, roles: ask.roles })
    const ticketState: Grant['ticketState'] = said?.state ?? 'none'
    const submitted = await ledger.transaction(async (db) => {
      // What is counted here must still hold when it is written.
      await lockNamed(db, `break-glass requester ${actor.person || actor.id}`)
      const now = await checkRequester(db, actor, policy, { lane: checked.lane, roles })
      const plan = planOf(policy, {
        lane: checked.lane,
        roles,
        duration_seconds: checked.durationSeconds,
        reason: ask.reason,
        ticket: checked.ticket,
      })
      const { state, set } = beginning(policy, checked.lane, now)
      const grant = {
        id: newId(),
        policyId: policy.id,
        lane: checked.lane,
        state,
        requesterId: actor.id,
        requester: actor,
        plan,
        planHash: planHash(plan),
        reason: ask.reason,
        ticket: checked.ticket,
        ticketState,
        durationSeconds: checked.durationSeconds,
        requestedAt: now,
        pendingExpiresAt: after(now, Math.min(policy.spec.pending_ttl, pendingAtMostSeconds)),
        idempotencyKey: key,
      }
      const nextAt = nextActionAt({ ...WITHOUT_HISTORY, ...grant, ...set, now }, policy.spec)
      const event = checked.lane === 'sealed' ? 'submit_sealed' : 'submit'
      const detail = {
        roles: plan.roles.map(({ path, target, version, revocability }) => ({
          ...{ path, target, version, revocability },
        })),
        reason: ask.reason,
        ticket: checked.ticket,
        ticket_state: ticketState,
        ...(state === 'approved' && { auto: 'policy' }),
      }
      const made = await moves.begin(db, grant, {
        event,
        actor,
        set: { ...set, nextActionAt: nextAt, ...(controlAccessor !== undefined && { controlAccessor }) },
        detail,
      })
      if (!made) throw repeated(await findGrantByKey(db, actor.id, key as Buffer))
      return made
    })
    if (!said?.onCall?.vouches) return submitted
    await onCall.cast(submitted, said.onCall)
    return (await findGrant(ledger, submitted.id)) ?? submitted
  }

/** A grant as it begins: what of its columns the timers go by. */
const WITHOUT_HISTORY = { escalations: 0, activateBy: null }

function beginning(
  { spec }: Policy,
  lane: Lane,
  now: Date,
): { state: 'pending' | 'approved'; set: GrantPatch } {
  const isSolo = lane === 'sealed' && spec.sealed_solo
  const needsNobody = lane !== 'sealed' && spec.approvals === null && spec.min_approvers === 0
  if (!isSolo && !needsNobody) return { state: 'pending', set: {} }
  const approved = { approvedAt: now, activateBy: after(now, spec.activate_within) }
  return {
    state: 'approved',
    set: { ...approved, ...(isSolo && { ratification: 'due' as const, forceRotation: true }) },
  }
}

async function refuseRepeat(db: Db, actor: Actor, key: Buffer): Promise<void> {
  const known = await findGrantByKey(db, actor.id, key)
  if (known) throw repeated(known)
}

const repeated = (known: Grant | undefined): BrokerError =>
  new BrokerError('conflict', 'this idempotency key has been used for a request', {
    data: { id: known?.id, state: known?.state },
  })

/** Undefined where nobody is asked. */
async function ticketAnswer(
  checkTicket: CheckTicket,
  policy: Policy,
  requester: Actor,
  { ticket, lane, roles }: { ticket: string; lane: Lane; roles: readonly string[] },
): Promise<(TicketAnswer & { state: 'verified' | 'unverified' }) | undefined> {
  if (policy.spec.ticket_check_url === '' || ticket === '' || lane === 'drill') return undefined
  const answer = await checkTicket(policy, { ticket, requester, roles, lane })
  const { state } = answer
  if (state !== 'refused') return { ...answer, state }
  throw new BrokerError(
    'invalid_request',
    'Field validation failed: field "ticket" is not one that the incident system knows',
  )
}

/** Answers the ledger's time. */
async function checkRequester(
  db: Db,
  actor: Actor,
  policy: Policy,
  { lane, roles }: { lane: Lane; roles: readonly AskableRole[] },
): Promise<Date> {
  const paths = roles.map(({ path }) => path)
  const fault = await requesterFault(db, actor, paths)
  if (fault) throw refusedBecause(fault)
  const [stuck] = await stuckTargets(
    db,
    roles.map(({ targetId }) => targetId),
  )
  if (stuck)
    throw new BrokerError(
      'conflict',
      `an earlier access to ${stuck.name} has not ended yet: nothing new is given there`,
    )
  const { live, now } = await countLiveGrants(db, actor, policy.name)
  if (live >= policy.spec.max_live) {
    throw new BrokerError(
      'conflict',
      `you have ${live} open requests under this policy, and may have no more`,
    )
  }
  const login = lane === 'sealed' ? loginFault(actor, policy.spec, now, { hardware: true }) : undefined
  if (login) throw refusedBecause(login)
  return now
}

/** Why somebody may ask for nothing now, or not for these roles; undefined when they may. */
export async function requesterFault(
  db: Db,
  actor: Pick<Actor, 'id' | 'person'>,
  paths: readonly string[],
): Promise<string | undefined> {
  const block = await findBlockOf(db, actor)
  if (block)
    return `you are blocked since ${block.since.toISOString()}, until a security officer settles request ${block.grantId}`
  const overdue = await overdueReview(db, actor, paths)
  if (!overdue) return undefined
  return overdue.isOwn
    ? 'the review of an earlier request of yours is overdue'
    : `the review of an earlier request for ${overdue.path} is overdue`
}
