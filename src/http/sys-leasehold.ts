import type { JWK } from 'jose'
import type { LeaseBook } from '../lease/book.ts'
import type { Principal } from '../policy/principal.ts'
import { handle, handleOpen, type Route } from './route.ts'

/** Our own endpoints about leases, relative to `sys/`. */
export function sysLeaseholdRoutes(parts: {
  book: LeaseBook
  jwks: () => { keys: JWK[] }
  mayTouch: (principal: Principal, tokenId: string) => boolean
}): Route[] {
  return [
    { path: 'leasehold/jwks', on: { read: handleOpen({}, async () => ({ bare: parts.jwks() })) } },
    {
      path: 'leasehold/receipts/:lease_id*',
      on: {
        read: handle({}, async ({ capture, principal }) => {
          const leaseId = capture('lease_id')
          await parts.book.find(leaseId, (tokenId) => parts.mayTouch(principal, tokenId))
          const receipt = await parts.book.receipt(leaseId)
          return receipt === undefined ? undefined : { data: { receipt } }
        }),
      },
    },
  ]
}
