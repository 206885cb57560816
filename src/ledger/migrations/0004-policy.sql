-- One row per version of a policy document, never changed but for `replaced_at`: leases and audit name the version.
create table leasehold.policy (
  name text not null,
  version integer not null,
  document text not null,
  created_at timestamptz not null default leasehold.ledger_now(),
  replaced_at timestamptz,
  primary key (name, version)
);
create unique index policy_live on leasehold.policy (name) where replaced_at is null;
create trigger counted after insert or update or delete on leasehold.policy
  for each statement execute function leasehold.count_revision();

-- Who logs in: one row for each subject of a mount, whatever tokens it gets.
create table leasehold.entity (
  id text primary key,
  mount_id text not null references leasehold.mount (id),
  -- As the issuer names it.
  subject text not null,
  kind text not null check (kind in ('human', 'workload')),
  created_at timestamptz not null default leasehold.ledger_now(),
  unique (mount_id, subject)
);

-- Who the bearer is, as proved at login: a token made under it has the same.
alter table leasehold.token
  add column entity_id text references leasehold.entity (id),
  add column identity jsonb;
create index token_entity on leasehold.token (entity_id) where ended_at is null;

alter table leasehold.lease
  -- The entity that asked, or the token when there is none: who holds how much, and who may renew.
  add column principal_id text not null default '',
  -- The rule of which policy version let it be, and what the role asked besides.
  add column allowed_by jsonb;
create index lease_principal on leasehold.lease (principal_id) where state <> 'revoked';

-- The settings of an auth mount, and what may be logged in as there.
create table leasehold.auth_config (
  mount_id text primary key references leasehold.mount (id),
  spec jsonb not null
);
create table leasehold.auth_role (
  mount_id text not null references leasehold.mount (id),
  name text not null,
  spec jsonb not null,
  primary key (mount_id, name)
);
create trigger counted after insert or update or delete on leasehold.auth_config
  for each statement execute function leasehold.count_revision();
create trigger counted after insert or update or delete on leasehold.auth_role
  for each statement execute function leasehold.count_revision();
