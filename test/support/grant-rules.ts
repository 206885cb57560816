import { EXTENSION_SECONDS, type Try } from './grant-acts.ts'
import {
  ACCESS,
  afterEnd,
  counting,
  done,
  dueForReview,
  ENDINGS,
  ended,
  failed,
  inCharge,
  isApprover,
  isBlocked,
  isEnough,
  isFresh,
  isOf,
  isRequester,
  isSealed,
  lapsing,
  limitsOf,
  type Model,
  mayReceive,
  neverGiven,
  REFUSED,
  REVIEWS,
  wasOf,
} from './grant-model.ts'
import { isAmong, known, type Name } from './grant-people.ts'
import { from, isVoice, type Rule, tookPart, VOTING } from './grant-voting.ts'

/** What people may do, by the rows of the table, and what comes of it. */

const ratifiable = (model: Model, { by, seen }: Try): boolean =>
  isSealed(model) &&
  isApprover(model, by) &&
  model.ratification === 'due' &&
  model.now < model.ratifyBy &&
  !model.witnesses.has(known(by).human) &&
  seen === 'right'

const reviewing = (model: Model, { by }: Try): boolean =>
  isOf(model, by, 'audit') &&
  !isRequester(by) &&
  !isBlocked(model, by) &&
  !model.tookPart.has(known(by).human)

/** Nothing is found to be in order by somebody who has not read all of it. */
const hasRead = (model: Model, ask: Try): boolean => reviewing(model, ask) && ask.seen === 'right'

const end: Rule = (model) => done(afterEnd(model), ended)

const incident: Rule = (model) => {
  if (model.state === 'pending' || model.state === 'approved') return done('voided')
  if (model.incidentEnds !== undefined) return REFUSED
  const { grace } = limitsOf(model)
  if (grace === 0) return done(afterEnd(model), ended)
  return done(model.state, (after) => {
    after.incidentEnds = after.now + grace
  })
}
const INCIDENT_STATES = ['pending', 'approved', ...ACCESS]

/** What was being made may still arrive: it is over when that is ruled out. */
export function madeInVain(model: Model, to: string): void {
  model.live = false
  model.dirty = true
  if (to !== 'ending') return
  model.endingSince = model.now
  neverGiven(model)
}
const dirtied = (model: Model): void => {
  model.dirty = true
}

export function becameActive(model: Model): void {
  model.live = model.lane !== 'drill'
  model.startedAt = model.now
  model.endsAt = model.now + model.duration
  if (model.ratification === 'due') model.ratifyBy = model.now + limitsOf(model).ratifyWithin
}

/** A drill goes the same way, and nothing is made. */
const isMaking = ({ lane }: Model): boolean => lane !== 'drill'

const using: Pick<Record<Try['does'], Rule>, 'cancel' | 'activate' | 'collect' | 'extend' | 'end'> = {
  cancel: from(
    ['pending', 'approved', 'activating'],
    (_, { by }) => isRequester(by),
    (model, ask) => (model.state === 'activating' ? end(model, ask) : done('cancelled')),
  ),
  activate: from(
    ['approved'],
    (model, { by, login }) => isRequester(by) && !isBlocked(model, by) && mayReceive(model, login),
    (model) =>
      lapsing(model, () => {
        if (isMaking(model) && model.broken.has('begin')) return failed('activation_failed')
        if (isMaking(model) && model.broken.has('create')) {
          return failed(['activation_failed', 'ending'], madeInVain)
        }
        return done('active', becameActive)
      }),
  ),
  collect: from(
    ['active'],
    (model, { by, login }) =>
      isRequester(by) && !isBlocked(model, by) && mayReceive(model, login) && model.now < model.endsAt,
    (model) => {
      if (!isMaking(model)) return done('active')
      if (model.broken.has('begin') || model.changed.has('target')) return failed('active')
      if (model.broken.has('create') || model.changed.has('role')) return failed('active', dirtied)
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
      !isBlocked(model, by) &&
      isFresh(login) &&
      !isSealed(model) &&
      model.now < model.endsAt &&
      model.now >= model.endsAt - (model.endsAt - model.startedAt) / 3 &&
      model.incidentEnds === undefined &&
      !model.extension &&
      model.extended + EXTENSION_SECONDS <= model.duration,
    () =>
      done('active', (after) => {
        after.extension = { yes: [], until: after.now + limitsOf(after).pending }
      }),
  ),
  end: from(
    ['activating', ...ACCESS],
    (model, { by }) => isRequester(by) || isApprover(model, by) || inCharge(model, by),
    end,
  ),
}

/** In two rounds, a voice counts only while nothing was learnt of whose it is. */
const inTwo = (model: Model, names: readonly Name[], by: Name) => counting(model, names).concat(by)

const overseeing: Pick<
  Record<Try['does'], Rule>,
  'approve-extension' | 'deny-extension' | 'suspend' | 'resume' | 'ratify' | 'refuse-ratification' | 'abandon'
> = {
  'approve-extension': from(
    ['active'],
    (model, ask) =>
      isApprover(model, ask.by) &&
      isVoice(model, ask) &&
      model.extension !== undefined &&
      model.now < Math.min(model.endsAt, model.extension.until) &&
      !isAmong(counting(model, model.extension.yes), ask.by),
    (model, { by }) => {
      const asked = inTwo(model, model.extension?.yes ?? [], by)
      const isNew = asked.some((name) => !model.voted.has(known(name).human))
      return done('active', (after) => {
        tookPart(after, by)
        after.extension?.yes.push(by)
        if (!isNew || !isEnough(model, asked)) return
        after.extension = undefined
        after.endsAt += EXTENSION_SECONDS
        after.extended += EXTENSION_SECONDS
      })
    },
  ),
  'deny-extension': from(
    ['active'],
    (model, { by }) => isApprover(model, by) && model.extension !== undefined,
    (_, { by }) =>
      done('active', (after) => {
        after.extension = undefined
        tookPart(after, by)
      }),
  ),
  suspend: from(
    ['active'],
    (model, { by }) => inCharge(model, by),
    () =>
      done('suspended', (after) => {
        after.dirty ||= after.live
        after.live = false
      }),
  ),
  resume: from(
    ['suspended'],
    (model, ask) =>
      inCharge(model, ask.by) &&
      isVoice(model, { ...ask, seen: 'right' }) &&
      !isBlocked(model, 'rita') &&
      !['refused', 'overdue'].includes(model.ratification) &&
      !isAmong(counting(model, model.resume), ask.by) &&
      model.now < model.endsAt,
    (model, { by }) => {
      const both = inTwo(model, model.resume, by)
      const isLast = both.length > 1 && both.some((name) => wasOf(name, 'security'))
      return done(isLast ? 'active' : 'suspended', (after) => {
        after.resume = isLast ? [] : [...after.resume, by]
      })
    },
  ),
  ratify: from(
    [...ACCESS, ...ENDINGS, ...REVIEWS],
    (model, ask) =>
      ratifiable(model, ask) && isVoice(model, ask) && !isAmong(counting(model, model.ratify), ask.by),
    (model, { by }) =>
      done(model.state, (after) => {
        tookPart(after, by)
        after.ratify.push(by)
        if (isEnough(after, counting(after, after.ratify))) after.ratification = 'ratified'
      }),
  ),
  'refuse-ratification': from([...ACCESS, ...ENDINGS, ...REVIEWS], ratifiable, (model, { by }) =>
    done(model.state === 'active' ? afterEnd(model) : model.state, (after, to) => {
      if (model.state === 'active') ended(after, to)
      after.ratification = 'refused'
      after.rotate = true
      tookPart(after, by)
    }),
  ),
  abandon: from(
    ['ending_stuck'],
    (model, ask) =>
      inCharge(model, ask.by) &&
      isVoice(model, { ...ask, seen: 'right' }) &&
      !isAmong(counting(model, model.abandon), ask.by),
    (model, { by }) => {
      const both = inTwo(model, model.abandon, by)
      const isLast =
        both.some((name) => wasOf(name, 'security')) && both.some((name) => wasOf(name, 'keepers'))
      return isLast
        ? done('review_due', ended)
        : done('ending_stuck', (after) => {
            after.abandon.push(by)
          })
    },
  ),
}

const reviews: Pick<
  Record<Try['does'], Rule>,
  'review-ok' | 'review-rotate' | 'review-flagged' | 'reopen'
> = {
  'review-ok': from(
    REVIEWS,
    (model, ask) => hasRead(model, ask) && !model.rotate && model.ratification !== 'due',
    () => done('closed_ok'),
  ),
  'review-rotate': from(
    REVIEWS,
    (model, ask) => hasRead(model, ask) && model.ratification !== 'due',
    () =>
      done('closed_ok', (after) => {
        after.rotate = true
      }),
  ),
  'review-flagged': from(REVIEWS, reviewing, () =>
    done('closed_flagged', (after) => {
      after.blocked.add('rita')
    }),
  ),
  reopen: from(
    ['closed_ok'],
    (model, { by }) => isOf(model, by, 'security') && !isRequester(by),
    () => done('review_due', dueForReview),
  ),
}

export const RULES: Record<Try['does'], Rule> = {
  ...VOTING,
  ...using,
  ...overseeing,
  ...reviews,
  'incident-closed': from(INCIDENT_STATES, (model, { by }) => isOf(model, by, 'security'), incident),
  'incident-system': from(INCIDENT_STATES, (_, { by }) => known(by).kind === 'workload', incident),
}
