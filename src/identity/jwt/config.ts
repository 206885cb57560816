import { holdsCertificates } from '../../lib/certificates.ts'
import { isObject, listField, refused, textField, type WireFields } from './fields.ts'
import { ALGORITHMS, checkPems } from './verification-keys.ts'

/** A JWT mount's configuration, as the wire names it and as it is stored. Texts and lists are empty when not given. */
export type JwtConfig = {
  jwt_validation_pubkeys: string[]
  jwks_url: string
  jwks_ca_pem: string
  jwks_pairs: JwksPair[]
  oidc_discovery_url: string
  oidc_discovery_ca_pem: string
  bound_issuer: string
  /** Empty stands for every algorithm of `ALGORITHMS`, as in Vault and OpenBao for JWT logins. */
  jwt_supported_algs: string[]
  default_role: string
  /** Whom Security Event Tokens are for that this mount takes. Empty: it takes none. */
  event_audience: string[]
  /** Whose they are; empty for the issuer of the mount. */
  event_issuer: string
  /** Where its keys are, as far as they are not those of logins. */
  event_jwks_url: string
}

export type JwksPair = { jwks_url: string; jwks_ca_pem: string }

const MAX_PAIRS = 16

/**
 * The document to store for what was sent; it replaces the whole configuration. Throws the dialect's refusal. Fetches
 * nothing: `checkKeySource` does.
 */
export function checkJwtConfig(fields: WireFields): JwtConfig {
  const config: JwtConfig = {
    jwt_validation_pubkeys: listField(fields, 'jwt_validation_pubkeys') ?? [],
    jwks_url: textField(fields, 'jwks_url') ?? '',
    jwks_ca_pem: textField(fields, 'jwks_ca_pem') ?? '',
    jwks_pairs: readPairs(fields.jwks_pairs ?? []),
    oidc_discovery_url: textField(fields, 'oidc_discovery_url') ?? '',
    oidc_discovery_ca_pem: textField(fields, 'oidc_discovery_ca_pem') ?? '',
    bound_issuer: textField(fields, 'bound_issuer') ?? '',
    jwt_supported_algs: listField(fields, 'jwt_supported_algs') ?? [],
    default_role: (textField(fields, 'default_role') ?? '').toLowerCase(),
    event_audience: listField(fields, 'event_audience') ?? [],
    event_issuer: textField(fields, 'event_issuer') ?? '',
    event_jwks_url: textField(fields, 'event_jwks_url') ?? '',
  }
  if (isObject(fields.provider_config) && Object.keys(fields.provider_config).length > 0) {
    throw refused('invalid provider_config: no provider has handling of its own here')
  }
  checkOneSource(config)
  checkKeys(config)
  checkEvents(config)
  return config
}

function checkKeys(config: JwtConfig): void {
  checkPems(config.jwt_validation_pubkeys, {
    field: 'jwt_validation_pubkeys',
    fault: 'error parsing public key',
  })
  if (config.oidc_discovery_url.includes('.well-known/openid-configuration')) {
    throw refused("'oidc_discovery_url' contains '.well-known' component")
  }
  checkUrl('error checking oidc discovery URL', config.oidc_discovery_url)
  checkAuthority('error checking oidc_discovery_ca_pem', config.oidc_discovery_ca_pem)
  for (const { jwks_url, jwks_ca_pem } of [config, ...config.jwks_pairs]) {
    checkUrl('error checking jwks URL', jwks_url)
    checkAuthority('error checking jwks_ca_pem', jwks_ca_pem)
  }
  const unknown = config.jwt_supported_algs.find((name) => !(ALGORITHMS as readonly string[]).includes(name))
  if (unknown !== undefined) {
    throw refused(`invalid jwt_supported_algs: unsupported signing algorithm ${JSON.stringify(unknown)}`)
  }
}

/** As it is shown: one that was written before there were events takes none. */
export const withEvents = <C extends JwtConfig>(stored: C): C => ({
  ...stored,
  event_audience: stored.event_audience ?? [],
  event_issuer: stored.event_issuer ?? '',
  event_jwks_url: stored.event_jwks_url ?? '',
})

/** The issuer of the logins of a mount; empty where any is taken that its keys sign for. */
export const issuerOf = ({ bound_issuer, oidc_discovery_url }: JwtConfig): string =>
  bound_issuer || oidc_discovery_url

/** That of the events that the mount takes. */
export const eventIssuerOf = (config: JwtConfig): string => config.event_issuer || issuerOf(config)

function checkEvents(config: JwtConfig): void {
  checkUrl('error checking event_jwks_url', config.event_jwks_url)
  // Whoever signs for several issuers could otherwise speak of everybody's people.
  if (config.event_audience.length > 0 && eventIssuerOf(config) === '') {
    throw refused("'event_issuer' or 'bound_issuer' must be set where 'event_audience' is")
  }
  if (config.event_audience.length > 0 && config.event_jwks_url === '' && config.jwks_pairs.length > 1) {
    throw refused("'event_jwks_url' must be set where 'event_audience' is and 'jwks_pairs' has several")
  }
}

function checkOneSource(config: JwtConfig): void {
  const sources = [
    config.jwt_validation_pubkeys.length > 0,
    config.jwks_url !== '',
    config.jwks_pairs.length > 0,
    config.oidc_discovery_url !== '',
  ]
  if (sources.filter(Boolean).length === 1) return
  throw refused(
    "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs', 'oidc_discovery_url', or 'provider_config' must be set",
  )
}

function readPairs(value: unknown): JwksPair[] {
  if (!Array.isArray(value)) throw refused('jwks_pairs must be a list of maps')
  if (value.length > MAX_PAIRS) throw refused(`jwks_pairs cannot hold more than ${MAX_PAIRS} pairs`)
  return value.map((pair: unknown) => {
    if (!isObject(pair)) throw refused('jwks_pairs must be a list of maps')
    const url = textField(pair, 'jwks_url') ?? ''
    if (url === '') throw refused("each of 'jwks_pairs' needs a 'jwks_url'")
    return { jwks_url: url, jwks_ca_pem: textField(pair, 'jwks_ca_pem') ?? '' }
  })
}

/** A user name in the URL would be sent to the issuer and shown to whoever reads the configuration. */
function checkUrl(what: string, text: string): void {
  if (text === '') return
  const url = /^https?:\/\/\S+$/.test(text) && URL.canParse(text) ? new URL(text) : undefined
  if (!url) throw refused(`${what}: it must be an absolute http or https URL`)
  if (url.username !== '' || url.password !== '' || url.hash !== '') {
    throw refused(`${what}: it must hold no user name, password or fragment`)
  }
}

function checkAuthority(what: string, pem: string): void {
  if (pem !== '' && !holdsCertificates(pem)) {
    throw refused(`${what}: no certificate can be read from the PEM text`)
  }
}
