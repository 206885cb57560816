import { BrokerError } from './errors.ts'

/** Says why nothing may be granted now, if nothing may. Cheap: asked at every grant. */
export type MayGrant = () => string | undefined

const RETRY_SECONDS = 5

/** Throws `unavailable` while nothing may be granted. Ending never asks. */
export function checkGranting(mayGrant: MayGrant | undefined): void {
  const why = mayGrant?.()
  if (why !== undefined) throw new BrokerError('unavailable', why, { retryAfterSeconds: RETRY_SECONDS })
}
