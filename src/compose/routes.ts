import type { AuditLog } from '../audit/log.ts'
import type { AuditSinks } from '../audit/sinks/sinks.ts'
import type { ControlGroups } from '../breakglass/control-group.ts'
import { createControlGroupSettings } from '../breakglass/control-group-settings.ts'
import { createDeliveryLog } from '../breakglass/notify/log.ts'
import { missingFromEnvironment } from '../engine/kubernetes/target.ts'
import { authAppRoleRoutes } from '../http/auth-approle.ts'
import { securityEventRoute } from '../http/auth-events.ts'
import { authJwtRoutes } from '../http/auth-jwt.ts'
import { authKubernetesRoutes } from '../http/auth-kubernetes.ts'
import { authOidcRoutes } from '../http/auth-oidc.ts'
import { authTokenRoutes } from '../http/auth-token.ts'
import { authWebauthnRoutes } from '../http/auth-webauthn.ts'
import { breakGlassAccessRoutes } from '../http/break-glass-access.ts'
import { breakGlassDeliveryRoutes } from '../http/break-glass-deliveries.ts'
import { disabledPeopleRoutes } from '../http/break-glass-disabled.ts'
import { breakGlassPolicyRoutes } from '../http/break-glass-policies.ts'
import { breakGlassRequestRoutes } from '../http/break-glass-requests.ts'
import { breakGlassReviewRoutes } from '../http/break-glass-review.ts'
import { databaseRoutes } from '../http/database.ts'
import { databaseEnrolmentRoutes } from '../http/database-enrolment.ts'
import { databaseRotationRoutes } from '../http/database-rotation.ts'
import { databaseStaticRoutes } from '../http/database-static-roles.ts'
import { databaseStatusRoutes } from '../http/database-status.ts'
import { kubernetesRoutes } from '../http/kubernetes.ts'
import type { Route } from '../http/route.ts'
import { sysAuditRoutes } from '../http/sys-audit.ts'
import { sysAuditLogRoutes } from '../http/sys-audit-log.ts'
import { sysCapabilitiesRoutes } from '../http/sys-capabilities.ts'
import { sysControlGroupRoutes } from '../http/sys-control-group.ts'
import { sysLeaseholdRoutes } from '../http/sys-leasehold.ts'
import { sysLeaseRoutes } from '../http/sys-leases.ts'
import { sysListingRoutes } from '../http/sys-listings.ts'
import { sysMetricsRoutes } from '../http/sys-metrics.ts'
import { sysMountRoutes } from '../http/sys-mounts.ts'
import { sysPolicyRoutes } from '../http/sys-policies.ts'
import { sysQuotaRoutes } from '../http/sys-quotas.ts'
import { systemStateRoutes } from '../http/sys-state.ts'
import { sysWrappingRoutes } from '../http/sys-wrapping.ts'
import { createLeaseBook } from '../lease/book.ts'
import { createLeaseListing } from '../lease/listing.ts'
import type { Reconciler } from '../lease/reconcile/reconciler.ts'
import { createLeaseSummary } from '../lease/summary.ts'
import { createTargetListing } from '../lease/target-listing.ts'
import { splitLeaseId } from '../lease/wire-id.ts'
import { ledgerNow } from '../ledger/installation.ts'
import { isMigrated } from '../ledger/migrate.ts'
import { VERSION } from '../lib/version.ts'
import type { AccessSide } from './access.ts'
import type { Base } from './base.ts'
import type { BreakGlassSide } from './break-glass.ts'
import type { LeaseSide } from './leases.ts'
import type { RotationSide } from './rotation.ts'

/** What the paths call upon, besides what every part rests on. */
export type RouteParts = LeaseSide &
  AccessSide &
  RotationSide &
  BreakGlassSide & {
    auditLog: AuditLog
    auditSinks: AuditSinks
    reconciler: Reconciler
    controlGroups: ControlGroups
  }

/** The routes of each mount type; `system` is `sys/`. The published contract is held against this table. */
export function routeTables(
  parts: Pick<Base, 'ledger' | 'installation' | 'metrics' | 'log' | 'auditHash'> & RouteParts,
): Record<string, readonly Route[]> {
  const { ledger, installation, tokens, mounts, policies, enrolment, roles, issue, renew, ender, receipts } =
    parts
  const book = createLeaseBook(ledger, parts.engineTypes)
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
      ...sysListingRoutes({
        listing: createLeaseListing(ledger, parts.engineTypes),
        ender,
        holder: tokens.holderById,
        listTargets: createTargetListing({ ledger, targets: parts.targets, reconciler: parts.reconciler }),
        summary: createLeaseSummary(ledger),
        now: () => ledgerNow(ledger),
      }),
      ...sysMountRoutes(mounts),
      ...sysPolicyRoutes({ policies, holders: tokens, mountAt: (path) => mounts.find(path) }),
      ...sysMetricsRoutes(parts.metrics),
      ...sysQuotaRoutes(parts.quotas),
      ...sysControlGroupRoutes(parts.controlGroups, createControlGroupSettings(ledger)),
      ...sysWrappingRoutes(parts.wrapping, parts.controlGroups),
    ],
    'break-glass': [
      ...breakGlassPolicyRoutes(parts),
      ...breakGlassRequestRoutes(parts),
      ...breakGlassAccessRoutes(parts),
      ...breakGlassReviewRoutes(parts),
      ...disabledPeopleRoutes(parts),
      ...breakGlassDeliveryRoutes({ ...parts, deliveries: createDeliveryLog(ledger) }),
    ],
    token: authTokenRoutes(tokens),
    jwt: [...authJwtRoutes({ tokens, mounts: parts.authMounts, jwt: parts.jwt }), securityEventRoute(parts)],
    approle: authAppRoleRoutes({ tokens, approle: parts.approle }),
    kubernetes: authKubernetesRoutes({ tokens, mounts: parts.authMounts, kubernetes: parts.kubernetes }),
    oidc: [
      ...authOidcRoutes({ tokens, mounts: parts.authMounts, oidc: parts.oidc, log: parts.log }),
      securityEventRoute(parts),
    ],
    webauthn: authWebauthnRoutes({ tokens, webauthn: parts.webauthn }),
    'secret/kubernetes': kubernetesRoutes({
      enrolment,
      roles,
      issue,
      rearm: parts.rearm,
      controlGroups: parts.controlGroups,
      holder: tokens.holderById,
      undelivered: (leaseId) => ender.abandon(splitLeaseId(leaseId).id, 'undelivered'),
      missingVariables: () => missingFromEnvironment(process.env),
    }),
    database: [
      ...databaseStatusRoutes(parts),
      ...databaseEnrolmentRoutes(parts),
      ...databaseRotationRoutes(parts),
      ...databaseStaticRoutes(parts),
      ...databaseRoutes({
        enrolment,
        adminRotations: parts.adminRotations,
        roles,
        issue,
        controlGroups: parts.controlGroups,
        undelivered: (leaseId) => ender.abandon(splitLeaseId(leaseId).id, 'undelivered'),
      }),
    ],
  }
}
