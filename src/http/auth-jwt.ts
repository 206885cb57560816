import type { AuthMounts } from '../identity/auth-mounts.ts'
import type { JwtMethod } from '../identity/jwt/method.ts'
import type { TokenStore } from '../identity/tokens.ts'
import { authRoleRoutes, loggedIn, loginContext, TOKEN_FIELDS } from './auth-roles.ts'
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
import { handle, handleOpen, type Route } from './route.ts'

const CONFIG_FIELDS = {
  jwt_validation_pubkeys: commaList,
  jwks_url: text,
  jwks_ca_pem: text,
  jwks_pairs: json,
  oidc_discovery_url: text,
  oidc_discovery_ca_pem: text,
  bound_issuer: text,
  jwt_supported_algs: commaList,
  default_role: text,
  provider_config: map,
  skip_jwks_validation: defaulted(bool, false),
} satisfies Fields

/** What a token of an issuer must be like; the fields of `TOKEN_FIELDS` apart. */
const JWT_ROLE_FIELDS = {
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
} satisfies Fields

const ROLE_FIELDS = { ...JWT_ROLE_FIELDS, ...TOKEN_FIELDS }

const LOGIN_FIELDS = { role: defaulted(text, ''), jwt: defaulted(text, '') } satisfies Fields

/** Logins with a token that the workload's platform signed, relative to the mount. */
export function authJwtRoutes(parts: { tokens: TokenStore; mounts: AuthMounts; jwt: JwtMethod }): Route[] {
  const { tokens, mounts, jwt } = parts
  return [
    {
      path: 'config',
      on: {
        read: handle({}, async ({ mount }) => {
          const config = await jwt.config(mount.id)
          return config && { data: config }
        }),
        update: handle(CONFIG_FIELDS, async ({ mount, fields }) => {
          await jwt.writeConfig(mount.id, fields, { verify: !fields.skip_jwks_validation })
          return undefined
        }),
      },
    },
    ...authRoleRoutes(mounts, {
      fields: ROLE_FIELDS,
      nameOf: (name) => name.toLowerCase(),
      write: (mountId, name, fields) => jwt.writeRole(mountId, name, fields),
    }),
    {
      path: 'login',
      on: {
        update: handleOpen(LOGIN_FIELDS, async (call) => {
          const { role: roleName, jwt: token } = call.fields
          return loggedIn(tokens, call, await jwt.logIn({ ...loginContext(call), roleName, jwt: token }))
        }),
      },
    },
  ]
}
