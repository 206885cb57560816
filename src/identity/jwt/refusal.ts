import { RefusedLogin } from '../refusal.ts'

/** Real tokens stay under 4 KiB; the bound keeps a forged one from costing much. */
export const MAX_TOKEN_BYTES = 16 * 1_024

const TOKEN =
  'error validating token: its signature, algorithm, times, issuer, subject or audience is not what this role accepts'
const CLAIMS = 'error validating claims: a claim this role asks for is missing or has another value'
/** The command lines and consoles of the dialect look for the first sentence. */
const STATE = 'Vault login failed. Expired or missing OAuth state.'
const NO_ROLE = 'Vault login failed. Role could not be found'

/**
 * Why a login was refused, and what the caller is told. The reasons are for the audit record; the texts are few, so
 * that someone with a forged token cannot feel their way from one check to the next.
 */
const WIRE_TEXT = {
  oidc_role: 'role with oidc role_type is not allowed',
  missing_token: 'missing token',
  token_too_large: `error validating token: the token is longer than ${MAX_TOKEN_BYTES} bytes`,
  malformed_token: TOKEN,
  algorithm_not_allowed: TOKEN,
  unknown_key: TOKEN,
  bad_signature: TOKEN,
  issuer_unreachable:
    'error configuring token validator: the keys of the issuer could not be fetched, so no token can be checked',
  wrong_issuer: TOKEN,
  wrong_subject: TOKEN,
  wrong_audience: TOKEN,
  no_time_claims: TOKEN,
  not_yet_valid: TOKEN,
  expired: TOKEN,
  issued_in_future: TOKEN,
  unbound_audience: 'audience claim found in JWT but no audiences bound to the role',
  user_claim_missing: CLAIMS,
  user_claim_unusable: CLAIMS,
  mapped_claim_unusable: CLAIMS,
  groups_claim_missing: CLAIMS,
  groups_claim_unusable: CLAIMS,
  bound_claim_missing: CLAIMS,
  bound_claim_mismatch: CLAIMS,
  person_disabled: 'login refused: the issuer has disabled this account',
  // Those of people who log in through an OpenID provider.
  jwt_role: NO_ROLE,
  missing_redirect_uri: 'missing redirect_uri',
  redirect_not_allowed: 'Vault login failed. The redirect URI is not one this role allows.',
  client_nonce_too_long: 'client_nonce is too long',
  state_unknown: STATE,
  state_unreadable: STATE,
  state_expired: STATE,
  wrong_client_nonce: 'invalid client_nonce',
  provider_changed: STATE,
  provider_denied: 'Vault login failed. access_denied',
  provider_error: 'Vault login failed. An error occurred at the OpenID provider.',
  missing_code: 'Vault login failed. No code or id_token received.',
  role_gone: NO_ROLE,
  provider_unreachable:
    'error getting provider for login operation: the OpenID provider cannot be reached or does not answer as one',
  code_refused:
    'Vault login failed. Error exchanging oidc code: the provider does not accept it from this server',
  wrong_nonce: TOKEN,
  userinfo_of_another: TOKEN,
  claims_too_large: CLAIMS,
  auth_time_unusable: CLAIMS,
  authenticated_too_long_ago:
    'Vault login failed. The sign-in at the OpenID provider is older than this role accepts; sign in there again.',
} as const

export type RefusalReason = keyof typeof WIRE_TEXT

/** Its detail names the claim or the fetch that failed. */
export class LoginRefused extends RefusedLogin<RefusalReason> {
  constructor(reason: RefusalReason, detail = '', options?: { cause?: unknown }) {
    super(reason, ['invalid_request', WIRE_TEXT[reason]], detail, options)
  }
}
