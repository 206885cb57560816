import { EXTENSION_SECONDS, NARROWED_BY_SECONDS, type Try } from './grant-acts.ts'
import { known, type Login, type Name } from './grant-people.ts'
import type { LaneName } from './grant-world.ts'

/** What section 2 of the specification comes to, read once more and written down apart from the code under test. */

const MINUTE = 60
const HOUR = 3_600

const PENDING = 15 * MINUTE
const ACTIVATE_WITHIN = 10 * MINUTE
const DURATION = 30 * MINUTE
const SEALED_DURATION = 15 * MINUTE
const GRACE = 5 * MINUTE
const REVIEW_DUE = 24 * HOUR
const REVIEW_OVERDUE = 72 * HOUR
const RATIFY_WITHIN = 24 * HOUR
const END_SLO = 60
/** By then a worker has looked at an end again. */
const END_SEEN = END_SLO + 15
/** By then a timer has looked again at what a request rests on. */
const LOOKED_AGAIN = 30

type Yes = { by: Name }

export type Model = {
  lane: LaneName
  /** Seconds since it was asked for. */
  now: number
  state: string
  duration: number
  yes: Yes[]
  no: Name[]
  /** Humans who ever said yes or no to it, to more time, or to its ratification. */
  tookPart: Set<string>
  /** Of those, who ever saw a sealed ask. */
  witnesses: Set<string>
  /** What it rests on was changed, and since when. */
  stale?: { by: 'policy' | 'role'; at: number } | undefined
  pendingBy: number
  activateBy?: number | undefined
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
  /** What is wrong with the target: nothing can be made there, nothing can be removed. */
  broken: Set<'create' | 'remove'>
}

export const newModel = (lane: LaneName): Model => ({
  ...{ lane, now: 0, state: 'pending', duration: lane === 'sealed' ? SEALED_DURATION : DURATION },
  ...{
    yes: [],
    no: [],
    tookPart: new Set(),
    witnesses: new Set(),
    pendingBy: PENDING,
    startedAt: 0,
    endsAt: 0,
    extended: 0,
  },
  ...{ resume: [], abandon: [], ratification: 'none', ratify: [], ratifyBy: 0, rotate: false },
  ...{ endingSince: 0, reviewDue: 0, reviewOverdue: 0, live: false, dirty: false, broken: new Set() },
})

/**
 * What must come of something: refused, and nothing has changed; refused because the grant has moved by itself; done;
 * or tried in vain, where the target let it down. Where more than one state is possible, what is found goes.
 */
export type Expected =
  | { kind: 'refused' }
  | { kind: 'lapsed' | 'done' | 'failed'; to: string[]; after?: (model: Model, to: string) => void }

const REFUSED: Expected = { kind: 'refused' }
const done = (to: string | string[], after?: (model: Model, to: string) => void): Expected => ({
  kind: 'done',
  to: [to].flat(),
  ...(after && { after }),
})

/* Who somebody is. A machine is in no set, and nobody is anything else on what they asked for themselves. */

const isOf = (name: Name, ...groups: string[]): boolean =>
  known(name).kind !== 'workload' && known(name).groups.some((group) => groups.includes(group))
const isRequester = (name: Name): boolean => known(name).human === 'rita'
const isApprover = (name: Name): boolean => isOf(name, 'oncall', 'owners') && !isRequester(name)
const inCharge = (name: Name): boolean => isOf(name, 'security', 'keepers')
const same = (a: Name, b: Name): boolean => known(a).human === known(b).human
const has = (names: readonly Name[], name: Name): boolean => names.some((one) => same(one, name))

const isFresh = (login: Login): boolean => login === 'key' || login === 'soft'
const mayReceive = ({ lane }: Model, login: Login): boolean =>
  login === 'key' || (lane !== 'sealed' && login === 'soft')

/** Two people, one of each set; or one of either. */
function isEnough(lane: LaneName, names: readonly Name[]): boolean {
  if (lane === 'standard') return names.some(isApprover)
  return names.some((a) => isOf(a, 'oncall') && names.some((b) => isOf(b, 'owners') && !same(a, b)))
}

const approvers = ({ yes }: Model): Name[] => yes.map(({ by }) => by)
const isApproved = (model: Model): boolean =>
  model.lane === 'sealed' ? model.yes.length > 0 : isEnough(model.lane, approvers(model))

/* What time and changes have come to for what waits. */

function lapseOf({ state, now, pendingBy, activateBy = 0, stale }: Model): string | undefined {
  if (state !== 'pending' && state !== 'approved') return undefined
  if (now >= (state === 'pending' ? pendingBy : activateBy)) return 'expired'
  return stale ? 'voided' : undefined
}

const lapsing = (model: Model, otherwise: () => Expected): Expected => {
  const lapse = lapseOf(model)
  return lapse ? { kind: 'lapsed', to: [lapse] } : otherwise()
}

/* Ends. */

const isReviewed = ({ lane }: Model): boolean => lane !== 'standard'
const whenGone = (model: Model): string => (isReviewed(model) ? 'review_due' : 'closed_ok')

function afterEnd(model: Model): string[] {
  if (!model.live && !model.dirty) return [whenGone(model)]
  if (model.broken.has('remove')) return model.live ? ['ending'] : ['ending', whenGone(model)]
  return model.dirty ? ['ending', whenGone(model)] : [whenGone(model)]
}

function ended(model: Model, to: string): void {
  if (to === 'ending' || to === 'ending_stuck') {
    model.endingSince = model.now
    model.dirty ||= model.live
  } else {
    model.dirty = false
    model.reviewDue = model.now + REVIEW_DUE
    model.reviewOverdue = model.now + REVIEW_OVERDUE
  }
  model.live = false
  model.extension = undefined
}

/* What people do, by the rows of the table. */

type Rule = (model: Model, ask: Try) => Expected

/** Only in these states, and only where `may`. */
const from =
  (states: readonly string[], may: (model: Model, ask: Try) => boolean, what: Rule): Rule =>
  (model, ask) =>
    states.includes(model.state) && may(model, ask) ? what(model, ask) : REFUSED

const ACCESS = ['active', 'suspended']
const ENDINGS = ['ending', 'ending_stuck']
const REVIEWS = ['review_due', 'review_overdue']

const hasVoted = ({ yes, no }: Model, by: Name): boolean => has([...yes.map((one) => one.by), ...no], by)

const castYes = (model: Model, { by, does }: Try): Expected =>
  lapsing(model, () => {
    const narrows = does === 'narrow'
    const keeps = !narrows || model.lane === 'standard'
    const yes = [...(keeps ? model.yes : []), { by }]
    return done(
      isEnough(
        model.lane,
        yes.map((one) => one.by),
      )
        ? 'approved'
        : 'pending',
      (after, to) => {
        after.yes = yes
        if (narrows) after.no = []
        if (narrows) after.duration -= NARROWED_BY_SECONDS
        after.tookPart.add(known(by).human)
        if (to === 'approved') after.activateBy = after.now + ACTIVATE_WITHIN
      },
    )
  })

const mayVote = (model: Model, { by, login, seen }: Try): boolean =>
  model.lane !== 'sealed' && isApprover(by) && isFresh(login) && !hasVoted(model, by) && seen === 'right'

const ratifiable = (model: Model, { by, seen }: Try): boolean =>
  model.lane === 'sealed' &&
  isApprover(by) &&
  model.ratification === 'due' &&
  model.now < model.ratifyBy &&
  !model.witnesses.has(known(by).human) &&
  seen === 'right'

const reviewing = (model: Model, { by }: Try): boolean =>
  isOf(by, 'audit') && !isRequester(by) && !model.tookPart.has(known(by).human)

const incident: Rule = (model) => {
  if (model.state === 'pending' || model.state === 'approved') return done('voided')
  if (model.incidentEnds !== undefined) return REFUSED
  return done(model.state, (after) => {
    after.incidentEnds = after.now + GRACE
  })
}
const INCIDENT_STATES = ['pending', 'approved', ...ACCESS]

const end: Rule = (model) => done(afterEnd(model), ended)

export const RULES: Record<Try['does'], Rule> = {
  approve: from(['pending'], mayVote, castYes),
  narrow: from(['pending'], mayVote, castYes),
  deny: from(
    ['pending'],
    ({ no }, { by, login, seen }) =>
      (isApprover(by) || (isOf(by, 'security') && !isRequester(by))) &&
      isFresh(login) &&
      !has(no, by) &&
      seen === 'right',
    (model, { by }) =>
      done(model.no.length + 1 >= (model.lane === 'standard' ? 2 : 1) ? 'denied' : 'pending', (after) => {
        after.yes = after.yes.filter((one) => !same(one.by, by))
        after.no.push(by)
        after.tookPart.add(known(by).human)
      }),
  ),
  withdraw: from(
    ['pending', 'approved'],
    (model, { by }) => known(by).kind !== 'workload' && hasVoted(model, by),
    (model, { by }) => {
      const left = model.yes.filter((one) => !same(one.by, by))
      const stays = model.state === 'approved' && isApproved({ ...model, yes: left })
      return done(stays ? 'approved' : 'pending', (after) => {
        after.yes = left
        after.no = after.no.filter((name) => !same(name, by))
      })
    },
  ),
  witness: from(
    ['pending'],
    ({ lane }, { by, login, seen }) =>
      lane === 'sealed' &&
      isOf(by, ...known('bot').groups) &&
      !isRequester(by) &&
      login === 'key' &&
      seen === 'right',
    (model, { by }) =>
      lapsing(model, () =>
        done('approved', (after) => {
          after.yes = [{ by }]
          after.tookPart.add(known(by).human)
          after.witnesses.add(known(by).human)
          after.activateBy = after.now + ACTIVATE_WITHIN
          after.ratification = 'due'
        }),
      ),
  ),
  cancel: from(
    ['pending', 'approved'],
    (_, { by }) => isRequester(by),
    () => done('cancelled'),
  ),
  activate: from(
    ['approved'],
    (model, { by, login }) => isRequester(by) && mayReceive(model, login),
    (model) =>
      lapsing(model, () => {
        if (model.broken.has('create')) {
          // What was being made may still arrive: it is over when that is ruled out.
          return { kind: 'failed', to: ['activation_failed', 'ending'], after: madeInVain }
        }
        return done('active', (after) => {
          after.live = true
          after.startedAt = after.now
          after.endsAt = after.now + after.duration
          after.ratifyBy = after.now + RATIFY_WITHIN
        })
      }),
  ),
  collect: from(
    ['active'],
    (model, { by, login }) => isRequester(by) && mayReceive(model, login) && model.now < model.endsAt,
    (model) => {
      if (model.broken.has('create')) return { kind: 'failed', to: ['active'], after: dirtied }
      if (model.stale?.by === 'role') return { kind: 'failed', to: ['active'], after: dirtied }
      return done('active', (after) => {
        after.dirty ||= after.live
        after.live = true
      })
    },
  ),
  extend: from(
    ['active'],
    (model, { by, login }) =>
      isRequester(by) &&
      isFresh(login) &&
      model.lane !== 'sealed' &&
      model.now < model.endsAt &&
      model.now >= model.endsAt - (model.endsAt - model.startedAt) / 3 &&
      model.incidentEnds === undefined &&
      !model.extension &&
      model.extended + EXTENSION_SECONDS <= model.duration,
    () =>
      done('active', (after) => {
        after.extension = { yes: [], until: after.now + PENDING }
      }),
  ),
  'approve-extension': from(
    ['active'],
    ({ extension, now, endsAt }, { by, login, seen }) =>
      isApprover(by) &&
      isFresh(login) &&
      extension !== undefined &&
      now < endsAt &&
      !has(extension.yes, by) &&
      seen === 'right',
    ({ extension, yes, lane }, { by }) => {
      const asked = [...(extension?.yes ?? []), by]
      const isNew = asked.some(
        (name) =>
          !has(
            yes.map((one) => one.by),
            name,
          ),
      )
      return done('active', (after) => {
        after.tookPart.add(known(by).human)
        if (after.extension) after.extension.yes = asked
        if (!isNew || !isEnough(lane, asked)) return
        after.extension = undefined
        after.endsAt += EXTENSION_SECONDS
        after.extended += EXTENSION_SECONDS
      })
    },
  ),
  'deny-extension': from(
    ['active'],
    ({ extension }, { by }) => isApprover(by) && extension !== undefined,
    (_, { by }) =>
      done('active', (after) => {
        after.extension = undefined
        after.tookPart.add(known(by).human)
      }),
  ),
  suspend: from(
    ['active'],
    (_, { by }) => inCharge(by),
    () =>
      done('suspended', (after) => {
        after.dirty ||= after.live
        after.live = false
      }),
  ),
  resume: from(
    ['suspended'],
    ({ resume, now, endsAt }, { by, login }) =>
      inCharge(by) && isFresh(login) && !has(resume, by) && now < endsAt,
    ({ resume }, { by }) => {
      const isSecond = resume.length > 0 && [...resume, by].some((name) => isOf(name, 'security'))
      return done(isSecond ? 'active' : 'suspended', (after) => {
        after.resume = isSecond ? [] : [...resume, by]
      })
    },
  ),
  end: from(ACCESS, (_, { by }) => isRequester(by) || isApprover(by) || inCharge(by), end),
  ratify: from(
    [...ACCESS, ...ENDINGS, ...REVIEWS],
    (model, ask) => ratifiable(model, ask) && isFresh(ask.login) && !has(model.ratify, ask.by),
    (model, { by }) =>
      done(model.state, (after) => {
        after.ratify.push(by)
        after.tookPart.add(known(by).human)
        if (isEnough(after.lane, after.ratify)) after.ratification = 'ratified'
      }),
  ),
  'refuse-ratification': from([...ACCESS, ...ENDINGS, ...REVIEWS], ratifiable, (model, { by }) =>
    done(model.state === 'active' ? afterEnd(model) : model.state, (after, to) => {
      if (model.state === 'active') ended(after, to)
      after.ratification = 'refused'
      after.rotate = true
      after.tookPart.add(known(by).human)
    }),
  ),
  abandon: from(
    ['ending_stuck'],
    ({ abandon }, { by, login }) => inCharge(by) && isFresh(login) && !has(abandon, by),
    ({ abandon }, { by }) =>
      abandon.length > 0
        ? done('review_due', (after) => ended(after, 'review_due'))
        : done('ending_stuck', (after) => {
            after.abandon = [by]
          }),
  ),
  'review-ok': from(
    REVIEWS,
    (model, ask) => reviewing(model, ask) && !model.rotate && model.ratification !== 'due',
    () => done('closed_ok'),
  ),
  'review-rotate': from(
    REVIEWS,
    (model, ask) => reviewing(model, ask) && model.ratification !== 'due',
    () =>
      done('closed_ok', (after) => {
        after.rotate = true
      }),
  ),
  'review-flagged': from(REVIEWS, reviewing, () => done('closed_flagged')),
  reopen: from(
    ['closed_ok'],
    (_, { by }) => isOf(by, 'security'),
    () =>
      done('review_due', (after) => {
        after.reviewDue = after.now + REVIEW_DUE
        after.reviewOverdue = after.now + REVIEW_OVERDUE
      }),
  ),
  'incident-closed': from(INCIDENT_STATES, (_, { by }) => isOf(by, 'security'), incident),
  'incident-system': from(INCIDENT_STATES, (_, { by }) => known(by).kind === 'workload', incident),
}

function madeInVain(model: Model, to: string): void {
  model.live = false
  model.dirty = true
  if (to === 'ending') model.endingSince = model.now
}
function dirtied(model: Model): void {
  model.dirty = true
}

/** Whoever asked is no longer one of us. */
export function disabling(model: Model): Expected {
  if (model.state === 'pending' || model.state === 'approved') return done('voided')
  return ACCESS.includes(model.state) ? done(afterEnd(model), ended) : REFUSED
}

/** What a round of timers and workers comes to. */
export function timersOf(model: Model): Expected {
  const { state, now, stale } = model
  const lapse = lapseOf(model)
  if (lapse) {
    const isSeen = lapse === 'expired' || stale?.by === 'policy' || now - (stale?.at ?? now) >= LOOKED_AGAIN
    return done(isSeen ? lapse : [lapse, state])
  }
  if (ACCESS.includes(state)) return inForce(model)
  if (state === 'ending' || state === 'ending_stuck') return leaving(model)
  if (REVIEWS.includes(state)) {
    const isOverdue = state === 'review_overdue' || now >= model.reviewOverdue
    return done(isOverdue ? 'review_overdue' : 'review_due', ratificationLate)
  }
  return done(state)
}

function inForce(model: Model): Expected {
  const { now, endsAt, incidentEnds = Number.POSITIVE_INFINITY, extension, state } = model
  if (now >= Math.min(endsAt, incidentEnds)) return done('ending', ended)
  return done(state, (after) => {
    if (state === 'active' && extension && now >= extension.until) after.extension = undefined
  })
}

function leaving(model: Model): Expected {
  const { now, endingSince, live, dirty, state } = model
  const then = (after: Model, to: string) => {
    ratificationLate(after)
    if (to !== state && to !== 'ending_stuck') ended(after, to)
  }
  const mayBeLeft = live || dirty
  if (!mayBeLeft) return done([state, whenGone(model)], then)
  if (state === 'ending_stuck') return done([state, whenGone(model)], then)
  const waits = now - endingSince >= END_SEEN ? [] : ['ending']
  const stuck = now - endingSince >= END_SLO ? ['ending_stuck'] : []
  return done([...waits, ...stuck, whenGone(model)], then)
}

function ratificationLate(model: Model): void {
  if (model.ratification !== 'due' || model.now < model.ratifyBy) return
  if (!REVIEWS.includes(model.state)) return
  model.ratification = 'overdue'
  model.rotate = true
}

/** What may happen next by the clock alone. */
export function deadlinesOf(model: Model): number[] {
  const { startedAt, endsAt, now } = model
  const inForce = [
    endsAt,
    Math.ceil(endsAt - (endsAt - startedAt) / 3),
    model.incidentEnds,
    model.extension?.until,
  ]
  const leaving = [model.endingSince + END_SEEN]
  const after = [model.reviewDue, model.reviewOverdue, model.lane === 'sealed' ? model.ratifyBy : undefined]
  const at: Record<string, (number | undefined)[]> = {
    ...{ pending: [model.pendingBy], approved: [model.activateBy], active: inForce, suspended: inForce },
    ...{ ending: leaving, ending_stuck: leaving, review_due: after, review_overdue: after },
  }
  return (at[model.state] ?? [])
    .filter((time) => time !== undefined)
    .filter((time) => time > now)
    .sort((a, b) => a - b)
}
