import type { ControlGroups } from '../breakglass/control-group.ts'
import type { Enrolment, Target } from '../lease/enrolment.ts'
import type { Issue, Issued } from '../lease/issue.ts'
import type { Rearmed, Renewals } from '../lease/renew.ts'
import type { Roles } from '../lease/roles.ts'
import type { LeaseTerms } from '../lease/terms.ts'
import { splitLeaseId } from '../lease/wire-id.ts'
import { formatDuration } from '../lib/duration.ts'
import { BrokerError } from '../lib/errors.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import type { Principal } from '../policy/principal.ts'
import type { Reply } from './envelope.ts'
import {
  bool,
  commaList,
  type Decoded,
  defaulted,
  duration,
  int,
  keyValues,
  required,
  text,
} from './fields.ts'
import { kubernetesRoleRoutes, TARGET } from './kubernetes-roles.ts'
import { shownTerms } from './lease-answers.ts'
import { mayReceive } from './own-leases.ts'
import { renewalChecks } from './renewal-checks.ts'
import { withWarnings } from './role-routes.ts'
import { type Answer, type Call, handle, type Route } from './route.ts'

type Parts = {
  enrolment: Enrolment
  roles: Roles
  issue: Issue
  rearm: Renewals['rearm']
  controlGroups: Pick<ControlGroups, 'opening'>
  holder: (tokenId: string) => Promise<Principal>
  /** Ends a lease whose answer did not arrive. */
  undelivered: (leaseId: string) => Promise<void>
  /** The variables that a pod has and this process lacks. */
  missingVariables: () => string[]
}

const PLUGIN = 'kubernetes'

/** The Kubernetes secrets engine's endpoints, relative to the mount. */
export function kubernetesRoutes(parts: Parts): Route[] {
  const { enrolment } = parts
  return [
    {
      path: 'config',
      on: {
        read: handle({}, async ({ mount }) => shownTarget(await enrolment.find(mount.id, TARGET))),
        update: handle(
          CONFIG_FIELDS,
          async ({ mount, fields }) =>
            withWarnings(await enrolment.write(mount, TARGET, targetWrite(fields))),
          { exists: async ({ mount }) => (await enrolment.find(mount.id, TARGET)) !== undefined },
        ),
        delete: handle({ force: defaulted(bool, false) }, async ({ mount, fields }) => {
          await enrolment.remove(mount.id, TARGET, fields.force)
          return undefined
        }),
      },
    },
    {
      path: 'check',
      on: {
        read: handle({}, async () => {
          const missing = parts.missingVariables()
          if (missing.length === 0) return { status: 204 }
          throw new BrokerError('invalid_request', `Missing environment variables: ${missing.join(', ')}`)
        }),
      },
    },
    ...kubernetesRoleRoutes(parts.roles),
    {
      path: 'creds/:name',
      caseless: true,
      on: { update: handle(CREDS_FIELDS, (call) => giveCredentials(parts, call), { role: 'name' }) },
    },
    {
      path: 'creds/:name/renew',
      caseless: true,
      on: { update: handle(RENEW_FIELDS, (call) => renewCredentials(parts, call)) },
    },
  ]
}

/** Fields of a cluster that are no spec of the engine's. */
const CONFIG_OWN = {
  service_account_jwt: text,
  tls_private_key: text,
  verify_connection: defaulted(bool, true),
}

const CONFIG_SPEC = {
  kubernetes_host: text,
  kubernetes_ca_cert: text,
  disable_local_ca_jwt: bool,
  tls_certificate: text,
  token_cache: duration,
  environment: text,
  labels: keyValues,
  stuck_freeze: int,
}

const CONFIG_FIELDS = { ...CONFIG_OWN, ...CONFIG_SPEC }

const CREDS_FIELDS = {
  kubernetes_namespace: text,
  cluster_role_binding: bool,
  ttl: duration,
  audiences: commaList,
  bound_object_kind: text,
  bound_object_name: text,
  bound_object_uid: text,
}

const RENEW_FIELDS = { lease_id: required(text, 'lease_id must be specified'), increment: duration }

const secretOf = (value: string | undefined): Sensitive | undefined =>
  value === undefined ? undefined : sensitive(value.trim())

function targetWrite(fields: Decoded<typeof CONFIG_FIELDS>) {
  const spec = Object.entries(fields).filter(([name]) => Object.hasOwn(CONFIG_SPEC, name))
  return {
    plugin: PLUGIN,
    verify: fields.verify_connection,
    // Roles of the mount are for its cluster alone.
    allowedRoles: ['*'],
    password: secretOf(fields.service_account_jwt),
    tlsPrivateKey: secretOf(fields.tls_private_key),
    fields: Object.fromEntries(spec),
  }
}

function shownTarget(target: Target | undefined): Answer {
  if (!target) return undefined
  const { capabilities } = target
  return {
    data: {
      kubernetes_ca_cert: '',
      disable_local_ca_jwt: false,
      ...target.spec,
      verify_connection: target.verified,
      ...(capabilities && {
        server_version: capabilities.serverVersion,
        clock_skew_ms: capabilities.clockSkewMs,
        revocability: capabilities.revocability,
        enrolment_warnings: capabilities.warnings,
      }),
    },
  }
}

async function giveCredentials(parts: Parts, call: Call<typeof CREDS_FIELDS>): Promise<Reply> {
  const roleName = call.capture('name')
  const opening = await parts.controlGroups.opening(call.principal, call.reading.revision, call)
  const grant = opening ?? call.decision.grant
  const issued = await parts
    .issue({
      principal: call.principal,
      reading: call.reading,
      mount: call.mount,
      allowedBy: call.decision.by,
      path: call.path,
      roleName,
      fields: call.fields,
      ...(call.idempotencyKey !== undefined && { idempotencyKey: call.idempotencyKey }),
      ...(grant && { grant }),
    })
    .catch((error) => {
      throw inDialect(error, roleName)
    })
  call.onUndelivered(() => parts.undelivered(issued.leaseId))
  return shownLease(
    issued.leaseId,
    { ...issued, warnings: warningsOf(issued, call.fields.ttl) },
    issued.renewable,
  )
}

/** Other engines of the dialect say this in other words. */
function inDialect(error: unknown, roleName: string): unknown {
  if (!(error instanceof BrokerError)) return error
  if (error.message === `unknown role: ${roleName}`) {
    return new BrokerError('invalid_request', `role '${roleName}' does not exist`)
  }
  return error
}

/** What cut a wish short, in this engine's words. */
function warningsOf({ terms, warnings }: Issued, wishSeconds: number | undefined): string[] {
  const others = warnings.filter((warning) => !terms.warnings.includes(warning))
  const bound = { role_max: "the role's token_max_ttl", mount_max: "the Vault server's max_lease_ttl" }
  const by = terms.limitedBy
  if (terms.warnings.length === 0 || !wishSeconds || (by !== 'role_max' && by !== 'mount_max')) {
    return [...terms.warnings, ...others]
  }
  const [wish, least] = [wishSeconds, terms.ttlSeconds].map(formatDuration)
  return [`ttl of ${wish} is greater than ${bound[by]} of ${least}; capping accordingly`, ...others]
}

/** The lease id is sent in the body, as to `sys/leases/renew`, and has to be one of this path. */
async function renewCredentials(parts: Parts, call: Call<typeof RENEW_FIELDS>): Promise<Reply> {
  const leaseId = call.fields.lease_id
  const credsPath = call.path.slice(0, call.path.lastIndexOf('/'))
  if (splitLeaseId(leaseId).path !== credsPath) throw new BrokerError('invalid_request', 'lease not found')
  const rearmed = await parts.rearm({
    leaseId,
    incrementSeconds: call.fields.increment || undefined,
    ...renewalChecks(call, parts.holder),
    mayTouch: mayReceive(call),
  })
  const warnings = [...rearmed.terms.warnings, ...rearmed.warnings]
  return shownLease(leaseId, { ...rearmed, warnings }, true)
}

type Given = { terms: LeaseTerms; secret: Rearmed['secret']; warnings: string[] }

const shownLease = (id: string, { terms, secret, warnings }: Given, renewable: boolean): Reply => ({
  lease: { id, renewable, durationSeconds: terms.ttlSeconds },
  data: Object.fromEntries(
    Object.entries(secret).map(([name, value]) => [name, typeof value === 'string' ? value : value.reveal()]),
  ),
  warnings,
  leasehold: shownTerms(terms),
})
