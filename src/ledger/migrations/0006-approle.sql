-- A role of an AppRole mount is known to whoever logs in by its role_id, which is in its document.
create unique index auth_role_role_id on leasehold.auth_role (mount_id, (spec ->> 'role_id'))
  where spec ->> 'role_id' is not null;

-- What proves an AppRole besides its role_id. A row goes with its last use, and with its role.
create table leasehold.approle_secret (
  -- SHA-256 of the mount, the role and the secret id's text: the same text says nothing about another role.
  id bytea primary key,
  accessor text not null unique,
  mount_id text not null,
  role_name text not null,
  metadata jsonb not null,
  -- From where it may be used, and from where the tokens it gives may be.
  cidrs text[] not null,
  token_cidrs text[] not null,
  -- Null: any number.
  uses_left integer check (uses_left > 0),
  -- 0: it has no end.
  ttl_seconds bigint not null,
  created_at timestamptz not null default leasehold.ledger_now(),
  -- When it was made, or last used if its uses are counted.
  updated_at timestamptz not null default leasehold.ledger_now(),
  expires_at timestamptz,
  check ((ttl_seconds = 0) = (expires_at is null)),
  foreign key (mount_id, role_name) references leasehold.auth_role (mount_id, name) on delete cascade
);
create index approle_secret_role on leasehold.approle_secret (mount_id, role_name);
create index approle_secret_due on leasehold.approle_secret (expires_at) where expires_at is not null;
