import { BrokerError } from '../../lib/errors.ts'
import type { EnrolmentAsk } from '../engine.ts'
import { given, listField } from '../fields.ts'
import { ACCOUNT_ROUTINES } from './definer-accounts.ts'
import { leavingRoutines, SESSION_ROUTINES } from './definer-leavings.ts'
import { FUNCTIONS_VERSION, type Routine, routine } from './definer-routine.ts'
import { namePattern } from './name.ts'
import { ownerFor } from './owner.ts'
import { checkMemberOf } from './role.ts'
import { identifier, literal, nameArray } from './sql.ts'
import { readTarget, type Target } from './target.ts'

/** What the functions of one target allow. */
type Rules = {
  logins: readonly string[]
  groups: readonly string[]
  owners: readonly string[]
  /** Those of `owners` that we make when they are missing. */
  ourOwners: readonly string[]
  maxLifetimeSeconds: number
  pattern: string
}

/** Above the longest lease: the margin, rounding, and clocks that differ. */
const SLACK_SECONDS = 60

/**
 * The SQL that lets a target be worked with by an admin account without any right of its own, by database: the one where
 * accounts are made first, and others that leased accounts may leave something in. To be run by a superuser, as often as
 * rules change; each is one transaction.
 */
export function enrolmentSql(ask: EnrolmentAsk): { database: string; sql: string }[] {
  const target = readTarget(ask.target)
  const home = target.place.database
  const rules = rulesFor(ask, target)
  const others = (listField({ databases: ask.databases }, 'databases') ?? []).filter((name) => name !== home)
  return [
    { database: home, sql: script('home', home, rules) },
    ...[...new Set(others)].map((database) => ({ database, sql: script('elsewhere', database, rules) })),
  ]
}

function rulesFor(
  { target: spec, roles, groups, logins, maxLeaseSeconds }: EnrolmentAsk,
  target: Target,
): Rules {
  const login = target.username
  if (login === undefined)
    throw new BrokerError('invalid_request', 'username: the target names no admin account')
  const known = roles.flatMap(({ member_of }) => (member_of as string[] | undefined) ?? [])
  const listed = checkMemberOf(listField(given({ groups }), 'groups')) ?? [...new Set(known)].sort()
  const all = [...new Set([login, ...(listField(given({ logins }), 'logins') ?? [])])]
  const own = all.map((each) => ownerFor(target.owner, each))
  const named = roles.flatMap(({ owner }) => (owner === undefined ? [] : [owner as string]))
  return {
    logins: all,
    groups: listed,
    owners: [...new Set([...own.map(({ name }) => name), ...named])],
    ourOwners: own.flatMap(({ name, isOurs }) => (isOurs ? [name] : [])),
    maxLifetimeSeconds: maxLeaseSeconds + target.expiryMarginMs / 1_000 + SLACK_SECONDS,
    pattern: namePattern(spec.username_template !== undefined),
  }
}

function script(place: 'home' | 'elsewhere', database: string, rules: Rules): string {
  const routines: readonly Routine[] = [
    routine('version()', 'integer', 'sql', `SELECT ${FUNCTIONS_VERSION}`),
    ...(place === 'home' ? ACCOUNT_ROUTINES : []),
    ...(place === 'home' ? SESSION_ROUTINES : []),
    ...leavingRoutines(place),
  ]
  return [
    header(place, database, rules),
    'BEGIN;',
    'SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL standard_conforming_strings = on;',
    `${inDatabase(database)}\n${DEFINER_ROLE}`,
    ...rules.ourOwners.map(makeOwner),
    'SET LOCAL ROLE leasehold_functions;',
    SCHEMA,
    ...(place === 'home' ? [ACCOUNT_TABLE] : []),
    setRules(rules),
    ...routines.map(({ text }) => text),
    'REVOKE ALL ON ALL FUNCTIONS IN SCHEMA leasehold_broker FROM PUBLIC;',
    ...rules.logins.map((login) => allow(login, routines)),
    CHECKS,
    ...rules.logins.map(checkLogin),
    'COMMIT;',
    '',
  ].join('\n\n')
}

const header = (place: 'home' | 'elsewhere', database: string, rules: Rules): string =>
  [
    `Leasehold: functions for leased accounts, version ${FUNCTIONS_VERSION}, for database ${JSON.stringify(database)}`,
    place === 'home' ? 'where accounts are made' : 'where accounts may leave something behind',
    `May be called by ${JSON.stringify(rules.logins)} alone. Groups they may give: ${JSON.stringify(rules.groups)}`,
    'Run it as a superuser, again whenever groups, owners or maximum lifetimes change. It holds no secret.',
  ]
    .map((line) => `-- ${line}.`)
    .join('\n')

/** Rules for one database would let through in another what nobody meant. */
const inDatabase = (database: string): string => `DO $leasehold$
BEGIN
  IF current_database() <> ${inBody(database)} THEN
    RAISE EXCEPTION 'this is for another database than "%"', current_database();
  END IF;
END $leasehold$;`

/** A literal inside of one of our dollar quotes, which no name can close: without a dollar sign left in it. */
const inBody = (text: string): string =>
  `convert_from(decode('${Buffer.from(text).toString('hex')}', 'hex'), 'UTF8')`

const DEFINER_ROLE = `DO $leasehold$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'leasehold_functions') THEN
    -- A superuser, since one that only makes roles is a member of every role it made, and slower with each.
    CREATE ROLE leasehold_functions NOLOGIN SUPERUSER;
  END IF;
  IF EXISTS (SELECT FROM pg_roles r WHERE rolname = 'leasehold_functions' AND (rolcanlogin OR NOT rolsuper
             OR EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = r.oid))) THEN
    RAISE EXCEPTION 'the role leasehold_functions must be NOLOGIN and SUPERUSER, and nobody may be a member of it';
  END IF;
END $leasehold$;`

const makeOwner = (owner: string): string => `DO $leasehold$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ${inBody(owner)}) THEN
    EXECUTE format('CREATE ROLE %I NOLOGIN', ${inBody(owner)});
  END IF;
END $leasehold$;`

/** Without a policy no row is there for anybody but superusers: `pg_write_all_data`, too, may be a listed group. */
const outOfReach = (table: string): string =>
  `ALTER TABLE leasehold_broker.${table} ENABLE ROW LEVEL SECURITY;`

/** Functions go and come back, so that none of an older version stays callable; the list of accounts stays. */
const SCHEMA = `CREATE SCHEMA IF NOT EXISTS leasehold_broker;
DO $leasehold$
DECLARE
  function regprocedure;
BEGIN
  -- Looked at once there is one for certain: nobody can make it in between.
  IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'leasehold_broker' AND nspowner <> 'leasehold_functions'::regrole) THEN
    RAISE EXCEPTION 'the schema leasehold_broker belongs to somebody else';
  END IF;
  FOR function IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'leasehold_broker'::regnamespace LOOP
    EXECUTE format('DROP FUNCTION %s', function);
  END LOOP;
END $leasehold$;
CREATE TABLE IF NOT EXISTS leasehold_broker.rules (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  pattern text NOT NULL,
  groups name[] NOT NULL,
  owners name[] NOT NULL,
  max_lifetime interval NOT NULL
);
${outOfReach('rules')}`

/** What may be extended, and how far. Of the key that extending takes only the hash is here. */
const ACCOUNT_TABLE = `CREATE TABLE IF NOT EXISTS leasehold_broker.account (
  name name PRIMARY KEY,
  oid oid NOT NULL,
  lease text NOT NULL,
  key_hash bytea NOT NULL,
  latest timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS account_oid ON leasehold_broker.account (oid);
CREATE INDEX IF NOT EXISTS account_latest ON leasehold_broker.account (latest);
${outOfReach('account')}`

const setRules = ({ pattern, groups, owners, maxLifetimeSeconds }: Rules): string =>
  `DELETE FROM leasehold_broker.rules;
INSERT INTO leasehold_broker.rules (pattern, groups, owners, max_lifetime)
VALUES (${literal(pattern)}, ${nameArray(groups)}, ${nameArray(owners)}, interval '${maxLifetimeSeconds} seconds');`

const allow = (login: string, routines: readonly Routine[]): string => {
  const open = routines.filter(({ inner }) => !inner)
  return `GRANT USAGE ON SCHEMA leasehold_broker TO ${identifier(login)};
GRANT EXECUTE ON FUNCTION
  ${open.map(({ signature }) => `leasehold_broker.${signature}`).join(',\n  ')}
TO ${identifier(login)};`
}

const CHECKS = `DO $leasehold$
DECLARE
  needed name;
BEGIN
  FOR needed IN SELECT unnest(groups || owners) FROM leasehold_broker.rules LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = needed) THEN
      RAISE EXCEPTION 'there is no role "%"', needed;
    END IF;
    IF NOT leasehold_broker.is_harmless(needed) THEN
      RAISE EXCEPTION 'the role "%" must not be given to leased accounts, nor own what they leave: it is, or reaches, a role that is a superuser, makes roles, leaves the database or calls these functions', needed;
    END IF;
  END LOOP;
END $leasehold$;`

/** What the functions are for: that whoever steals this login has nothing but them. */
const checkLogin = (login: string): string => `DO $leasehold$
DECLARE
  login record;
  held text;
BEGIN
  SELECT * INTO STRICT login FROM pg_roles WHERE rolname = ${inBody(login)};
  IF login.rolsuper THEN
    RAISE EXCEPTION '"%" is a superuser and needs no functions; name another account as username', login.rolname;
  END IF;
  IF login.rolcreaterole THEN
    RAISE WARNING '"%" has CREATEROLE: once the broker works by the functions, run: ALTER ROLE % NOCREATEROLE',
      login.rolname, quote_ident(login.rolname);
  END IF;
  SELECT string_agg(DISTINCT quote_ident(g.rolname), ', ') INTO held
    FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
    WHERE m.member = login.oid AND g.rolcreaterole;
  IF held IS NOT NULL THEN
    RAISE WARNING '"%" can become %: once the leases that were made by them have ended, run: DROP ROLE %',
      login.rolname, held, held;
  END IF;
  SELECT string_agg(quote_ident(g.rolname), ', ') INTO held
    FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid CROSS JOIN leasehold_broker.rules
    WHERE m.member = login.oid AND g.rolname = ANY (groups || owners);
  IF held IS NOT NULL THEN
    RAISE WARNING '"%" is a member of %: once the broker works by the functions, run: REVOKE % FROM %',
      login.rolname, held, held, quote_ident(login.rolname);
  END IF;
END $leasehold$;`
