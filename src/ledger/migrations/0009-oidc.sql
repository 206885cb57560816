-- Logins of people that were begun, until they come back from their provider. A row is taken once; what it holds opens
-- only with the text of the state, which is not here. Losing them in a crash makes a few people begin again, and a
-- restored copy of the ledger should have none.
create unlogged table leasehold.oidc_state (
  -- SHA-256 of the state's text, and of the mount.
  id bytea primary key,
  -- The nonces and the verifier, under a key derived from the state's text.
  sealed jsonb not null,
  -- Whoever began it, as limits know them.
  source text not null,
  expires_at timestamptz not null
);
create index oidc_state_source on leasehold.oidc_state (source, expires_at);
create index oidc_state_due on leasehold.oidc_state (expires_at);
