import { BrokerError } from '../../lib/errors.ts'

/** What a transmitter may be told of a token that was not taken: the words of RFC 8935, 2.4. */
type SetError =
  | 'invalid_request'
  | 'invalid_key'
  | 'invalid_issuer'
  | 'invalid_audience'
  | 'authentication_failed'
  | 'access_denied'

/** Why a Security Event Token was not taken, and what its sender is told. */
const REASONS = {
  off: ['access_denied', 'this mount takes no events'],
  missing: ['invalid_request', 'the body holds no Security Event Token'],
  too_large: ['invalid_request', 'the token is too long'],
  malformed: ['invalid_request', 'the token is not a signed JWT that can be read'],
  wrong_type: ['invalid_request', 'the type of the token is not secevent+jwt'],
  no_jti: ['invalid_request', 'the claim jti is missing or too long'],
  no_iat: ['invalid_request', 'the claim iat is missing'],
  in_future: ['invalid_request', 'the token is dated in the future'],
  too_old: ['invalid_request', 'the token is too old'],
  expired: ['invalid_request', 'the token has expired'],
  no_events: ['invalid_request', 'the claim events is missing, or is not a map of events'],
  algorithm: ['invalid_key', 'tokens signed by this algorithm are not taken'],
  unknown_key: ['invalid_key', 'the key that the token names is none of its issuer'],
  bad_signature: ['authentication_failed', 'the signature is not that of its issuer'],
  wrong_issuer: ['invalid_issuer', 'events of this issuer are not taken here'],
  wrong_audience: ['invalid_audience', 'the token is for another audience'],
} as const satisfies Record<string, readonly [SetError, string]>

export type SetRefusal = keyof typeof REASONS

/** A Security Event Token that failed a check. */
export class SetRefused extends BrokerError {
  readonly reason: SetRefusal
  readonly err: SetError

  constructor(reason: SetRefusal, options?: { cause?: unknown }) {
    const [err, description] = REASONS[reason]
    super('invalid_request', description, options)
    this.name = 'SetRefused'
    this.reason = reason
    this.err = err
  }
}
