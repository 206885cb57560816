import type { Db } from '../../ledger/db.ts'
import type { Document } from '../../ledger/documents.ts'
import { findKnownPerson, type KnownPerson } from '../../ledger/people-logins.ts'
import type { Reading } from '../../ledger/reading.ts'
import type { Identity } from '../../policy/principal.ts'
import type { AuthMounts } from '../auth-mounts.ts'
import { identityOf } from '../jwt/claims.ts'
import { LoginRefused } from '../jwt/refusal.ts'
import type { JwtRole } from '../jwt/role.ts'
import { checkParties } from '../jwt/verify.ts'
import { configAndSecret } from '../method-secrets.ts'
import type { OidcConfig } from '../oidc/config.ts'
import { tokenFieldsOf } from '../token-fields.ts'
import { WebauthnLoginRefused } from './refusal.ts'

/** Who somebody is whom a provider knows, by the provider's newest word. */
export type PersonNow = {
  known: Pick<KnownPerson, 'mountId' | 'mountPath' | 'claim' | 'subject'>
  /** As the role makes it of that word by now. */
  identity: Identity
  /** Since the provider said so. */
  ageSeconds: number
  /** Where the role lets its tokens be used; empty for anywhere. */
  boundCidrs: string[]
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
  const known = await findKnownPerson(ledger, entityId)
  if (!known?.identity || !known.loggedInAt) throw new WebauthnLoginRefused('login_gone')
  const ageSeconds = (known.now.getTime() - known.loggedInAt.getTime()) / 1_000
  if (ageSeconds > maxAgeSeconds) throw new WebauthnLoginRefused('identity_too_old')
  const said = known.identity as unknown as Identity
  const { iss, sub } = said.claims
  if (iss !== person.iss || sub !== person.sub) throw new WebauthnLoginRefused('wrong_person')
  const role = (await mounts.loginRole(reading.revision, known.mountId, roleName)) as JwtRole | undefined
  if (role?.role_type !== 'oidc') throw new WebauthnLoginRefused('role_gone')
  const config = await mounts.loginConfig(reading.revision, known.mountId)
  if (!config) throw new WebauthnLoginRefused('provider_changed')
  const terms = { config: configAndSecret(config).config as unknown as OidcConfig, role, roleName }
  const identity = readAgain(said, known, terms)
  return { known, identity, ageSeconds, boundCidrs: tokenFieldsOf(role).token_bound_cidrs }
}

type Terms = { config: OidcConfig; role: JwtRole; roleName: string }

/**
 * What the mount and its role make by now of what the provider has said, were it said by this role or by another: groups
 * that somebody has lost are lost by whichever role that was learnt. What the role needs and that word has not is refused.
 */
function readAgain(
  said: Identity,
  known: Pick<KnownPerson, 'claim'>,
  { config, role, roleName }: Terms,
): Identity {
  try {
    checkParties(said.claims, config, role)
    const { subject, subjectClaim = '', groups, metadata } = identityOf(said.claims, role, roleName)
    if (subject === said.subject && subjectClaim === known.claim) return { ...said, groups, metadata }
  } catch (error) {
    if (!(error instanceof LoginRefused)) throw error
    const reason = error.reason === 'wrong_issuer' ? 'provider_changed' : 'role_tightened'
    throw new WebauthnLoginRefused(reason, error.reason, { cause: error })
  }
  throw new WebauthnLoginRefused('role_tightened', 'user_claim')
}
