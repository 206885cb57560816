import type { CreatedToken, KnownToken, RenewedToken } from '../identity/tokens.ts'
import type { Auth } from './envelope.ts'
import type { Answer } from './route.ts'

/** The dialect's `auth` object. A batch token has no accessor: the field is there and empty. */
export const tokenAuth = (
  entry: CreatedToken['entry'],
  { clientToken, ttlSeconds }: { clientToken: string; ttlSeconds: number },
): Auth => ({
  client_token: clientToken,
  accessor: entry.accessor ?? '',
  policies: entry.policies,
  ...(entry.policies.length > 0 && { token_policies: entry.policies }),
  metadata: entry.metadata,
  lease_duration: ttlSeconds,
  renewable: entry.renewable,
  entity_id: entry.entityId ?? '',
  token_type: entry.type,
  orphan: entry.parentId === null,
  mfa_requirement: null,
  num_uses: entry.usesLeft ?? 0,
})

export const renewedAuth = ({ entry, ttlSeconds, warnings }: RenewedToken, clientToken: string): Answer => ({
  auth: tokenAuth(entry, { clientToken, ttlSeconds }),
  warnings,
})

/** A token as looked up. Its parent is left out: knowing it would be a step upwards. */
export const shownToken = (token: KnownToken, id: string): Record<string, unknown> => ({
  id,
  accessor: token.accessor ?? '',
  policies: token.policies,
  path: token.path,
  meta: token.metadata,
  display_name: token.displayName,
  num_uses: token.usesLeft ?? 0,
  orphan: token.parentId === null,
  creation_time: unixSeconds(token.issuedAt),
  creation_ttl: token.ttlSeconds,
  // Agents and operators assert on these two keys: always there, null or not.
  expire_time: token.expiresAt?.toISOString() ?? null,
  renewable: token.renewable,
  ttl: token.expiresAt ? Math.trunc((token.expiresAt.getTime() - token.now.getTime()) / 1_000) : 0,
  explicit_max_ttl: token.explicitMaxTtlSeconds,
  entity_id: token.entityId ?? '',
  type: token.type,
  issue_time: token.issuedAt.toISOString(),
  ...(token.renewedAt && {
    last_renewal: token.renewedAt.toISOString(),
    last_renewal_time: unixSeconds(token.renewedAt),
  }),
  ...(token.periodSeconds > 0 && { period: token.periodSeconds }),
  ...(token.role !== null && { role: token.role }),
  ...(token.boundCidrs.length > 0 && { bound_cidrs: token.boundCidrs }),
})

const unixSeconds = (at: Date): number => Math.trunc(at.getTime() / 1_000)
