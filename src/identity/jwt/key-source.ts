import type { KeyObject } from 'node:crypto'
import { messageOf } from '../../lib/errors.ts'
import type { JwtConfig } from './config.ts'
import { type FetchJson, fetchJson } from './fetch-json.ts'
import { refused } from './fields.ts'
import { fetchKeys, type KeyLocation } from './issuer-keys.ts'
import { LoginRefused } from './refusal.ts'
import { remoteCopy } from './remote-copy.ts'
import { keyFromPem, type VerificationKey } from './verification-keys.ts'

/** The keys of one mount's issuer. Holds no timer and no connection: dropping it is enough to close it. */
export type KeySource = {
  /**
   * The keys that may have signed a token with this header; none when the issuer has no such key. Throws
   * `LoginRefused` (`issuer_unreachable`) when that cannot be known.
   */
  find(header: { alg: string; kid: string | undefined }): Promise<readonly KeyObject[]>
  /** What went wrong with the newest fetch, for the operator; undefined when nothing did. */
  trouble(): string | undefined
}

type KeySourceOptions = { fetch?: FetchJson; now?: () => number }

/** Opens the source a checked configuration names. Nothing is fetched before the first `find`. */
export function openKeySource(config: JwtConfig, options: KeySourceOptions = {}): KeySource {
  const locations = locationsOf(config)
  return locations.length > 0
    ? remoteSource(locations, options)
    : staticSource(config.jwt_validation_pubkeys.map(keyFromPem))
}

/** The source of the keys of whoever signs events, likewise. */
export const openEventKeys = (config: JwtConfig): KeySource =>
  config.event_jwks_url === '' ? openKeySource(config) : remoteSource([eventLocation(config)], {})

/** The authorities are those of a JWKS, or else those of the issuer. */
const eventLocation = (config: JwtConfig): KeyLocation => ({
  jwksUrl: config.event_jwks_url,
  caPem: config.jwks_ca_pem || config.oidc_discovery_ca_pem,
})

/** Fetches once from everywhere a configuration names. Throws the dialect's refusal when that does not give keys. */
export async function checkKeySource(
  config: JwtConfig,
  { fetch = fetchJson }: { fetch?: FetchJson } = {},
): Promise<void> {
  const what = config.oidc_discovery_url === '' ? 'jwks URL' : 'oidc discovery URL'
  const fetchAll = (locations: readonly KeyLocation[], named: string) =>
    Promise.all(locations.map((location) => fetchKeys(location, fetch))).catch((cause) => {
      throw refused(`error checking ${named}: ${messageOf(cause)}`)
    })
  await fetchAll(locationsOf(config), what)
  if (config.event_jwks_url !== '') await fetchAll([eventLocation(config)], 'event_jwks_url')
}

function locationsOf(config: JwtConfig): KeyLocation[] {
  if (config.oidc_discovery_url !== '') {
    return [{ issuer: config.oidc_discovery_url, caPem: config.oidc_discovery_ca_pem }]
  }
  return [config, ...config.jwks_pairs]
    .filter(({ jwks_url }) => jwks_url !== '')
    .map(({ jwks_url, jwks_ca_pem }) => ({ jwksUrl: jwks_url, caPem: jwks_ca_pem }))
}

/** PEM keys carry no id, so a token's `kid` says nothing about them: each that fits the algorithm is tried. */
const staticSource = (keys: readonly VerificationKey[]): KeySource => ({
  find: async ({ alg }) => keys.filter((key) => key.algorithms.includes(alg)).map(({ key }) => key),
  trouble: () => undefined,
})

function remoteSource(locations: readonly KeyLocation[], options: KeySourceOptions): KeySource {
  const { fetch = fetchJson, now = () => performance.now() } = options
  const places = locations.map((location) => remoteCopy(() => fetchKeys(location, fetch), now))

  const held = ({ alg, kid }: Parameters<KeySource['find']>[0]): KeyObject[] =>
    places
      .flatMap((place) => place.held() ?? [])
      .filter((key) => key.algorithms.includes(alg) && (kid === undefined || key.kid === kid))
      .map(({ key }) => key)

  const trouble = () => places.map((place) => place.trouble()).find((text) => text !== undefined)

  return {
    trouble,
    async find(header) {
      const waited = await Promise.all(places.map((place) => place.ready()))
      const found = held(header)
      if (found.length > 0) return found
      // Whoever just waited for a fetch has the newest keys there are.
      await Promise.all(places.map((place, i) => (waited[i] ? undefined : place.seek())))
      const foundNow = held(header)
      const problem = foundNow.length === 0 ? trouble() : undefined
      if (problem !== undefined) throw new LoginRefused('issuer_unreachable', problem)
      return foundNow
    },
  }
}
