import { X509Certificate } from 'node:crypto'
import { isLoopback } from '../../lib/forms.ts'
import { type Sensitive, sensitive } from '../../lib/sensitive.ts'
import { flagField, listField, refused, textField, type WireFields } from '../jwt/fields.ts'
import { MAX_TOKEN_BYTES } from '../jwt/refusal.ts'
import { checkPems } from '../jwt/verification-keys.ts'

/** A Kubernetes mount's configuration, as the wire reads it back and as it is stored. Texts and lists are empty when not given. */
export type KubernetesConfig = {
  /** As it was written; `apiAddress` makes it a URL. */
  kubernetes_host: string
  kubernetes_ca_cert: string
  token_reviewer_jwt_set: boolean
  /** With any, tokens are checked against these alone and no TokenReview is made. */
  pem_keys: string[]
  issuer: string
  disable_iss_validation: boolean
  /** Set, the CA and token of the pod this process may run in are not used. */
  disable_local_ca_jwt: boolean
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g
/** What an HTTP header can carry and a bearer token can be. */
const TOKEN_TEXT = /^[\x21-\x7e]+$/

/**
 * The document to store for what was sent, and the reviewer's token, which belongs in the secret store. Both replace
 * what was there: undefined says that the mount has no reviewer token now. Throws the dialect's refusal. Asks nobody.
 */
export function checkKubernetesConfig(fields: WireFields): {
  config: KubernetesConfig
  reviewerJwt: Sensitive | undefined
} {
  const reviewerJwt = (textField(fields, 'token_reviewer_jwt') ?? '').trim()
  const config: KubernetesConfig = {
    kubernetes_host: (textField(fields, 'kubernetes_host') ?? '').trim(),
    kubernetes_ca_cert: textField(fields, 'kubernetes_ca_cert') ?? '',
    token_reviewer_jwt_set: reviewerJwt !== '',
    pem_keys: listField(fields, 'pem_keys') ?? [],
    issuer: textField(fields, 'issuer') ?? '',
    disable_iss_validation: flagField(fields, 'disable_iss_validation') ?? true,
    disable_local_ca_jwt: flagField(fields, 'disable_local_ca_jwt') ?? false,
  }
  if (config.kubernetes_host === '') throw refused('no host provided')
  apiAddress(config)
  checkAuthority(config.kubernetes_ca_cert)
  checkPems(config.pem_keys, { field: 'pem_keys', fault: 'pem_keys' })
  if (reviewerJwt === '') return { config, reviewerJwt: undefined }
  if (!TOKEN_TEXT.test(reviewerJwt) || reviewerJwt.length > MAX_TOKEN_BYTES) {
    throw refused(`token_reviewer_jwt must be a token of at most ${MAX_TOKEN_BYTES} characters`)
  }
  return { config, reviewerJwt: sensitive(reviewerJwt) }
}

/** The API server's base URL, without a slash at its end. */
export function apiAddress({ kubernetes_host: host }: KubernetesConfig): string {
  const url = /^https?:\/\/\S+$/.test(host) && URL.canParse(host) ? new URL(host) : undefined
  if (!url) throw refused('kubernetes_host must be a URL such as https://kube.example:6443')
  // Both would be shown to whoever reads the configuration, and the rest cannot be followed by a path.
  if (url.username !== '' || url.password !== '' || url.hash !== '' || url.search !== '') {
    throw refused('kubernetes_host must hold no user name, password, query or fragment')
  }
  // Every login sends a token there that is worth stealing.
  if (url.protocol === 'http:' && !isLoopback({ host: url.hostname.replace(/^\[|\]$/g, ''), port: 0 })) {
    throw refused('kubernetes_host must be https, unless it is on this machine')
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

function checkAuthority(pem: string): void {
  if (pem === '') return
  const certificates = pem.match(CERTIFICATE) ?? []
  try {
    for (const certificate of certificates) new X509Certificate(certificate)
    if (certificates.length > 0) return
  } catch {
    // The parser's own words name OpenSSL routines.
  }
  throw refused('The provided CA PEM data contains no valid certificates')
}
