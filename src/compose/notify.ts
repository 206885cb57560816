import { createDeliverer, type Deliverer } from '../breakglass/notify/deliverer.ts'
import type { Base } from './base.ts'
import { processName } from './leases.ts'

/** What sends what break-glass has to tell. */
export const composeDeliverer = ({ ledger, secrets }: Pick<Base, 'ledger' | 'secrets'>): Deliverer =>
  createDeliverer({
    ledger,
    secretOf: async (name) => (await secrets.get(name))?.text,
    worker: processName(),
  })
