import type { Ledger } from '../ledger/db.ts'
import { findIssuable, type Issuable } from '../ledger/lease-issue.ts'
import { revised } from '../lib/revised.ts'

export type { Issuable } from '../ledger/lease-issue.ts'

/** The live version of a role with its target, as of a revision of the ledger; undefined for a role there is not. */
export type Issuables = (
  revision: number,
  ask: { mountId: string; roleName: string },
) => Promise<Issuable | undefined>

export function createIssuables(ledger: Ledger): Issuables {
  const read = revised<Issuable>(async (keys) => {
    const rows = await findIssuable(
      ledger,
      keys.map((key) => {
        const [mountId = '', roleName = ''] = key.split('/')
        return { mountId, roleName }
      }),
    )
    return new Map(rows.map((row) => [keyOf(row), row]))
  })
  return (revision, ask) => read(revision, keyOf(ask))
}

/** Neither a mount's id nor a role's name has a slash in it. */
const keyOf = ({ mountId, roleName }: { mountId: string; roleName: string }): string =>
  `${mountId}/${roleName}`
