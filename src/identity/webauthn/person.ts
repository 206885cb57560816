import type { Db } from '../../ledger/db.ts'
import type { Document } from '../../ledger/documents.ts'
import { findKnownPerson, type KnownPerson } from '../../ledger/people-logins.ts'
import type { Reading } from '../../ledger/reading.ts'
import type { Identity } from '../../policy/principal.ts'
import type { AuthMounts } from '../auth-mounts.ts'
import { checkBoundClaims } from '../jwt/claims.ts'
import { LoginRefused } from '../jwt/refusal.ts'
import type { JwtRole } from '../jwt/role.ts'
import { checkParties } from '../jwt/verify.ts'
import { configAndSecret } from '../method-secrets.ts'
import type { OidcConfig } from '../oidc/config.ts'
import { WebauthnLoginRefused } from './refusal.ts'

/** Who somebody is whom a provider knows, by the provider's newest word. */
export type PersonNow = {
  known: Pick<KnownPerson, 'mountId' | 'mountPath' | 'claim' | 'subject'>
  identity: Identity
  /** Since the provider said so. */
  ageSeconds: number
}

type Ask = {
  entityId: string
  role: string
  /** `iss` and `sub` as they were at enrolment. */
  person: Document
  maxAgeSeconds: number
  reading: Reading
}

/**
 * Asks nothing of the provider: it may be down. Throws `WebauthnLoginRefused` where it has said nothing for too long, and
 * where its mount would no longer let the person in by what it has said.
 */
export async function personNow(
  { ledger, mounts }: { ledger: Db; mounts: Pick<AuthMounts, 'loginConfig' | 'loginRole'> },
  { entityId, role: roleName, person, maxAgeSeconds, reading }: Ask,
): Promise<PersonNow> {
  const known = await findKnownPerson(ledger, entityId, roleName)
  if (!known?.identity || !known.loggedInAt) throw new WebauthnLoginRefused('login_gone')
  const ageSeconds = (known.now.getTime() - known.loggedInAt.getTime()) / 1_000
  if (ageSeconds > maxAgeSeconds) throw new WebauthnLoginRefused('identity_too_old')
  const identity = known.identity as unknown as Identity
  const { iss, sub } = identity.claims
  if (iss !== person.iss || sub !== person.sub) throw new WebauthnLoginRefused('wrong_person')
  const role = (await mounts.loginRole(reading.revision, known.mountId, roleName)) as JwtRole | undefined
  if (role?.role_type !== 'oidc') throw new WebauthnLoginRefused('role_gone')
  const config = await mounts.loginConfig(reading.revision, known.mountId)
  if (!config) throw new WebauthnLoginRefused('provider_changed')
  checkStillTaken(identity, configAndSecret(config).config as unknown as OidcConfig, role)
  return { known, identity, ageSeconds }
}

/** What the mount and its role ask for now, of what the provider said then. */
function checkStillTaken({ claims }: Identity, config: OidcConfig, role: JwtRole): void {
  try {
    checkParties(claims, config, role)
    checkBoundClaims(claims, role)
  } catch (error) {
    if (!(error instanceof LoginRefused)) throw error
    const reason = error.reason === 'wrong_issuer' ? 'provider_changed' : 'role_tightened'
    throw new WebauthnLoginRefused(reason, error.reason, { cause: error })
  }
}
