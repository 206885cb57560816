import { keepPreviousData, type UseQueryResult, useQuery } from '@tanstack/react-query'
import { ask } from '../../api.ts'
import { serverClock } from '../../clock.ts'
import { queryClient } from '../../query-client.ts'
import { useSession } from '../../session.ts'
import { begun, type Followed, followedUp, isOpen, type RevokeOutcome } from './bulk-revoke.ts'
import { dueWithin, type LeaseFilters, listingOf } from './filters.ts'
import type { LeaseDetail, LeaseRow, Leases } from './lease.ts'

const PAGE_SIZE = 50
/** As many as the API lists at once. */
const MOST_LISTED = 200
/** How many leases are looked at one by one in a round, where the listings did not tell. */
const ONE_BY_ONE = 5
const FOLLOW_MS = 1_000

/** Where to list leases: everybody's, or only one's own for who may see no others. */
const useListingPath = (): string =>
  useSession().may.leases ? 'sys/leasehold/leases' : 'sys/leasehold/leases-self'

export function useLeases(filters: LeaseFilters, cursor: string | null): UseQueryResult<Leases> {
  const path = useListingPath()
  const query = listingOf(filters, { limit: PAGE_SIZE, cursor })
  return useQuery({
    queryKey: ['leases', 'list', path, query.toString(), filters.left],
    queryFn: async ({ signal }) => {
      const page = await ask<Leases>(path, { query: Object.fromEntries(query), signal })
      const now = new Date(page.now ?? serverClock.now())
      const { rows, cursor: next } = dueWithin(page.leases, { left: filters.left, now, cursor: page.cursor })
      return { ...page, leases: rows, cursor: next }
    },
    placeholderData: keepPreviousData,
  })
}

/** `id` is the last part of the lease id, as events name leases. */
export const useLease = (id: string): UseQueryResult<LeaseDetail> =>
  useQuery({
    queryKey: ['leases', 'one', id],
    queryFn: ({ signal }) => ask<LeaseDetail>(`sys/leasehold/leases/${encodeURIComponent(id)}`, { signal }),
  })

/** Tells leases to end. They end by themselves from then on, whatever becomes of this page. */
export async function revokeMany(ids: readonly string[]): Promise<RevokeOutcome[]> {
  const { outcomes } = await ask<{ outcomes: RevokeOutcome[] }>('sys/leasehold/leases/revoke', {
    method: 'POST',
    body: { ids },
  })
  void queryClient.invalidateQueries({ queryKey: ['leases'] })
  return outcomes
}

export async function revokeOne(leaseId: string): Promise<void> {
  await ask('sys/leases/revoke', { method: 'POST', body: { lease_id: leaseId, sync: false } })
  void queryClient.invalidateQueries({ queryKey: ['leases'] })
}

/** `seconds` 0: as long as its role gives by default. */
export async function renewLease(leaseId: string, seconds: number): Promise<void> {
  await ask('sys/leases/renew', { method: 'POST', body: { lease_id: leaseId, increment: seconds } })
  void queryClient.invalidateQueries({ queryKey: ['leases'] })
}

/** How leases that were told to end are getting on; asks until none can change any more. */
export function useFollowed(outcomes: readonly RevokeOutcome[], round: number): Followed[] {
  const path = useListingPath()
  // No topic of events: while many leases end, it would be read again with each of them.
  const key = ['following', round]
  const { data } = useQuery({
    queryKey: key,
    queryFn: async () => {
      const before = queryClient.getQueryData<Followed[]>(key) ?? begun(outcomes)
      return followedUp(before, await lookedAt(path, before))
    },
    initialData: () => begun(outcomes),
    initialDataUpdatedAt: 0,
    refetchInterval: ({ state }) => (state.data?.some(({ fate }) => isOpen(fate)) ? FOLLOW_MS : false),
    gcTime: 0,
  })
  return data
}

/** The newest ended and the stuck, each in one listing; of what neither names, some one by one. */
async function lookedAt(path: string, followed: readonly Followed[]): Promise<LeaseRow[]> {
  const open = followed.filter(({ fate }) => isOpen(fate)).map(({ leaseId }) => leaseId)
  if (open.length === 0) return []
  const listed = await Promise.all(
    ['revoked', 'stuck'].map((state) => ask<Leases>(path, { query: { state, limit: MOST_LISTED } })),
  )
  const rows = listed.flatMap(({ leases }) => leases)
  const seen = new Set(rows.map(({ lease_id }) => lease_id))
  const unseen = open.filter((leaseId) => !seen.has(leaseId))
  const looked = await Promise.allSettled(
    sample(unseen, ONE_BY_ONE).map((leaseId) => ask<LeaseRow>(`sys/leasehold/leases/${idOf(leaseId)}`)),
  )
  return [...rows, ...looked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))]
}

/** Another part of a long list each time, so that each has its turn. */
function sample<T>(all: readonly T[], size: number): T[] {
  const from = all.length <= size ? 0 : Math.floor(Math.random() * all.length)
  return [...all.slice(from), ...all.slice(0, from)].slice(0, size)
}

/** The last part of a lease id: what events and addresses name a lease by. */
export const idOf = (leaseId: string): string => leaseId.slice(leaseId.lastIndexOf('/') + 1)
