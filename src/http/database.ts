import type { ControlGroups } from '../breakglass/control-group.ts'
import type { Enrolment, Target } from '../lease/enrolment.ts'
import type { Issue } from '../lease/issue.ts'
import type { Role, Roles } from '../lease/roles.ts'
import { type Sensitive, sensitive } from '../lib/sensitive.ts'
import type { AdminRotations } from '../rotation/admins.ts'
import { guardedRead } from './control-group-calls.ts'
import { ADMIN_ROTATION_FIELDS, shownRotation, writeWithRotation } from './database-rotation.ts'
import {
  bool,
  commaList,
  type Decoded,
  defaulted,
  duration,
  int,
  keyValues,
  map,
  stringList,
  text,
} from './fields.ts'
import { leased } from './lease-answers.ts'
import { roleRoutes, withWarnings } from './role-routes.ts'
import { type Answer, handle, type Route } from './route.ts'
import { shownWrapInfo } from './wrapped.ts'

/** The database secrets engine's endpoints, relative to the mount. */
export function databaseRoutes(parts: {
  enrolment: Enrolment
  adminRotations: AdminRotations
  roles: Roles
  issue: Issue
  controlGroups: Pick<ControlGroups, 'stand'>
  /** Ends a lease whose answer did not arrive. */
  undelivered: (leaseId: string) => Promise<void>
}): Route[] {
  const { enrolment, adminRotations, roles, issue, controlGroups } = parts
  return [
    {
      path: 'config',
      on: {
        list: handle({}, async ({ mount }) => keys((await enrolment.list(mount.id)).map(({ name }) => name))),
      },
    },
    {
      path: 'config/:name',
      on: {
        read: handle({}, async ({ mount, capture }) => {
          const target = await enrolment.find(mount.id, capture('name'))
          return target && shownTarget(target, await shownRotation(adminRotations, target.id))
        }),
        update: handle(
          CONFIG_FIELDS,
          async ({ mount, capture, fields }) =>
            withWarnings(
              await writeWithRotation(
                adminRotations,
                { mountId: mount.id, name: capture('name') },
                fields,
                targetWrite(fields),
                () => enrolment.write(mount, capture('name'), targetWrite(fields)),
              ),
            ),
          {
            exists: async ({ mount, capture }) =>
              (await enrolment.find(mount.id, capture('name'))) !== undefined,
          },
        ),
        delete: handle({ force: defaulted(bool, false) }, async ({ mount, capture, fields }) => {
          await enrolment.remove(mount.id, capture('name'), fields.force)
          return undefined
        }),
      },
    },
    {
      path: 'reset/:name',
      on: {
        update: handle({}, async ({ mount, capture }) => {
          await enrolment.reset(mount.id, capture('name'))
          return undefined
        }),
      },
    },
    ...roleRoutes(roles, { fields: ROLE_FIELDS, write: roleWrite, shown: shownRole }),
    {
      path: 'creds/:name',
      on: {
        read: handle(
          CREDS_FIELDS,
          async (call) => {
            const stood = await controlGroups.stand(guardedRead(call))
            if (stood && 'held' in stood) return { wrapInfo: shownWrapInfo(stood.held) }
            const grant = stood?.grant ?? call.decision.grant
            const issued = await issue({
              principal: call.principal,
              reading: call.reading,
              mount: call.mount,
              allowedBy: call.decision.by,
              path: call.path,
              roleName: call.capture('name'),
              ...(call.idempotencyKey !== undefined && { idempotencyKey: call.idempotencyKey }),
              ...(grant && { grant }),
            })
            call.onUndelivered(() => parts.undelivered(issued.leaseId))
            return leased(issued)
          },
          { role: 'name' },
        ),
      },
    },
  ]
}

/** Of a path that people have to agree to first: why, and for which incident. */
const CREDS_FIELDS = { reason: text, ticket: text }

/** Fields of a connection that are no spec of the engine's. */
const CONFIG_OWN = {
  plugin_name: text,
  plugin_version: text,
  verify_connection: defaulted(bool, true),
  allowed_roles: commaList,
  password: text,
  tls_private_key: text,
  tls_certificate_key: text,
  ...ADMIN_ROTATION_FIELDS,
}

const CONFIG_SPEC = {
  connection_url: text,
  username: text,
  username_template: text,
  max_open_connections: int,
  max_idle_connections: int,
  max_connection_lifetime: duration,
  disable_escaping: bool,
  password_authentication: text,
  root_rotation_statements: stringList,
  password_policy: text,
  scram_iterations: int,
  connection_limit: int,
  expiry_margin: duration,
  owner: text,
  creator_roles: int,
  environment: text,
  labels: keyValues,
  stuck_freeze: int,
  sslmode: text,
  tls_ca: text,
  tls_certificate: text,
  tls_server_name: text,
  tls_skip_verify: bool,
}

const CONFIG_FIELDS = { ...CONFIG_OWN, ...CONFIG_SPEC }

/** Where the dialect nests a field in `connection_details`. */
const CONNECTION_DETAILS = [
  'connection_url',
  'username',
  'username_template',
  'max_open_connections',
  'max_idle_connections',
  'max_connection_lifetime',
  'disable_escaping',
  'password_authentication',
  'sslmode',
  'tls_ca',
  'tls_certificate',
  'tls_server_name',
  'tls_skip_verify',
]

const ROLE_OWN = { db_name: text, default_ttl: duration, max_ttl: duration }

const ROLE_SPEC = {
  creation_statements: stringList,
  revocation_statements: stringList,
  rollback_statements: stringList,
  renew_statements: stringList,
  credential_type: text,
  credential_config: map,
  member_of: commaList,
  host: text,
  owner: text,
  scram_iterations: int,
  connection_limit: int,
  condition: text,
  labels: keyValues,
  environment: text,
  lease_outlives_token: bool,
  recheck_on_renew: bool,
}

const ROLE_FIELDS = { ...ROLE_OWN, ...ROLE_SPEC }

/** The fields that were sent, of those in the table. */
const sentOf = (table: object, fields: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => Object.hasOwn(table, name)))

const secretOf = (value: string | undefined): Sensitive | undefined =>
  value === undefined ? undefined : sensitive(value)

const targetWrite = (fields: Decoded<typeof CONFIG_FIELDS>) => ({
  plugin: fields.plugin_name,
  verify: fields.verify_connection,
  allowedRoles: fields.allowed_roles,
  password: secretOf(fields.password),
  // One text of certificate and key, as the dialect has it for MySQL: as secret as the key.
  tlsPrivateKey: secretOf(fields.tls_certificate_key ?? fields.tls_private_key),
  fields: sentOf(CONFIG_SPEC, fields),
})

const roleWrite = (fields: Decoded<typeof ROLE_FIELDS>) => ({
  dbName: fields.db_name,
  defaultTtlSeconds: fields.default_ttl,
  maxTtlSeconds: fields.max_ttl,
  fields: sentOf(ROLE_SPEC, fields),
})

const keys = (names: string[]): Answer => ({ data: { keys: names } })

function shownTarget(target: Target, rotation: Readonly<Record<string, unknown>>): Answer {
  const entries = Object.entries(target.spec)
  const { root_rotation_statements: rotationStatements = [], ...own } = Object.fromEntries(
    entries.filter(([name]) => !CONNECTION_DETAILS.includes(name)),
  )
  return {
    data: {
      plugin_name: target.plugin,
      plugin_version: '',
      connection_details: {
        ...Object.fromEntries(entries.filter(([name]) => CONNECTION_DETAILS.includes(name))),
        ...(target.passwordReference !== null && { password_reference: target.passwordReference }),
      },
      allowed_roles: target.allowedRoles,
      root_credentials_rotate_statements: rotationStatements,
      password_policy: '',
      ...own,
      verify_connection: target.verified,
      ...rotation,
      ...shownCapabilities(target.capabilities),
    },
  }
}

/** What enrolment found out about the server; nothing when it was told not to look. */
function shownCapabilities(capabilities: Target['capabilities']): Record<string, unknown> {
  if (!capabilities) return {}
  return {
    server_version: capabilities.serverVersion,
    clock_skew_ms: capabilities.clockSkewMs,
    revocability: capabilities.revocability,
    enrolment_warnings: capabilities.warnings,
  }
}

function shownRole(role: Role): Answer {
  return {
    data: {
      db_name: role.targetName,
      creation_statements: [],
      revocation_statements: [],
      rollback_statements: [],
      renew_statements: [],
      credential_type: 'password',
      credential_config: null,
      ...role.spec,
      default_ttl: role.defaultTtlSeconds,
      max_ttl: role.maxTtlSeconds,
      version: role.version,
    },
  }
}
