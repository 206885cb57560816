import { createPublicKey, type JsonWebKey, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createLocalJWKSet, decodeJwt, type JWTPayload, jwtVerify } from 'jose'
import { newAuthority } from './certificates.ts'
import { newSigningKey, type SigningKey } from './oidc-issuer.ts'

/** What may be done, as `<verb> <resource>`; everything else is forbidden. */
export type Right = 'create tokenreviews' | 'get namespaces'

type ServiceAccount = { namespace: string; name: string; uid: string }
type User = { username: string; uid: string; groups: string[]; extra: Record<string, string[]> }

/** One request as a handler sees it; `body` is the decoded JSON. */
type Call = { user: User; params: string[]; body: Record<string, unknown> }
type Reply = { code: number; body: Record<string, unknown> }
type Route = { method: string; path: RegExp; right: Right; handle(call: Call): Reply | Promise<Reply> }

export type TokenWish = {
  namespace: string
  name: string
  /** The API server's own when not given. */
  audiences?: string[]
  /** 600 when not given; negative for one that has ended. */
  seconds?: number
  /** Binds the token to a pod. */
  pod?: string
  /** Laid over the claims, for tokens no API server would sign. */
  claims?: JWTPayload
}

export type KubernetesApiServer = {
  url: string
  /** The authority of its certificate. */
  caPem: string
  /** The issuer its discovery document names, and its tokens. */
  issuer: string
  /** The public key its tokens are signed with. */
  publicKeyPem: string
  key: SigningKey
  setNamespace(name: string, labels?: Record<string, string>): void
  /** Makes the account, and its namespace where that is missing. One made again has another uid. */
  addServiceAccount(namespace: string, name: string, ...rights: Right[]): ServiceAccount
  deleteServiceAccount(namespace: string, name: string): void
  addPod(namespace: string, name: string): void
  deletePod(namespace: string, name: string): void
  /** A bound token, as TokenRequest makes them and pods get them. */
  token(wish: TokenWish): Promise<string>
  /** A token of the old kind, without audience or end, as it lies in a Secret. */
  secretToken(namespace: string, name: string): Promise<string>
  /** The requests that arrived, as `<method> <path>`. */
  requests: string[]
  /** How every request is answered from now on; as it should be, when undefined. */
  behave(how: RequestListener | undefined): void
  stop(): Promise<void>
}

const API_AUDIENCE = 'https://kubernetes.default.svc.cluster.local'
const OLD_CLAIMS = 'kubernetes.io/serviceaccount'

/** Answers every request with this failure. */
export const failsWith = (code: number) => (_: IncomingMessage, res: ServerResponse) =>
  send(res, status(code, `planted ${code}`))

/**
 * As much of a Kubernetes API server as the tests need, over TLS on a free loopback port: service accounts and their
 * signed tokens, TokenReview, namespaces, the discovery document and keys, and rights per account.
 */
export async function startKubernetesApi(): Promise<KubernetesApiServer> {
  const authority = newAuthority('kubernetes')
  const key = await newSigningKey(randomUUID(), 'RS256')
  const cluster = newCluster(key)
  const requests: string[] = []
  let fault: RequestListener | undefined

  const server = createServer(authority.issue('kube-apiserver'), (req, res) => {
    requests.push(`${req.method} ${req.url}`)
    if (fault) return fault(req, res)
    respond(cluster, req).then(
      (reply) => send(res, reply),
      (error: unknown) => send(res, status(500, String(error))),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  cluster.issuer = url

  return {
    ...cluster.operations,
    url,
    caPem: authority.cert,
    issuer: url,
    publicKeyPem: publicPem(key),
    key,
    requests,
    behave(how) {
      fault = how
    },
    async stop() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

/** A signing key's public half, as clusters keep it in a file. */
export const publicPem = ({ jwk }: SigningKey): string =>
  createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' }).export({ type: 'spki', format: 'pem' }) as string

const at = (namespace: string, name: string) => `${namespace}/${name}`
type Cluster = ReturnType<typeof newCluster>

/** What a cluster holds, without any server. */
function newCluster(key: SigningKey) {
  const namespaces = new Map<string, Record<string, string>>()
  const accounts = new Map<string, ServiceAccount>()
  const pods = new Map<string, ServiceAccount>()
  const rights = new Map<string, readonly Right[]>()
  const cluster = { key, issuer: '', namespaces, accounts, pods, rights }

  const found = (namespace: string, name: string): ServiceAccount => {
    const account = accounts.get(at(namespace, name))
    if (!account) throw new Error(`no service account ${namespace}/${name}`)
    return account
  }
  const operations = {
    setNamespace: (name: string, labels: Record<string, string> = {}) =>
      void namespaces.set(name, { 'kubernetes.io/metadata.name': name, ...labels }),
    addServiceAccount(namespace: string, name: string, ...granted: Right[]) {
      if (!namespaces.has(namespace)) operations.setNamespace(namespace)
      const account = { namespace, name, uid: randomUUID() }
      accounts.set(at(namespace, name), account)
      rights.set(`system:serviceaccount:${namespace}:${name}`, granted)
      return account
    },
    deleteServiceAccount: (namespace: string, name: string) => void accounts.delete(at(namespace, name)),
    addPod: (namespace: string, name: string) =>
      void pods.set(at(namespace, name), { namespace, name, uid: randomUUID() }),
    deletePod: (namespace: string, name: string) => void pods.delete(at(namespace, name)),
    token(wish: TokenWish) {
      const { namespace, name, uid } = found(wish.namespace, wish.name)
      const pod = wish.pod === undefined ? undefined : pods.get(at(namespace, wish.pod))
      const now = Math.floor(Date.now() / 1_000)
      const seconds = wish.seconds ?? 600
      const start = Math.min(now, now + seconds)
      return key.sign({
        aud: wish.audiences ?? [API_AUDIENCE],
        exp: now + seconds,
        iat: start,
        iss: cluster.issuer,
        jti: randomUUID(),
        'kubernetes.io': {
          namespace,
          ...(pod ? { pod: { name: pod.name, uid: pod.uid } } : {}),
          serviceaccount: { name, uid },
        },
        nbf: start,
        sub: `system:serviceaccount:${namespace}:${name}`,
        ...wish.claims,
      })
    },
    secretToken(namespace: string, name: string) {
      return key.sign({
        iss: 'kubernetes/serviceaccount',
        [`${OLD_CLAIMS}/namespace`]: namespace,
        [`${OLD_CLAIMS}/secret.name`]: `${name}-token`,
        [`${OLD_CLAIMS}/service-account.name`]: name,
        [`${OLD_CLAIMS}/service-account.uid`]: found(namespace, name).uid,
        sub: `system:serviceaccount:${namespace}:${name}`,
      })
    },
  }
  return Object.assign(cluster, { operations })
}

/** Whoever the token speaks of, if it is good for one of the audiences; otherwise throws what is wrong with it. */
async function authenticate(cluster: Cluster, token: string, wanted: readonly string[]) {
  const keys = createLocalJWKSet({ keys: [cluster.key.jwk] })
  const { payload } = await jwtVerify(token, keys, { algorithms: ['RS256'] }).catch(() => {
    throw new Error('invalid bearer token')
  })
  const { namespace, name, uid } = accountOf(cluster, payload)
  // Old tokens name no audience, which stands for the API server's.
  const named = payload.aud === undefined ? [API_AUDIENCE] : [payload.aud].flat()
  const audiences = wanted.filter((audience) => named.includes(audience))
  if (audiences.length === 0) {
    throw new Error(`token audiences ${JSON.stringify(named)} is invalid for the target audiences`)
  }
  const user: User = {
    username: `system:serviceaccount:${namespace}:${name}`,
    uid,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    extra: payload.jti === undefined ? {} : { 'authentication.kubernetes.io/credential-id': [payload.jti] },
  }
  return { user, audiences }
}

/** The account must still be the one the token was made for, and so must a pod it is bound to. */
function accountOf(cluster: Cluster, payload: JWTPayload): ServiceAccount {
  type Block = { namespace: string; serviceaccount: { name: string; uid: string }; pod?: ServiceAccount }
  const block = payload['kubernetes.io'] as Block | undefined
  const said = (name: string) => String(payload[`${OLD_CLAIMS}/${name}`])
  const namespace = block?.namespace ?? said('namespace')
  const name = block?.serviceaccount.name ?? said('service-account.name')
  const uid = block?.serviceaccount.uid ?? said('service-account.uid')
  const account = cluster.accounts.get(at(namespace, name))
  const isIssuer = payload.iss === (block ? cluster.issuer : 'kubernetes/serviceaccount')
  const pod = block?.pod
  const isPodGone = pod && cluster.pods.get(at(namespace, pod.name))?.uid !== pod.uid
  if (!isIssuer || account?.uid !== uid || isPodGone) {
    throw new Error('service account token has been invalidated')
  }
  return account
}

const ROUTES: (cluster: Cluster) => readonly Route[] = (cluster) => [
  {
    method: 'POST',
    path: /^\/apis\/authentication\.k8s\.io\/v1\/tokenreviews$/,
    right: 'create tokenreviews',
    async handle({ body }) {
      const spec = (body.spec ?? {}) as { token?: string; audiences?: string[] }
      const result = await authenticate(cluster, spec.token ?? '', spec.audiences ?? [API_AUDIENCE]).then(
        (found) => ({ authenticated: true, ...found }),
        (error: Error) => ({ user: {}, error: error.message }),
      )
      const head = { kind: 'TokenReview', apiVersion: 'authentication.k8s.io/v1' }
      return { code: 201, body: { ...head, metadata: { creationTimestamp: null }, spec, status: result } }
    },
  },
  {
    method: 'GET',
    path: /^\/api\/v1\/namespaces\/([^/]+)$/,
    right: 'get namespaces',
    handle({ params: [name = ''] }) {
      const labels = cluster.namespaces.get(name)
      if (!labels) return status(404, `namespaces "${name}" not found`)
      const metadata = { name, uid: randomUUID(), creationTimestamp: '2026-01-02T03:04:05Z', labels }
      return { code: 200, body: { kind: 'Namespace', apiVersion: 'v1', metadata, spec: {} } }
    },
  },
]

/** What anyone may read, so that others can check the cluster's tokens. */
const openDocument = (cluster: Cluster, path: string | undefined): Reply | undefined => {
  const { issuer, key } = cluster
  if (path === '/openid/v1/jwks') return { code: 200, body: { keys: [key.jwk] } }
  if (path !== '/.well-known/openid-configuration') return undefined
  const body = {
    issuer,
    jwks_uri: `${issuer}/openid/v1/jwks`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
  }
  return { code: 200, body }
}

async function respond(cluster: Cluster, req: IncomingMessage): Promise<Reply> {
  const chunks: Buffer[] = []
  for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk)
  const open = openDocument(cluster, req.url)
  if (open) return open
  const bearer = /^Bearer (.+)$/.exec(req.headers.authorization ?? '')?.[1] ?? ''
  const caller = await authenticate(cluster, bearer, [API_AUDIENCE]).catch(() => undefined)
  if (!caller) return status(401, 'Unauthorized')
  const path = new URL(req.url ?? '', 'https://any').pathname
  const route = ROUTES(cluster).find((it) => it.method === req.method && it.path.test(path))
  if (!route) return status(404, 'the server could not find the requested resource')
  const { user } = caller
  if (!cluster.rights.get(user.username)?.includes(route.right)) {
    return status(403, `User "${user.username}" cannot ${route.right}`)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  const params = (route.path.exec(path) ?? []).slice(1).map(decodeURIComponent)
  return route.handle({ user, params, body: text === '' ? {} : JSON.parse(text) })
}

const REASONS: Record<number, string> = { 401: 'Unauthorized', 403: 'Forbidden', 404: 'NotFound' }

function status(code: number, message: string): Reply {
  const body = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, code }
  return { code, body: { ...body, reason: REASONS[code] ?? 'InternalError' } }
}

function send(res: ServerResponse, { code, body }: Reply): void {
  res.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** A token with other claims under the old signature. */
export function tampered(jwt: string, changes: JWTPayload): string {
  const [head, , tail] = jwt.split('.')
  const claims = { ...decodeJwt(jwt), ...changes }
  return `${head}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${tail}`
}
