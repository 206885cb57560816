-- Passwords that we keep and change: of the accounts that static roles name, and of our own admin accounts. One row
-- each, driven like a lease: whoever finds it due claims it, and every step is written here before it is taken.
create table leasehold.rotation (
  id text primary key,
  kind text not null check (kind in ('static', 'admin')),
  mount_id text not null references leasehold.mount (id),
  -- By name, as roles have it: the account is on whichever server the target means now.
  target_name text not null,
  -- Of an admin: the target it is for, which is another one once its connection points elsewhere.
  target_id text references leasehold.target (id),
  -- Of a static role.
  name text,
  -- The static role's account, or the first of a target's admin accounts.
  username text not null,
  -- The second admin account, where there are two; `place` then is the credential of the one that is not in use.
  alternate_username text,
  statements text[] not null default '{}',
  -- At most one of the two; neither: by hand alone.
  period_seconds bigint check (period_seconds > 0),
  schedule text,
  -- After the planned time, for so long; null: however late.
  window_seconds bigint,
  automated boolean not null default true,
  -- Of those with the same label no two rotate close to each other.
  pair_group text,
  -- Where the credential rests, never the credential. Of an admin alone on its target, the target's row says it. Of
  -- one that was removed: what is still to be dropped there.
  secret_name text,
  password_reference text,
  -- How far a rotation got; null: none is under way, and the target has what the store has.
  phase text check (phase in ('propose', 'set', 'verify', 'promote')),
  -- While a statement with the new password may still arrive at the target: since when.
  sent_at timestamptz,
  -- The planned time of the next rotation.
  due_at timestamptz,
  -- When somebody asked for one out of turn.
  requested_at timestamptz,
  -- Without regard to its group.
  forced boolean not null default false,
  -- When somebody has to look; null while there is nothing to do.
  next_action_at timestamptz,
  claimed_by text,
  fence integer not null default 0,
  attempts integer not null default 0,
  last_error text,
  rotations integer not null default 0,
  last_rotated_at timestamptz,
  created_at timestamptz not null default leasehold.ledger_now(),
  removed_at timestamptz,
  check ((kind = 'static') = (name is not null)),
  check ((kind = 'admin') = (target_id is not null)),
  check (period_seconds is null or schedule is null)
);
create unique index rotation_live_name on leasehold.rotation (mount_id, name)
  where kind = 'static' and removed_at is null;
create unique index rotation_live_account on leasehold.rotation (mount_id, target_name, username)
  where kind = 'static' and removed_at is null;
create unique index rotation_live_admin on leasehold.rotation (target_id) where kind = 'admin' and removed_at is null;
create index rotation_due on leasehold.rotation (mount_id, target_name, next_action_at)
  where next_action_at is not null;
create index rotation_group on leasehold.rotation (mount_id, pair_group)
  where pair_group is not null and removed_at is null;
create index rotation_left on leasehold.rotation (removed_at) where removed_at is not null and secret_name is not null;
