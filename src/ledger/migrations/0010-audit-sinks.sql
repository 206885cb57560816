-- Where audit events are shipped to, and how far each sink has taken them. They are taken in the order of
-- (written_by, writer, seq), and only those that no transaction still under way can come before: so what is behind a
-- position never grows. The log itself is the outbox, and shipping deletes nothing from it.
create table leasehold.audit_sink (
  path text primary key,
  -- A sink that is enabled anew under a path is another one.
  id text not null unique,
  type text not null,
  description text not null,
  -- As they were given, without the token.
  options jsonb not null,
  -- Under which the secret store has the token that it is sent with.
  token_name text,
  local boolean not null,
  -- The last event that the sink took.
  taken_xid xid8 not null,
  taken_writer text not null default '',
  taken_seq bigint not null default 0,
  -- How many events before `counted_xid` it has not taken, less those it took beyond.
  backlog bigint not null default 0,
  counted_xid xid8 not null,
  counted_at timestamptz not null default leasehold.ledger_now(),
  -- The process that ships to it; the position moves only under the claim's number.
  claimed_by text,
  claimed_until timestamptz,
  fence bigint not null default 0,
  -- Since it last took something.
  failures bigint not null default 0,
  error text
) with (fillfactor = 50);
