import { NARROWED_BY_SECONDS, type Try } from './grant-acts.ts'
import {
  ACTIVATE_WITHIN,
  backToPending,
  counting,
  done,
  type Expected,
  hasVoted,
  isApproved,
  isApprover,
  isBlocked,
  isEnough,
  isFresh,
  isHard,
  isOf,
  isRequester,
  isSealed,
  lapsing,
  type Model,
  REFUSED,
} from './grant-model.ts'
import { isAmong, isSame, known, type Name } from './grant-people.ts'

/** What people say to a request that waits for them, and what comes of it. */

export type Rule = (model: Model, ask: Try) => Expected

/** Only in these states, and only where `may`. */
export const from =
  (states: readonly string[], may: (model: Model, ask: Try) => boolean, what: Rule): Rule =>
  (model, ask) =>
    states.includes(model.state) && may(model, ask) ? what(model, ask) : REFUSED

export const tookPart = (model: Model, by: Name): void => {
  model.tookPart.add(known(by).human)
}

/** Has said something to the request itself: no new voice when more time is asked for, whatever became of it. */
const hadVoice = (model: Model, by: Name): void => {
  tookPart(model, by)
  model.voted.add(known(by).human)
}

/** What a voice takes that opens access, or lets it go on. */
export const isVoice = (model: Model, { by, login, seen }: Try): boolean =>
  !isRequester(by) && !isBlocked(model, by) && isFresh(login) && seen === 'right'

const castYes: Rule = (model, { by, does }) =>
  lapsing({ ...model, yes: counting(model, model.yes) }, () => {
    const narrows = does === 'narrow'
    const keeps = !narrows || model.lane === 'standard' || model.lane === 'drill'
    const yes = [...(keeps ? counting(model, model.yes) : []), by]
    return done(isEnough(model, yes) ? 'approved' : 'pending', (after, to) => {
      after.yes = yes
      if (narrows) after.duration -= NARROWED_BY_SECONDS
      hadVoice(after, by)
      if (to === 'approved') after.activateBy = after.now + ACTIVATE_WITHIN
    })
  })

const mayVote = (model: Model, ask: Try): boolean =>
  !isSealed(model) && isApprover(model, ask.by) && isVoice(model, ask) && !hasVoted(model, ask.by)

export const VOTING: Pick<
  Record<Try['does'], Rule>,
  'approve' | 'narrow' | 'deny' | 'withdraw' | 'witness'
> = {
  approve: from(['pending'], mayVote, castYes),
  narrow: from(['pending'], mayVote, castYes),
  deny: from(
    ['pending'],
    (model, ask) =>
      (isApprover(model, ask.by) || isOf(model, ask.by, 'security')) &&
      isVoice(model, ask) &&
      !isAmong(model.no, ask.by),
    (model, { by }) =>
      done(model.no.length + 1 >= (model.lane === 'standard' ? 2 : 1) ? 'denied' : 'pending', (after) => {
        after.yes = after.yes.filter((name) => !isSame(name, by))
        after.no.push(by)
        hadVoice(after, by)
      }),
  ),
  withdraw: from(
    ['pending', 'approved'],
    (model, { by }) => known(by).kind !== 'workload' && hasVoted(model, by),
    (model, { by }) => {
      const left = model.yes.filter((name) => !isSame(name, by))
      const stays = model.state === 'approved' && isApproved(model, left)
      return done(stays ? 'approved' : 'pending', (after, to) => {
        after.yes = left
        after.no = after.no.filter((name) => !isSame(name, by))
        if (to === 'pending') backToPending(after)
      })
    },
  ),
  witness: from(
    ['pending'],
    (model, ask) =>
      isSealed(model) &&
      isOf(model, ask.by, ...known('bot').groups) &&
      isVoice(model, ask) &&
      isHard(ask.login),
    (model, { by }) =>
      lapsing(model, () =>
        done('approved', (after) => {
          after.yes = [by]
          hadVoice(after, by)
          after.witnesses.add(known(by).human)
          after.activateBy = after.now + ACTIVATE_WITHIN
          after.ratification = 'due'
        }),
      ),
  ),
}
