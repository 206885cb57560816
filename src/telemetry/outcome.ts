import { BrokerError } from '../lib/errors.ts'

/**
 * ok. refused: the ask itself, by a rule or a setting of ours. limited: too many asks. target_failed: the target did
 * not do it, now or ever. unavailable: the ledger did not answer. internal: a fault of ours.
 */
export type Outcome = 'ok' | 'refused' | 'limited' | 'target_failed' | 'unavailable' | 'internal'

/** How a call ended that threw `error`. */
export function failureOf(error: unknown): Exclude<Outcome, 'ok'> {
  if (!(error instanceof BrokerError)) return 'internal'
  if (error.code === 'unavailable' || error.code === 'target_failed') return error.code
  if (error.code === 'too_many_requests') return 'limited'
  // What a target refuses for good is the caller's 400 as well, and has the target's own error behind it.
  return error.cause === undefined ? 'refused' : 'target_failed'
}
