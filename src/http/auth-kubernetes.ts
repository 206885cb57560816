import type { AuthMounts } from '../identity/auth-mounts.ts'
import type { KubernetesMethod } from '../identity/kubernetes/method.ts'
import { roleWarnings } from '../identity/kubernetes/role.ts'
import type { TokenStore } from '../identity/tokens.ts'
import { authRoleRoutes, TOKEN_FIELDS } from './auth-roles.ts'
import { authConfigRoute, jwtLoginRoute } from './auth-routes.ts'
import { bool, commaList, type Fields, text } from './fields.ts'
import type { Route } from './route.ts'

const CONFIG_FIELDS = {
  kubernetes_host: text,
  kubernetes_ca_cert: text,
  token_reviewer_jwt: text,
  pem_keys: commaList,
  issuer: text,
  disable_iss_validation: bool,
  disable_local_ca_jwt: bool,
} satisfies Fields

const ROLE_FIELDS = {
  bound_service_account_names: commaList,
  bound_service_account_namespaces: commaList,
  bound_service_account_namespace_selector: text,
  audience: text,
  alias_name_source: text,
  ...TOKEN_FIELDS,
} satisfies Fields

/** Logins with the token of a Kubernetes service account, relative to the mount. */
export function authKubernetesRoutes(parts: {
  tokens: TokenStore
  mounts: AuthMounts
  kubernetes: KubernetesMethod
}): Route[] {
  const { tokens, mounts, kubernetes } = parts
  return [
    authConfigRoute(CONFIG_FIELDS, {
      read: (mountId) => kubernetes.config(mountId),
      write: (mountId, fields) => kubernetes.writeConfig(mountId, fields),
    }),
    ...authRoleRoutes(mounts, {
      fields: ROLE_FIELDS,
      write: (mountId, name, fields) => kubernetes.writeRole(mountId, name, fields),
      warnings: roleWarnings,
    }),
    jwtLoginRoute(tokens, (ask) => kubernetes.logIn(ask)),
  ]
}
