import type { LaneName } from './grant-model.ts'

/** The policies of the model: one for each lane, and for what else the machine does by them. */

const SETS = {
  oncall: { groups: ['oncall'] },
  owners: { groups: ['owners'] },
  officers: { groups: ['security'] },
  keepers: { groups: ['keepers'] },
  reviewers: { groups: ['audit'] },
}
const ONE_OF_EACH = [
  { set: 'oncall', count: 1 },
  { set: 'owners', count: 1 },
]
const PARTS = {
  sets: SETS,
  security_officers: ['officers'],
  target_owners: ['keepers'],
  reviewers: ['reviewers'],
  ticket_required: false,
  max_live: 100,
}
const IN_A_HURRY = {
  ...PARTS,
  approvals: { all_of: ONE_OF_EACH },
  approver_sets_escalation: [['oncall'], ['owners'], ['officers']],
}
const EVERYDAY = { ...PARTS, lane: 'standard' }

export const POLICIES: Record<LaneName, Record<string, unknown>> = {
  break_glass: IN_A_HURRY,
  drill: { ...IN_A_HURRY, narrowing_keeps_votes: true },
  sealed: { ...IN_A_HURRY, sealed: true },
  // What comes after it comes soon, so that the one deadline may pass before the other either way round.
  solo: {
    ...IN_A_HURRY,
    ...{ sealed: true, sealed_solo: true, ratify_within: '10m', review_due: '1m', review_overdue: '2m' },
  },
  standard: {
    ...EVERYDAY,
    ...{ approvals: { any_of: ONE_OF_EACH }, deny_threshold: 2, narrowing_keeps_votes: true },
    pending_ttl: '15m',
  },
  // Nobody may say yes to more time either: that lapses before the access ends.
  auto: { ...EVERYDAY, min_approvers: 0, incident_grace: 0, pending_ttl: '5m' },
}

/** As it is asked for; undefined is what the policy is for. */
export const ASKED_LANE: Record<LaneName, 'sealed' | 'drill' | undefined> = {
  ...{ break_glass: undefined, standard: undefined, auto: undefined },
  ...{ sealed: 'sealed', solo: 'sealed', drill: 'drill' },
}
