import { base64url, decodeProtectedHeader } from 'jose'
import type { Claims } from '../jwt/claims.ts'
import { isObject } from '../jwt/fields.ts'
import { readClaims } from '../jwt/payload.ts'
import { MAX_TOKEN_BYTES } from '../jwt/refusal.ts'
import { ALGORITHMS } from '../jwt/verification-keys.ts'
import { KubernetesLoginRefused } from './refusal.ts'

/** Whom a service-account token speaks of. */
export type ServiceAccount = {
  namespace: string
  name: string
  uid: string
  /** The Secret that holds a token of the old kind; empty for one that was asked for. */
  secretName: string
}

/** A token as it was read, with nothing proved yet. */
export type UnverifiedToken = { claims: Claims; account: ServiceAccount; audiences: string[] }

/** Decoders are lenient, and an HTTP header, in which the token may travel, is not. */
const COMPACT = /^[\w-]+\.([\w-]+)\.[\w-]+$/
const NAMESPACE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const NAME = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/
const UID = /^[\x21-\x7e]{1,128}$/
const OLD_CLAIMS = 'kubernetes.io/serviceaccount'

/** What Kubernetes calls the user a service account is. */
export const usernameOf = ({ namespace, name }: ServiceAccount): string =>
  `system:serviceaccount:${namespace}:${name}`

/** Reads a token without believing it. Throws `KubernetesLoginRefused` when no service account can have such a one. */
export function readToken(jwt: string): UnverifiedToken {
  if (jwt === '') throw new KubernetesLoginRefused('missing_jwt')
  if (jwt.length > MAX_TOKEN_BYTES) throw new KubernetesLoginRefused('token_too_large')
  const [, payload] = COMPACT.exec(jwt) ?? []
  if (payload === undefined) throw malformed('parts')
  checkAlgorithm(jwt)
  const claims = claimsOf(payload)
  const account = accountOf(claims)
  if (claims.sub !== usernameOf(account)) throw new KubernetesLoginRefused('wrong_subject')
  return { claims, account, audiences: audiencesOf(claims) }
}

/** Nothing is asked of the API server for a token that no key could have signed. */
function checkAlgorithm(jwt: string): void {
  let alg: unknown
  try {
    alg = decodeProtectedHeader(jwt).alg
  } catch {
    throw malformed('header')
  }
  if (!ALGORITHMS.some((name) => name === alg)) throw new KubernetesLoginRefused('algorithm_not_allowed')
}

function claimsOf(payload: string): Claims {
  try {
    return readClaims(base64url.decode(payload))
  } catch {
    throw malformed('payload')
  }
}

/** Tokens asked for carry one block; those of Secrets, which never end, carry the same as claims with long names. */
function accountOf(claims: Claims): ServiceAccount {
  const block = claims['kubernetes.io']
  const account =
    isObject(block) && isObject(block.serviceaccount)
      ? { namespace: block.namespace, ...pick(block.serviceaccount), secretName: nameIn(block.secret) }
      : {
          namespace: claims[`${OLD_CLAIMS}/namespace`],
          name: claims[`${OLD_CLAIMS}/service-account.name`],
          uid: claims[`${OLD_CLAIMS}/service-account.uid`],
          secretName: claims[`${OLD_CLAIMS}/secret.name`] ?? '',
        }
  const { namespace, name, uid, secretName } = account
  if (!fits(namespace, NAMESPACE) || !fits(name, NAME) || !fits(uid, UID) || typeof secretName !== 'string') {
    throw new KubernetesLoginRefused('not_a_service_account')
  }
  return { namespace, name, uid, secretName }
}

const pick = ({ name, uid }: Record<string, unknown>) => ({ name, uid })
const nameIn = (reference: unknown): unknown => (isObject(reference) ? reference.name : '')
const fits = (value: unknown, pattern: RegExp): value is string =>
  typeof value === 'string' && pattern.test(value)

function audiencesOf({ aud }: Claims): string[] {
  const audience: unknown = aud ?? []
  const list: unknown[] = Array.isArray(audience) ? audience : [audience]
  if (!list.every((name) => typeof name === 'string')) throw malformed('aud')
  return list
}

const malformed = (part: string) => new KubernetesLoginRefused('malformed_token', part)
