import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Agent } from 'node:https'
import { parseAllDocuments } from 'yaml'
import { type Kubeconfig, readKubeconfig } from '../../src/dev/kubeconfig.ts'
import { kubernetes } from '../../src/engine/kubernetes/kubernetes.ts'
import { exchange } from '../../src/lib/kubernetes/exchange.ts'
import { sensitive } from '../../src/lib/sensitive.ts'
import { type KubernetesServer, startKubernetesServer } from './kubernetes-server.ts'
import type { KubeObject } from './kubernetes-store.ts'

type Json = Record<string, unknown>
export type KubeAnswer = { status: number; body: Json }

/**
 * A cluster with a broker's account in it, made as deploy/kubernetes.yaml says: that of `KUBECONFIG`, or else one of
 * the test's own. All that a test does to it goes over its API, so that the same test runs on either.
 */
export type TestCluster = {
  host: string
  caPem: string
  /** The service account token of the broker. */
  brokerToken: string
  /** The broker's account, for tests that take rights away from it. */
  broker: { namespace: string; role: string }
  target: Json
  admin: { username: string; password: ReturnType<typeof sensitive> }
  /** As somebody who may do everything. */
  ask(method: string, path: string, body?: unknown): Promise<KubeAnswer>
  /** As whoever has the token. */
  askAs(token: string, method: string, path: string, body?: unknown): Promise<KubeAnswer>
  /** A namespace of the test's own, with its default account. */
  namespace(labels?: Record<string, string>): Promise<string>
  /** Names of what is in a namespace, or of what is nowhere in particular, of a kind by its path. */
  names(path: string): Promise<string[]>
  /** Whether the API server takes the token now. */
  accepts(token: string): Promise<boolean>
  /** The test's own server, where things can be made to go wrong; undefined for a real one. */
  server: KubernetesServer | undefined
  /** For how long a deleted Secret's tokens may still be taken. */
  cacheMs: number
  close(): Promise<void>
}

export const RBAC = '/apis/rbac.authorization.k8s.io/v1'
const CORE = '/api/v1'
/** As long as an API server remembers. */
const REAL_CACHE_MS = 10_000

/** `own` starts one even where a real one is given: for tests that make things go wrong. */
export async function openTestCluster({ own = false } = {}): Promise<TestCluster> {
  const given = own ? undefined : process.env.KUBECONFIG
  const server = given ? undefined : await startKubernetesServer()
  const login: Kubeconfig = server
    ? { host: server.url, caPem: server.caPem, token: server.adminToken, client: undefined }
    : await readKubeconfig(String(given))
  const suffix = randomBytes(4).toString('hex')
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const made: string[] = []

  const send = async (
    as: Pick<Kubeconfig, 'token' | 'client'>,
    method: string,
    path: string,
    body?: unknown,
  ) => {
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
    const { status, text } = await exchange({
      url: `${login.host}${path}`,
      method,
      headers: {
        'content-type': type,
        accept: 'application/json',
        ...(as.token && { authorization: `Bearer ${as.token}` }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      agent,
      caPem: login.caPem,
      client: as.client,
      signal: AbortSignal.timeout(20_000),
    })
    return { status, body: (text.startsWith('{') ? JSON.parse(text) : {}) as Json }
  }
  const ask: TestCluster['ask'] = (method, path, body) => send(login, method, path, body)
  const must = async (method: string, path: string, body?: unknown): Promise<Json> => {
    const answer = await ask(method, path, body)
    if (answer.status > 299)
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body
  }
  const make = async (path: string, body: KubeObject | Json): Promise<void> => {
    await must('POST', path, body)
    made.push(`${path}/${(body as KubeObject).metadata.name}`)
  }
  const namespace = async (labels: Record<string, string> = {}) => {
    const name = `leasehold-test-${randomBytes(4).toString('hex')}`
    await make(`${CORE}/namespaces`, { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } })
    // In a real cluster a controller makes it.
    for (let waits = 0; waits < 200; waits += 1) {
      if ((await ask('GET', `${CORE}/namespaces/${name}/serviceaccounts/default`)).status === 200) return name
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`the namespace ${name} got no default service account`)
  }

  const name = `leasehold-${suffix}`
  for (const { path, body } of brokerObjects(name)) await make(path, body)
  const token = await must('POST', `${CORE}/namespaces/${name}/serviceaccounts/${name}/token`, {
    spec: { audiences: [], expirationSeconds: 7_200 },
  })
  const brokerToken = (token.status as { token: string }).token
  const cacheMs = server ? server.settings.cacheMs : REAL_CACHE_MS

  return {
    host: login.host,
    caPem: login.caPem,
    brokerToken,
    broker: { namespace: name, role: name },
    target: kubernetes.checkTarget({
      kubernetes_host: login.host,
      kubernetes_ca_cert: login.caPem,
      disable_local_ca_jwt: true,
      token_cache: Math.ceil(cacheMs / 1_000),
    }).spec as Json,
    admin: { username: '', password: sensitive(brokerToken) },
    ask,
    askAs: (as, ...request) => send({ token: as, client: undefined }, ...request),
    namespace,
    async names(path) {
      const body = await must('GET', path)
      return (body.items as KubeObject[]).map(({ metadata }) => metadata.name)
    },
    async accepts(text) {
      const review = { kind: 'TokenReview', apiVersion: 'authentication.k8s.io/v1', spec: { token: text } }
      const body = await must('POST', '/apis/authentication.k8s.io/v1/tokenreviews', review)
      return (body.status as { authenticated?: boolean }).authenticated === true
    },
    server,
    cacheMs,
    async close() {
      for (const path of made.reverse()) await ask('DELETE', path)
      agent.destroy()
      await server?.stop()
    },
  }
}

/** deploy/kubernetes.yaml, under a name of the test's own. */
function brokerObjects(name: string): { path: string; body: Json }[] {
  const text = readFileSync('deploy/kubernetes.yaml', 'utf8').replaceAll(
    /(name(?:space)?: )leasehold\b/g,
    `$1${name}`,
  )
  return parseAllDocuments(text).map((document) => {
    const body = document.toJS() as KubeObject
    const path = {
      Namespace: `${CORE}/namespaces`,
      ServiceAccount: `${CORE}/namespaces/${name}/serviceaccounts`,
      ClusterRole: `${RBAC}/clusterroles`,
      ClusterRoleBinding: `${RBAC}/clusterrolebindings`,
    }[body.kind]
    if (!path) throw new Error(`deploy/kubernetes.yaml holds a ${body.kind}`)
    return { path, body: body as Json }
  })
}
