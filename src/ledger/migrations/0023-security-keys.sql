-- Security keys (WebAuthn): people enrol them while their identity provider answers, and log in by them when it does not.

create table leasehold.webauthn_key (
  id text primary key,
  mount_id text not null references leasehold.mount (id),
  -- As the authenticator names it, in base64url; with its public key, which is no secret.
  credential_id text not null,
  public_key bytea not null,
  counter bigint not null,
  aaguid text not null,
  transports text[] not null default '{}',
  device_type text not null check (device_type in ('singleDevice', 'multiDevice')),
  backed_up boolean not null,
  name text not null,
  -- Whose it is: the very entity that the login at the provider has, and the role that it came by.
  entity_id text not null references leasehold.entity (id),
  role text not null,
  -- Who that was, as proved when it was enrolled.
  person jsonb not null,
  created_at timestamptz not null default leasehold.ledger_now(),
  last_used_at timestamptz,
  unique (mount_id, credential_id)
);
create index webauthn_key_person on leasehold.webauthn_key (entity_id, mount_id);
-- All keys of one person. Hashed: a subject may be longer than an index takes.
create index webauthn_key_owner on leasehold.webauthn_key
  (hashtextextended((person ->> 'iss') || '#' || (person ->> 'sub'), 0));

-- Enrolments that were begun: one for each person on a mount, so that nobody can fill this. Losing them in a crash makes a
-- few people begin again.
create unlogged table leasehold.webauthn_enrolment (
  -- SHA-256 of the challenge.
  id bytea not null,
  mount_id text not null,
  entity_id text not null,
  expires_at timestamptz not null,
  primary key (mount_id, entity_id)
);
create index webauthn_enrolment_due on leasehold.webauthn_enrolment (expires_at);

-- Challenges that somebody has logged in by, until nobody could any more. They are handed out without a row, since
-- anybody may ask for one; a row is for who has shown a key.
create table leasehold.webauthn_spent (
  -- SHA-256 of the challenge.
  id bytea primary key,
  expires_at timestamptz not null
);
create index webauthn_spent_due on leasehold.webauthn_spent (expires_at);

-- Until when what somebody's logins at their provider have said is no word on who they are any more.
create table leasehold.signed_out_person (
  -- `<issuer>#<sub>`, or an entity.
  id text primary key,
  signed_out_at timestamptz not null,
  -- From then on every login before it is too old for any key.
  expires_at timestamptz not null
);
create index signed_out_person_due on leasehold.signed_out_person (expires_at);
