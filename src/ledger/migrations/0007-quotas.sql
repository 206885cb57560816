-- What may be had at most. Few rows, which requests are decided by.
create table leasehold.quota (
  kind text not null check (kind in ('lease-count', 'rate-limit')),
  name text not null,
  -- Stays through changes of the quota; one made anew under the name starts counting anew.
  id text not null unique,
  spec jsonb not null,
  primary key (kind, name)
);
create trigger counted after insert or update or delete on leasehold.quota
  for each statement execute function leasehold.count_revision();

-- How often something happened lately: one row per counter and key, void from `free_at` on. Losing them in a crash lets
-- a few requests more through, which is worth less than a write to disk for every request.
create unlogged table leasehold.rate_count (
  counter text not null,
  key text not null,
  started_at timestamptz not null,
  taken bigint not null,
  blocked_until timestamptz,
  -- When the count starts anew.
  free_at timestamptz not null,
  primary key (counter, key)
) with (fillfactor = 50);
create index rate_count_free on leasehold.rate_count (free_at);

-- SHA-256 of the key with which a lease was asked for. No two leases that may be used have one and the same.
alter table leasehold.lease add column idempotency_key bytea;
create unique index lease_idempotency on leasehold.lease (principal_id, idempotency_key, path)
  where idempotency_key is not null and state in ('issuing', 'active');
