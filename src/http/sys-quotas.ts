import type { QuotaKind, Quotas } from '../lease/quotas.ts'
import { BrokerError } from '../lib/errors.ts'
import { bool, type Decoded, defaulted, duration, type Fields, int, number, text } from './fields.ts'
import { type Endpoint, handle, type Place, type Route } from './route.ts'

/** What any quota says of where it holds. `type` repeats what the path says. */
const PLACE_FIELDS = {
  type: text,
  path: defaulted(text, ''),
  role: defaulted(text, ''),
  /** Ours: a connection of the mount in `path`. */
  target: defaulted(text, ''),
  inheritable: bool,
} satisfies Fields

const RATE_FIELDS = {
  ...PLACE_FIELDS,
  rate: defaulted(number, 0),
  interval: defaulted(duration, 0),
  block_interval: defaulted(duration, 0),
  group_by: defaulted(text, ''),
  secondary_rate: defaulted(number, 0),
} satisfies Fields

const LEASE_COUNT_FIELDS = {
  ...PLACE_FIELDS,
  max_leases: defaulted(int, 0),
  principal: defaulted(text, ''),
} satisfies Fields

/** Limits on requests and on live leases, relative to `sys/`. A write replaces the whole quota, as in the dialect. */
export const sysQuotaRoutes = (quotas: Quotas): Route[] => [
  ...familyRoutes(quotas, 'rate-limit', (options) =>
    handle(
      RATE_FIELDS,
      async ({ capture, fields }) => {
        if (fields.secondary_rate !== 0) {
          throw new BrokerError('invalid_request', `'secondary_rate' is not supported`)
        }
        await quotas.writeRate(capture('name'), {
          ...placeOf(fields),
          rate: fields.rate,
          intervalSeconds: fields.interval,
          blockSeconds: fields.block_interval,
          groupBy: fields.group_by,
        })
        return undefined
      },
      options,
    ),
  ),
  ...familyRoutes(quotas, 'lease-count', (options) =>
    handle(
      LEASE_COUNT_FIELDS,
      async ({ capture, fields }) => {
        await quotas.writeLeaseCount(capture('name'), {
          ...placeOf(fields),
          maxLeases: fields.max_leases,
          principal: fields.principal,
        })
        return undefined
      },
      options,
    ),
  ),
]

const placeOf = ({ path, role, target, inheritable }: Decoded<typeof PLACE_FIELDS>) => ({
  path,
  role,
  target,
  inheritable,
})

function familyRoutes(
  quotas: Quotas,
  kind: QuotaKind,
  update: (options: { exists(place: Place): Promise<boolean> }) => Endpoint,
): Route[] {
  return [
    {
      path: `quotas/${kind}`,
      on: { list: handle({}, async () => ({ data: { keys: await quotas.names(kind) } })) },
    },
    {
      path: `quotas/${kind}/:name`,
      on: {
        read: handle({}, async ({ capture }) => {
          const quota = await quotas.find(kind, capture('name'))
          return quota && { data: quota }
        }),
        update: update({
          exists: async ({ capture }) => (await quotas.find(kind, capture('name'))) !== undefined,
        }),
        delete: handle({}, async ({ capture }) => {
          await quotas.remove(kind, capture('name'))
          return undefined
        }),
      },
    },
  ]
}
