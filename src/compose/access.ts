import { ledgerOfJob } from '../audit/request.ts'
import { createAppRoleMethod } from '../identity/approle/method.ts'
import { createAuthMounts } from '../identity/auth-mounts.ts'
import { createConsoleSessions } from '../identity/console-sessions.ts'
import { createSecurityEvents } from '../identity/events/receiver.ts'
import { createJwtMethod } from '../identity/jwt/method.ts'
import { createKubernetesMethod } from '../identity/kubernetes/method.ts'
import { createOidcMethod } from '../identity/oidc/method.ts'
import { createOidcStates } from '../identity/oidc/states.ts'
import { dropStrandedSecrets } from '../identity/stranded-secrets.ts'
import { createTokenStore } from '../identity/tokens.ts'
import { createWebauthnMethod } from '../identity/webauthn/method.ts'
import { createWrapping } from '../identity/wrapping.ts'
import { createLoginAttempts } from '../lease/login-attempts.ts'
import { createRateLimits } from '../lease/rate-limits.ts'
import { roleFacts } from '../lease/role-facts.ts'
import { countHeld } from '../ledger/lease-issue.ts'
import { findLiveGrant } from '../ledger/live-grants.ts'
import { policyShelf } from '../ledger/policies.ts'
import type { TokensEnded } from '../ledger/token-ending.ts'
import { createAuthorizer } from '../policy/authorize.ts'
import { createPolicies } from '../policy/policies.ts'
import type { Base } from './base.ts'
import { installationKey } from './installation-key.ts'
import { endingTokens, makingRootToken } from './jobs.ts'
import type { LeaseSide } from './leases.ts'
import { methodSecrets } from './method-secrets.ts'

/** Who may log in, who may have what, and how much of it. */
export function composeAccess(
  { ledger, secrets: store, wakeups, metrics, mayGrant }: Base,
  { issuables, mounts, quotas }: Pick<LeaseSide, 'issuables' | 'mounts' | 'quotas'>,
) {
  const policies = createPolicies(policyShelf(ledger))
  const authorizer = createAuthorizer({
    policies,
    roleOf: roleFacts({ issuables, mounts }),
    leasesHeld: (principalId) => countHeld(ledger, principalId),
    liveGrant: (principalId, path, parameters = {}) =>
      findLiveGrant(ledger, { principalId, path, parameters }),
  })
  const authMounts = createAuthMounts(ledger)
  const secrets = methodSecrets(store)
  const oidcStates = createOidcStates(ledger)
  return {
    tokens: createTokenStore(ledger, (targetIds) => targetIds.forEach(wakeups.wake), {
      uses: ledgerOfJob(
        ledger,
        endingTokens('end_used_up_tokens', (result) => (result as { ended: TokensEnded }).ended),
      ),
      roots: ledgerOfJob(ledger, makingRootToken()),
    }),
    policies,
    authorizer: { ...authorizer, decide: metrics.decision(authorizer.decide) },
    authMounts,
    consoleSessions: createConsoleSessions(ledger),
    jwt: createJwtMethod(ledger, authMounts),
    approle: createAppRoleMethod(ledger, authMounts),
    kubernetes: createKubernetesMethod({ ledger, mounts: authMounts, secrets }),
    dropStrandedSecrets: () => dropStrandedSecrets(ledger, secrets),
    oidc: createOidcMethod({ ledger, mounts: authMounts, secrets, states: oidcStates }),
    oidcStates,
    securityEvents: createSecurityEvents(ledger, authMounts),
    webauthn: createWebauthnMethod({
      ledger,
      mounts: authMounts,
      challengeKey: installationKey(store, 'webauthn-challenge-key'),
      leasesEnding: (targetIds) => targetIds.forEach(wakeups.wake),
    }),
    wrapping: createWrapping(ledger),
    limits: {
      rateAt: quotas.rateAt,
      rateOfTarget: quotas.rateOfTarget,
      takeRate: createRateLimits(ledger),
      attempts: createLoginAttempts(ledger),
      mayGrant,
    },
  }
}

export type AccessSide = ReturnType<typeof composeAccess>
