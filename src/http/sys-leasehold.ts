import type { JWK } from 'jose'
import type { LeaseBook } from '../lease/book.ts'
import { mayTouch } from './own-leases.ts'
import { handle, handleOpen, type Route } from './route.ts'

/** Our own endpoints about leases, relative to `sys/`. */
export function sysLeaseholdRoutes(parts: { book: LeaseBook; jwks: () => { keys: JWK[] } }): Route[] {
  return [
    { path: 'leasehold/jwks', on: { read: handleOpen({}, async () => ({ bare: parts.jwks() })) } },
    {
      path: 'leasehold/receipts/:lease_id*',
      on: {
        read: handle({}, async (call) => {
          const leaseId = call.capture('lease_id')
          await parts.book.find(leaseId, mayTouch(call))
          const receipt = await parts.book.receipt(leaseId)
          return receipt === undefined ? undefined : { data: { receipt } }
        }),
      },
    },
  ]
}
