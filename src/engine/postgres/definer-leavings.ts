import { OF_NOW, type Routine, routine } from './definer-routine.ts'

/** The functions that end sessions, and settle what accounts leave behind in one database. */

const END_SESSIONS = `
  -- The filter stands fenced off, so that no session is signalled which it leaves out.
  SELECT pid, usesysid, usename, allowed, CASE WHEN allowed THEN pg_terminate_backend(pid) END
  FROM (SELECT pid, usesysid, usename, leasehold_broker.is_ours(usesysid) AS allowed
        FROM pg_stat_activity WHERE usesysid = ANY (accounts) OFFSET 0) AS theirs`

/**
 * No function can roll back a prepared transaction: only its owner may, and outside of any transaction. So the caller may
 * become the account, which by then has lost its groups. It need not be disabled: such a transaction can be what keeps it
 * from that.
 */
const LEND = `
DECLARE
  account_name name := (SELECT rolname FROM pg_authid WHERE oid = account);
BEGIN
  IF account_name IS NULL OR NOT leasehold_broker.is_ours(account)
     OR NOT EXISTS (SELECT FROM pg_prepared_xact() WHERE ownerid = account) THEN
    RAISE EXCEPTION 'this role has no prepared transaction that the functions of leasehold_broker could help with'
      USING ERRCODE = '42501';
  END IF;
  PERFORM leasehold_broker.strip(ARRAY[account_name]);
  EXECUTE format('GRANT %I TO %I', account_name, session_user)
    || CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN ' WITH INHERIT FALSE, SET TRUE' ELSE '' END;
END`

/**
 * The statements that follow fire event triggers, as a superuser: what stands in those without a schema must not be
 * found among the caller's temporary tables and types.
 */
const REFUSE_LIVE = `${OF_NOW}
  IF pg_my_temp_schema() <> 0 AND (EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_my_temp_schema())
     OR EXISTS (SELECT FROM pg_type WHERE typnamespace = pg_my_temp_schema())) THEN
    RAISE EXCEPTION 'the functions of leasehold_broker settle nothing in a session with temporary tables or types'
      USING ERRCODE = '55000';
  END IF;
  IF EXISTS (SELECT FROM unnest(accounts) AS a (oid) WHERE leasehold_broker.is_leaving(a.oid) IS NOT TRUE) THEN
    RAISE EXCEPTION 'the functions of leasehold_broker may not settle what belongs to these roles'
      USING ERRCODE = '42501', HINT = 'only leased accounts, and only disabled ones';
  END IF;`

const DISARM = `
DECLARE
  function regprocedure;
BEGIN ${REFUSE_LIVE}
  FOR function IN SELECT oid::regprocedure FROM pg_proc WHERE prosecdef AND proowner = ANY (accounts) LOOP
    EXECUTE format('ALTER ROUTINE %s SECURITY INVOKER', function);
  END LOOP;
END`

const HAND_OVER = `
DECLARE
  account oid;
  names text := (SELECT string_agg(format('%I', rolname), ', ') FROM pg_authid WHERE oid = ANY (accounts));
BEGIN ${REFUSE_LIVE}
  IF NOT (heir = ANY (SELECT unnest(owners) FROM leasehold_broker.rules))
     OR NOT leasehold_broker.is_harmless(heir) THEN
    RAISE EXCEPTION 'the functions of leasehold_broker may not give anything to role %', quote_ident(heir)
      USING ERRCODE = '55000', HINT = 'install what leasehold target sql prints again';
  END IF;
  EXECUTE format('REASSIGN OWNED BY %s TO %I', names, heir);
  EXECUTE format('DROP OWNED BY %s', names);
  FOREACH account IN ARRAY accounts LOOP
    PERFORM leasehold_broker.take_back(account);
  END LOOP;
END`

/**
 * DROP OWNED takes what the owner of an object gave, and leaves what others gave who had it WITH GRANT OPTION. Only they
 * can take that, so it is taken by a function that is theirs for this one statement.
 */
const TAKE_BACK = `
DECLARE
  given record;
  fixed text := format('leasehold_broker.take_back_%s()', pg_backend_pid());
BEGIN
  FOR given IN
    SELECT DISTINCT g.rolname AS grantor, o.kind, o.identity
    FROM (
      SELECT 'TABLE' AS kind, c.oid::regclass::text AS identity, c.relacl AS acl FROM pg_class c
      WHERE c.oid IN (SELECT objid FROM pg_shdepend WHERE refobjid = account AND classid = 'pg_class'::regclass)
      UNION ALL SELECT 'TABLE', a.attrelid::regclass::text, a.attacl FROM pg_attribute a
      WHERE a.attrelid IN (SELECT objid FROM pg_shdepend WHERE refobjid = account AND classid = 'pg_class'::regclass)
      UNION ALL SELECT 'ROUTINE', p.oid::regprocedure::text, p.proacl FROM pg_proc p
      WHERE p.oid IN (SELECT objid FROM pg_shdepend WHERE refobjid = account AND classid = 'pg_proc'::regclass)
      UNION ALL SELECT 'SCHEMA', format('%I', n.nspname), n.nspacl FROM pg_namespace n
      WHERE n.oid IN (SELECT objid FROM pg_shdepend WHERE refobjid = account AND classid = 'pg_namespace'::regclass)
      UNION ALL SELECT 'TYPE', t.oid::regtype::text, t.typacl FROM pg_type t
      WHERE t.oid IN (SELECT objid FROM pg_shdepend WHERE refobjid = account AND classid = 'pg_type'::regclass)
      UNION ALL SELECT 'DATABASE', format('%I', d.datname), d.datacl FROM pg_database d
      WHERE d.oid IN (SELECT objid FROM pg_shdepend WHERE refobjid = account AND classid = 'pg_database'::regclass)
    ) AS o (kind, identity, acl), aclexplode(o.acl) AS e JOIN pg_authid g ON g.oid = e.grantor
    WHERE e.grantee = account
  LOOP
    EXECUTE format('CREATE FUNCTION %s RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
      fixed, format('BEGIN REVOKE ALL ON %s %s FROM %s CASCADE; END', given.kind, given.identity,
        (SELECT format('%I', rolname) FROM pg_authid WHERE oid = account)));
    EXECUTE format('ALTER FUNCTION %s OWNER TO %I', fixed, given.grantor);
    EXECUTE format('SELECT %s', fixed);
    EXECUTE format('DROP FUNCTION %s', fixed);
  END LOOP;
END`

/** Which accounts may be settled in the database where accounts are made, and which in others, where no list is kept. */
const LEAVING_HERE = `
  SELECT leasehold_broker.is_ours(candidate) AND NOT EXISTS (SELECT FROM pg_authid WHERE oid = candidate AND rolcanlogin)`
const LEAVING_ELSEWHERE = `
  SELECT EXISTS (
    SELECT FROM pg_authid r WHERE r.oid = candidate AND NOT r.rolcanlogin
      AND shobj_description(r.oid, 'pg_authid') ~ '^leasehold lease [0-9a-hjkmnp-tv-z]{24}$')`

/** A role that gives no way up: not to a superuser, not to one that makes roles or leaves the database, not to these functions and their rules. */
const HARMLESS = `
  WITH RECURSIVE reached (oid) AS (
    SELECT oid FROM pg_authid WHERE rolname = candidate
    UNION SELECT m.roleid FROM pg_auth_members m JOIN reached ON m.member = reached.oid)
  SELECT count(*) > 0 AND NOT coalesce(bool_or(
    r.rolsuper OR r.rolcreaterole OR r.rolreplication
    OR r.rolname IN ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files')
    OR (r.rolbypassrls AND has_table_privilege(r.oid, 'leasehold_broker.rules', 'INSERT, UPDATE, DELETE'))
    OR has_function_privilege(r.oid, 'leasehold_broker.hand_over(oid[], name)', 'EXECUTE')), true)
  FROM pg_authid r JOIN reached USING (oid)`

export const SESSION_ROUTINES: readonly Routine[] = [
  routine(
    'end_sessions(accounts oid[])',
    'TABLE (pid integer, usesysid oid, usename name, allowed boolean, told boolean)',
    'sql',
    END_SESSIONS,
  ),
  routine('lend(account oid)', 'void', 'plpgsql', LEND),
]

export const leavingRoutines = (place: 'home' | 'elsewhere'): readonly Routine[] => [
  routine(
    'is_leaving(candidate oid)',
    'boolean',
    'sql',
    place === 'home' ? LEAVING_HERE : LEAVING_ELSEWHERE,
    { inner: true },
  ),
  routine('is_harmless(candidate name)', 'boolean', 'sql', HARMLESS, { inner: true }),
  routine('disarm(accounts oid[])', 'void', 'plpgsql', DISARM),
  routine('take_back(account oid)', 'void', 'plpgsql', TAKE_BACK, { inner: true }),
  routine('hand_over(accounts oid[], heir name)', 'void', 'plpgsql', HAND_OVER),
]
