import type { Account } from '../engine.ts'
import type { Connections } from './connections.ts'
import { leaseIdInMark, MARK_PATTERN } from './sql.ts'

const PAGE = 1_000
/** A default name, for an account whose comment was lost: in a dump that leaves comments out, for one. */
const DEFAULT_NAME = /^v_.*_([0-9a-hjkmnp-tv-z]{24})$/

/** Every role that carries our mark, in pages, so that a hundred thousand need not fit into memory. */
export async function* listAccounts(connections: Connections): AsyncIterable<Account> {
  let after = '0'
  for (;;) {
    const { rows } = await connections.use('ending', (session) =>
      session.query(
        `SELECT oid::text, rolname, mark FROM (
           SELECT oid, rolname, shobj_description(oid, 'pg_authid') AS mark FROM pg_roles WHERE oid > ${after}) AS r
         WHERE mark LIKE ${MARK_PATTERN} OR rolname ~ '^v_.*_[0-9a-z]{24}$' ORDER BY r.oid LIMIT ${PAGE}`,
      ),
    )
    for (const { oid, rolname, mark } of rows as { oid: string; rolname: string; mark: string | null }[]) {
      const leaseId = leaseIdInMark(mark) ?? DEFAULT_NAME.exec(rolname)?.[1]
      if (leaseId !== undefined) yield { leaseId, name: rolname, targetRef: oid }
      after = oid
    }
    if (rows.length < PAGE) return
  }
}
