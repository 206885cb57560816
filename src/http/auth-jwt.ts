import type { AuthMounts } from '../identity/auth-mounts.ts'
import type { JwtMethod } from '../identity/jwt/method.ts'
import type { TokenStore } from '../identity/tokens.ts'
import { authRoleRoutes, TOKEN_FIELDS } from './auth-roles.ts'
import { authConfigRoute, jwtLoginRoute } from './auth-routes.ts'
import {
  bool,
  commaList,
  defaulted,
  duration,
  type Fields,
  json,
  keyValues,
  leeway,
  map,
  text,
} from './fields.ts'
import type { Route } from './route.ts'

export const JWT_CONFIG_FIELDS = {
  jwt_validation_pubkeys: commaList,
  jwks_url: text,
  jwks_ca_pem: text,
  jwks_pairs: json,
  oidc_discovery_url: text,
  oidc_discovery_ca_pem: text,
  bound_issuer: text,
  jwt_supported_algs: commaList,
  default_role: text,
  event_audience: commaList,
  event_issuer: text,
  event_jwks_url: text,
  provider_config: map,
  skip_jwks_validation: defaulted(bool, false),
} satisfies Fields

/** What a token of an issuer must be like, and what those are like that it gives. */
export const JWT_ROLE_FIELDS = {
  role_type: text,
  user_claim: text,
  user_claim_json_pointer: bool,
  bound_audiences: commaList,
  bound_subject: text,
  bound_claims: map,
  bound_claims_type: text,
  claim_mappings: keyValues,
  groups_claim: text,
  expiration_leeway: leeway,
  not_before_leeway: leeway,
  clock_skew_leeway: leeway,
  max_age: duration,
  allowed_redirect_uris: commaList,
  oidc_scopes: commaList,
  verbose_oidc_logging: bool,
  ...TOKEN_FIELDS,
} satisfies Fields

/** Logins with a token that the workload's platform signed, relative to the mount. */
export function authJwtRoutes(parts: { tokens: TokenStore; mounts: AuthMounts; jwt: JwtMethod }): Route[] {
  const { tokens, mounts, jwt } = parts
  return [
    authConfigRoute(JWT_CONFIG_FIELDS, {
      read: (mountId) => jwt.config(mountId),
      write: (mountId, fields) => jwt.writeConfig(mountId, fields, { verify: !fields.skip_jwks_validation }),
    }),
    ...authRoleRoutes(mounts, {
      fields: JWT_ROLE_FIELDS,
      caseless: true,
      write: (mountId, name, fields) => jwt.writeRole(mountId, name, fields),
    }),
    jwtLoginRoute(tokens, (ask) => jwt.logIn(ask)),
  ]
}
