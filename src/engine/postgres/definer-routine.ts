/** One function of the enrolment SQL. `inner` ones are for the others: the broker's login may not call them. */
export type Routine = { signature: string; text: string; inner: boolean }

/** Counts up with every change that a broker of another version could not work with. */
export const FUNCTIONS_VERSION = 1

/**
 * Nothing of the caller's session bears on what a function does: names are found in pg_catalog alone, and dates and
 * strings are written and read in one way. And catalogs are searched by their indexes, however old their statistics are:
 * a scan of all roles would grow with them.
 */
const SETTINGS = `SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, YMD' SET timezone = 'UTC'
  SET standard_conforming_strings = on SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off`

/**
 * First in a body that checks before it acts: in a transaction that sees the past, rules and roles would be checked as
 * they were and then changed as they are.
 */
export const OF_NOW = `
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'the functions of leasehold_broker work in READ COMMITTED transactions alone' USING ERRCODE = '25001';
  END IF;`

export function routine(
  signature: string,
  returns: string,
  language: 'sql' | 'plpgsql',
  body: string,
  { inner = false }: { inner?: boolean } = {},
): Routine {
  const text = `CREATE FUNCTION leasehold_broker.${signature} RETURNS ${returns} LANGUAGE ${language} ${SETTINGS}
AS $leasehold$${body}
$leasehold$;`
  return { signature, text, inner }
}
