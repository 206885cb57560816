import { EngineError } from '../engine/engine.ts'
import type { Db } from '../ledger/db.ts'
import { withdrawRequest } from '../ledger/rotation.ts'
import { BrokerError, messageOf } from '../lib/errors.ts'
import { SecretStoreError } from '../secrets/secret-store.ts'

/** What a caller is told of a rotation that failed: 400 where asking again cannot help, else 500 or 503. */
export function failureOf(error: unknown): unknown {
  if (error instanceof EngineError) {
    const permanent = error.kind === 'failed' || error.kind === 'denied'
    return new BrokerError(permanent ? 'invalid_request' : 'target_failed', messageOf(error), {
      cause: error,
    })
  }
  if (error instanceof SecretStoreError) {
    const permanent = PERMANENT.has(error.kind)
    return new BrokerError(permanent ? 'invalid_request' : 'unavailable', messageOf(error), { cause: error })
  }
  return error
}

const PERMANENT = new Set(['invalid', 'absent', 'not_configured', 'denied'])

/**
 * As `failureOf`, of a rotation that somebody asked for. One that is refused is not asked for any longer: nobody expects
 * the password to change on the day when what was missing is granted.
 */
export async function refusalOf(db: Db, rotationId: string, error: unknown): Promise<unknown> {
  const failure = failureOf(error)
  const isRefusal = failure instanceof BrokerError && failure.code === 'invalid_request'
  if (isRefusal) await withdrawRequest(db, rotationId)
  return failure
}
