import type { Role, Roles } from '../lease/roles.ts'
import { bool, commaList, duration, keyValues, text } from './fields.ts'
import { roleRoutes } from './role-routes.ts'
import type { Answer, Route } from './route.ts'

/** A mount has one cluster; roles point at it by this name. */
export const TARGET = 'config'

/** The roles of a Kubernetes secrets mount, relative to it. */
export const kubernetesRoleRoutes = (roles: Roles): Route[] =>
  roleRoutes(roles, {
    fields: ROLE_FIELDS,
    write: (fields) => ({
      dbName: TARGET,
      defaultTtlSeconds: fields.token_default_ttl,
      maxTtlSeconds: fields.token_max_ttl,
      fields,
    }),
    shown: shownRole,
    caseless: true,
  })

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

function shownRole(role: Role): Answer {
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
