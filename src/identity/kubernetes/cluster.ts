import { checkJwtConfig, type JwtConfig } from '../jwt/config.ts'
import { type KeySource, openKeySource } from '../jwt/key-source.ts'
import { type ApiOptions, type KubernetesApi, openKubernetesApi } from './api.ts'
import type { KubernetesConfig } from './config.ts'

/**
 * A mount's checked configuration, opened: keep it for as long as the configuration stays the same. Closing cuts off
 * logins that are under way; what is just let go of closes its connections by itself.
 */
export type Cluster = {
  config: KubernetesConfig
  api: KubernetesApi
  /** The cluster's keys, for a mount that checks tokens by itself; undefined for one that asks for a TokenReview. */
  local: { config: JwtConfig; keys: KeySource } | undefined
  close(): void
}

/** Connects to nothing, and loads nothing heavy, before the first question to the API server. */
export function openCluster(config: KubernetesConfig, options: ApiOptions = {}): Cluster {
  const api = openKubernetesApi(config, options)
  return { config, api, local: localOf(config), close: api.close }
}

function localOf({ pem_keys }: KubernetesConfig): Cluster['local'] {
  if (pem_keys.length === 0) return undefined
  const config = checkJwtConfig({ jwt_validation_pubkeys: pem_keys })
  return { config, keys: openKeySource(config) }
}
