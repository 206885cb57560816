import type { Account } from '../engine.ts'
import type { Connections } from './connections.ts'
import { fullName, leaseIdInUser, OUR_USERS_LIKE, type UserAtHost } from './sql.ts'

const PAGE = 1_000

/** Every account of our naming, in pages, so that a hundred thousand need not fit into memory. */
export async function* listAccounts(connections: Connections): AsyncIterable<Account> {
  let last: UserAtHost = { user: '', host: '' }
  for (;;) {
    const rows = await connections.use('ending', (session, { dialect }) =>
      session.run(dialect.pageQuery(last, OUR_USERS_LIKE, PAGE)),
    )
    for (const row of rows) {
      last = { user: String(row.user), host: String(row.host) }
      const leaseId = leaseIdInUser(last.user)
      if (leaseId !== undefined) yield { leaseId, name: fullName(last), targetRef: last.user }
    }
    if (rows.length < PAGE) return
  }
}
