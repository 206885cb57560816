-- The operators' console: who is signed in, what has changed, what has ended lately.

-- `id` is the SHA-256 of what the browser's cookie holds, and the token is sealed under a key derived from that: whoever
-- has this table alone has no session and no token.
create table leasehold.console_session (
  id bytea primary key,
  token_id bytea not null,
  sealed bytea not null,
  created_at timestamptz not null,
  expires_at timestamptz not null
);
create index console_session_due on leasehold.console_session (expires_at);

-- Newest ended first, for lists and charts. Nothing but the last move of a lease writes to it.
create index lease_ended on leasehold.lease (ended_at, id) where state = 'revoked';

-- What happened to grants just now, for open pages.
create index grant_event_at on leasehold.grant_event (at);
