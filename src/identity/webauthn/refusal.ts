import { RefusedLogin } from '../refusal.ts'

const NOT_ACCEPTED = 'the security key was not accepted'
const PROVIDER_FIRST = 'log in at your identity provider first, and then by your security key'

/**
 * Why a login by a security key was refused, and what the caller is told: no more than that until the key itself has been
 * proved, and after that what its owner can do about it.
 */
const WIRE_TEXT = {
  challenge_unusable: 'this login took too long, or was not begun here: begin again',
  challenge_spent: 'this login took too long, or was not begun here: begin again',
  malformed: NOT_ACCEPTED,
  unknown_key: NOT_ACCEPTED,
  not_verified: NOT_ACCEPTED,
  wrong_person: NOT_ACCEPTED,
  counter_regressed:
    'the security key was not accepted: it counts less than before, so there may be a copy of it. Tell security',
  not_hardware_bound: 'this security key can be copied, and so it is not accepted any more',
  login_gone: PROVIDER_FIRST,
  identity_too_old: `your last login at the identity provider is too long ago; ${PROVIDER_FIRST}`,
  role_gone: 'the role by which you logged in at the identity provider is no more',
  provider_changed: PROVIDER_FIRST,
  role_tightened: 'the role by which you logged in at the identity provider no longer takes you',
  address_outside_role: 'your role at the identity provider and this login have no address in common',
  used_up: 'this login took too long, or was not begun here: begin again',
} as const

export type WebauthnRefusalReason = keyof typeof WIRE_TEXT

/** Its detail names the key, or the check that failed. */
export class WebauthnLoginRefused extends RefusedLogin<WebauthnRefusalReason> {
  constructor(reason: WebauthnRefusalReason, detail = '', options?: { cause?: unknown }) {
    super(reason, ['invalid_request', WIRE_TEXT[reason]], detail, options)
  }
}
