import { about } from '../audit/request.ts'
import { wireLeaseId } from '../lease/wire-id.ts'
import { isRoot } from '../policy/authorize.ts'
import { principalId } from '../policy/principal.ts'
import { deniedBy } from './denial.ts'
import type { Decision } from './ports.ts'
import type { Call } from './route.ts'

/** Which lease it is, and whose. */
type HeldLease = { id: string; path: string; tokenId: string; principalId: string }

type Asker = Pick<Call, 'principal' | 'decision' | 'policy' | 'operation' | 'path' | 'parameters'>

/**
 * Answers true, or throws the refusal, with what was decided about it for the record. The policy `default` opens the lease endpoints to every token, for its principal's own leases. Those of others take
 * a rule that somebody wrote for it.
 */
export const mayTouch =
  (call: Asker) =>
  async ({ id, path, tokenId, principalId: holder }: HeldLease): Promise<boolean> => {
    const { principal, decision } = call
    if (isRoot(principal) || tokenId === principal.tokenId || holder === principalId(principal)) return true
    const besides = decision.by?.policy === 'default' ? await decidedBesides(call) : decision
    if (besides.allowed && besides.by !== null) return true
    about({ lease_id: wireLeaseId({ path, id }), details: { reason: 'not_own_lease' } })
    throw deniedBy(besides)
  }

/** Rules of `default` name the paths exactly, and so stand before the wider ones of policies that say more. */
async function decidedBesides({ principal, policy, operation, path, parameters }: Asker): Promise<Decision> {
  const written = { ...principal, policies: principal.policies.filter((name) => name !== 'default') }
  return policy.decide({ principal: written, operation, path, parameters })
}
