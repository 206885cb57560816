import { blocking, leaving, passing, waiting } from './grant-commands.ts'
import { ASKS_FOR_MORE, type Row } from './grant-rows.ts'
import { does } from './grant-walks.ts'

/** What looks like a row of the table and is none. */

const REVIEWED_BY_BOTH = [does('both', 'review-ok'), does('both', 'review-flagged')]
const MORE_BY_BOTH = [does('olga', 'approve-extension'), does('both', 'approve-extension')]
const NOON = [waiting(24 * 3_600), does('ann', 'ratify'), does('ann', 'refuse-ratification')]

/** Each: refused, or not enough. */
export const BESIDE: readonly Row[] = [
  ['4 twice', 'break_glass', 'pending', [does('ann', 'approve'), does('annAgain', 'approve')], 'pending'],
  ['4 alone', 'break_glass', 'pending', [does('both', 'approve'), does('both', 'approve')], 'pending'],
  ['8 twice', 'standard', 'pending', [does('both', 'deny'), does('both', 'deny')], 'pending'],
  [
    '8 and less',
    'standard',
    'pending',
    [does('sam', 'deny'), does('ann', 'narrow'), does('ann', 'withdraw'), does('olga', 'deny')],
    'denied',
  ],
  ['7 keeps none', 'break_glass', 'pending', [does('ann', 'approve'), does('olga', 'narrow')], 'pending'],
  [
    '20 by nobody new',
    'break_glass',
    'active',
    [...ASKS_FOR_MORE, does('ann', 'approve-extension'), does('olga', 'approve-extension')],
    'active',
  ],
  [
    '20 by one twice',
    'break_glass',
    'active',
    [...ASKS_FOR_MORE, does('ann', 'approve-extension'), does('annAgain', 'approve-extension')],
    'active',
  ],
  [
    '20 by one who took it back',
    'break_glass',
    'pending',
    [
      ...[does('ann', 'approve'), does('ann', 'withdraw'), does('both', 'approve'), does('olga', 'approve')],
      ...[does('rita', 'activate'), ...ASKS_FOR_MORE],
      ...[does('olga', 'approve-extension'), does('ann', 'approve-extension')],
    ],
    'active',
  ],
  ['19 too early', 'break_glass', 'active', [waiting(20 * 60 - 1), does('rita', 'extend')], 'active'],
  ['16a too late', 'break_glass', 'active', [waiting(30 * 60), does('rita', 'collect')], 'active'],
  ['15 too late', 'break_glass', 'approved', [passing(0, false), does('rita', 'activate')], 'expired'],
  ['5 too late', 'standard', 'pending', [passing(2, false), does('ann', 'approve')], 'expired'],
  ['6 too late', 'sealed', 'pending', [passing(2, false), does('sam', 'witness')], 'expired'],
  [
    '15 of a blocked one',
    'break_glass',
    'approved',
    [blocking('rita'), does('rita', 'activate')],
    'approved',
  ],
  ['16a of a blocked one', 'break_glass', 'active', [blocking('rita'), does('rita', 'collect')], 'active'],
  ['4 of a blocked one', 'break_glass', 'pending', [blocking('ann'), does('ann', 'approve')], 'pending'],
  ['4 of one who left', 'break_glass', 'pending', [leaving('ann'), does('ann', 'approve')], 'pending'],
  [
    '23 by one, twice',
    'break_glass',
    'suspended',
    [does('sam', 'resume'), does('sam', 'resume')],
    'suspended',
  ],
  [
    '23 too late',
    'break_glass',
    'suspended',
    [does('sam', 'resume'), waiting(30 * 60), does('otto', 'resume')],
    'suspended',
  ],
  [
    '23 of what nobody ratified',
    'sealed',
    'suspended',
    [does('olga', 'refuse-ratification'), does('sam', 'resume'), does('otto', 'resume')],
    'suspended',
  ],
  [
    '27a twice',
    'break_glass',
    'active',
    [does('sam', 'incident-closed'), does('bot', 'incident-system')],
    'active',
  ],
  ['28a too late', 'sealed', 'review_due', NOON, 'review_due'],
  [
    '28a by a witness',
    'sealed',
    'pending',
    [
      does('both', 'witness'),
      does('rita', 'activate'),
      does('both', 'ratify'),
      does('both', 'refuse-ratification'),
    ],
    'active',
  ],
  [
    '34 by a voter',
    'break_glass',
    'pending',
    [
      does('ann', 'approve'),
      does('both', 'approve'),
      does('rita', 'activate'),
      does('rita', 'end'),
      ...REVIEWED_BY_BOTH,
    ],
    'review_due',
  ],
  [
    '34 by a voter for more',
    'break_glass',
    'active',
    [...ASKS_FOR_MORE, ...MORE_BY_BOTH, does('rita', 'end'), ...REVIEWED_BY_BOTH],
    'review_due',
  ],
  [
    '34 unratified',
    'sealed',
    'review_due',
    [does('vera', 'review-ok'), does('vera', 'review-rotate')],
    'review_due',
  ],
]
