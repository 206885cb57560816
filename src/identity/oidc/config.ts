import { type Sensitive, sensitive } from '../../lib/sensitive.ts'
import { checkJwtConfig, type JwtConfig } from '../jwt/config.ts'
import { flagField, listField, refused, textField, type WireFields } from '../jwt/fields.ts'

/** The configuration of a mount where people log in, as the wire names it and as it is stored: without the secret. */
export type OidcConfig = JwtConfig & {
  oidc_client_id: string
  /** Empty stands for `query`, the only one. */
  oidc_response_mode: string
  /** Empty stands for `code`, the only one. */
  oidc_response_types: string[]
  /** Kept for those who write it; there is one namespace. */
  namespace_in_state: boolean
}

export type CheckedOidcConfig = {
  config: OidcConfig
  /** For the secret store. Undefined when none was sent: the one stored with `before` stays in force. */
  clientSecret: Sensitive | undefined
}

/**
 * The document to store for what was sent; it replaces the whole configuration but a client secret that was not sent
 * again. Throws the dialect's refusal. Fetches nothing: `checkOidcProvider` does.
 */
export function checkOidcConfig(fields: WireFields, before?: OidcConfig): CheckedOidcConfig {
  const config: OidcConfig = {
    ...checkJwtConfig(fields),
    oidc_client_id: textField(fields, 'oidc_client_id') ?? '',
    oidc_response_mode: textField(fields, 'oidc_response_mode') ?? '',
    oidc_response_types: listField(fields, 'oidc_response_types') ?? [],
    namespace_in_state: flagField(fields, 'namespace_in_state') ?? true,
  }
  if (config.oidc_discovery_url === '') throw refused("'oidc_discovery_url' must be set for OIDC")
  const secret = textField(fields, 'oidc_client_secret') ?? ''
  if (config.oidc_client_id === '' || (secret === '' && !isSameClient(config, before))) {
    throw refused("both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC")
  }
  checkCodeFlow(config)
  return { config, clientSecret: secret === '' ? undefined : sensitive(secret) }
}

/** A secret that stays is only ever sent to the provider it was given for: nobody may point it at another one. */
const isSameClient = (config: OidcConfig, before: OidcConfig | undefined): boolean =>
  before?.oidc_discovery_url === config.oidc_discovery_url && before.oidc_client_id === config.oidc_client_id

function checkCodeFlow({ oidc_response_mode: mode, oidc_response_types: types }: OidcConfig): void {
  if (types.some((type) => type !== 'code')) {
    throw refused(`invalid response_types [${types.join(' ')}]. Only 'code' is allowed`)
  }
  if (mode !== '' && mode !== 'query') {
    throw refused(`invalid response_mode: ${JSON.stringify(mode)}. Only 'query' is allowed`)
  }
}
