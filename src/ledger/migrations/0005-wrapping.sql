-- Answers that wait for whoever has the wrapping token. A row is taken once; what it holds opens only with the text of
-- that token, which is not here.
create table leasehold.wrapped (
  -- SHA-256 of the wrapping token's text.
  id bytea primary key,
  accessor text not null unique,
  -- The answer's body, under a key derived from the token's text.
  sealed bytea not null,
  creation_path text not null,
  ttl_seconds bigint not null,
  created_at timestamptz not null,
  expires_at timestamptz not null
);
create index wrapped_due on leasehold.wrapped (expires_at);
