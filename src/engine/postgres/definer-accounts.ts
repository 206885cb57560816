import { OF_NOW, type Routine, routine } from './definer-routine.ts'

/**
 * The functions that make accounts and change them. Each is of fixed text: what a target allows is a row of
 * `leasehold_broker.rules`, and every name goes through `format`'s quoting.
 */

/** The rules as they were installed. What may be asked of which role is decided here, and nowhere else. */
const OURS = `
  -- An account that these functions made, also under another name; or one from before them, by name and comment.
  SELECT EXISTS (
    SELECT FROM leasehold_broker.account a
    WHERE a.oid = candidate AND NOT EXISTS (
      SELECT FROM pg_authid r WHERE r.oid = candidate AND r.rolname <> a.name
        AND shobj_description(r.oid, 'pg_authid') IS DISTINCT FROM 'leasehold lease ' || a.lease)
  ) OR EXISTS (
    SELECT FROM pg_authid r, leasehold_broker.rules
    WHERE r.oid = candidate AND r.rolname ~ pattern
      AND shobj_description(r.oid, 'pg_authid') LIKE 'leasehold lease %'
      AND strpos(r.rolname, substr(shobj_description(r.oid, 'pg_authid'), 17)) > 0)`

/**
 * Those of the names that roles have, after a look at each: nothing else may be touched by name. What somebody else
 * dropped meanwhile is passed over.
 */
const CHECKED = `
DECLARE
  candidate record;
  ours name[] := '{}';
BEGIN ${OF_NOW}
  FOR candidate IN SELECT oid, rolname FROM pg_authid WHERE rolname = ANY (names) LOOP
    IF NOT leasehold_broker.is_ours(candidate.oid) THEN
      RAISE EXCEPTION 'the functions of leasehold_broker may not touch role %', quote_ident(candidate.rolname)
        USING ERRCODE = '42501';
    END IF;
    ours := ours || candidate.rolname;
  END LOOP;
  RETURN ours;
END`

const MAKE = `
DECLARE
  allowed leasehold_broker.rules;
  item record;
  grown record;
BEGIN ${OF_NOW}
  SELECT * INTO STRICT allowed FROM leasehold_broker.rules;
  -- Leftovers of roles that somebody dropped by hand, long after.
  DELETE FROM leasehold_broker.account WHERE name IN (
    SELECT a.name FROM leasehold_broker.account a
    WHERE a.latest < clock_timestamp() - interval '1 day' AND NOT EXISTS (SELECT FROM pg_authid r WHERE r.oid = a.oid)
    LIMIT 16 FOR UPDATE SKIP LOCKED);
  FOR item IN SELECT * FROM jsonb_to_recordset(accounts) AS t
    (name text, lease text, verifier text, key_hash text, until double precision, connections integer) LOOP
    IF (item.name ~ allowed.pattern AND octet_length(item.name) < 64 AND item.lease ~ '^[0-9a-hjkmnp-tv-z]{24}$'
        AND strpos(item.name, item.lease) > 0) IS NOT TRUE THEN
      RAISE EXCEPTION 'the functions of leasehold_broker may not make an account of this name' USING ERRCODE = '42501',
        HINT = 'they were installed for another username_template';
    END IF;
    IF (item.verifier ~ '^SCRAM-SHA-256\\$[1-9][0-9]{0,6}:[A-Za-z0-9+/=]{4,88}\\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$'
        AND item.key_hash ~ '^[0-9a-f]{64}$' AND item.connections BETWEEN 1 AND 10000) IS NOT TRUE THEN
      RAISE EXCEPTION 'not a description of an account' USING ERRCODE = '22023';
    END IF;
    IF (to_timestamp(item.until) <= clock_timestamp() + allowed.max_lifetime) IS NOT TRUE THEN
      RAISE EXCEPTION 'the functions of leasehold_broker make no account for longer than %', allowed.max_lifetime
        USING ERRCODE = '42501';
    END IF;
    EXECUTE format(
      'CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT NOREPLICATION NOBYPASSRLS '
      'CONNECTION LIMIT %s PASSWORD %L VALID UNTIL %L',
      item.name, item.connections, item.verifier, to_timestamp(item.until));
    EXECUTE format('COMMENT ON ROLE %I IS %L', item.name, 'leasehold lease ' || item.lease);
    INSERT INTO leasehold_broker.account (name, oid, lease, key_hash, latest)
      SELECT rolname, oid, item.lease, decode(item.key_hash, 'hex'), clock_timestamp() + allowed.max_lifetime
      FROM pg_authid WHERE rolname = item.name
      ON CONFLICT (name) DO UPDATE SET (oid, lease, key_hash, latest) =
        (excluded.oid, excluded.lease, excluded.key_hash, excluded.latest);
  END LOOP;
  -- Last of all, and in one order: from 16 on a group is locked until the commit.
  FOR grown IN
    SELECT g.name, string_agg(format('%I', t.name), ', ') AS members
    FROM jsonb_to_recordset(accounts) AS t (name text, groups jsonb), jsonb_array_elements_text(t.groups) AS g (name)
    GROUP BY g.name ORDER BY g.name COLLATE "C" LOOP
    IF NOT (grown.name = ANY (allowed.groups) AND leasehold_broker.is_harmless(grown.name)) THEN
      RAISE EXCEPTION 'the functions of leasehold_broker may not give role %', quote_ident(grown.name)
        USING ERRCODE = '42501';
    END IF;
    EXECUTE format('GRANT %I TO %s', grown.name, grown.members)
      || CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN ' WITH INHERIT TRUE, SET FALSE' ELSE '' END;
  END LOOP;
END`

const EXTEND = `
DECLARE
  held record;
  until timestamptz;
BEGIN
  FOR i IN 1 .. cardinality(names) LOOP
    SELECT r.oid AS role, r.rolcanlogin, r.rolvaliduntil, a.* INTO held
      FROM pg_authid r LEFT JOIN leasehold_broker.account a ON a.oid = r.oid AND a.name = r.rolname
      WHERE r.rolname = names[i];
    until := date_trunc('second', clock_timestamp() + lifetimes[i] * interval '1 millisecond' + interval '999 milliseconds');
    problem := CASE
      WHEN held.role IS NULL THEN 'absent'
      WHEN oids[i] <> held.role THEN 'replaced'
      WHEN held.key_hash IS NULL THEN 'unknown'
      WHEN sha256(keys[i]) IS DISTINCT FROM held.key_hash THEN 'not by this key'
      WHEN NOT held.rolcanlogin THEN 'disabled'
      WHEN (held.rolvaliduntil > clock_timestamp()) IS NOT TRUE THEN 'expired'
      WHEN (until <= held.latest) IS NOT TRUE THEN 'longer than the functions allow'
    END;
    IF problem IS NULL THEN
      BEGIN
        EXECUTE format('ALTER ROLE %I VALID UNTIL %L', names[i], until);
      EXCEPTION WHEN OTHERS THEN
        problem := SQLERRM;
      END;
    END IF;
    RETURN NEXT;
  END LOOP;
END`

const LOCK_OUT = `
DECLARE
  account_name name;
BEGIN
  FOREACH account_name IN ARRAY leasehold_broker.checked(names) LOOP
    EXECUTE format('ALTER ROLE %I NOLOGIN', account_name);
  END LOOP;
END`

/** Memberships are taken back in the name of whoever gave them: from 16 on they stay otherwise. */
const STRIP = `
DECLARE
  account_name name;
  membership record;
BEGIN
  names := leasehold_broker.checked(names);
  FOR account_name IN SELECT rolname FROM pg_authid WHERE rolname = ANY (names)
    AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls) LOOP
    EXECUTE format('ALTER ROLE %I NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS', account_name);
  END LOOP;
  FOR membership IN
    SELECT g.rolname AS "group", b.rolname AS grantor, string_agg(format('%I', r.rolname), ', ') AS members
    FROM pg_auth_members m JOIN pg_authid r ON r.oid = m.member JOIN pg_authid g ON g.oid = m.roleid
      LEFT JOIN pg_authid b ON b.oid = m.grantor
    WHERE r.rolname = ANY (names) GROUP BY 1, 2 ORDER BY g.rolname::text COLLATE "C" LOOP
    EXECUTE format('REVOKE %I FROM %s', membership."group", membership.members)
      || CASE WHEN current_setting('server_version_num')::integer >= 160000 AND membership.grantor IS NOT NULL
           THEN format(' GRANTED BY %I CASCADE', membership.grantor) ELSE '' END;
  END LOOP;
END`

const DROP = `
BEGIN
  names := leasehold_broker.checked(names);
  IF EXISTS (SELECT FROM pg_authid WHERE rolname = ANY (names) AND rolcanlogin) THEN
    RAISE EXCEPTION 'an account is disabled before it is dropped' USING ERRCODE = '55000';
  END IF;
  IF cardinality(names) > 0 THEN
    EXECUTE format('DROP ROLE IF EXISTS %s', (SELECT string_agg(format('%I', n), ', ') FROM unnest(names) AS n));
    DELETE FROM leasehold_broker.account WHERE name = ANY (names);
  END IF;
END`

export const ACCOUNT_ROUTINES: readonly Routine[] = [
  routine('is_ours(candidate oid)', 'boolean', 'sql', OURS, { inner: true }),
  routine('checked(names name[])', 'name[]', 'plpgsql', CHECKED, { inner: true }),
  routine('make(accounts jsonb)', 'void', 'plpgsql', MAKE),
  routine('groups()', 'name[]', 'sql', 'SELECT groups FROM leasehold_broker.rules'),
  routine(
    'extend(names name[], oids oid[], keys bytea[], lifetimes double precision[])',
    'TABLE (problem text)',
    'plpgsql',
    EXTEND,
  ),
  routine('lock_out(names name[])', 'void', 'plpgsql', LOCK_OUT),
  routine('strip(names name[])', 'void', 'plpgsql', STRIP),
  routine('drop_disabled(names name[])', 'void', 'plpgsql', DROP),
]
