import { packed, unpacked } from '../../lib/packed.ts'
import type { Account } from '../engine.ts'
import type { Connections } from './connections.ts'
import { leaseIdInMark, MARK_OF } from './sql.ts'

const PAGE = 250
/** A default name, for an account whose comment was lost: in a dump that leaves comments out, for one. */
const DEFAULT_NAME = /^v_.*_([0-9a-hjkmnp-tv-z]{24})$/

/**
 * Every role that carries our mark, in pages, so that a hundred thousand need not fit into memory. A page is of roles of
 * any kind: to look for a thousand with a mark would mean to look at all that are left, each time.
 */
export async function* listAccounts(connections: Connections): AsyncIterable<Account> {
  for (let after = '0'; ; ) {
    const answer = await connections.use('ending', (session) =>
      session.query(
        packed(`SELECT oid::text, rolname, ${MARK_OF('r.oid')} AS mark FROM (
           SELECT oid, rolname FROM pg_roles WHERE oid > ${after} ORDER BY oid LIMIT ${PAGE}) AS r ORDER BY r.oid`),
      ),
    )
    const rows = unpacked<{ oid: string; rolname: string; mark: string | null }>(answer)
    for (const { oid, rolname, mark } of rows) {
      const leaseId = leaseIdInMark(mark) ?? DEFAULT_NAME.exec(rolname)?.[1]
      if (leaseId !== undefined) yield { leaseId, name: rolname, targetRef: oid }
      after = oid
    }
    if (rows.length < PAGE) return
  }
}
