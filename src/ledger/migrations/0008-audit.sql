-- The record of who did what. `at`, `body` and `hash` are texts exactly as they were hashed; the columns after them
-- repeat parts of the body, for questions.
create table leasehold.audit_event (
  writer text not null,
  seq bigint not null,
  at text not null,
  body text not null,
  hash text not null,
  at_time timestamptz not null,
  type text not null,
  principal text,
  lease_id text,
  target text,
  -- The transaction that wrote it: readers that follow the log wait until no older one can still commit.
  written_by xid8 not null default pg_current_xact_id(),
  primary key (writer, seq)
);
create index audit_event_at on leasehold.audit_event (at_time, writer, seq);
create index audit_event_principal on leasehold.audit_event (principal, at_time) where principal is not null;
create index audit_event_lease on leasehold.audit_event (lease_id, at_time) where lease_id is not null;
create index audit_event_target on leasehold.audit_event (target, at_time) where target is not null;
-- Where each chain begins: how the chains that are new are found.
create index audit_event_first on leasehold.audit_event (at_time) where seq = 1;
create index audit_event_written on leasehold.audit_event (written_by, writer, seq);

-- Signed statements of where every chain stood.
create table leasehold.audit_checkpoint (
  number bigint primary key,
  jws text not null,
  made_at timestamptz not null default leasehold.ledger_now()
);
