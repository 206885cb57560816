import type { Grant } from '../ledger/grants.ts'
import type { PolicySpec } from './policies.ts'

/** How often what a grant rests on is looked at again while people wait: its roles, its policy, who has voted. */
const RECHECK_SECONDS = 30

/** What of a grant its timers go by while people wait. */
type Waiting = Pick<
  Grant,
  'state' | 'requestedAt' | 'pendingExpiresAt' | 'activateBy' | 'escalations' | 'now'
>

/** Everybody has been told from the first, or after two more steps. */
const LAST_ESCALATION = 2

/** How many more sets than the first should have been told by now. */
export function escalationsDue(
  { requestedAt, pendingExpiresAt, now }: Pick<Grant, 'requestedAt' | 'pendingExpiresAt' | 'now'>,
  { approver_sets_escalation }: Pick<PolicySpec, 'approver_sets_escalation'>,
): number {
  const gone = (now.getTime() - requestedAt.getTime()) / (pendingExpiresAt.getTime() - requestedAt.getTime())
  return Math.min(lastEscalation(approver_sets_escalation), Math.floor(gone * 3))
}

/**
 * The sets that have been asked to decide after so many escalations. `all`: everybody is asked from the first, or by
 * now.
 */
export const setsReached = (
  steps: readonly (readonly string[])[],
  escalations: number,
): readonly string[] | 'all' =>
  escalations >= lastEscalation(steps) ? 'all' : steps.slice(0, escalations + 1).flat()

const lastEscalation = (steps: readonly unknown[]): number =>
  Math.max(0, Math.min(steps.length - 1, LAST_ESCALATION))

/** When the next set is to be told; undefined when all have been. */
function nextEscalation(
  { requestedAt, pendingExpiresAt, escalations }: Waiting,
  { approver_sets_escalation }: PolicySpec,
): Date | undefined {
  if (escalations >= lastEscalation(approver_sets_escalation)) return undefined
  const wholeMs = pendingExpiresAt.getTime() - requestedAt.getTime()
  return new Date(requestedAt.getTime() + Math.ceil((wholeMs * (escalations + 1)) / 3))
}

/** Which sets have been told of a grant that waits for people, which are told next and when; null where there are no steps. */
export function escalationOf(
  grant: Waiting,
  spec: PolicySpec,
): { asked: string[][]; next: { sets: string[]; at: Date } | null } | null {
  const { approver_sets_escalation: steps } = spec
  if (steps.length < 2) return null
  const at = grant.state === 'pending' ? nextEscalation(grant, spec) : undefined
  const sets = steps[grant.escalations + 1] ?? []
  return { asked: steps.slice(0, grant.escalations + 1), next: at ? { sets, at } : null }
}

/** When somebody has to look at a grant that waits for people: at its deadline, and before that now and then. */
export function nextActionAt(grant: Waiting, spec: PolicySpec): Date | null {
  const deadline =
    grant.state === 'pending' ? grant.pendingExpiresAt : grant.state === 'approved' ? grant.activateBy : null
  if (deadline === null) return null
  const recheck = new Date(grant.now.getTime() + RECHECK_SECONDS * 1_000)
  const escalation = grant.state === 'pending' ? nextEscalation(grant, spec) : undefined
  return [deadline, recheck, ...(escalation ? [escalation] : [])].reduce((a, b) => (b < a ? b : a))
}

export const after = (from: Date, seconds: number): Date => new Date(from.getTime() + seconds * 1_000)
