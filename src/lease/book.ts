import type { EngineType } from '../engine/engine.ts'
import type { Ledger } from '../ledger/db.ts'
import {
  countStuckLeases,
  findLease,
  findReceipt,
  type Lease as LeaseRow,
  listLeaseKeys,
  listStuckLeases,
  type StuckLease,
} from '../ledger/lease-queries.ts'
import { BrokerError } from '../lib/errors.ts'
import { isRenewable } from './renewable.ts'
import { splitLeaseId } from './wire-id.ts'

export type { StuckLease } from '../ledger/lease-queries.ts'

export type Lease = LeaseRow & { renewable: boolean }

/** Questions about leases; nothing here changes one. Lease ids are the wire's. */
export type LeaseBook = {
  /** Throws the dialect's `invalid lease` for one that does not exist, `permission_denied` for another's. */
  find(leaseId: string, mayTouch: (holder: Lease) => boolean | Promise<boolean>): Promise<Lease>
  /** One level of live lease ids below a prefix: ids, and folders with a trailing slash. */
  keys(prefix: string): Promise<string[]>
  stuck(limit: number | null): Promise<StuckLease[]>
  countStuck(): Promise<{ accessor: string; count: number }[]>
  /** The signed proof of an ended lease, undefined until it has ended. */
  receipt(leaseId: string): Promise<string | undefined>
}

export function createLeaseBook(ledger: Ledger, engineTypes: readonly EngineType[]): LeaseBook {
  return {
    async find(leaseId, mayTouch) {
      const { path, id } = splitLeaseId(leaseId)
      const row = await findLease(ledger, path, id)
      if (!row) throw new BrokerError('invalid_request', 'invalid lease')
      const lease = { ...row, renewable: row.state === 'active' && isRenewable(engineTypes, row) }
      if (!(await mayTouch(lease))) throw new BrokerError('permission_denied', 'permission denied')
      return lease
    },
    keys: (prefix) => listLeaseKeys(ledger, prefix),
    stuck: (limit) => listStuckLeases(ledger, limit),
    countStuck: () => countStuckLeases(ledger),
    receipt(leaseId) {
      const { path, id } = splitLeaseId(leaseId)
      return findReceipt(ledger, path, id)
    },
  }
}
