import type { AuditLog } from '../audit/log.ts'
import type { AuditSinks } from '../audit/sinks/sinks.ts'
import { authAppRoleRoutes } from '../http/auth-approle.ts'
import { authJwtRoutes } from '../http/auth-jwt.ts'
import { authKubernetesRoutes } from '../http/auth-kubernetes.ts'
import { authOidcRoutes } from '../http/auth-oidc.ts'
import { authTokenRoutes } from '../http/auth-token.ts'
import { databaseRoutes } from '../http/database.ts'
import type { Route } from '../http/route.ts'
import { sysAuditRoutes } from '../http/sys-audit.ts'
import { sysAuditLogRoutes } from '../http/sys-audit-log.ts'
import { sysCapabilitiesRoutes } from '../http/sys-capabilities.ts'
import { sysLeaseholdRoutes } from '../http/sys-leasehold.ts'
import { sysLeaseRoutes } from '../http/sys-leases.ts'
import { sysMetricsRoutes } from '../http/sys-metrics.ts'
import { sysMountRoutes } from '../http/sys-mounts.ts'
import { sysPolicyRoutes } from '../http/sys-policies.ts'
import { sysQuotaRoutes } from '../http/sys-quotas.ts'
import { systemStateRoutes } from '../http/sys-state.ts'
import { sysWrappingRoutes } from '../http/sys-wrapping.ts'
import { createLeaseBook } from '../lease/book.ts'
import { splitLeaseId } from '../lease/wire-id.ts'
import { isMigrated } from '../ledger/migrate.ts'
import { VERSION } from '../lib/version.ts'
import type { AccessSide } from './access.ts'
import type { Base } from './base.ts'
import type { LeaseSide } from './leases.ts'

/** The routes of each mount type; `system` is `sys/`. The published contract is held against this table. */
export function routeTables(
  parts: Pick<Base, 'ledger' | 'installation' | 'metrics' | 'log' | 'auditHash'> &
    LeaseSide &
    AccessSide & { auditLog: AuditLog; auditSinks: AuditSinks },
): Record<string, readonly Route[]> {
  const { ledger, installation, tokens, mounts, policies, enrolment, roles, issue, renew, ender, receipts } =
    parts
  const book = createLeaseBook(ledger)
  return {
    system: [
      ...systemStateRoutes({
        version: VERSION,
        clusterName: 'leasehold',
        clusterId: installation,
        initialized: () => isMigrated(ledger),
      }),
      ...sysAuditLogRoutes(parts),
      ...sysAuditRoutes(parts.auditSinks),
      ...sysCapabilitiesRoutes(tokens),
      ...sysLeaseRoutes({ book, renew, ender, holder: tokens.holderById }),
      ...sysLeaseholdRoutes({ book, jwks: receipts.jwks }),
      ...sysMountRoutes(mounts),
      ...sysPolicyRoutes(policies, tokens),
      ...sysMetricsRoutes(parts.metrics),
      ...sysQuotaRoutes(parts.quotas),
      ...sysWrappingRoutes(parts.wrapping),
    ],
    token: authTokenRoutes(tokens),
    jwt: authJwtRoutes({ tokens, mounts: parts.authMounts, jwt: parts.jwt }),
    approle: authAppRoleRoutes({ tokens, approle: parts.approle }),
    kubernetes: authKubernetesRoutes({ tokens, mounts: parts.authMounts, kubernetes: parts.kubernetes }),
    oidc: authOidcRoutes({ tokens, mounts: parts.authMounts, oidc: parts.oidc, log: parts.log }),
    database: databaseRoutes({
      enrolment,
      roles,
      issue,
      undelivered: (leaseId) => ender.abandon(splitLeaseId(leaseId).id, 'undelivered'),
    }),
  }
}
