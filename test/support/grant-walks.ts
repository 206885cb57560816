import type { ActName, Try } from './grant-acts.ts'
import { breaking, type Command, passing, round, trying, waiting } from './grant-commands.ts'
import type { Name } from './grant-people.ts'
import type { LaneName } from './grant-world.ts'

/** Ways to bring a grant to each state by what people do, as commands. */

export const does = (by: Name, what: ActName, login: Try['login'] = 'key'): Command =>
  trying({ does: what, by, login, seen: 'right' }, 0)

const APPROVED: Record<LaneName, Command[]> = {
  break_glass: [does('ann', 'approve'), does('olga', 'approve')],
  standard: [does('ann', 'approve')],
  sealed: [does('sam', 'witness')],
}

const active = (lane: LaneName): Command[] => [...APPROVED[lane], does('rita', 'activate')]
const ending = (lane: LaneName): Command[] => [...active(lane), breaking('remove'), does('sam', 'end')]
const stuck = (lane: LaneName): Command[] => [...ending(lane), waiting(76), round(1)]
const over = (lane: LaneName): Command[] => [...active(lane), does('rita', 'end')]

/** From a request that was just asked. `activating` is no state that anything rests in. */
export const WALKS: Record<string, (lane: LaneName) => Command[] | undefined> = {
  pending: () => [],
  approved: (lane) => APPROVED[lane],
  active,
  suspended: (lane) => [...active(lane), does('sam', 'suspend')],
  ending,
  ending_stuck: stuck,
  review_due: (lane) => (lane === 'standard' ? [...over(lane), does('sam', 'reopen')] : over(lane)),
  review_overdue: (lane) =>
    lane === 'standard'
      ? [...over(lane), does('sam', 'reopen'), passing(1, false), round(0)]
      : [...over(lane), passing(lane === 'sealed' ? 2 : 1, false), waiting(60), round(0)],
  denied: (lane) =>
    lane === 'standard' ? [does('sam', 'deny'), does('olga', 'deny')] : [does('sam', 'deny')],
  cancelled: () => [does('rita', 'cancel')],
  expired: () => [passing(0, false), round(1)],
  voided: () => [does('sam', 'incident-closed')],
  closed_ok: (lane) =>
    lane === 'standard'
      ? over(lane)
      : lane === 'sealed'
        ? [...over(lane), does('ann', 'ratify'), does('olga', 'ratify'), does('vera', 'review-ok')]
        : [...over(lane), does('vera', 'review-ok')],
  closed_flagged: (lane) =>
    lane === 'standard'
      ? [...over(lane), does('sam', 'reopen'), does('vera', 'review-flagged')]
      : [...over(lane), does('vera', 'review-flagged')],
}
