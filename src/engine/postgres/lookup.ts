import type { Ending } from '../engine.ts'
import type { Facts } from './connections.ts'
import { makerOf } from './makers.ts'
import { leaseIdInMark, nameArray, oidArray } from './sql.ts'

/** An account as it stands on the target now, perhaps under another name than it was made with. */
export type Found = {
  oid: string
  name: string
  canLogin: boolean
  /** What it may do beside logging in, as ALTER ROLE takes it away. */
  toStrip: string[]
  /** The role to become for changing it, where that is not the admin account. */
  maker: string | null
}

export type FoundRow = {
  oid: string
  rolname: string
  rolcanlogin: boolean
  rolsuper: boolean
  rolcreaterole: boolean
  rolcreatedb: boolean
  rolreplication: boolean
  rolbypassrls: boolean
  mark: string | null
  maker: string | null
}

export const namesOf = (endings: readonly Ending[]): string[] => endings.map(({ account }) => account.name)

const oidsOf = (endings: readonly Ending[]): string[] =>
  endings.flatMap(({ account }) => (account.targetRef === null ? [] : [account.targetRef]))

/** A subquery of the accounts' OIDs: those that have their names now, and those that were theirs when made. */
export const theirOids = (endings: readonly Ending[]): string =>
  `(SELECT r.oid FROM unnest(${nameArray(namesOf(endings))}) AS n (name) JOIN pg_roles r ON r.rolname = n.name
    UNION SELECT unnest(${oidArray(oidsOf(endings))}))`

export const foundQuery = (endings: readonly Ending[], facts: Facts): string => `
  SELECT oid::text, rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
         shobj_description(oid, 'pg_authid') AS mark,
         ${facts.functions ? 'NULL' : makerOf('f.oid', facts)} AS maker
  FROM pg_roles AS f WHERE oid IN ${theirOids(endings)}`

/**
 * Which rows are which account. One found by its OID alone must also carry the lease's mark: OIDs come round again,
 * and what is found here will be disabled and dropped.
 */
export function matchFound(endings: readonly Ending[], rows: readonly FoundRow[]): Map<Ending, Found[]> {
  const byName = new Map(rows.map((row) => [row.rolname, row]))
  const byOid = new Map(rows.map((row) => [row.oid, row]))
  return new Map(
    endings.map((ending) => {
      const { name, targetRef, leaseId } = ending.account
      const named = byName.get(name)
      const renamed = targetRef === null ? undefined : byOid.get(targetRef)
      const isOurs = renamed && renamed !== named && leaseIdInMark(renamed.mark) === leaseId
      return [ending, [...(named ? [named] : []), ...(isOurs ? [renamed] : [])].map(asFound)]
    }),
  )
}

const asFound = (row: FoundRow): Found => ({
  oid: row.oid,
  name: row.rolname,
  canLogin: row.rolcanlogin,
  maker: row.maker,
  toStrip: [
    ...(row.rolsuper ? ['NOSUPERUSER'] : []),
    ...(row.rolcreaterole ? ['NOCREATEROLE'] : []),
    ...(row.rolcreatedb ? ['NOCREATEDB'] : []),
    ...(row.rolreplication ? ['NOREPLICATION'] : []),
    ...(row.rolbypassrls ? ['NOBYPASSRLS'] : []),
  ],
})
