import { BrokerError } from '../../lib/errors.ts'
import { checkAuthority, serverAddress } from '../../lib/kubernetes/address.ts'
import type { Checked, Spec } from '../engine.ts'
import { booleanField, given, mapField, textField, wholeField } from '../fields.ts'

/** A cluster's spec, read: what the engine works with. */
export type Target = {
  /** The API server's base URL, without a slash at its end. */
  address: string
  /** Empty: that of the pod this process runs in. */
  caPem: string
  /** The CA and token of the pod this process runs in may stand in for those that were not given. */
  usesPod: boolean
  /** Of an admin that shows a certificate. */
  clientCertificatePem: string | undefined
  /** For how long an API server may let in a token that it has just checked, without looking again. */
  tokenCacheMs: number
}

/** As every kube-apiserver does it; there is no flag for it. */
const DEFAULT_TOKEN_CACHE_S = 10
const DEFAULT_STUCK_FREEZE = 50
const MAX_COUNT = 1_000_000

const UNDETERMINED = 'kubernetes_host was unset and could not be determined from environment variables'

type Env = Readonly<Record<string, string | undefined>>

export function checkTarget(fields: Spec, env: Env = process.env): Checked {
  const host = textField(fields, 'kubernetes_host')?.trim() ?? hostFromEnvironment(env)
  // 500 as in the dialect: the fault is not the caller's.
  if (host === undefined) throw new BrokerError('target_failed', UNDETERMINED)
  const ca = textField(fields, 'kubernetes_ca_cert')
  serverAddress(host)
  checkAuthority(ca ?? '')
  const certificate = textField(fields, 'tls_certificate')
  checkAuthority(certificate ?? '')
  const spec = given({
    kubernetes_host: host,
    kubernetes_ca_cert: ca,
    disable_local_ca_jwt: booleanField(fields, 'disable_local_ca_jwt'),
    tls_certificate: certificate,
    token_cache: wholeField(fields, 'token_cache', { min: 0, max: 3_600 }) ?? DEFAULT_TOKEN_CACHE_S,
    environment: textField(fields, 'environment'),
    labels: mapField(fields, 'labels'),
    stuck_freeze: wholeField(fields, 'stuck_freeze', { min: 1, max: MAX_COUNT }) ?? DEFAULT_STUCK_FREEZE,
  })
  return { spec, warnings: [] }
}

/** What Kubernetes puts into every pod. */
function hostFromEnvironment(env: Env): string | undefined {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT_HTTPS: port } = env
  if (!host || !port) return undefined
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** Which of the variables that tell a pod of its API server are not there. */
export const missingFromEnvironment = (env: Env): string[] =>
  ['KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT_HTTPS'].filter((name) => !env[name])

export function readTarget(spec: Spec): Target {
  return {
    address: serverAddress(String(spec.kubernetes_host)),
    caPem: String(spec.kubernetes_ca_cert ?? ''),
    usesPod: spec.disable_local_ca_jwt !== true,
    clientCertificatePem: spec.tls_certificate as string | undefined,
    tokenCacheMs: Number(spec.token_cache ?? DEFAULT_TOKEN_CACHE_S) * 1_000,
  }
}
