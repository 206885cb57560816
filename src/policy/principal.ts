/** Who is calling, after proof. */
export type Principal = {
  /** SHA-256 of the token, in hex: what the ledger calls the token. */
  tokenId: string
  accessor: string
  displayName: string
  policies: readonly string[]
  /** When the token ends unless it is renewed; null for one that never expires. */
  tokenExpiresAt: Date | null
  /** The end that no renewal can move; null when there is none below the system's maximum. */
  tokenHardExpiresAt: Date | null
  /** This request took the last use the token had; the token ends with it. */
  lastUse: boolean
}
