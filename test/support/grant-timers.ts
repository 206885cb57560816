import {
  ACCESS,
  type After,
  CREATE_DEADLINE,
  done,
  ENDINGS,
  type Expected,
  ended,
  failed,
  isSealed,
  isTooLate,
  lapseOf,
  type Model,
  REVIEWS,
  WAITING,
  whenLeft,
} from './grant-model.ts'
import { becameActive, madeInVain } from './grant-rules.ts'

/** What happens by itself: the rows of timers and workers, and what is learnt of targets. */

const MINUTE = 60
const END_SLO = 60
/** By then a worker has looked at an end again. */
const END_SEEN = END_SLO + 15
const NOTICE = 5 * MINUTE
/** Longer than any lease takes to be made, or to be found not to have been. */
const ACTIVATING = 60

/** What a round of timers and workers comes to. */
export function timersOf(model: Model): Expected {
  const { state, now } = model
  const lapse = lapseOf(model)
  if (lapse) return done(lapse.isCertain ? lapse.to : [lapse.to, state], lapse.after)
  if (WAITING.includes(state)) return done(state)
  if (state === 'activating') return making(model)
  if (ACCESS.includes(state)) return inForce(model)
  if (ENDINGS.includes(state)) return leaving(model)
  if (REVIEWS.includes(state)) {
    const isOverdue = state === 'review_overdue' || now >= model.reviewOverdue
    return done(isOverdue ? 'review_overdue' : 'review_due', (after) => {
      if (after.ratification === 'due' && after.now >= after.ratifyBy) lateRatification(after)
    })
  }
  return done(state)
}

/** Whoever was at it is given up; what they were making is ended first. */
function making(model: Model): Expected {
  const { now, heldSince = 0 } = model
  const isGivenUp = now - heldSince >= ACTIVATING
  return done(isGivenUp ? ['activation_failed', 'ending'] : 'activating', (after, to) => {
    if (now - heldSince >= CREATE_DEADLINE || isGivenUp) after.isDoomed = true
    if (to === 'ending') ended(after, to)
  })
}

function lateRatification(model: Model): void {
  model.ratification = 'overdue'
  model.rotate = true
}

function inForce(model: Model): Expected {
  const { now, endsAt, incidentEnds = Number.POSITIVE_INFINITY, extension, state } = model
  const isMeddledWith = (state === 'active' && model.altered) || model.changed.has('target')
  if (isMeddledWith || now >= Math.min(endsAt, incidentEnds)) return done('ending', ended)
  const isLate = model.ratification === 'due' && now >= model.ratifyBy
  if (isLate && state === 'active') {
    return done('ending', (after, to) => {
      ended(after, to)
      lateRatification(after)
    })
  }
  return done(state, (after) => {
    if (isLate) lateRatification(after)
    if (state === 'active' && extension && now >= extension.until) after.extension = undefined
  })
}

function leaving(model: Model): Expected {
  const { now, endingSince, live, dirty, state, heldSince } = model
  const then: After = (after, to, events) => {
    if (to !== state && to !== 'ending_stuck') ended(after, to)
    // A deadline that passed while it was ending is seen as soon as it has ended.
    if (events.includes('ratification_overdue')) lateRatification(after)
  }
  const mayBeLeft = live || dirty || heldSince !== undefined
  if (!mayBeLeft || state === 'ending_stuck') return done(whenLeft(model), then)
  // Whoever moves it meanwhile, such as by ratifying, puts off the next look at it.
  const waits = now - endingSince >= END_SLO && now >= model.lookBy ? [] : ['ending']
  const stuck = now - endingSince >= END_SLO ? ['ending_stuck'] : []
  return done([...waits, ...stuck, ...whenLeft(model).slice(1)], then)
}

/** What comes of it when the target answers again whoever waits for an account. */
export function releasing(model: Model): Expected {
  const isFailing =
    model.isDoomed ||
    isTooLate(model) ||
    ['create', 'begin'].some((what) => model.broken.has(what as 'create'))
  const clear: After = (after) => {
    after.heldSince = undefined
  }
  if (model.state === 'activating') {
    if (isFailing || model.changed.has('role') || model.changed.has('target')) {
      return failed(['activation_failed', 'ending'], (after, to, events) => {
        clear(after, to, events)
        madeInVain(after, to)
      })
    }
    return done('active', (after, to, events) => {
      clear(after, to, events)
      becameActive(after)
    })
  }
  const to = ENDINGS.includes(model.state) ? whenLeft(model) : [model.state]
  return failed(to, (after, found, events) => {
    clear(after, found, events)
    after.dirty ||= ENDINGS.includes(found)
    if (found !== model.state) ended(after, found)
  })
}

/** What may happen next by the clock alone. */
export function deadlinesOf(model: Model): number[] {
  const { startedAt, endsAt, now, heldSince = now, pendingBy, ratifyBy } = model
  const ratification = model.ratification === 'due' && isSealed(model) ? ratifyBy : undefined
  const inForce = [
    endsAt,
    endsAt - NOTICE,
    Math.ceil(endsAt - (endsAt - startedAt) / 3),
    model.incidentEnds,
    model.extension?.until,
    ratification,
  ]
  const leaving = [model.endingSince + END_SLO, model.endingSince + END_SEEN]
  const after = [model.reviewDue, model.reviewOverdue, ratification]
  const at: Record<string, (number | undefined)[]> = {
    ...{ pending: [pendingBy / 3, (2 * pendingBy) / 3, pendingBy], approved: [model.activateBy] },
    ...{
      active: inForce,
      suspended: inForce,
      activating: [heldSince + CREATE_DEADLINE, heldSince + ACTIVATING],
    },
    ...{ ending: leaving, ending_stuck: leaving, review_due: after, review_overdue: after },
  }
  return (at[model.state] ?? [])
    .filter((time) => time !== undefined)
    .filter((time) => time > now && Number.isFinite(time))
    .sort((a, b) => a - b)
}
