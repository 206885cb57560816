import type { Request } from './access.ts'

/** What the numbers keep of a request: nothing that names who asked, or for what. */
export type RequestSeen = {
  /** `none` when it was refused before it was understood. */
  operation: string
  /** `none` where nothing is mounted. */
  mountType: string
  status: number
  tookMs: number
  login: boolean
}

export const seenOf = (request: Request, status: number, tookMs: number): RequestSeen => ({
  operation: request.operation ?? 'none',
  mountType: request.found?.mount?.type ?? 'none',
  status,
  tookMs,
  login: request.found?.endpoint?.login === true,
})
