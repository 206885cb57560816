import { checkAuthority, serverAddress } from '../../lib/kubernetes/address.ts'
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

export const apiAddress = ({ kubernetes_host: host }: KubernetesConfig): string => serverAddress(host)
