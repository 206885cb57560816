import { about } from '../audit/request.ts'
import type { AuthMounts } from '../identity/auth-mounts.ts'
import type { OidcMethod } from '../identity/oidc/method.ts'
import type { TokenStore } from '../identity/tokens.ts'
import { sourceKey } from '../lease/rate-limits.ts'
import type { Logger } from '../lib/log.ts'
import { JWT_CONFIG_FIELDS, JWT_ROLE_FIELDS } from './auth-jwt.ts'
import { authRoleRoutes, loggedIn, loginContext } from './auth-roles.ts'
import { authConfigRoute, jwtLoginRoute } from './auth-routes.ts'
import { bool, commaList, defaulted, type Fields, text } from './fields.ts'
import { handleOpen, type OpenCall, type Route } from './route.ts'

const CONFIG_FIELDS = {
  ...JWT_CONFIG_FIELDS,
  oidc_client_id: text,
  oidc_client_secret: text,
  oidc_response_mode: text,
  oidc_response_types: commaList,
  namespace_in_state: bool,
} satisfies Fields

const orNone = defaulted(text, '')

const BEGIN_FIELDS = { role: orNone, redirect_uri: orNone, client_nonce: orNone } satisfies Fields

/** What clients pass on of the address the provider sent a person back to, used here or not, and their own nonce. */
const FINISH_FIELDS = {
  state: orNone,
  code: orNone,
  client_nonce: orNone,
  error: orNone,
  iss: orNone,
  error_description: orNone,
  id_token: orNone,
} satisfies Fields

type Parts = { tokens: TokenStore; mounts: AuthMounts; oidc: OidcMethod; log: Logger }

/** Logins of people who sign in at an OpenID provider, relative to the mount. */
export function authOidcRoutes({ tokens, mounts, oidc, log }: Parts): Route[] {
  return [
    authConfigRoute(CONFIG_FIELDS, {
      read: (mountId) => oidc.config(mountId),
      write: (mountId, fields) => oidc.writeConfig(mountId, fields, { verify: !fields.skip_jwks_validation }),
    }),
    ...authRoleRoutes(mounts, {
      fields: JWT_ROLE_FIELDS,
      caseless: true,
      write: (mountId, name, fields) => oidc.writeRole(mountId, name, fields),
    }),
    jwtLoginRoute(tokens, (ask) => oidc.refuseToken(ask)),
    ...flowRoutes({ tokens, oidc, log }),
  ]
}

/** To the provider, and back. */
function flowRoutes({ tokens, oidc, log }: Omit<Parts, 'mounts'>): Route[] {
  return [
    {
      path: 'oidc/auth_url',
      on: {
        update: handleOpen(
          BEGIN_FIELDS,
          async (call) => {
            const { role: roleName, redirect_uri: redirectUri, client_nonce: clientNonce } = call.fields
            const begun = await oidc.begin({ ...asked(call), roleName, redirectUri, clientNonce })
            const { authUrl: auth_url, refused } = begun
            if (!refused) return { data: { auth_url } }
            const { reason, detail } = refused
            log.warn({ request_id: call.requestId, reason, detail }, 'a login could not be begun')
            about({ details: { reason, detail } })
            return { data: { auth_url }, refusal: refused }
          },
          { login: true, loginField: null, begins: true },
        ),
      },
    },
    {
      path: 'oidc/callback',
      on: {
        read: handleOpen(
          FINISH_FIELDS,
          async (call) => {
            const { state, code, client_nonce: clientNonce, error, iss } = call.fields
            const callback = { state, code, clientNonce, error, iss }
            return loggedIn(tokens, call, await oidc.finish({ ...asked(call), callback }))
          },
          { login: true, loginField: null },
        ),
      },
    },
  ]
}

const asked = (call: OpenCall) => ({ ...loginContext(call), source: sourceKey(call.source) })
