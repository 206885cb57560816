import type { Detail } from '../../audit/event.ts'
import type { Grant } from '../../ledger/grants.ts'
import type { Actor } from '../actor.ts'
import type { GrantEvent } from '../states.ts'

export type Person = { display_name: string; subject: string; mount: string }

/** What is told, as webhooks get it. There is no secret in it, and no address of anybody. */
export type Message = {
  /** The same at every try: who has seen it has seen this message. */
  id: string
  event: GrantEvent
  at: string
  request: {
    id: string
    state: string
    version: number
    lane: string
    policy: string
    policy_version: number
    requester: Person
    roles: { path: string; target: string; environment: string }[]
    reason: string
    ticket: string
    ticket_state: string
    duration_seconds: number
    plan_hash: string
    end_reason: string | null
    ratification: string
  } & Record<(typeof TIMES)[number], string | null>
  /** Who did it; null for a timer. */
  actor: Person | null
  detail: Readonly<Record<string, Detail>>
}

const TIMES = [
  'requested_at',
  'pending_expires_at',
  'activate_by',
  'started_at',
  'expires_at',
  'ended_at',
  'review_due_at',
  'review_overdue_at',
  'ratify_by',
] as const

export type Told = {
  grant: Grant
  event: GrantEvent
  actor: Actor | null
  detail: Readonly<Record<string, Detail>>
}

export function messageOf(
  { grant, event, actor, detail }: Told,
  policy: { name: string; version: number },
  id: string,
): Message {
  return {
    id,
    event,
    at: grant.now.toISOString(),
    request: {
      id: grant.id,
      state: grant.state,
      version: grant.version,
      lane: grant.lane,
      policy: policy.name,
      policy_version: policy.version,
      requester: personOf(grant.requester),
      roles: rolesOf(grant.plan),
      reason: grant.reason,
      ticket: grant.ticket,
      ticket_state: grant.ticketState,
      duration_seconds: grant.durationSeconds,
      plan_hash: grant.planHash,
      end_reason: grant.endReason,
      ratification: grant.ratification,
      requested_at: grant.requestedAt.toISOString(),
      pending_expires_at: grant.pendingExpiresAt.toISOString(),
      activate_by: timeOf(grant.activateBy),
      started_at: timeOf(grant.startedAt),
      expires_at: timeOf(grant.expiresAt),
      ended_at: timeOf(grant.endedAt),
      review_due_at: timeOf(grant.reviewDueAt),
      review_overdue_at: timeOf(grant.reviewOverdueAt),
      ratify_by: timeOf(grant.ratifyBy),
    },
    actor: actor && personOf(actor),
    detail,
  }
}

const timeOf = (time: Date | null): string | null => time?.toISOString() ?? null

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

const personOf = (who: object): Person => {
  const { display_name, subject, mount } = who as Partial<Person>
  return { display_name: text(display_name), subject: text(subject), mount: text(mount) }
}

function rolesOf({ roles }: Readonly<Record<string, unknown>>): Message['request']['roles'] {
  if (!Array.isArray(roles)) return []
  return roles.map(({ path, target, environment }) => ({
    path: text(path),
    target: text(target),
    environment: text(environment),
  }))
}
