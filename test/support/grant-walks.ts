import type { ActName, Try } from './grant-acts.ts'
import {
  beginning,
  breaking,
  type Command,
  mending,
  passing,
  round,
  trying,
  waiting,
} from './grant-commands.ts'
import { isEveryday, isSealed, type LaneName } from './grant-model.ts'
import type { Name } from './grant-people.ts'

/** Ways to bring a grant to each state by what people do, as commands. */

export const does = (by: Name, what: ActName, login: Try['login'] = 'key'): Command =>
  trying({ does: what, by, login, seen: 'right' }, 0)

const TWO = [does('ann', 'approve'), does('olga', 'approve')]
const APPROVED: Record<LaneName, Command[]> = {
  break_glass: TWO,
  drill: TWO,
  standard: [does('ann', 'approve')],
  sealed: [does('sam', 'witness')],
  auto: [],
  solo: [],
}

const active = (lane: LaneName): Command[] => [...APPROVED[lane], does('rita', 'activate')]
const ending = (lane: LaneName): Command[] => [...active(lane), breaking('remove'), does('sam', 'end')]
const stuck = (lane: LaneName): Command[] => [...ending(lane), waiting(76), round(1)]
const over = (lane: LaneName): Command[] => [...active(lane), does('rita', 'end')]
/** Of a lane without review somebody asks for one. */
const due = (lane: LaneName): Command[] =>
  isEveryday({ lane }) ? [...over(lane), does('sam', 'reopen')] : over(lane)
const settled = (lane: LaneName): Command[] =>
  isSealed({ lane }) ? [does('ann', 'ratify'), does('olga', 'ratify')] : []
const closed = (lane: LaneName): Command[] =>
  isEveryday({ lane }) ? over(lane) : [...over(lane), ...settled(lane), does('vera', 'review-rotate')]

/** From a request that was just asked; undefined where the lane has no such state. */
export const WALKS: Record<string, (lane: LaneName) => Command[] | undefined> = {
  pending: (lane) => (lane === 'auto' || lane === 'solo' ? undefined : []),
  approved: (lane) => APPROVED[lane],
  activating: (lane) => (lane === 'drill' ? undefined : [...APPROVED[lane], beginning(0)]),
  active,
  suspended: (lane) => [...active(lane), does('sam', 'suspend')],
  ending: (lane) => (lane === 'drill' ? undefined : ending(lane)),
  ending_stuck: (lane) => (lane === 'drill' ? undefined : stuck(lane)),
  review_due: due,
  review_overdue: (lane) => [...due(lane), passing(lane === 'sealed' ? 2 : 1, false), waiting(60), round(0)],
  denied: (lane) =>
    lane === 'standard'
      ? [does('sam', 'deny'), does('olga', 'deny')]
      : lane === 'auto' || lane === 'solo'
        ? undefined
        : [does('sam', 'deny')],
  cancelled: () => [does('rita', 'cancel')],
  expired: (lane) => [passing(lane === 'auto' || lane === 'solo' ? 0 : 2, false), round(1)],
  voided: () => [does('sam', 'incident-closed')],
  activation_failed: (lane) =>
    lane === 'drill' ? undefined : [...APPROVED[lane], breaking('begin'), does('rita', 'activate'), mending],
  closed_ok: closed,
  closed_flagged: (lane) => [...due(lane), does('vera', 'review-flagged')],
}
