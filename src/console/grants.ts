import { type UseQueryResult, useQuery } from '@tanstack/react-query'
import { ask } from './api.ts'
import type { Grant, GrantAction, GrantList } from './grant-types.ts'
import { queryClient } from './query-client.ts'

export type GrantView = 'inbox' | 'mine' | 'all' | 'reviews'
export type GrantFilter = {
  view: GrantView
  state?: string
  requester?: string
  cursor?: string
  limit?: number
}

export const useGrants = (filter: GrantFilter, enabled = true): UseQueryResult<GrantList> =>
  useQuery({
    enabled,
    queryKey: ['grants', 'list', filter],
    queryFn: ({ signal }) => ask<GrantList>('break-glass/requests', { query: filter, signal }),
  })

export const useGrant = (id: string): UseQueryResult<Grant> =>
  useQuery({
    enabled: id !== '',
    queryKey: ['grants', 'one', id],
    queryFn: ({ signal }) => ask<Grant>(`break-glass/requests/${encodeURIComponent(id)}`, { signal }),
  })

/** Does something to a request; what any page shows of requests is read again, whether it went well or not. */
export async function act<T = Grant>(
  id: string,
  action: GrantAction,
  body: Record<string, unknown> = {},
): Promise<T> {
  try {
    return await ask<T>(`break-glass/requests/${encodeURIComponent(id)}/${action}`, { method: 'POST', body })
  } finally {
    void queryClient.invalidateQueries({ queryKey: ['grants'] })
  }
}
