import { type UseQueryResult, useQuery } from '@tanstack/react-query'
import { ask } from './api.ts'
import type { EligiblePolicy } from './ask-limits.ts'

/** What the person signed in may ask for. */
export const useEligible = (): UseQueryResult<{ policies: EligiblePolicy[] }> =>
  useQuery({
    queryKey: ['eligible'],
    queryFn: ({ signal }) => ask<{ policies: EligiblePolicy[] }>('break-glass/eligible', { signal }),
    // A form must not change below the hands of who fills it in.
    refetchInterval: false,
    refetchOnWindowFocus: false,
  })
