/**
 * Every metric of ours: the names and labels are an interface that dashboards and alerts are built on, so they change
 * with a line in the change log only. `docs/metrics.md` tells operators the same, and a test holds the two together.
 * A label takes values from a closed set or names a target; never a principal, a lease, a path or an error's text.
 */
export type MetricSpec = {
  type: 'counter' | 'gauge' | 'histogram'
  help: string
  labels?: readonly string[]
  /** Of a histogram: upper bounds, in seconds. */
  buckets?: readonly number[]
}

/** From a batch of one on a quiet target to a client's patience. */
const CALL_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
/** From an alarm on time, over the sweep's interval, to a target that was down for hours. */
const LAG_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200]
/** A decision is a walk over compiled rules; what takes longer has read the ledger for it. */
const DECISION_SECONDS = [0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1, 1]

const TARGET = ['mount', 'target'] as const

export const CATALOGUE = {
  leasehold_build_info: { type: 'gauge', help: 'Always 1; the version is a label.', labels: ['version'] },

  leasehold_request_duration_seconds: {
    type: 'histogram',
    help: 'Requests to the API, from the head read to the answer handed over.',
    labels: ['operation', 'mount_type', 'status'],
    buckets: CALL_SECONDS,
  },
  leasehold_logins_total: {
    type: 'counter',
    help: 'Logins, by the type of the auth mount.',
    labels: ['method', 'outcome'],
  },
  leasehold_policy_decision_duration_seconds: {
    type: 'histogram',
    help: 'Decisions by policy, with what had to be looked up for them.',
    labels: ['outcome'],
    buckets: DECISION_SECONDS,
  },

  leasehold_lease_issue_duration_seconds: {
    type: 'histogram',
    help: 'Asks for a lease, refused ones too.',
    labels: ['engine', 'outcome'],
    buckets: CALL_SECONDS,
  },
  leasehold_lease_renew_duration_seconds: {
    type: 'histogram',
    help: 'Renewals of leases, refused ones too.',
    labels: ['engine', 'outcome'],
    buckets: CALL_SECONDS,
  },
  leasehold_lease_end_duration_seconds: {
    type: 'histogram',
    help: 'How long a worker held a lease in one go at ending it, by how far it got.',
    labels: ['engine', 'outcome'],
    buckets: CALL_SECONDS,
  },
  leasehold_lease_end_lag_seconds: {
    type: 'histogram',
    help: 'From when a lease was due to when its access had ended.',
    labels: ['engine'],
    buckets: LAG_SECONDS,
  },
  leasehold_leases_ended_total: {
    type: 'counter',
    help: 'Leases ended and proved gone.',
    labels: ['engine', 'reason'],
  },
  leasehold_lease_overdue_seconds: {
    type: 'gauge',
    help: 'How long the longest due lease whose access has not ended has been due; 0 when there is none.',
    labels: TARGET,
  },
  leasehold_leases_stuck: {
    type: 'gauge',
    help: 'Leases whose ending has failed six times or more; it is still being tried.',
    labels: TARGET,
  },

  leasehold_rotation_duration_seconds: {
    type: 'histogram',
    help: 'Rotations of passwords, of admin accounts and of static roles, by how they went.',
    labels: ['kind', 'outcome'],
    buckets: CALL_SECONDS,
  },

  leasehold_queue_lag_seconds: {
    type: 'histogram',
    help: 'From when a wake-up was due to when a worker took it.',
    buckets: LAG_SECONDS,
  },
  leasehold_sweep_rounds_total: {
    type: 'counter',
    help: 'Rounds of the sweep, by whether it could read the ledger.',
    labels: ['outcome'],
  },
  leasehold_sweep_due_targets_total: {
    type: 'counter',
    help: 'Targets on which rounds of the sweep found something due.',
  },
  leasehold_sweep_expired_tokens_total: { type: 'counter', help: 'Expired tokens that the sweep ended.' },

  leasehold_ledger_reachable: {
    type: 'gauge',
    help: '1 when the ledger answered what the gauges of leases and targets are read from, else 0.',
  },
  leasehold_ledger_connections: {
    type: 'gauge',
    help: 'Connections of this process to the ledger that are open, those of them that are idle, and callers waiting.',
    labels: ['state'],
  },
  leasehold_target_connections: {
    type: 'gauge',
    help: 'The same for connections of this process to a target.',
    labels: [...TARGET, 'lane', 'state'],
  },
  leasehold_target_breaker_open: {
    type: 'gauge',
    help: '1 while this process takes the target to be down and issues nothing on it.',
    labels: TARGET,
  },

  leasehold_target_revocable: {
    type: 'gauge',
    help: '1 when the last throwaway lease on the target was ended and proved gone, else 0.',
    labels: TARGET,
  },
  leasehold_target_reconcile_age_seconds: {
    type: 'gauge',
    help: 'Since the target was last held against the ledger with success.',
    labels: TARGET,
  },
  leasehold_target_reconcile_found: {
    type: 'gauge',
    help: 'What the last reconcile of the target found, by kind.',
    labels: [...TARGET, 'found'],
  },
  leasehold_target_clock_skew_seconds: {
    type: 'gauge',
    help: 'The clock of the target minus that of the worker that asked it last.',
    labels: TARGET,
  },
  leasehold_target_limit_used: {
    type: 'gauge',
    help: 'How much is used of what the target may run out of.',
    labels: [...TARGET, 'limit'],
  },
  leasehold_target_limit_max: {
    type: 'gauge',
    help: 'How much of it there is, where that has an end.',
    labels: [...TARGET, 'limit'],
  },

  leasehold_audit_lag_seconds: {
    type: 'gauge',
    help: 'Age of the oldest audit event that a sink has not taken yet.',
    labels: ['sink'],
  },
  leasehold_audit_backlog_events: {
    type: 'gauge',
    help: 'Audit events that a sink has not taken yet.',
    labels: ['sink'],
  },
  leasehold_granting_closed: {
    type: 'gauge',
    help: '1 while this process grants nothing, because an audit sink is too far behind.',
  },
} as const satisfies Record<string, MetricSpec>

export type MetricName = keyof typeof CATALOGUE
type NameOf<Type extends MetricSpec['type']> = {
  [Name in MetricName]: (typeof CATALOGUE)[Name]['type'] extends Type ? Name : never
}[MetricName]
export type CounterName = NameOf<'counter'>
export type GaugeName = NameOf<'gauge'>
export type HistogramName = NameOf<'histogram'>
