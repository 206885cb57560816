import type { UseQueryResult } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { ErrorState } from './error-state.tsx'
import { Loading } from './loading.tsx'

type Props<T> = { query: UseQueryResult<T>; rows?: number; children: (found: T) => ReactNode }

/** What a query found, or that it is still looking, or why it cannot; what is old stays in sight below a failure. */
export function Loaded<T>({ query, rows, children }: Props<T>) {
  if (query.isPending) return <Loading rows={rows} />
  return (
    <>
      {query.isError && (
        <ErrorState error={query.error} title="Could not be read" onRetry={() => void query.refetch()} />
      )}
      {query.data !== undefined && children(query.data)}
    </>
  )
}
