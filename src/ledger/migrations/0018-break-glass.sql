-- Break-glass: who asked for access past what they have, who let them, what came of it.

-- One row per version, never changed but for `replaced_at`: a grant pins the version it was asked under.
create table leasehold.break_glass_policy (
  id text primary key,
  name text not null,
  version integer not null,
  spec jsonb not null,
  created_at timestamptz not null default leasehold.ledger_now(),
  replaced_at timestamptz,
  unique (name, version)
);
create unique index break_glass_policy_live on leasehold.break_glass_policy (name) where replaced_at is null;
create trigger counted after insert or update or delete on leasehold.break_glass_policy
  for each statement execute function leasehold.count_revision();

-- One row from the ask to the review. Rows are never deleted.
create table leasehold.access_grant (
  id text primary key,
  policy_id text not null references leasehold.break_glass_policy (id),
  lane text not null check (lane in ('standard', 'break_glass', 'sealed', 'drill')),
  state text not null check (state in ('pending', 'approved', 'activating', 'active', 'suspended', 'ending',
    'ending_stuck', 'review_due', 'review_overdue', 'denied', 'cancelled', 'expired', 'voided', 'activation_failed',
    'closed_ok', 'closed_flagged')),
  -- Counts moves: of two at once, the one that read an older number has lost.
  version integer not null default 1,
  -- As `principalId` has it, and who that was, as proved when asking: names change, this record does not.
  requester_id text not null,
  requester jsonb not null,
  plan jsonb not null,
  -- SHA-256 of the plan as canonical JSON, in hex: what votes are for.
  plan_hash text not null,
  reason text not null,
  ticket text not null default '',
  ticket_state text not null default 'none' check (ticket_state in ('none', 'verified', 'unverified')),
  duration_seconds integer not null check (duration_seconds > 0),
  -- SHA-256 of the key its requester may know it by.
  idempotency_key bytea,
  requested_at timestamptz not null,
  pending_expires_at timestamptz not null,
  -- How many sets have been told so far.
  escalations integer not null default 0,
  approved_at timestamptz,
  activate_by timestamptz,
  started_at timestamptz,
  expires_at timestamptz,
  -- By how much `expires_at` was moved since it started.
  extended_seconds integer not null default 0,
  end_reason text,
  -- Access is over: every lease proved gone.
  ended_at timestamptz,
  stuck_since timestamptz,
  review_due_at timestamptz,
  review_overdue_at timestamptz,
  ratification text not null default 'none' check (ratification in ('none', 'due', 'ratified', 'refused', 'overdue')),
  ratify_by timestamptz,
  -- What was seen in it has to be rotated.
  force_rotation boolean not null default false,
  -- The wrapping accessor by which Vault's control groups know it.
  control_accessor text unique,
  -- What was given out besides the row: kept for the doors that serve it.
  detail jsonb not null default '{}',
  -- When somebody has to look; null once nothing is left to happen by itself.
  next_action_at timestamptz,
  claimed_by text,
  fence integer not null default 0,
  attempts integer not null default 0,
  last_error text
);
create index access_grant_due on leasehold.access_grant (next_action_at) where next_action_at is not null;
create index access_grant_newest on leasehold.access_grant (requested_at desc, id desc);
create index access_grant_state on leasehold.access_grant (state, requested_at desc);
create index access_grant_requester on leasehold.access_grant (requester_id, requested_at desc);
create unique index access_grant_key on leasehold.access_grant (requester_id, idempotency_key)
  where idempotency_key is not null;

-- A round is 0 for the grant itself, and the number of the extension after that.
create table leasehold.grant_vote (
  grant_id text not null references leasehold.access_grant (id),
  round integer not null,
  number integer not null,
  voter_id text not null,
  -- Who that was, with how and when they had logged in.
  voter jsonb not null,
  decision text not null check (decision in ('approve', 'deny', 'witness', 'ratify', 'refuse', 'resume', 'abandon')),
  plan_hash text not null,
  -- The sets it counts in.
  sets text[] not null default '{}',
  comment text not null default '',
  cast_at timestamptz not null,
  -- Withdrawn, or void because the plan or the voter changed.
  ended_at timestamptz,
  ended_because text,
  primary key (grant_id, round, number)
);
-- One person, one vote, whatever groups they are in.
create unique index grant_vote_once on leasehold.grant_vote (grant_id, round, voter_id, decision) where ended_at is null;

create table leasehold.grant_extension (
  grant_id text not null references leasehold.access_grant (id),
  round integer not null check (round > 0),
  state text not null check (state in ('pending', 'approved', 'denied', 'expired')),
  seconds integer not null check (seconds > 0),
  reason text not null,
  plan_hash text not null,
  asked_at timestamptz not null,
  decided_at timestamptz,
  primary key (grant_id, round)
);
create unique index grant_extension_pending on leasehold.grant_extension (grant_id) where state = 'pending';

create table leasehold.grant_review (
  grant_id text not null references leasehold.access_grant (id),
  number integer not null,
  reviewer_id text not null,
  reviewer jsonb not null,
  outcome text not null check (outcome in ('ok', 'flagged', 'reopened')),
  checklist jsonb not null default '{}',
  finding text not null default '',
  case_id text not null default '',
  jws text,
  at timestamptz not null,
  primary key (grant_id, number)
);

-- Every move, and everything else that happened to a grant, in order: written with it, in its transaction.
create table leasehold.grant_event (
  grant_id text not null references leasehold.access_grant (id),
  number integer not null,
  at timestamptz not null default leasehold.ledger_now(),
  event text not null,
  from_state text,
  to_state text not null,
  -- Null for a timer or a worker.
  actor jsonb,
  detail jsonb not null default '{}',
  primary key (grant_id, number)
);

-- People blocked from new grants until somebody settles it: after misuse was found.
create table leasehold.grant_block (
  requester_id text primary key,
  grant_id text not null references leasehold.access_grant (id),
  reason text not null,
  since timestamptz not null default leasehold.ledger_now()
);

-- What is to be told to whom, in the transaction of what it tells of. A failed delivery is tried again and holds up nothing.
create table leasehold.notification (
  id text primary key,
  grant_id text references leasehold.access_grant (id),
  event text not null,
  -- The policy's name and which of its notification targets.
  policy_id text not null,
  destination text not null,
  body jsonb not null,
  state text not null default 'waiting' check (state in ('waiting', 'delivered', 'failed')),
  created_at timestamptz not null default leasehold.ledger_now(),
  attempts integer not null default 0,
  next_action_at timestamptz,
  claimed_by text,
  last_error text,
  last_status integer,
  settled_at timestamptz
);
create index notification_due on leasehold.notification (next_action_at) where next_action_at is not null;
create index notification_grant on leasehold.notification (grant_id, created_at);

-- Leases that a grant allowed end with it.
alter table leasehold.lease add column grant_id text;
create index lease_grant on leasehold.lease (grant_id) where grant_id is not null;
