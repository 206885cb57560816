-- What we make or end on our own account is a lease as well, so that it ends by the same steps with the same proof.
alter table leasehold.lease
  -- canary: made only to be ended. orphan: an account that was found on a target without a live lease of its own.
  add column kind text not null default 'issued' check (kind in ('issued', 'canary', 'orphan'));

-- An account that came back after its lease had ended has the name it had.
alter table leasehold.lease drop constraint lease_target_id_account_key;
create unique index lease_account on leasehold.lease (target_id, account) where kind <> 'orphan';
create unique index lease_orphan on leasehold.lease (target_id, account)
  where kind = 'orphan' and state <> 'revoked';

-- How the account of a live lease looked when it was first looked at, where its role alone does not say how it has to.
create table leasehold.sighting (
  lease_id text primary key,
  target_id text not null,
  traits jsonb not null,
  -- Of the lease at that time.
  renewals integer not null
);
create index sighting_target on leasehold.sighting (target_id);

-- What is done for each target every hour or so, by whichever worker finds it due, and what came of it.
create table leasehold.upkeep (
  target_id text not null references leasehold.target (id),
  task text not null check (task in ('reconcile', 'canary')),
  next_action_at timestamptz not null,
  -- The worker that has it in hand, and the number that makes an older one's result void.
  claimed_by text,
  fence integer not null default 1,
  finished_at timestamptz,
  succeeded_at timestamptz,
  outcome jsonb,
  primary key (target_id, task)
);
