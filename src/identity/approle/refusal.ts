import { RefusedLogin } from '../refusal.ts'

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

/** It has no detail: there is nothing to say that would not help to guess. */
export class AppRoleLoginRefused extends RefusedLogin<AppRoleRefusalReason> {
  constructor(reason: AppRoleRefusalReason) {
    super(reason, ['invalid_request', WIRE_TEXT[reason]])
  }
}
