import {
  allowInsecureRequests,
  ClientSecretBasic,
  ClientSecretPost,
  Configuration,
  clockSkew,
  clockTolerance,
  customFetch,
  type ServerMetadata,
} from 'openid-client'
import { messageOf } from '../../lib/errors.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import { discover, endpointOf } from '../jwt/discovery.ts'
import { exchange, type FetchJson, fetchJson } from '../jwt/fetch-json.ts'
import { refused } from '../jwt/fields.ts'
import { checkKeySource, type KeySource, openKeySource } from '../jwt/key-source.ts'
import { LoginRefused } from '../jwt/refusal.ts'
import { remoteCopy } from '../jwt/remote-copy.ts'
import { ALGORITHMS } from '../jwt/verification-keys.ts'
import type { OidcConfig } from './config.ts'
import { providerFetch } from './provider-fetch.ts'

/** The OpenID provider of one mount. Holds no timer and no connection: dropping it is enough to close it. */
export type OidcProvider = {
  config: OidcConfig
  keys: KeySource
  /**
   * The client to speak to it with in one login, whose tokens are judged as of `now`. Throws `LoginRefused`
   * (`provider_unreachable`) when the provider was never reached, or not for an hour.
   */
  client(login: { redirectUri: string; now: Date }): Promise<Configuration>
}

type ProviderOptions = {
  fetch?: FetchJson
  send?: typeof exchange
  /** Milliseconds from any fixed point; for the age of what is kept. */
  clock?: () => number
}

/** How far the provider's clock may be from ours. */
export const TOLERANCE_SECONDS = 60

const DISCOVERY_DEADLINE_MS = 5_000
const REQUEST_DEADLINE_SECONDS = 10

/** Opens the provider a checked configuration names. Nothing is fetched before the first login. */
export function openOidcProvider(
  config: OidcConfig,
  clientSecret: Sensitive,
  options: ProviderOptions = {},
): OidcProvider {
  const { fetch = fetchJson, send = exchange, clock = () => performance.now() } = options
  const metadata = remoteCopy(() => fetchMetadata(config, fetch), clock)

  async function server(): Promise<ServerMetadata> {
    await metadata.ready()
    const held = metadata.held()
    if (!held) throw new LoginRefused('provider_unreachable', metadata.trouble())
    return held
  }

  return {
    config,
    keys: openKeySource(config, { fetch, now: clock }),
    async client({ redirectUri, now }) {
      const found = await server()
      const skew = Math.round((now.getTime() - Date.now()) / 1_000)
      const terms = { [clockSkew]: skew, [clockTolerance]: TOLERANCE_SECONDS }
      const proof = clientProof(found, clientSecret)
      const client = new Configuration(found, config.oidc_client_id, terms, proof)
      client.timeout = REQUEST_DEADLINE_SECONDS
      client[customFetch] = providerFetch(config.oidc_discovery_ca_pem, redirectUri, send)
      // Only for a provider that was itself configured without TLS; `endpointOf` keeps every other one to it.
      if (config.oidc_discovery_url.startsWith('http:')) allowInsecureRequests(client)
      return client
    },
  }
}

/** Fetches once what logins will need. Throws the dialect's refusal when the provider cannot serve them. */
export async function checkOidcProvider(
  config: OidcConfig,
  { fetch = fetchJson }: { fetch?: FetchJson } = {},
): Promise<void> {
  try {
    await fetchMetadata(config, fetch)
  } catch (cause) {
    throw refused(`error checking oidc discovery URL: ${messageOf(cause)}`)
  }
  await checkKeySource(config, { fetch })
}

/**
 * What the code flow uses of the discovery document. The algorithms are the mount's, not the provider's. Left out is
 * `authorization_response_iss_parameter_supported`: the dialect's clients do not pass `iss` on, and a state is bound
 * to one provider anyway.
 */
async function fetchMetadata(config: OidcConfig, fetch: FetchJson): Promise<ServerMetadata> {
  const { oidc_discovery_url: issuer, oidc_discovery_ca_pem: caPem, jwt_supported_algs: chosen } = config
  const document = await discover(issuer, fetch, {
    caPem,
    signal: AbortSignal.timeout(DISCOVERY_DEADLINE_MS),
  })
  const hasUserinfo = document.userinfo_endpoint !== undefined
  return {
    issuer,
    authorization_endpoint: endpointOf(document, issuer, 'authorization_endpoint'),
    token_endpoint: endpointOf(document, issuer, 'token_endpoint'),
    jwks_uri: endpointOf(document, issuer, 'jwks_uri'),
    ...(hasUserinfo ? { userinfo_endpoint: endpointOf(document, issuer, 'userinfo_endpoint') } : {}),
    id_token_signing_alg_values_supported: chosen.length > 0 ? [...chosen] : [...ALGORITHMS],
    userinfo_signing_alg_values_supported: [...ALGORITHMS],
    token_endpoint_auth_methods_supported: textsOf(document.token_endpoint_auth_methods_supported),
  }
}

const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []

/** RFC 8414: a provider that lists no method takes the Basic one. */
function clientProof(
  { token_endpoint_auth_methods_supported: methods = [] }: ServerMetadata,
  secret: Sensitive,
) {
  const takesPostOnly = methods.includes('client_secret_post') && !methods.includes('client_secret_basic')
  return takesPostOnly ? ClientSecretPost(secret.reveal()) : ClientSecretBasic(secret.reveal())
}
