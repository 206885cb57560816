import {
  ACCESS,
  afterEnd,
  backToPending,
  done,
  type Expected,
  ended,
  isApproved,
  isRequester,
  type Model,
  REFUSED,
  WAITING,
} from './grant-model.ts'
import { isSame, type Name } from './grant-people.ts'

/** What is learnt of people from elsewhere, and what comes of it. */

/** Whoever asked is no longer one of us. */
export function disabling(model: Model): Expected {
  if (model.state === 'pending' || model.state === 'approved') return done('voided')
  return ['activating', ...ACCESS].includes(model.state) ? done(afterEnd(model), ended) : REFUSED
}

export type Word = 'suspend' | 'sign_out' | 'disable'

/** What its issuer says of somebody: of who asked, or of who has said yes to something that waits for more. */
export function hearing(model: Model, word: Word, name: Name): Expected {
  const { state } = model
  if (isRequester(name)) {
    if (word === 'suspend') return warned(model)
    if (word === 'disable' && WAITING.includes(state)) return done('voided')
    const isOut = word === 'disable' && ['activating', ...ACCESS].includes(state)
    return isOut ? done('ending', ended) : done(state)
  }
  if (word === 'suspend') return done(state)
  const without = (names: readonly Name[]) => names.filter((one) => !isSame(one, name))
  const left = without(model.yes)
  const isBack = state === 'approved' && left.length < model.yes.length && !isApproved(model, left)
  return done(isBack ? 'pending' : state, (after) => {
    for (const login of [...after.left].filter((one) => isSame(one, name))) after.left.delete(login)
    if (WAITING.includes(state)) after.yes = left
    if (isBack) backToPending(after)
    if (after.extension) after.extension.yes = without(after.extension.yes)
    if (after.ratification === 'due') after.ratify = without(after.ratify)
    after.resume = without(after.resume)
    after.abandon = without(after.abandon)
  })
}

/** Of its requester: nobody is in any more, until two people have looked at it. */
function warned(model: Model): Expected {
  if (model.state === 'activating') return done('ending', ended)
  if (model.state !== 'active') return done(model.state)
  return done('suspended', (after) => {
    after.dirty ||= after.live
    after.live = false
  })
}
