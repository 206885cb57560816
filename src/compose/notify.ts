import { createDeliverer, DELIVERIES_WAKEUP, type Deliverer } from '../breakglass/notify/deliverer.ts'
import type { Base } from './base.ts'
import { processName, wakingAt } from './leases.ts'

/** What sends what break-glass has to tell. */
export function composeDeliverer({
  ledger,
  secrets,
  wakeups,
  log,
}: Pick<Base, 'ledger' | 'secrets' | 'wakeups' | 'log'>): Deliverer {
  const wakeAt = wakingAt(wakeups)
  return createDeliverer({
    ledger,
    secretOf: async (name) => (await secrets.get(name))?.text,
    wakeIn: (ms) => wakeAt(DELIVERIES_WAKEUP, new Date(Date.now() + ms), ms),
    worker: processName(),
    log,
  })
}
