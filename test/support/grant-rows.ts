import type { ActName } from './grant-acts.ts'
import {
  altering,
  blocking,
  breaking,
  type Command,
  changing,
  disabled,
  leaving,
  mending,
  passing,
  released,
  round,
  told,
  waiting,
} from './grant-commands.ts'
import type { LaneName } from './grant-model.ts'
import type { Name } from './grant-people.ts'
import { does } from './grant-walks.ts'

/** Each row of the table: where it begins, what is done, and where that leads. */

export type Row = readonly [row: string, lane: LaneName, from: string, what: readonly Command[], to: string]

/** What people do: each by everybody who may. */
type ByPeople = readonly [
  row: string,
  lane: LaneName,
  from: string,
  who: readonly Name[],
  what: ActName,
  to: string,
]
const BY_PEOPLE: readonly ByPeople[] = [
  ['4', 'break_glass', 'pending', ['ann', 'annAgain'], 'approve', 'pending'],
  ['4', 'drill', 'pending', ['ann'], 'approve', 'pending'],
  ['5', 'standard', 'pending', ['olga', 'both'], 'approve', 'approved'],
  ['6', 'sealed', 'pending', ['ann', 'sam', 'otto', 'vera'], 'witness', 'approved'],
  ['7', 'break_glass', 'pending', ['ann'], 'narrow', 'pending'],
  ['7', 'drill', 'pending', ['both'], 'narrow', 'pending'],
  ['7', 'standard', 'pending', ['ann', 'olga'], 'narrow', 'approved'],
  ['8', 'break_glass', 'pending', ['annAgain', 'sam'], 'deny', 'denied'],
  ['8', 'drill', 'pending', ['sam'], 'deny', 'denied'],
  ['8', 'sealed', 'pending', ['sam'], 'deny', 'denied'],
  ['8a', 'standard', 'pending', ['sam', 'olga'], 'deny', 'pending'],
  ['9', 'break_glass', 'pending', ['rita', 'ritaAgain'], 'cancel', 'cancelled'],
  ['11', 'break_glass', 'pending', ['sam'], 'incident-closed', 'voided'],
  ['11', 'break_glass', 'pending', ['bot'], 'incident-system', 'voided'],
  ['11', 'break_glass', 'approved', ['sam'], 'incident-closed', 'voided'],
  ['11', 'auto', 'approved', ['bot'], 'incident-system', 'voided'],
  ['12', 'break_glass', 'approved', ['olga', 'annAgain'], 'withdraw', 'pending'],
  ['12', 'sealed', 'approved', ['sam'], 'withdraw', 'pending'],
  ['13', 'break_glass', 'approved', ['ritaAgain'], 'cancel', 'cancelled'],
  ['15, 16', 'break_glass', 'approved', ['rita', 'ritaAgain'], 'activate', 'active'],
  ['15, 16', 'drill', 'approved', ['rita'], 'activate', 'active'],
  ['15, 16 of row 2', 'auto', 'approved', ['rita'], 'activate', 'active'],
  ['15, 16 of row 3a', 'solo', 'approved', ['rita'], 'activate', 'active'],
  ['16a', 'break_glass', 'active', ['ritaAgain'], 'collect', 'active'],
  ['16a', 'drill', 'active', ['rita'], 'collect', 'active'],
  ['18', 'break_glass', 'activating', ['rita'], 'cancel', 'ending'],
  ['18', 'break_glass', 'activating', ['ann', 'sam', 'otto'], 'end', 'ending'],
  ['18', 'sealed', 'activating', ['olga'], 'end', 'ending'],
  ['22', 'break_glass', 'active', ['sam', 'otto'], 'suspend', 'suspended'],
  ['22', 'drill', 'active', ['sam'], 'suspend', 'suspended'],
  ['23a', 'break_glass', 'suspended', ['sam', 'otto'], 'resume', 'suspended'],
  ['24', 'break_glass', 'active', ['ritaAgain'], 'end', 'review_due'],
  ['24', 'drill', 'active', ['rita'], 'end', 'review_due'],
  ['24', 'break_glass', 'suspended', ['rita'], 'end', 'review_due'],
  ['25, 30', 'break_glass', 'active', ['ann', 'sam', 'otto'], 'end', 'review_due'],
  ['25, 30', 'standard', 'active', ['sam'], 'end', 'closed_ok'],
  ['25', 'break_glass', 'suspended', ['ann', 'sam', 'otto'], 'end', 'review_due'],
  ['27', 'auto', 'active', ['sam'], 'incident-closed', 'closed_ok'],
  ['27', 'auto', 'active', ['bot'], 'incident-system', 'closed_ok'],
  ['27', 'auto', 'suspended', ['sam'], 'incident-closed', 'closed_ok'],
  ['27', 'auto', 'suspended', ['bot'], 'incident-system', 'closed_ok'],
  ['27a', 'break_glass', 'active', ['sam'], 'incident-closed', 'active'],
  ['27a', 'break_glass', 'active', ['bot'], 'incident-system', 'active'],
  ['27a', 'break_glass', 'suspended', ['sam'], 'incident-closed', 'suspended'],
  ['27a', 'break_glass', 'suspended', ['bot'], 'incident-system', 'suspended'],
  ['28', 'sealed', 'active', ['olga'], 'refuse-ratification', 'review_due'],
  ...(['active', 'suspended', 'ending', 'ending_stuck', 'review_due', 'review_overdue'] as const).map(
    (state): ByPeople => ['28a', 'solo', state, ['both'], 'ratify', state],
  ),
  ['28a', 'sealed', 'active', ['ann'], 'ratify', 'active'],
  ...(['suspended', 'ending', 'ending_stuck', 'review_due', 'review_overdue'] as const).map(
    (state): ByPeople => ['28a', 'solo', state, ['ann'], 'refuse-ratification', state],
  ),
  ['33a', 'break_glass', 'ending_stuck', ['sam', 'otto'], 'abandon', 'ending_stuck'],
  ['34', 'break_glass', 'review_due', ['vera', 'both'], 'review-ok', 'closed_ok'],
  ['34', 'break_glass', 'review_overdue', ['vera'], 'review-ok', 'closed_ok'],
  ['35', 'break_glass', 'review_due', ['both'], 'review-flagged', 'closed_flagged'],
  ['35', 'break_glass', 'review_overdue', ['vera'], 'review-flagged', 'closed_flagged'],
  ['37', 'break_glass', 'closed_ok', ['sam'], 'reopen', 'review_due'],
]

const TWO_YES = [does('ann', 'approve'), does('olga', 'approve')]
export const ASKS_FOR_MORE = [waiting(25 * 60), does('rita', 'extend')]
/** One more than it takes: two of the one set, and then one of the other. */
const THREE_YES = [does('olga', 'approve'), does('annAgain', 'approve'), does('both', 'approve')]

/** What takes more than one, or somebody's time. */
const IN_STEPS: readonly Row[] = [
  ['5', 'break_glass', 'pending', TWO_YES, 'approved'],
  ['5', 'drill', 'pending', TWO_YES, 'approved'],
  ['7', 'drill', 'pending', [does('ann', 'approve'), does('olga', 'narrow')], 'approved'],
  ['8', 'standard', 'pending', [does('sam', 'deny'), does('olga', 'deny')], 'denied'],
  ['8', 'standard', 'pending', [does('olga', 'deny'), does('sam', 'deny')], 'denied'],
  ['12a', 'break_glass', 'pending', [does('ann', 'approve'), does('annAgain', 'withdraw')], 'pending'],
  [
    '12a',
    'break_glass',
    'pending',
    [does('ann', 'approve'), leaving('ann'), waiting(31), round(0)],
    'pending',
  ],
  ['12', 'break_glass', 'approved', [blocking('olga'), waiting(31), round(1)], 'pending'],
  ['12', 'break_glass', 'approved', [leaving('ann'), does('rita', 'activate')], 'pending'],
  ['12', 'sealed', 'approved', [blocking('sam'), does('rita', 'activate')], 'pending'],
  ['17', 'break_glass', 'approved', [breaking('begin'), does('rita', 'activate')], 'activation_failed'],
  ['17', 'break_glass', 'approved', [breaking('create'), does('rita', 'activate')], 'ending'],
  ['17', 'sealed', 'activating', [waiting(61), round(0), released], 'activation_failed'],
  ['16', 'break_glass', 'activating', [waiting(19), released], 'active'],
  ['18', 'break_glass', 'activating', [disabled], 'ending'],
  [
    '20, 20a',
    'break_glass',
    'active',
    [...ASKS_FOR_MORE, does('ann', 'approve-extension'), does('both', 'approve-extension')],
    'active',
  ],
  ['20', 'standard', 'active', [...ASKS_FOR_MORE, does('olga', 'approve-extension')], 'active'],
  ['21', 'break_glass', 'active', [...ASKS_FOR_MORE, does('olga', 'deny-extension')], 'active'],
  ['12b', 'break_glass', 'pending', [...THREE_YES, does('olga', 'withdraw')], 'approved'],
  ['12b', 'break_glass', 'pending', [...THREE_YES, leaving('olga'), waiting(31), round(0)], 'approved'],
  ['19', 'break_glass', 'active', ASKS_FOR_MORE, 'active'],
  ['23', 'break_glass', 'suspended', [does('sam', 'resume'), does('otto', 'resume')], 'active'],
  ['23', 'break_glass', 'suspended', [does('otto', 'resume'), does('sven', 'resume')], 'active'],
  ['27', 'break_glass', 'active', [disabled], 'review_due'],
  ['27', 'break_glass', 'suspended', [disabled], 'review_due'],
  ['33', 'break_glass', 'ending_stuck', [does('sam', 'abandon'), does('otto', 'abandon')], 'review_due'],
  ['33', 'break_glass', 'ending_stuck', [does('otto', 'abandon'), does('sven', 'abandon')], 'review_due'],
  ['33a', 'break_glass', 'ending_stuck', [does('sam', 'abandon'), does('sven', 'abandon')], 'ending_stuck'],
]

const LATE = [waiting(30 * 60), round(0)]
const GONE_AT_LAST = [mending, waiting(600), round(0), waiting(31), round(1)]

/** What happens by itself. */
const BY_ITSELF: readonly Row[] = [
  ['10', 'break_glass', 'pending', [passing(2, false), round(1)], 'expired'],
  ['10, just before', 'break_glass', 'pending', [passing(2, true), round(1)], 'pending'],
  ['10a', 'break_glass', 'pending', [passing(0, false), round(0), passing(0, false), round(1)], 'pending'],
  ['11', 'break_glass', 'pending', [changing('policy'), round(0)], 'voided'],
  ['11', 'standard', 'pending', [changing('role'), waiting(30), round(0)], 'voided'],
  ['11', 'break_glass', 'approved', [changing('target'), waiting(30), round(0)], 'voided'],
  ['11', 'break_glass', 'approved', [blocking('rita'), waiting(30), round(0)], 'voided'],
  ['11', 'break_glass', 'pending', [disabled], 'voided'],
  ['11', 'break_glass', 'approved', [disabled], 'voided'],
  ['11', 'break_glass', 'pending', [told('disable', 'rita', 0)], 'voided'],
  ['12', 'break_glass', 'approved', [told('sign_out', 'olga', 0)], 'pending'],
  ['12a', 'break_glass', 'pending', [does('ann', 'approve'), told('disable', 'annAgain', 1)], 'pending'],
  ['12b', 'break_glass', 'pending', [...THREE_YES, told('sign_out', 'olga', 0)], 'approved'],
  ['14', 'break_glass', 'approved', [passing(0, false), round(0)], 'expired'],
  ['21', 'auto', 'active', [waiting(20 * 60), does('rita', 'extend'), waiting(300), round(0)], 'active'],
  ['17', 'break_glass', 'activating', [told('suspend', 'rita', 0)], 'ending'],
  ['18', 'break_glass', 'activating', [told('disable', 'rita', 0)], 'ending'],
  ['22', 'break_glass', 'active', [told('suspend', 'rita', 0)], 'suspended'],
  ['27', 'break_glass', 'suspended', [told('disable', 'ritaAgain', 0)], 'ending'],
  ['26', 'break_glass', 'active', LATE, 'ending'],
  ['26', 'drill', 'active', LATE, 'ending'],
  ['26', 'break_glass', 'suspended', LATE, 'ending'],
  ['26a', 'break_glass', 'active', [waiting(25 * 60), round(0)], 'active'],
  ['26a', 'break_glass', 'suspended', [waiting(25 * 60), round(0)], 'suspended'],
  ['27', 'break_glass', 'active', [does('sam', 'incident-closed'), waiting(300), round(0)], 'ending'],
  ['27', 'break_glass', 'suspended', [does('sam', 'incident-closed'), waiting(300), round(0)], 'ending'],
  ['27', 'break_glass', 'active', [changing('target'), round(0)], 'ending'],
  ['27', 'break_glass', 'suspended', [changing('target'), round(0)], 'ending'],
  ['28', 'solo', 'active', [waiting(10 * 60), round(0)], 'ending'],
  ['28a', 'solo', 'suspended', [waiting(10 * 60), round(0)], 'suspended'],
  ['28a', 'sealed', 'review_due', [waiting(24 * 3_600), round(0)], 'review_due'],
  ['28a', 'solo', 'review_overdue', [waiting(10 * 60), round(0)], 'review_overdue'],
  ['29', 'break_glass', 'active', [altering, round(0)], 'ending'],
  ['30', 'break_glass', 'active', [...LATE, waiting(31), round(0)], 'review_due'],
  ['30', 'standard', 'active', [...LATE, waiting(31), round(0)], 'closed_ok'],
  ['31', 'break_glass', 'ending', [waiting(76), round(0)], 'ending_stuck'],
  ['32', 'break_glass', 'ending_stuck', GONE_AT_LAST, 'review_due'],
  ['32', 'standard', 'ending_stuck', GONE_AT_LAST, 'closed_ok'],
  ['34a', 'break_glass', 'review_due', [passing(0, false), round(0)], 'review_due'],
  ['36', 'break_glass', 'review_due', [passing(1, false), round(0)], 'review_overdue'],
]

export const ROWS: readonly Row[] = [
  ...BY_PEOPLE.flatMap(([row, lane, from, who, what, to]) =>
    who.map((by): Row => [row, lane, from, [does(by, what)], to]),
  ),
  ...IN_STEPS,
  ...BY_ITSELF,
]
