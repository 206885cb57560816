import type { Reconciler } from '../lease/reconcile/reconciler.ts'
import { BrokerError } from '../lib/errors.ts'
import { commaList, defaulted } from './fields.ts'
import { handle, type Route } from './route.ts'

/** Stands for every account that the ledger does not know. */
const ALL = '*'

/** Whether a connection's leases can be ended and are as they were made, and making sure of it now. */
export function databaseStatusRoutes({ reconciler }: { reconciler: Reconciler }): Route[] {
  return [
    {
      path: 'config/:name/status',
      on: {
        read: handle({}, async ({ mount, capture }) => {
          const status = await reconciler.status(mount.id, capture('name'))
          return status && { data: status }
        }),
      },
    },
    {
      path: 'config/:name/reconcile',
      on: {
        update: handle(
          { end_unknown: defaulted(commaList, []) },
          async ({ mount, capture, fields: { end_unknown: names } }) => {
            const name = capture('name')
            const which = names.includes(ALL) ? 'all' : new Set(names)
            const status = await reconciler.now(mount.id, name, which)
            if (status) return { data: status }
            throw new BrokerError(
              'invalid_request',
              `failed to find entry for connection with name: ${JSON.stringify(name)}`,
            )
          },
        ),
      },
    },
  ]
}
