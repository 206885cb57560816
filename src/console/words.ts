import { durationWords } from './clock.ts'
import type { Grant, Lane, PlanRole, Quorum, QuorumPart, QuorumSet, ShortGrant, Vote } from './grant-types.ts'
import { targetName } from './target-name.ts'

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
  ...new Set(plan.roles.map(targetName)),
]

/** "app-admin on prod-pg": the role's own name, and what it opens; with where, of a role that says so. */
export function roleWords(role: PlanRole): string {
  const { name, path, kubernetes_namespace: namespace } = role
  const where = namespace ? `, namespace ${namespace}` : ''
  return `${name || path.slice(path.lastIndexOf('/') + 1)} on ${targetName(role)}${where}`
}

/** "Alice asks for app-admin on prod-pg for 30 minutes"; once it is decided, what she asked for. */
export const askWords = ({
  requester,
  state,
  plan,
  duration_seconds,
}: Pick<ShortGrant, 'requester' | 'state' | 'plan' | 'duration_seconds'>) =>
  `${requester.display_name} ${state === 'pending' ? 'asks' : 'asked'} for ${listWords(plan.roles.map(roleWords))} for ${durationWords(duration_seconds)}`

const TICKETS = {
  none: 'not checked by this policy',
  verified: 'verified with the incident system',
  unverified: 'not verified: the incident system gave no answer',
}

export const ticketWords = (state: ShortGrant['ticket_state']): string => TICKETS[state] ?? state

export const partsOf = (part: QuorumPart): readonly QuorumPart[] =>
  'set' in part ? [] : 'any_of' in part ? part.any_of : part.all_of

const setsIn = (part: QuorumPart | null): QuorumSet[] =>
  !part ? [] : 'set' in part ? [part] : partsOf(part).flatMap(setsIn)

/** What has all it takes has no use for one more, nor has any part of it. */
const setsShort = (part: QuorumPart | null): QuorumSet[] =>
  !part || part.met ? [] : 'set' in part ? [part] : partsOf(part).flatMap(setsShort)

/** The sets that are still short of a vote; where none is and people are, every set. */
export function openSets({ tree }: Quorum): QuorumSet[] {
  const short = setsShort(tree)
  return short.length > 0 ? short : setsIn(tree)
}

/** "1 more of service-owner, or 2 of managers"; empty for what has all it takes. */
export function missingWords(part: QuorumPart): string {
  if (part.met) return ''
  const missing = part.needed - part.have
  if ('set' in part) return `${missing} ${part.have > 0 ? 'more ' : ''}of ${part.set}`
  const short = partsOf(part).filter(({ met }) => !met)
  const said = short.map(missingWords)
  if ('any_of' in part) return said.join(', or ')
  // Somebody who is in two of the sets has filled one place only.
  const unsaid = missing - short.reduce((sum, { needed, have }) => sum + needed - have, 0)
  const full = setsIn(part).filter(({ met }) => met)
  if (unsaid > 0) said.push(`${unsaid} more of ${full.map(({ set }) => set).join(' or ')}`)
  return said.join(' and ')
}

/** Whether a yes of that set can still bring a request closer to its approval. */
export const canHelp = (quorum: Quorum, { set }: QuorumSet): boolean =>
  openSets(quorum).some((open) => open.set === set)

/** Of these parts those that say how far it is: once it is enough, what nobody of was needed says nothing any more. */
export const tellingParts = (
  { met }: Pick<Quorum, 'met'>,
  parts: readonly QuorumPart[],
): readonly QuorumPart[] => (met ? parts.filter(({ have }) => have > 0) : parts)

const DECISIONS: Record<Vote['decision'], string> = {
  approve: 'approved',
  deny: 'denied',
  witness: 'witnessed',
  ratify: 'ratified',
  refuse: 'refused to ratify',
  resume: 'resumed',
  abandon: 'declared the target abandoned',
  on_call: 'found the requester on call',
}

export const decisionWords = (decision: Vote['decision']): string => DECISIONS[decision] ?? decision

/** Whose vote it is. What no person cast says so, whatever it calls itself. */
export const voterWords = ({ decision, voter }: Pick<Vote, 'decision' | 'voter'>): string =>
  decision === 'on_call' ? 'The incident system' : voter.display_name

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

/** As the event of a narrowing tells it; nothing where it does not. */
function takenAway({ seconds_before: seconds, roles_removed: roles }: Record<string, unknown>): string {
  const parts = [
    ...(typeof seconds === 'number' ? [`it was for ${durationWords(seconds)}`] : []),
    ...(Array.isArray(roles) ? [`without ${listWords(roles.map(String))}`] : []),
  ]
  return parts.length > 0 ? ` (${parts.join(', ')})` : ''
}

/** What somebody who looked at the request before has to know: narrowed plans and votes that do not count any more. */
export function changesOf({ events, votes }: Pick<Grant, 'events' | 'votes'>): string[] {
  const narrowed = events.filter(({ event }) => event.includes('narrow'))
  const gone = votes.filter(({ current, round }) => !current && round === 0)
  return [
    ...narrowed.map(
      ({ actor, detail }) =>
        `${actor?.display_name ?? 'Somebody'} narrowed the plan${takenAway(detail)}: what is below is what is left of it.`,
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

const END_WORDS: Readonly<Record<string, string>> = {
  returned: 'given back',
  revoked: 'ended by somebody else',
  cancelled: 'cancelled',
  expired: 'its time was over',
  incident_closed: 'its incident was closed',
  requester_disabled: 'who asked for it was disabled',
  target_retired: 'its target was removed',
  ratification_refused: 'it was not ratified',
  ratification_overdue: 'nobody ratified it in time',
  externally_modified: 'somebody changed an account at the target',
  activation_failed: 'not all accounts could be made',
}

/** Why access ended; empty where it has not. */
export const endWords = (reason: string | null): string =>
  reason === null ? '' : (END_WORDS[reason] ?? reason.replaceAll('_', ' '))

/** Whether it is the broker's own word for an end, and not what somebody wrote. */
export const isEndReason = (text: string): boolean => Object.hasOwn(END_WORDS, text)

const EVENT_WORDS: Readonly<Record<string, string>> = {
  submit: 'asked',
  submit_sealed: 'asked through the sealed lane',
  approve: 'approved',
  on_call_vote: 'found the requester on call',
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

/** "security-oncall; then owners and officers": sets that were told one after another. */
export const stepsWords = (steps: readonly (readonly string[])[]): string =>
  steps.map((sets) => (sets.length > 0 ? listWords(sets) : 'nobody')).join('; then ')

export const eventWords = (event: string): string => EVENT_WORDS[event] ?? event.replaceAll(/[_.-]/g, ' ')
