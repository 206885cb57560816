import type { Request } from './access.ts'

/** What the numbers keep of a request: nothing that names who asked, or for what. */
export type RequestSeen = {
  /** `none` when it was refused before it was understood. */
  operation: string
  /** `none` where nothing is mounted. */
  mountType: string
  status: number
  tookMs: number
  /** How a login went; absent for other requests, and for one that has only begun. */
  login?: 'ok' | 'refused' | 'limited' | 'failed' | undefined
}

export const seenOf = (request: Request, status: number, tookMs: number): RequestSeen => ({
  operation: request.operation ?? 'none',
  mountType: request.found?.mount?.type ?? 'none',
  status,
  tookMs,
  login: loginOutcome(request, status),
})

/** The status alone does not tell: that an issuer is away is a 400 in the dialect, and one refusal a 200. */
function loginOutcome({ found, failedLogin }: Request, status: number): RequestSeen['login'] {
  const { endpoint } = found ?? {}
  if (!endpoint?.login) return undefined
  if (status === 429) return 'limited'
  if (status >= 500) return 'failed'
  if (failedLogin || status >= 400) return failedLogin ?? 'refused'
  return endpoint.begins ? undefined : 'ok'
}
