import type { EngineType } from '../engine/engine.ts'
import type { Db } from '../ledger/db.ts'
import {
  countOfToken,
  findLeaseDetail,
  findLeaseOwners,
  type LeaseDetail,
  type LeaseFilter,
  type LeasePlace,
  type ListedLease,
  listEndedLeases,
  listLiveLeases,
} from '../ledger/lease-listing.ts'
import { findLease } from '../ledger/lease-queries.ts'
import { isRenewable } from './renewable.ts'
import { splitLeaseId } from './wire-id.ts'

export type { LeaseFilter, LeasePlace, ListedLease }

export const LIVE_STATES = ['issuing', 'active', 'revoking', 'stuck'] as const
export type ListedState = (typeof LIVE_STATES)[number] | 'revoked'

export type LeaseQuestion = LeaseFilter & {
  /** `revoked` stands alone. */
  states: readonly ListedState[]
  after: LeasePlace | undefined
  limit: number
}

export type LeasePage = { leases: ListedLease[]; next: LeasePlace | undefined }

export type DetailedLease = LeaseDetail & { renewable: boolean; revocability: string }

/** Whose a lease is, for who asks to end it among others. */
export type OwnedLease = Awaited<ReturnType<typeof findLeaseOwners>>[number]

/** Leases as pages show them: any number of them, a page at a time. Nothing here changes one. */
export type LeaseListing = {
  /**
   * What happens soonest first, of those that are over the last one first. While leases come, go and are renewed, each
   * one that stays as it is comes on exactly one page.
   */
  page(question: LeaseQuestion): Promise<LeasePage>
  /** By its wire id, or the last part of it alone. */
  detail(leaseId: string): Promise<DetailedLease | undefined>
  owners(leaseIds: readonly string[]): Promise<Map<string, OwnedLease>>
}

export const createLeaseListing = (ledger: Db, engineTypes: readonly EngineType[]): LeaseListing => ({
  async page({ states, limit, ...question }) {
    if (states.includes('revoked')) return endedPage(ledger, { ...question, limit })
    const live = states.filter((state) => state !== 'revoked')
    return paged(await listLiveLeases(ledger, { ...question, states: live, limit: limit + 1 }), limit)
  },
  async detail(leaseId) {
    const { path, id } = splitLeaseId(leaseId)
    const found = await findLeaseDetail(ledger, id)
    if (!found || (path !== '' && path !== found.path)) return undefined
    const known = await findLease(ledger, found.path, id)
    return {
      ...found,
      renewable: known?.state === 'active' && isRenewable(engineTypes, known),
      revocability: String(known?.capabilities?.revocability ?? 'bounded'),
    }
  },
  async owners(leaseIds) {
    const found = await findLeaseOwners(
      ledger,
      leaseIds.map((leaseId) => splitLeaseId(leaseId).id),
    )
    const byId = new Map(found.map((lease) => [lease.id, lease]))
    return new Map(
      leaseIds.flatMap((leaseId) => {
        const { path, id } = splitLeaseId(leaseId)
        const lease = byId.get(id)
        return lease && (path === '' || path === lease.path) ? [[leaseId, lease] as const] : []
      }),
    )
  },
})

function paged(found: ListedLease[], limit: number): LeasePage {
  const leases = found.slice(0, limit)
  const last = leases.at(-1)
  return { leases, next: last && found.length > limit ? { at: last.place, id: last.id } : undefined }
}

async function endedPage(
  ledger: Db,
  { limit, ...question }: LeaseFilter & { after: LeasePlace | undefined; limit: number },
): Promise<LeasePage> {
  const { leases, more } = await listEndedLeases(ledger, { ...question, limit: limit + 1 })
  return leases.length > limit ? paged(leases, limit) : { leases, next: more }
}

/** How many live leases end with a token. */
export const leasesOfToken = (ledger: Db, tokenId: string): Promise<number> => countOfToken(ledger, tokenId)
