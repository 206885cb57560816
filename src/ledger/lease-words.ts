export type LeaseState = 'issuing' | 'active' | 'revoking' | 'revoked'

/** What may have shortened a lease; the wire's `limited_by`. */
export type LeaseLimit = 'role_max' | 'mount_max' | 'token' | 'grant'

/** Why a lease ends; in the receipt. */
export type EndReason =
  | 'expired'
  | 'revoked'
  | 'token_ended'
  | 'mount_disabled'
  | 'issue_failed'
  | 'undelivered'
  | 'tie_gone'
  | 'account_gone'
  | 'foreign_change'
  | 'orphan'
  | 'canary'
  | 'grant_ended'
  | 'replaced'
