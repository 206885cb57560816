import {
  findControlGroupMaxTtl,
  putControlGroupMaxTtl,
  removeControlGroupSettings,
} from '../ledger/control-groups.ts'
import type { Ledger } from '../ledger/db.ts'
import { BrokerError } from '../lib/errors.ts'

/** What holds for all control groups, as in Vault: for what is asked from then on. */
export type ControlGroupSettings = {
  /** Undefined where nobody has said anything. */
  find(): Promise<{ maxTtlSeconds: number } | undefined>
  /** Throws `invalid_request` for no time at all. */
  write(settings: { maxTtlSeconds: number }): Promise<void>
  remove(): Promise<void>
}

export const createControlGroupSettings = (ledger: Ledger): ControlGroupSettings => ({
  async find() {
    const maxTtlSeconds = await findControlGroupMaxTtl(ledger)
    return maxTtlSeconds === undefined ? undefined : { maxTtlSeconds }
  },
  async write({ maxTtlSeconds }) {
    if (maxTtlSeconds < 1) {
      throw new BrokerError(
        'invalid_request',
        'Field validation failed: field "max_ttl" must be at least one second; delete the settings to have no limit',
      )
    }
    await putControlGroupMaxTtl(ledger, maxTtlSeconds)
  },
  async remove() {
    await removeControlGroupSettings(ledger)
  },
})
