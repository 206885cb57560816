import { isAmong, isSame, known, type Login, type Name } from './grant-people.ts'

/** What section 2 of the specification comes to, read once more and written down apart from the code under test. */

/** The lanes, and what policies make of them: one that needs no approval, and one whose sealed lane takes nobody else. */
export const LANE_NAMES = ['break_glass', 'standard', 'sealed', 'drill', 'auto', 'solo'] as const
export type LaneName = (typeof LANE_NAMES)[number]

const MINUTE = 60
const HOUR = 3_600

export const ACTIVATE_WITHIN = 10 * MINUTE
const DURATION = 30 * MINUTE
const SEALED_DURATION = 15 * MINUTE
/** By then a timer has looked again at what a request rests on. */
export const LOOKED_AGAIN = 30

export const isSealed = ({ lane }: Pick<Model, 'lane'>): boolean => lane === 'sealed' || lane === 'solo'
export const isEveryday = ({ lane }: Pick<Model, 'lane'>): boolean => lane === 'standard' || lane === 'auto'

/** What policies say differently of the lanes, in seconds. */
export const limitsOf = ({ lane }: Pick<Model, 'lane'>) => ({
  pending: lane === 'auto' ? 5 * MINUTE : 15 * MINUTE,
  grace: lane === 'auto' ? 0 : 5 * MINUTE,
  ratifyWithin: lane === 'solo' ? 10 * MINUTE : 24 * HOUR,
  reviewDue: lane === 'solo' ? MINUTE : 24 * HOUR,
  reviewOverdue: lane === 'solo' ? 2 * MINUTE : 72 * HOUR,
})

/** What is wrong with the target: nothing is begun there, nothing can be made, nothing can be removed. */
export type Breakage = 'begin' | 'create' | 'remove'
/** What a request rests on: a policy, a role and its target. */
export type Ground = 'policy' | 'role' | 'target'

export type Model = {
  lane: LaneName
  /** Seconds since it was asked for. */
  now: number
  state: string
  duration: number
  yes: Name[]
  no: Name[]
  /** Humans who ever said yes or no to it, to more time, or to its ratification. */
  tookPart: Set<string>
  /** Of those, who ever saw a sealed ask. */
  witnesses: Set<string>
  /** Who ever had a voice in the request itself. */
  voted: Set<string>
  /** What has been changed of what it rests on. */
  changed: Set<Ground>
  /** Logins that are blocked, and those who have left every group. */
  blocked: Set<Name>
  left: Set<Name>
  /** When a timer looks at it next, as its row says. */
  lookBy: number
  pendingBy: number
  activateBy: number
  startedAt: number
  endsAt: number
  extended: number
  extension?: { yes: Name[]; until: number } | undefined
  resume: Name[]
  abandon: Name[]
  ratification: 'none' | 'due' | 'ratified' | 'refused' | 'overdue'
  ratify: Name[]
  ratifyBy: number
  rotate: boolean
  incidentEnds?: number | undefined
  endingSince: number
  reviewDue: number
  reviewOverdue: number
  /** An account that is there; one that was ended and may not be proved gone. */
  live: boolean
  dirty: boolean
  /** The account was altered by somebody on the target. */
  altered: boolean
  /** Since when the target has not answered whoever makes the account. */
  heldSince?: number | undefined
  /** What was being made was ended before it was there. */
  isDoomed: boolean
  broken: Set<Breakage>
  /** What was tried since nothing can happen any more. */
  over: number
}

export function newModel(lane: LaneName): Model {
  const needsNobody = lane === 'auto' || lane === 'solo'
  const nothing = { startedAt: 0, endsAt: 0, extended: 0, endingSince: 0, reviewDue: 0, reviewOverdue: 0 }
  return {
    ...nothing,
    ...{ lane, now: 0, state: needsNobody ? 'approved' : 'pending' },
    ...{ duration: isSealed({ lane }) ? SEALED_DURATION : DURATION, lookBy: LOOKED_AGAIN },
    ...{ pendingBy: limitsOf({ lane }).pending, activateBy: needsNobody ? ACTIVATE_WITHIN : 0 },
    ...{ yes: [], no: [], resume: [], abandon: [], ratify: [], ratifyBy: Number.POSITIVE_INFINITY },
    ...{ tookPart: new Set(), witnesses: new Set(), voted: new Set(), changed: new Set(), broken: new Set() },
    ...{ blocked: new Set(), left: new Set() },
    ratification: lane === 'solo' ? 'due' : 'none',
    ...{ rotate: lane === 'solo', live: false, dirty: false, altered: false, isDoomed: false, over: 0 },
  }
}

/** What became of it: the state that was found, and the events since. */
export type After = (model: Model, to: string, events: readonly string[]) => void

/**
 * What must come of something: refused, and nothing has changed; refused because the grant has moved by itself; done;
 * or tried in vain, where the target let it down. Where more than one state is possible, what is found goes.
 */
export type Expected =
  | { kind: 'refused' }
  | { kind: 'lapsed' | 'done' | 'failed'; to: string[]; after?: After }

export const REFUSED: Expected = { kind: 'refused' }
const expecting =
  (kind: 'lapsed' | 'done' | 'failed') =>
  (to: string | string[], after?: After): Expected => ({ kind, to: [to].flat(), ...(after && { after }) })
export const done = expecting('done')
export const failed = expecting('failed')

export const ACCESS = ['active', 'suspended']
export const ENDINGS = ['ending', 'ending_stuck']
export const REVIEWS = ['review_due', 'review_overdue']
export const WAITING = ['pending', 'approved']
export const FINAL = ['denied', 'cancelled', 'expired', 'voided', 'activation_failed', 'closed_flagged']

/* Who somebody is. A machine is in no set, and nobody is anything else on what they asked for themselves. */

export const isOf = ({ left }: Model, name: Name, ...groups: string[]): boolean =>
  known(name).kind !== 'workload' && !left.has(name) && wasOf(name, ...groups)
/** When they last said something, whatever was learnt of them since. */
export const wasOf = (name: Name, ...groups: string[]): boolean =>
  known(name).groups.some((group) => groups.includes(group))
export const isRequester = (name: Name): boolean => isSame(name, 'rita')
export const isApprover = (model: Model, name: Name): boolean =>
  model.lane !== 'auto' && isOf(model, name, 'oncall', 'owners') && !isRequester(name)
export const inCharge = (model: Model, name: Name): boolean => isOf(model, name, 'security', 'keepers')
/** Blocked by one login, its requester is by all of them. */
export const isBlocked = ({ blocked }: Model, name: Name): boolean =>
  blocked.has(name) || (isRequester(name) && blocked.has('rita'))
/** Those of whom nothing was learnt since. */
export const counting = ({ blocked, left }: Model, names: readonly Name[]): Name[] =>
  names.filter((name) => !blocked.has(name) && !left.has(name))

export const isFresh = (login: Login): boolean => login === 'key' || login === 'edge' || login === 'soft'
export const isHard = (login: Login): boolean => login === 'key' || login === 'edge'
export const mayReceive = (model: Model, login: Login): boolean =>
  isHard(login) || (!isSealed(model) && login === 'soft')

/** Two people, one of each set; or one of either. */
export function isEnough({ lane }: Pick<Model, 'lane'>, names: readonly Name[]): boolean {
  if (lane === 'standard') return names.some((name) => wasOf(name, 'oncall', 'owners'))
  return names.some((a) => wasOf(a, 'oncall') && names.some((b) => wasOf(b, 'owners') && !isSame(a, b)))
}

export const isApproved = (model: Pick<Model, 'lane'>, yes: readonly Name[]): boolean =>
  isSealed(model) ? model.lane === 'solo' || yes.length > 0 : model.lane === 'auto' || isEnough(model, yes)

export const hasVoted = ({ yes, no }: Model, by: Name): boolean => isAmong([...yes, ...no], by)

/* What time and changes have come to for what waits. */

export type Lapse = { to: string; isCertain: boolean; after?: After }

/** Undefined when everything stands. */
export function lapseOf(model: Model): Lapse | undefined {
  const { state, now, pendingBy, activateBy, changed, yes, lookBy } = model
  if (!WAITING.includes(state)) return undefined
  if (now >= (state === 'pending' ? pendingBy : activateBy)) return { to: 'expired', isCertain: true }
  const isLooked = now >= lookBy
  // Writing a policy makes everything under it due.
  if (changed.size > 0) return { to: 'voided', isCertain: isLooked || changed.has('policy') }
  if (isBlocked(model, 'rita')) return { to: 'voided', isCertain: isLooked }
  const left = counting(model, yes)
  if (left.length === yes.length) return undefined
  const to = state === 'approved' && isApproved(model, left) ? 'approved' : 'pending'
  return { to, isCertain: isLooked, after: dropLost }
}

const dropLost: After = (model, to, events) => {
  if (!events.includes('lose_vote')) return
  model.yes = counting(model, model.yes)
  if (to === 'pending') backToPending(model)
}

/** Nothing of the approval is left; what only a sealed ask owes is owed once it is approved again. */
export function backToPending(model: Model): void {
  model.activateBy = 0
  if (isSealed(model)) model.ratification = 'none'
}

export const lapsing = (model: Model, otherwise: () => Expected): Expected => {
  const lapse = lapseOf(model)
  return lapse ? expecting('lapsed')(lapse.to, lapse.after) : otherwise()
}

/* Ends. */

/** After that what was to be made is ended, and the target makes it no more. */
export const CREATE_DEADLINE = 20
export const isTooLate = ({ now, heldSince = now }: Model): boolean => now - heldSince >= CREATE_DEADLINE

const whenGone = (model: Model): string => (isEveryday(model) ? 'closed_ok' : 'review_due')

/** Of what is ended while somebody waits for it. */
export function afterEnd(model: Model): string[] {
  const gone = whenGone(model)
  // What is being made may still arrive on the target.
  if (model.heldSince !== undefined) return isTooLate(model) ? ['ending', gone] : ['ending']
  if (!model.live && !model.dirty) return [gone]
  if (model.broken.has('remove')) return model.live ? ['ending'] : ['ending', gone]
  return model.dirty ? ['ending', gone] : [gone]
}

export const whenLeft = (model: Model): string[] => [model.state, whenGone(model)]

/** Nobody has had it, so nobody has to ratify it. */
export function neverGiven(model: Model): void {
  if (model.ratification === 'due') model.ratification = 'none'
}

export function ended(model: Model, to: string): void {
  if (model.state === 'activating') neverGiven(model)
  if (ENDINGS.includes(to)) {
    model.endingSince = model.now
    model.dirty ||= model.live
  } else {
    model.dirty = false
    dueForReview(model)
  }
  if (model.heldSince !== undefined) model.isDoomed = true
  model.live = false
  model.extension = undefined
}

export function dueForReview(model: Model): void {
  const { reviewDue, reviewOverdue } = limitsOf(model)
  model.reviewDue = model.now + reviewDue
  model.reviewOverdue = model.now + reviewOverdue
}
