import { BrokerError } from '../../lib/errors.ts'

const INVALID = 'invalid role or secret ID'

/**
 * Why a login was refused, and what the caller is told: one text for all that is wrong with either, so that nobody who
 * has one of the two learns that it is good, nor from where it could be used.
 */
const WIRE_TEXT = {
  missing_role_id: 'missing role_id',
  missing_secret_id: 'missing secret_id',
  unknown_role: INVALID,
  unknown_secret: INVALID,
  address_outside_secret: INVALID,
  address_outside_role: INVALID,
  used_up: INVALID,
} as const

export type AppRoleRefusalReason = keyof typeof WIRE_TEXT

/** A login that failed a check. The message is for the wire; `reason` is for audit and logs only. */
export class AppRoleLoginRefused extends BrokerError {
  readonly reason: AppRoleRefusalReason
  readonly detail = ''

  constructor(reason: AppRoleRefusalReason) {
    super('invalid_request', WIRE_TEXT[reason])
    this.name = 'AppRoleLoginRefused'
    this.reason = reason
  }
}
