import type { ErrorCode } from '../../lib/errors.ts'
import type { RefusalReason as TokenRefusalReason } from '../jwt/refusal.ts'
import { RefusedLogin } from '../refusal.ts'

type WireAnswer = readonly [code: ErrorCode, text: string]

const DENIED: WireAnswer = ['permission_denied', 'permission denied']
const NO_NAMESPACE: WireAnswer = ['permission_denied', 'namespace not authorized']
const NO_ANSWER: WireAnswer = [
  'target_failed',
  'the Kubernetes API server gave no usable answer, so the login could not be checked',
]
const NO_RIGHTS: WireAnswer = [
  'target_failed',
  'the Kubernetes API server does not let this mount check logins: its reviewer token is missing, invalid or lacks rights',
]

/**
 * What the caller is told for each reason of this method's own. Whatever is wrong with the token itself is
 * `permission denied`, so that someone with a forged one cannot feel their way from one check to the next.
 */
const WIRE_ANSWER = {
  not_configured: ['target_failed', 'could not load backend configuration'],
  missing_jwt: ['invalid_request', 'missing jwt'],
  not_a_service_account: DENIED,
  no_expiry: DENIED,
  token_refused: DENIED,
  reviewed_other_account: DENIED,
  name_not_bound: ['permission_denied', 'service account name not authorized'],
  namespace_not_bound: NO_NAMESPACE,
  namespace_not_found: NO_NAMESPACE,
  selector_needs_reviewer: NO_NAMESPACE,
  reviewer_missing: NO_RIGHTS,
  reviewer_refused: NO_RIGHTS,
  api_unreachable: NO_ANSWER,
  api_unusable: NO_ANSWER,
} as const satisfies Record<string, WireAnswer>

type OwnReason = keyof typeof WIRE_ANSWER
/** Why a login was refused; those shared with the JWT method mean the same as there. */
export type KubernetesRefusalReason = OwnReason | TokenRefusalReason

/** Its detail says what failed where. */
export class KubernetesLoginRefused extends RefusedLogin<KubernetesRefusalReason> {
  constructor(reason: KubernetesRefusalReason, detail = '') {
    super(reason, isOwn(reason) ? WIRE_ANSWER[reason] : DENIED, detail)
  }
}

const isOwn = (reason: KubernetesRefusalReason): reason is OwnReason => Object.hasOwn(WIRE_ANSWER, reason)
