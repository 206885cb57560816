import { randomUUID } from 'node:crypto'
import { createLocalJWKSet, type JWTPayload, jwtVerify } from 'jose'
import type { KubeUser } from './kubernetes-rights.ts'
import type { KubeObject, Store } from './kubernetes-store.ts'
import { newSigningKey, type SigningKey } from './oidc-issuer.ts'

const API_AUDIENCE = 'https://kubernetes.default.svc.cluster.local'

export type TokenSettings = {
  /** For how long a token that was good is not looked at again. */
  cacheMs: number
  /** As `--service-account-max-token-expiration`. */
  maxSeconds: number | undefined
}

export type Tokens = Awaited<ReturnType<typeof newTokens>>

type Wish = {
  audiences?: string[]
  expirationSeconds?: number
  boundObjectRef?: { kind: string; name: string; uid?: string }
}
export class TokenFault extends Error {
  readonly code: number
  readonly absent: { resource: string; name: string } | undefined
  constructor(code: number, message: string, absent?: { resource: string; name: string }) {
    super(message)
    this.code = code
    this.absent = absent
  }
}

/** Signs service-account tokens and judges them, with an API server's own short memory of good ones. */
export async function newTokens(store: Store, settings: TokenSettings) {
  const key: SigningKey = await newSigningKey(randomUUID(), 'RS256')
  const keys = createLocalJWKSet({ keys: [key.jwk] })
  const good = new Map<string, { user: KubeUser; audiences: string[]; untilMs: number }>()

  return {
    async request(account: KubeObject, { audiences = [], expirationSeconds = 3_600, boundObjectRef }: Wish) {
      if (expirationSeconds < 600) {
        throw new TokenFault(
          422,
          `TokenRequest.authentication.k8s.io "${account.metadata.name}" is invalid: spec.expirationSeconds: Invalid value: ${expirationSeconds}: may not specify a duration less than 10 minutes`,
        )
      }
      const { namespace, name, uid } = account.metadata
      const bound = boundObjectRef && boundObject(store, String(namespace), boundObjectRef)
      const seconds = Math.min(expirationSeconds, settings.maxSeconds ?? expirationSeconds)
      const now = Math.floor(Date.now() / 1_000)
      const aud = audiences.length > 0 ? audiences : [API_AUDIENCE]
      const token = await key.sign({
        aud,
        exp: now + seconds,
        iat: now,
        nbf: now,
        iss: API_AUDIENCE,
        jti: randomUUID(),
        'kubernetes.io': {
          namespace,
          serviceaccount: { name, uid },
          ...(bound && {
            [bound.kind.toLowerCase()]: { name: bound.metadata.name, uid: bound.metadata.uid },
          }),
        },
        sub: `system:serviceaccount:${namespace}:${name}`,
      })
      const spec = { audiences: aud, expirationSeconds: seconds, boundObjectRef: boundObjectRef ?? null }
      return { spec, status: { token, expirationTimestamp: new Date((now + seconds) * 1_000).toISOString() } }
    },
    /** Whose token it is. Throws what is wrong with it. */
    async judge(
      token: string,
      wanted: readonly string[] = [API_AUDIENCE],
    ): Promise<{ user: KubeUser; audiences: string[] }> {
      const cacheKey = `${token} ${wanted}`
      const known = good.get(cacheKey)
      if (known && known.untilMs > performance.now()) return known
      const { payload } = await jwtVerify(token, keys, { algorithms: ['RS256'] }).catch(() => {
        throw new Error('invalid bearer token')
      })
      const audiences = wanted.filter((audience) => [payload.aud].flat().includes(audience))
      if (audiences.length === 0) throw new Error('token audiences do not fit')
      const judged = { user: userOf(store, payload), audiences }
      good.set(cacheKey, { ...judged, untilMs: performance.now() + settings.cacheMs })
      return judged
    },
  }
}

function boundObject(
  store: Store,
  namespace: string,
  ref: { kind: string; name: string; uid?: string },
): KubeObject {
  const resource = { Secret: 'secrets', Pod: 'pods' }[ref.kind]
  if (!resource)
    throw new TokenFault(400, `cannot bind token for serviceaccount to object of type ${ref.kind}`)
  const object = store.get(resource, namespace, ref.name)
  if (!object) throw new TokenFault(404, 'not found', { resource, name: ref.name })
  if (ref.uid !== undefined && ref.uid !== object.metadata.uid) {
    throw new TokenFault(
      409,
      `the UID in the bound object reference (${ref.uid}) does not match the UID in record`,
    )
  }
  return object
}

type Block = { namespace: string } & Record<
  'serviceaccount' | 'secret' | 'pod',
  { name: string; uid: string }
>

/** The account and what the token is bound to must still be those it was made for. */
function userOf(store: Store, payload: JWTPayload): KubeUser {
  const block = payload['kubernetes.io'] as Block
  const { namespace, serviceaccount } = block
  const bounds = [
    ['serviceaccounts', serviceaccount],
    ['secrets', block.secret],
    ['pods', block.pod],
  ] as const
  for (const [resource, ref] of bounds) {
    if (!ref) continue
    const object = store.get(resource, namespace, ref.name)
    if (object?.metadata.uid !== ref.uid || object.metadata.deletionTimestamp) {
      throw new Error('service account token has been invalidated')
    }
  }
  const { name, uid } = serviceaccount
  return {
    username: `system:serviceaccount:${namespace}:${name}`,
    uid,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
  }
}
