import { findBreakGlassPolicyById } from '../ledger/break-glass-policies.ts'
import type { Db } from '../ledger/db.ts'
import type { Grant } from '../ledger/grants.ts'
import { type Policy, policyOf } from './policies.ts'

/** The policy of a grant as it was when it was asked for: what happens to access that was given goes by nothing newer. */
export async function pinnedPolicy(
  db: Db,
  { id, policyId }: Pick<Grant, 'id' | 'policyId'>,
): Promise<Policy> {
  const row = await findBreakGlassPolicyById(db, policyId)
  if (!row) throw new Error(`the policy of grant ${id} is not in the ledger`)
  return policyOf(row)
}
