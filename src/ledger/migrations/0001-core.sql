-- The ledger: the only truth. Every name is schema-qualified in our statements, so nothing depends on search_path.

-- The one clock. Only the test set-up replaces this function.
create function leasehold.ledger_now() returns timestamptz language sql stable as 'select now()';

-- What this installation is, set once by `leasehold init`: its id, for issuers and cluster names.
create table leasehold.installation (
  only_row boolean primary key default true check (only_row),
  id text not null,
  created_at timestamptz not null default leasehold.ledger_now()
);

-- Rows of the built-in secret store: ciphertext under a key the database never sees.
create table leasehold.sealed_secret (
  name text primary key,
  sealed bytea not null,
  version integer not null,
  updated_at timestamptz not null default leasehold.ledger_now()
);

create table leasehold.mount (
  id text primary key,
  -- Where it answers, with its trailing slash: 'database/', 'auth/token/', 'team-a/db/'.
  path text not null check (path like '_%/'),
  type text not null,
  description text not null default '',
  config jsonb not null default '{}',
  options jsonb,
  created_at timestamptz not null default leasehold.ledger_now(),
  disabled_at timestamptz
);
create unique index mount_live_path on leasehold.mount (path) where disabled_at is null;
insert into leasehold.mount (id, path, type, description)
values ('token', 'auth/token/', 'token', 'token based credentials');

-- A database server or cluster. Rows stay after removal: leases pin them, and ending a lease needs them.
create table leasehold.target (
  id text primary key,
  mount_id text not null references leasehold.mount (id),
  name text not null,
  engine text not null,
  plugin text not null,
  spec jsonb not null,
  -- The admin credential's name in the secret store; never the credential.
  secret_name text not null,
  allowed_roles text[] not null default '{}',
  verified boolean not null default true,
  capabilities jsonb,
  -- Counts changes of the row: an open engine with an older number is closed and opened anew.
  version integer not null default 1,
  created_at timestamptz not null default leasehold.ledger_now(),
  removed_at timestamptz
);
create unique index target_live_name on leasehold.target (mount_id, name) where removed_at is null;

-- One row per version of a role, never changed but for `replaced_at`: leases pin the version they were made by.
create table leasehold.role (
  id text primary key,
  mount_id text not null references leasehold.mount (id),
  name text not null,
  version integer not null,
  target_name text not null,
  spec jsonb not null,
  default_ttl_seconds bigint not null default 0,
  max_ttl_seconds bigint not null default 0,
  created_at timestamptz not null default leasehold.ledger_now(),
  replaced_at timestamptz,
  unique (mount_id, name, version)
);
create unique index role_live_name on leasehold.role (mount_id, name) where replaced_at is null;

create table leasehold.token (
  -- SHA-256 of the token's text.
  id bytea primary key,
  -- Null for a batch token: it has none.
  accessor text unique,
  -- Null: an orphan. Ends with its parent otherwise.
  parent_id bytea references leasehold.token (id),
  type text not null check (type in ('service', 'batch')),
  policies text[] not null,
  path text not null,
  display_name text not null,
  metadata jsonb,
  role text,
  renewable boolean not null,
  -- Uses left; null is without limit.
  uses_left integer check (uses_left >= 0),
  -- As it was made; renewing without an increment asks for this again. 0: never expires (root).
  ttl_seconds bigint not null,
  -- As its maker asked; what its role adds is read from the role at each renewal. 0: none.
  explicit_max_ttl_seconds bigint not null default 0,
  period_seconds bigint not null default 0,
  bound_cidrs text[] not null default '{}',
  issued_at timestamptz not null default leasehold.ledger_now(),
  -- Null: never expires (root).
  expires_at timestamptz,
  -- The end that no renewal can move; null when there is none (root, or a period without an explicit maximum).
  hard_expires_at timestamptz,
  renewed_at timestamptz,
  ended_at timestamptz,
  check (expires_at <= hard_expires_at),
  check ((type = 'batch') = (accessor is null))
);
create index token_children on leasehold.token (parent_id) where ended_at is null;
create index token_due on leasehold.token (expires_at) where ended_at is null;

create table leasehold.token_role (
  name text primary key,
  spec jsonb not null
);

-- Every account we may have made. Rows are never deleted: `revoked` is a state, so history and truth are one table.
create table leasehold.lease (
  id text primary key,
  -- The path that was asked; with the id it is the lease id on the wire.
  path text not null,
  -- No foreign keys: rows of these four tables are never deleted, the insert itself locks target and token, and the
  -- four checks would be half of what issuing costs the ledger.
  mount_id text not null,
  role_id text not null,
  target_id text not null,
  token_id bytea not null,
  outlives_token boolean not null default false,
  account text not null,
  -- The target's own id for the account, once known.
  target_ref text,
  state text not null check (state in ('issuing', 'active', 'revoking', 'revoked')),
  issued_at timestamptz not null,
  expires_at timestamptz not null,
  -- What cut the last answer short of what was asked, if anything.
  limited_by text,
  -- The end that no renewal can move, fixed at issue, and the bound that set it.
  hard_expires_at timestamptz not null,
  hard_limited_by text not null,
  renewed_at timestamptz,
  -- Counts renewals: of two at once, the one that read an older number tries again.
  renewals integer not null default 0,
  -- Until then a create sent by us may still take effect on the target.
  create_deadline timestamptz not null,
  -- When somebody has to look: the create deadline while issuing, expiry while active, the next try while revoking.
  next_action_at timestamptz,
  -- The worker that holds it, if any, and the number that makes an older holder's writes void.
  claimed_by text,
  fence integer not null default 0,
  attempts integer not null default 0,
  last_error text,
  end_reason text,
  -- [{step, at, evidence}] of the ending, in the order done.
  steps jsonb not null default '[]',
  -- Login disabled and no session left: what lateness is measured by.
  access_ended_at timestamptz,
  ended_at timestamptz,
  unique (target_id, account),
  check (expires_at <= hard_expires_at),
  check ((state = 'revoked') = (next_action_at is null)),
  check ((state = 'revoked') = (ended_at is not null)),
  check (state <> 'revoked' or access_ended_at is not null)
);
-- Everything that drives a lease asks this: what is due on that target, access first.
create index lease_due on leasehold.lease (target_id, next_action_at) where next_action_at is not null;
-- Six failed tries make a lease "stuck": listed, alerted on, counted against issuing. Not a state, just this question.
create index lease_stuck on leasehold.lease (target_id) where state = 'revoking' and attempts >= 6;
create index lease_wire_id on leasehold.lease ((path || '/' || id) text_pattern_ops) where state <> 'revoked';
create index lease_mount on leasehold.lease (mount_id) where state <> 'revoked';
create index lease_token on leasehold.lease (token_id) where state <> 'revoked';

-- The signed proof of each ended lease.
create table leasehold.receipt (
  lease_id text primary key references leasehold.lease (id),
  jws text not null
);
