/** Who is calling, after proof. */
export type Principal = {
  /** SHA-256 of the token, in hex: what the ledger calls the token. */
  tokenId: string
  accessor: string
  displayName: string
  policies: readonly string[]
  metadata: Readonly<Record<string, string>>
  /** When the token ends unless it is renewed; null for one that never expires. */
  tokenExpiresAt: Date | null
  /** The end that no renewal can move; null when there is none below the system's maximum. */
  tokenHardExpiresAt: Date | null
  /** This request took the last use the token had; the token ends with it. */
  lastUse: boolean
  /** '' for a token that no login made, and whatever was made under it. */
  entityId: string
  /** By what name a token that no login made counts: its own, or that of the token its tree begins with. */
  treeId: string
  /** It was made from another: it has that one's login, and whoever holds it need not be who logged in. */
  derived?: true
  identity: Identity
}

/** What the login proved, by which auth mount: a token made under another has the same. */
export type Identity = {
  /** Set by the auth mount; a caller cannot choose it. */
  kind: 'human' | 'workload'
  /** As the login gave it: that of a token made later is its maker's to choose. */
  metadata: Readonly<Record<string, string>>
  /** The path of the auth mount, such as `auth/jwt/`. */
  mount: string
  mountAccessor: string
  /** As the issuer names the caller. */
  subject: string
  groups: readonly string[]
  claims: Readonly<Record<string, unknown>>
  /** When a person last proved presence, in seconds since 1970, and how: of the issuer's `auth_time`, `amr`, `acr`. */
  authTime?: number
  amr?: readonly string[]
  acr?: string
  /** The mount that knows them as this subject, where they came in by another that goes by its word. */
  home?: string
}

/** `<issuer>#<sub>`, the same by whichever mount somebody comes in; '' where their login says neither. */
export function personOf({ claims: { iss, sub } }: Pick<Identity, 'claims'>): string {
  return typeof iss === 'string' && typeof sub === 'string' ? `${iss}#${sub}` : ''
}

/** Of a token that no login made. */
export const NO_LOGIN: Identity = {
  kind: 'workload',
  metadata: {},
  mount: 'auth/token/',
  mountAccessor: 'token_token',
  subject: '',
  groups: [],
  claims: {},
}

/**
 * Who holds a lease and has used up a limit: the same over all logins of one subject, and without a login over all
 * tokens of one tree, or a token could make itself another principal by making another token. It says nothing of what
 * one token of a tree may do with the leases of another.
 */
export const principalId = ({ entityId, treeId }: Pick<Principal, 'entityId' | 'treeId'>): string =>
  entityId || treeId
