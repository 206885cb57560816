-- What issuers tell of people after their logins: Security Event Tokens (RFC 8417).

-- Those that were taken, so that none does anything twice. `id` is the SHA-256 of mount, issuer and jti.
create table leasehold.security_event (
  id bytea primary key,
  -- From then on it would be refused as too old.
  expires_at timestamptz not null
);
create index security_event_due on leasehold.security_event (expires_at);

-- The newest word on whether somebody may come in at all, of each mount by which issuers have spoken of them. Any of them
-- keeps somebody out, and none takes back what came in by another.
create table leasehold.disabled_person (
  id text primary key,
  -- `<issuer>#<sub>`: one person, whichever mounts they come by. Or an entity, where its mount names people otherwise.
  person text not null,
  -- Enabled again: kept for as long as an older word could still arrive.
  disabled boolean not null,
  -- The event that said so, and when its issuer did.
  event text not null,
  jti text not null,
  said_at timestamptz not null,
  -- The path of the mount where it came in. Empty: an operator has let them in again, whatever was said until then.
  mount text not null,
  since timestamptz not null default leasehold.ledger_now(),
  -- Null while disabled.
  expires_at timestamptz,
  unique (person, mount),
  check (disabled = (expires_at is null))
);
create index disabled_person_jti on leasehold.disabled_person (jti);
create index disabled_person_due on leasehold.disabled_person (expires_at) where expires_at is not null;

-- All tokens of one person. Hashed: a subject may be longer than an index takes.
create index token_person on leasehold.token
  (hashtextextended((identity -> 'claims' ->> 'iss') || '#' || (identity -> 'claims' ->> 'sub'), 0))
  where ended_at is null and identity is not null;

-- The logins of people, ended ones too: a key gives what the newest of them at the provider has said, and it tells whom
-- an issuer means by an address.
create index token_people on leasehold.token (entity_id, issued_at desc)
  where parent_id is null and identity ->> 'kind' = 'human';

-- Leases that a token's end alone does not end; few.
create index lease_outliving on leasehold.lease (token_id) where state <> 'revoked' and outlives_token;

-- Ended by somebody else than the principal it was for: what rests on that login, such as a vote, does not stand. After
-- all that reads the table for long: from here on nobody else can.
alter table leasehold.token add column revoked boolean not null default false;
