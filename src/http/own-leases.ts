import { about } from '../audit/request.ts'
import { wireLeaseId } from '../lease/wire-id.ts'
import { isRoot } from '../policy/authorize.ts'
import type { Principal } from '../policy/principal.ts'
import { deniedBy } from './denial.ts'
import type { Decision } from './ports.ts'
import type { Call } from './route.ts'

/** Which lease it is, and whose. */
type HeldLease = { id: string; path: string; tokenId: string; principalId: string }

type Asker = Pick<Call, 'principal' | 'decision' | 'policy' | 'operation' | 'path' | 'parameters'>

/**
 * Answers true, or throws the refusal, with what was decided about it for the record. The policy `default` opens the
 * lease endpoints to every token: for the leases it asked for, and those of whoever logged in. Those of others, be they
 * of the same tree of tokens, take a rule that somebody wrote for it.
 */
export const mayTouch = (call: Asker) => {
  const refusal = touching(call)
  return async (lease: HeldLease): Promise<boolean> => {
    const refused = await refusal(lease)
    if (!refused) return true
    about({ lease_id: wireLeaseId(lease), details: { reason: 'not_own_lease' } })
    throw deniedBy(refused)
  }
}

/** The same asked ahead: what was decided where it may not be, else undefined. One asker may ask of many leases. */
export function touching(call: Asker) {
  const { principal, decision } = call
  let asked: Promise<Decision> | undefined
  const besidesDefault = (): Promise<Decision> => {
    asked ??= decidedBesides(call)
    return asked
  }
  return async ({ tokenId, principalId: holder }: HeldLease): Promise<Decision | undefined> => {
    if (isRoot(principal) || tokenId === principal.tokenId || isSameLogin(principal, holder)) return undefined
    const besides = await (decision.by?.policy === 'default' ? besidesDefault() : decision)
    return besides.allowed && besides.by !== null ? undefined : besides
  }
}

/**
 * As `mayTouch`, for what hands out the secret of a lease anew: no rule lets anybody but its holder, or root, have that.
 * Another token of the same login has to be one that could ask for the lease itself.
 */
export const mayReceive =
  ({ principal, policy }: Asker) =>
  async ({ id, path, tokenId, principalId: holder, asked }: HeldLease & { asked: Asker['parameters'] }) => {
    if (isRoot(principal) || tokenId === principal.tokenId) return true
    if (isSameLogin(principal, holder)) {
      const { allowed } = await policy.decide({ principal, operation: 'update', path, parameters: asked })
      if (allowed) return true
    }
    about({ lease_id: wireLeaseId({ path, id }), details: { reason: 'not_own_lease' } })
    return false
  }

/** Tokens of one tree count as one principal, but whoever was given one was not given the others. */
const isSameLogin = ({ entityId }: Principal, holder: string): boolean =>
  entityId !== '' && entityId === holder

/** Rules of `default` name the paths exactly, and so stand before the wider ones of policies that say more. */
async function decidedBesides({ principal, policy, operation, path, parameters }: Asker): Promise<Decision> {
  const written = { ...principal, policies: principal.policies.filter((name) => name !== 'default') }
  return policy.decide({ principal: written, operation, path, parameters })
}
