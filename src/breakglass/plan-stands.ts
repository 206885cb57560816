import type { Db } from '../ledger/db.ts'
import { askableRoles } from '../ledger/grant-roles.ts'
import { type PlanRole, planRole } from './plan.ts'

/** Whether what a plan pins is still what would be given: of each role, this version, on this target as it was then. */
export async function planStands(db: Db, pinned: readonly PlanRole[]): Promise<boolean> {
  const there = await askableRoles(
    db,
    pinned.map(({ path }) => path),
  )
  const now = new Map(there.map((role) => [role.path, planRole(role)]))
  return pinned.every((role) => {
    const is = now.get(role.path)
    return (
      is?.role_id === role.role_id &&
      is.target_id === role.target_id &&
      is.target_digest === role.target_digest
    )
  })
}
