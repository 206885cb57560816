import { durationWords } from './clock.ts'
import type { Grant, Lane, PlanRole, Quorum, QuorumSet, ShortGrant, Vote } from './grant-types.ts'

const LANES: Record<Lane, string> = {
  standard: 'standard',
  break_glass: 'break-glass',
  sealed: 'sealed lane',
  drill: 'drill',
}

export const laneWords = (lane: Lane): string => LANES[lane] ?? lane

/** "a, b and c". */
export function listWords(items: readonly string[]): string {
  if (items.length < 2) return items.join('')
  return `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`
}

export const targetsOf = ({ plan }: Pick<ShortGrant, 'plan'>): string[] => [
  ...new Set(plan.roles.map(({ target }) => target)),
]

/** "app-admin on prod-pg": the role's own name, and what it opens. */
export const roleWords = ({ name, path, target }: PlanRole): string =>
  `${name || path.slice(path.lastIndexOf('/') + 1)} on ${target}`

/** "Alice asks for app-admin on prod-pg for 30 minutes". */
export const askWords = ({
  requester,
  plan,
  duration_seconds,
}: Pick<ShortGrant, 'requester' | 'plan' | 'duration_seconds'>) =>
  `${requester.display_name} asks for ${listWords(plan.roles.map(roleWords))} for ${durationWords(duration_seconds)}`

const TICKETS = {
  none: 'not checked by this policy',
  verified: 'verified with the incident system',
  unverified: 'not verified: the incident system gave no answer',
}

export const ticketWords = (state: ShortGrant['ticket_state']): string => TICKETS[state] ?? state

/** The sets that are still short of a vote; where none is and people are, every set. */
export function openSets({ tree }: Quorum): QuorumSet[] {
  const short = tree.filter(({ have, needed }) => have < needed)
  return short.length > 0 ? short : tree
}

/** Whether a yes of that set can still bring a request closer to its approval. */
export const canHelp = (quorum: Quorum, { set }: QuorumSet): boolean =>
  openSets(quorum).some((open) => open.set === set)

/** The sets that say how far it is: once it is enough, those that nobody of was needed say nothing any more. */
export const tellingSets = (quorum: Quorum): QuorumSet[] =>
  quorum.met ? quorum.tree.filter(({ have }) => have > 0) : quorum.tree

const DECISIONS: Record<Vote['decision'], string> = {
  approve: 'approved',
  deny: 'denied',
  witness: 'witnessed',
  ratify: 'ratified',
  refuse: 'refused to ratify',
  resume: 'resumed',
  abandon: 'declared the target abandoned',
}

export const decisionWords = (decision: Vote['decision']): string => DECISIONS[decision] ?? decision

/** What became of a vote that does not count any more; undefined while it does. */
export function voidWords(vote: Vote): string | undefined {
  if (vote.current) return undefined
  return vote.ended_because ? vote.ended_because.replaceAll('_', ' ') : 'the plan has changed since'
}

const isPast = (at: string | null, now: number): boolean => at !== null && Date.parse(at) <= now

/** What the waiting ends with at `now` (milliseconds, the server's): when, and what happens then. */
export function deadlineOf(grant: ShortGrant, now: number): { at: string; label: string } | undefined {
  const found: Partial<Record<ShortGrant['state'], [string | null, string]>> = {
    pending: [grant.pending_expires_at, 'expires in'],
    approved: [grant.activate_by, 'to be activated within'],
    active: [grant.expires_at, 'ends in'],
    suspended: [grant.expires_at, 'ends in'],
    review_due: isPast(grant.review_due_at, now)
      ? [grant.review_overdue_at, 'review due; overdue in']
      : [grant.review_due_at, 'review due in'],
  }
  const [at, label] = found[grant.state] ?? []
  return at && label ? { at, label } : undefined
}

/**
 * Whether credentials that were given out under a request let nobody in any more, at `now` (milliseconds, the server's):
 * it is suspended, it has ended, or its end has passed. While it is being activated its page may lag behind.
 */
export const isAccessOver = (
  { state, expires_at }: Pick<ShortGrant, 'state' | 'expires_at'>,
  now: number,
): boolean =>
  !['approved', 'activating', 'active'].includes(state) ||
  (state === 'active' && expires_at !== null && Date.parse(expires_at) <= now)

/** What somebody who looked at the request before has to know: narrowed plans and votes that do not count any more. */
export function changesOf({ events, votes }: Pick<Grant, 'events' | 'votes'>): string[] {
  const narrowed = events.filter(({ event }) => event.includes('narrow'))
  const gone = votes.filter(({ current, round }) => !current && round === 0)
  return [
    ...narrowed.map(
      ({ actor }) =>
        `${actor?.display_name ?? 'Somebody'} narrowed the plan: what is below is what is left of it.`,
    ),
    ...gone.map(
      (vote) => `The vote of ${vote.voter.display_name} does not count any more: ${voidWords(vote)}.`,
    ),
  ]
}

const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g

/** A sentence of the server's with the times in it in the reader's zone. */
export const withLocalTimes = (text: string): string =>
  text.replace(TIME, (time) =>
    new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium', hourCycle: 'h23' }).format(new Date(time)),
  )

const EVENT_WORDS: Readonly<Record<string, string>> = {
  submit: 'asked',
  submit_sealed: 'asked through the sealed lane',
  approve: 'approved',
  narrow: 'narrowed the plan and approved',
  deny: 'denied',
  witness: 'witnessed',
  cancel: 'cancelled',
  expire: 'time ran out',
  escalate: 'told the next approvers',
  void: 'void',
  withdraw: 'withdrew a vote',
  lose_vote: 'a vote does not count any more',
  activate: 'activated',
  activated: 'access began',
  activation_failed: 'activation failed',
  collect: 'collected new credentials',
  ask_extension: 'asked for more time',
  approve_extension: 'approved more time',
  deny_extension: 'denied more time',
  extend: 'approved more time: the end has moved',
  expire_extension: 'nobody decided about more time',
  suspend: 'suspended',
  ask_resume: 'wants to resume, a second person has to agree',
  resume: 'resumed',
  return: 'gave access back',
  revoke: 'ended access',
  ending_soon: 'about to end',
  ratification_overdue: 'nobody ratified in time',
  foreign_change: 'somebody changed an account at the target',
  proved_gone: 'every account proved gone',
  stuck: 'the end is not proved in time',
  ask_abandon: 'wants to give up the target, a second person has to agree',
  abandon: 'declared the target abandoned',
  review_ok: 'reviewed: in order',
  review_flagged: 'reviewed: misuse found',
  review_reminder: 'the review is due soon',
  reopen: 'reopened the review',
}

export const eventWords = (event: string): string => EVENT_WORDS[event] ?? event.replaceAll(/[_.-]/g, ' ')
