import { QueryClient } from '@tanstack/react-query'
import { ApiError } from './api-error.ts'

/** A refusal stays one however often it is asked; only silence and a server in trouble are worth asking again. */
const worthAsking = (failures: number, error: unknown) =>
  failures < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 500)

/**
 * The first part of a query's key is its topic (`grants`, `leases`, `targets`, ...): events of the server re-read it.
 * Secrets are never fetched through it, as it keeps what it was given.
 */
export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      retry: worthAsking,
      staleTime: 10_000,
      networkMode: 'always',
      // Events tell what changed; this is for what they do not cover, and for pages left open.
      refetchInterval: 60_000,
    },
    mutations: { networkMode: 'always', gcTime: 0 },
  },
})
