import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { newAuthority } from './certificates.ts'
import {
  type Call,
  guarded,
  makeNamespace,
  type Reply,
  respondAboutObjects,
  type Seen,
  type Server,
  status,
  type Watching,
} from './kubernetes-objects.ts'
import { type Attributes, type KubeUser, mayDo } from './kubernetes-rights.ts'
import { type KubeObject, newStore, type Store } from './kubernetes-store.ts'
import { newTokens, type TokenSettings } from './kubernetes-tokens.ts'
import { serveWatch } from './kubernetes-watches.ts'

/** status: an answer instead of the work. cut: the connection, before the work. silent: neither work nor answer. late: the work, and then no answer. */
export type Fault = { status: number; retryAfter?: number } | 'cut' | 'silent' | 'late'

export type KubernetesServer = {
  url: string
  caPem: string
  /** The bearer token of somebody who may do everything. */
  adminToken: string
  /** As good as that token. */
  adminClient: { cert: string; key: string }
  store: Store
  settings: TokenSettings
  /** Requests that arrived, as `<method> <path>`. */
  requests: string[]
  /** Decides what goes wrong from now on; nothing, when undefined. */
  plan(fault: ((seen: Seen) => Fault | undefined) | undefined): void
  /** Ends every watch as it stands. */
  cutWatches(): void
  stop(): Promise<void>
}

const ADMIN_TOKEN = 'the-token-of-the-cluster-admin'
const ADMIN: KubeUser = {
  username: 'admin',
  uid: 'admin',
  groups: ['system:masters', 'system:authenticated'],
}

/**
 * A Kubernetes API server over TLS on a free loopback port, as far as engines can tell: bound tokens, RBAC, garbage
 * collection, pages, watches. Nothing runs in it: Pods and Jobs do as the test says.
 */
export async function startKubernetesServer(): Promise<KubernetesServer> {
  const authority = newAuthority('kubernetes')
  const store = newStore()
  const settings: TokenSettings = { cacheMs: 300, maxSeconds: undefined }
  const cluster: Server = { store, tokens: await newTokens(store, settings) }
  const requests: string[] = []
  const watches = new Set<ServerResponse>()
  let fault: ((seen: Seen) => Fault | undefined) | undefined
  seed(store)

  const asked = { requestCert: true, rejectUnauthorized: false, ca: authority.cert }
  const server = createServer({ ...authority.issue('kube-apiserver'), ...asked }, (req, res) => {
    const { pathname: path, searchParams: query } = new URL(req.url ?? '', 'https://any')
    const method = req.method ?? ''
    requests.push(`${method} ${path}`)
    answer(req, res, { method, path, query }).catch((error: unknown) => send(res, status(500, String(error))))
  })

  async function answer(req: IncomingMessage, res: ServerResponse, asked: Omit<Seen, 'user'>): Promise<void> {
    const text = await bodyOf(req)
    const who = await whoAsks(cluster, req)
    if (!who) return send(res, status(401, 'Unauthorized'))
    const seen = { ...asked, user: who.username }
    const wrong = fault?.(seen)
    if (wrong === 'cut') return void req.socket.destroy()
    if (wrong === 'silent') return
    if (typeof wrong === 'object') return send(res, planted(wrong))
    const call: Call = {
      ...seen,
      who,
      accept: req.headers.accept ?? '',
      body: text === '' ? {} : JSON.parse(text),
    }
    const reply = await respond(cluster, call, (resource, namespace) => {
      watches.add(res.once('close', () => watches.delete(res)))
      serveWatch(store, res, { resource, namespace, query: asked.query })
    })
    if (wrong === 'late') req.socket.destroy()
    else if (reply) send(res, reply)
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    caPem: authority.cert,
    adminToken: ADMIN_TOKEN,
    adminClient: authority.issue(ADMIN.username),
    store,
    settings,
    requests,
    plan(next) {
      fault = next
    },
    cutWatches() {
      for (const res of watches) res.socket?.destroy()
    },
    async stop() {
      store.close()
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function bodyOf(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

const planted = ({ status: code, retryAfter }: Exclude<Fault, string>): Reply => ({
  ...status(code, `planted ${code}`),
  ...(retryAfter !== undefined && { retryAfter }),
})

/** What every cluster has from its beginning. */
function seed(store: Store): void {
  for (const name of ['default', 'kube-system']) makeNamespace(store, { metadata: { name } } as KubeObject)
  const rules = [
    {
      apiGroups: [''],
      resources: ['configmaps', 'pods', 'serviceaccounts'],
      verbs: ['get', 'list', 'watch'],
    },
    { apiGroups: ['batch'], resources: ['jobs'], verbs: ['get', 'list', 'watch'] },
  ]
  store.create('clusterroles', undefined, { metadata: { name: 'view' } as KubeObject['metadata'], rules })
}

async function whoAsks({ tokens }: Server, req: IncomingMessage): Promise<KubeUser | undefined> {
  const bearer = /^Bearer (.+)$/.exec(req.headers.authorization ?? '')?.[1]
  const { authorized } = req.socket as TLSSocket
  if (bearer === ADMIN_TOKEN || (bearer === undefined && authorized)) return ADMIN
  return tokens.judge(bearer ?? '').then(
    ({ user }) => user,
    () => undefined,
  )
}

async function respond(server: Server, call: Call, watching: Watching): Promise<Reply | undefined> {
  const { method, path } = call
  if (path === '/version') return { code: 200, body: { major: '1', minor: '34', gitVersion: 'v1.34.4-test' } }
  if (method === 'POST' && path === '/apis/authentication.k8s.io/v1/tokenreviews') {
    return guarded(
      server,
      call,
      { verb: 'create', group: 'authentication.k8s.io', resource: 'tokenreviews' },
      () => reviewToken(server, call.body),
    )
  }
  if (method === 'POST' && path === '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews') {
    const spec = call.body.spec as { resourceAttributes: Attributes }
    const allowed = mayDo(server.store, call.who, {
      ...spec.resourceAttributes,
      group: spec.resourceAttributes.group ?? '',
    })
    return { code: 201, body: { ...call.body, status: { allowed } } }
  }
  return respondAboutObjects(server, call, watching)
}

async function reviewToken({ tokens }: Server, body: Record<string, unknown>): Promise<Reply> {
  const spec = body.spec as { token: string; audiences?: string[] }
  const judged = await tokens.judge(spec.token, spec.audiences).then(
    (good) => ({ authenticated: true, ...good }),
    (error: Error) => ({ user: {}, error: error.message }),
  )
  return { code: 201, body: { ...body, kind: 'TokenReview', status: judged } }
}

function send(res: ServerResponse, { code, body, retryAfter }: Reply): void {
  const headers = {
    'content-type': 'application/json',
    ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
  }
  res.writeHead(code, headers).end(JSON.stringify(body))
}
