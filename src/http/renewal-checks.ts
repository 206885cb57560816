import { about } from '../audit/request.ts'
import type { RenewAsk } from '../lease/renew.ts'
import { type Principal, principalId } from '../policy/principal.ts'
import { deniedBy } from './denial.ts'
import { mayTouch } from './own-leases.ts'
import type { Call } from './route.ts'

/** What is checked before a lease is renewed, whichever path asks: whose it is, and whether policy would still give it. */
export const renewalChecks = (
  call: Call,
  /** Who asked for a lease, as that token proved it, whether or not it still lives. */
  holderOf: (tokenId: string) => Promise<Principal>,
): Pick<RenewAsk, 'mayTouch' | 'stillAllowed'> => ({
  mayTouch: mayTouch(call),
  async stillAllowed({ tokenId, path, mountType, asked }, grant) {
    const { parameters, policy, principal } = call
    const holder = tokenId === principal.tokenId ? principal : await holderOf(tokenId)
    // Kubernetes credentials are asked for by writing, with fields that policy may go by.
    const isWritten = mountType === 'kubernetes'
    const decision = await policy.decide({
      principal: holder,
      operation: isWritten ? 'update' : 'read',
      path,
      parameters: isWritten ? asked : parameters,
      again: true,
      // People have said yes to it, and it ends with what they said yes to: the holder needs no rule of their own.
      ...(grant && { approvedAs: grant }),
    })
    if (decision.allowed) return true
    // The caller may renew leases; it is the holder who may have this one no more.
    about({ details: { reason: 'recheck', recheck: { path, principal: principalId(holder) } } })
    throw deniedBy(decision)
  },
})
