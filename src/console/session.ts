import { type UseQueryResult, useQuery } from '@tanstack/react-query'
import { askSession } from './api.ts'
import { ApiError } from './api-error.ts'
import { queryClient } from './query-client.ts'

export type Session = {
  display_name: string
  kind: 'human' | 'workload'
  mount: string
  subject: string
  groups: string[]
  auth_time: string | null
  amr: string[]
  acr: string | null
  principal_id: string
  accessor: string
  policies: string[]
  root: boolean
  signed_in_by: 'oidc' | 'webauthn' | 'token'
  oidc: { mount: string; role: string } | null
  webauthn: { mount: string } | null
  token_expires_at: string | null
  token_renewable: boolean
  session_expires_at: string
  ends_leases: number
  now: string
  may: Record<'leases' | 'revoke' | 'targets' | 'summary' | 'audit' | 'break_glass' | 'policies', boolean>
}

const KEY = ['session'] as const

/** Who is signed in; null for nobody. */
export const useSessionQuery = (): UseQueryResult<Session | null> =>
  useQuery({ queryKey: KEY, queryFn: readSession, staleTime: 60_000 })

/** Who is signed in; only below the sign-in guard, where there is somebody. */
export function useSession(): Session {
  const { data } = useSessionQuery()
  if (!data) throw new Error('used outside of a session')
  return data
}

async function readSession(): Promise<Session | null> {
  try {
    return await askSession<Session>('')
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return null
    throw error
  }
}

/** What anybody may know. The sign-in page may be reading it when the last of many refusals says that a session is over. */
const OF_NOBODY: ReadonlySet<unknown> = new Set([KEY[0], 'methods'])

/** Somebody signed in, or nobody is any more: whatever another person could see goes with them. */
export function setSession(session: Session | null): void {
  queryClient.removeQueries({ predicate: ({ queryKey }) => !OF_NOBODY.has(queryKey[0]) })
  queryClient.setQueryData(KEY, session)
}

/** Leaves for the identity provider; `fresh` has it ask for the login anew. Comes back to the page it was called on. */
export async function signInByOidc({
  mount,
  role,
  fresh = false,
}: {
  mount?: string
  role?: string
  fresh?: boolean
}) {
  const { pathname, search } = window.location
  const { auth_url } = await askSession<{ auth_url: string }>('/oidc', {
    method: 'POST',
    body: { ...(mount && { mount }), ...(role && { role }), fresh, return_to: `${pathname}${search}` },
  })
  window.location.assign(auth_url)
}
