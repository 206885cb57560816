import type { Role, Roles } from '../lease/roles.ts'
import { bool, commaList, duration, keyValues, text } from './fields.ts'
import { type Answer, handle, type Route } from './route.ts'

/** A mount has one cluster; roles point at it by this name. */
export const TARGET = 'config'

/** The roles of a Kubernetes secrets mount, relative to it. */
export function kubernetesRoleRoutes(roles: Roles): Route[] {
  return [
    {
      path: 'roles',
      on: { list: handle({}, async ({ mount }) => ({ data: { keys: await roles.names(mount.id) } })) },
    },
    {
      path: 'roles/:name',
      caseless: true,
      on: {
        read: handle({}, async ({ mount, capture }) =>
          shownRole(await roles.find(mount.id, capture('name'))),
        ),
        update: handle(
          ROLE_FIELDS,
          async ({ mount, capture, fields }) =>
            withWarnings(
              await roles.write(mount, capture('name'), {
                dbName: TARGET,
                defaultTtlSeconds: fields.token_default_ttl,
                maxTtlSeconds: fields.token_max_ttl,
                fields,
              }),
            ),
          {
            exists: async ({ mount, capture }) => (await roles.find(mount.id, capture('name'))) !== undefined,
          },
        ),
        delete: handle({}, async ({ mount, capture }) => {
          await roles.remove(mount.id, capture('name'))
          return undefined
        }),
      },
    },
  ]
}

const ROLE_FIELDS = {
  allowed_kubernetes_namespaces: commaList,
  allowed_kubernetes_namespace_selector: text,
  token_max_ttl: duration,
  token_default_ttl: duration,
  token_default_audiences: commaList,
  service_account_name: text,
  kubernetes_role_name: text,
  kubernetes_role_type: text,
  generated_role_rules: text,
  name_template: text,
  extra_labels: keyValues,
  extra_annotations: keyValues,
  renewable: bool,
  condition: text,
  labels: keyValues,
  environment: text,
  lease_outlives_token: bool,
  recheck_on_renew: bool,
}

export const withWarnings = (warnings: string[]): Answer => (warnings.length > 0 ? { warnings } : undefined)

function shownRole(role: Role | undefined): Answer {
  if (!role) return undefined
  return {
    data: {
      name: role.name,
      allowed_kubernetes_namespaces: [],
      allowed_kubernetes_namespace_selector: '',
      token_default_audiences: [],
      service_account_name: '',
      kubernetes_role_name: '',
      kubernetes_role_type: 'Role',
      generated_role_rules: '',
      name_template: '',
      extra_labels: {},
      extra_annotations: {},
      renewable: false,
      ...role.spec,
      token_default_ttl: role.defaultTtlSeconds,
      token_max_ttl: role.maxTtlSeconds,
      version: role.version,
    },
  }
}
