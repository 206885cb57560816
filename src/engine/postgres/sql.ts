import { createHash } from 'node:crypto'
import { escapeIdentifier, escapeLiteral } from 'pg'

/** Small pieces of SQL text. Everything goes in one simple message, where parameters cannot travel. */

export const identifier = escapeIdentifier
export const literal = escapeLiteral

export const identifiers = (names: Iterable<string>): string => [...names].map(identifier).join(', ')

/** As `name[]`, which the index on role names can be searched with; as text they are compared one by one. */
export const nameArray = (values: Iterable<string>): string =>
  `ARRAY[${[...values].map(literal).join(', ')}]::name[]`

/** OIDs come from the ledger or the target; anything that is not one is left out rather than sent. */
export const oidArray = (values: Iterable<string>): string =>
  `ARRAY[${[...values].filter((value) => /^\d{1,10}$/.test(value)).join(', ')}]::oid[]`

/** The key of the advisory lock on an account's name, which making and proving absence both take. */
export const lockKey = (name: string): bigint =>
  createHash('sha256').update(`leasehold ${name}`).digest().readBigInt64BE()

export const lockKeys = (names: Iterable<string>): string => {
  // In one order everywhere, so that two batches cannot wait for each other.
  const keys = [...names].map(lockKey).sort((a, b) => (a < b ? -1 : 1))
  return `ARRAY[${keys.map((key) => `'${key}'`).join(', ')}]::bigint[]`
}

const MARK = 'leasehold lease '

export const markComment = (name: string, leaseId: string): string =>
  `COMMENT ON ROLE ${identifier(name)} IS ${literal(MARK + leaseId)}`

export const leaseIdInMark = (comment: string | null): string | undefined =>
  comment?.startsWith(MARK) ? comment.slice(MARK.length) : undefined

/** The mark of a role, for a query. What `shobj_description` answers, at a tenth of its cost for many roles. */
export const MARK_OF = (oid: string): string =>
  `(SELECT c.description FROM pg_shdescription c WHERE c.objoid = ${oid} AND c.classoid = 'pg_authid'::regclass)`

export const MARK_PATTERN = literal(`${MARK}%`)
