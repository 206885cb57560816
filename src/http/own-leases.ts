import { isRoot } from '../policy/authorize.ts'
import { principalId } from '../policy/principal.ts'
import type { Call } from './route.ts'

/** Whose a lease is. */
export type LeaseHolder = { tokenId: string; principalId: string }

type Asker = Pick<Call, 'principal' | 'decision' | 'policy' | 'operation' | 'path' | 'parameters'>

/**
 * The policy `default` opens the lease endpoints to every token, for its principal's own leases. Those of others take
 * a rule that somebody wrote for it.
 */
export const mayTouch =
  (call: Asker) =>
  async ({ tokenId, principalId: holder }: LeaseHolder): Promise<boolean> => {
    const { principal, decision } = call
    if (isRoot(principal) || tokenId === principal.tokenId || holder === principalId(principal)) return true
    return decision.by?.policy === 'default' ? allowedBesides(call) : decision.by !== null
  }

/** Rules of `default` name the paths exactly, and so stand before the wider ones of policies that say more. */
async function allowedBesides({ principal, policy, operation, path, parameters }: Asker): Promise<boolean> {
  const written = { ...principal, policies: principal.policies.filter((name) => name !== 'default') }
  return (await policy.decide({ principal: written, operation, path, parameters })).allowed
}
