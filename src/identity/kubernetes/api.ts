import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Configuration, RequestContext, ResponseContext } from '@kubernetes/client-node'
import { messageOf } from '../../lib/errors.ts'
import { type Answer, exchange } from '../../lib/kubernetes/exchange.ts'
import { POD_FOLDER, podFile } from '../../lib/kubernetes/pod.ts'
import type { Labels } from '../../lib/kubernetes/selector.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import { isObject } from '../jwt/fields.ts'
import { apiAddress, type KubernetesConfig } from './config.ts'
import { cachedLabels } from './namespace-labels.ts'
import { KubernetesLoginRefused } from './refusal.ts'

/** What the API server is asked. All throw `KubernetesLoginRefused`, with `api_…` and `reviewer_…` reasons for faults that are not the token's. */
export type KubernetesApi = {
  /** Has the API server check a token for any of the audiences (none for its own). Never remembered. */
  review(question: TokenQuestion): Promise<ReviewedUser>
  /** The labels of a namespace, up to 30 s old. `namespace_not_found` when there is none. */
  namespaceLabels(namespace: string, reviewerJwt: Sensitive | undefined): Promise<Labels>
  /** Closes kept connections; they also close by themselves after 30 s without use. */
  close(): void
}

export type TokenQuestion = {
  jwt: string
  audiences: readonly string[]
  /** Whose rights to ask with; else the pod's, if this is one and the mount allows it, else the token's own. */
  reviewerJwt: Sensitive | undefined
}

export type ReviewedUser = { username: string; uid: string }

export type ApiOptions = {
  /** Milliseconds for one whole exchange. */
  deadlineMs?: number
  podFolder?: string
  /** Milliseconds from any fixed point; must not jump back. */
  now?: () => number
}

const DEADLINE_MS = 5_000
const KEPT_MS = 30_000
/** Exchanges under way at once; more wait, within their deadline. */
const MAX_CONNECTIONS = 64
const MAX_DETAIL = 200

/** The API server answered with a status that stands for failure. */
class FailureStatus extends Error {
  readonly status: number

  constructor(status: number) {
    super(
      status >= 300 && status < 400 ? `answers ${status}: redirects are not followed` : `answers ${status}`,
    )
    this.status = status
  }
}

/** Opens the way to the API server of a checked configuration. Connects, and loads the heavy client, at first use. */
export function openKubernetesApi(config: KubernetesConfig, options: ApiOptions = {}): KubernetesApi {
  const { podFolder = POD_FOLDER, now = () => performance.now() } = options
  const labelsOf = cachedLabels(now)
  const { ask, close } = asker(config, options)

  const reviewerToken = async (given: Sensitive | undefined): Promise<string | undefined> => {
    // Going on with fewer rights would look like a fault of the caller's token.
    if (config.token_reviewer_jwt_set && !given) throw new KubernetesLoginRefused('reviewer_missing')
    if (given || config.disable_local_ca_jwt) return given?.reveal()
    return podFile(podFolder, 'token')
  }

  return {
    close,
    async review({ jwt, audiences, reviewerJwt }) {
      const reviewer = await reviewerToken(reviewerJwt)
      const body = { spec: { token: jwt, ...(audiences.length > 0 ? { audiences: [...audiences] } : {}) } }
      const reviewed = await ask(reviewer ?? jwt, (client, configuration) =>
        new client.AuthenticationV1Api(configuration).createTokenReview({ body }),
      ).catch((error: unknown) => {
        // Asked with its own rights, a token that is no longer good is turned away at the door.
        const ownDoor = reviewer === undefined && error instanceof FailureStatus && error.status === 401
        throw ownDoor ? new KubernetesLoginRefused('token_refused', 'answers 401') : refusalFor(error)
      })
      return readReview(reviewed, audiences)
    },
    namespaceLabels: (namespace, reviewerJwt) =>
      labelsOf(namespace, async () => {
        const reviewer = await reviewerToken(reviewerJwt)
        if (reviewer === undefined) throw new KubernetesLoginRefused('selector_needs_reviewer')
        const found = await ask(reviewer, (client, configuration) =>
          new client.CoreV1Api(configuration).readNamespace({ name: namespace }),
        ).catch((error: unknown) => {
          const isGone = error instanceof FailureStatus && error.status === 404
          throw isGone ? new KubernetesLoginRefused('namespace_not_found') : refusalFor(error)
        })
        return readLabels(found, namespace)
      }),
  }
}

type Client = typeof import('@kubernetes/client-node')
type Call<T> = (client: Client, configuration: Configuration) => Promise<T>

/**
 * Calls through the Kubernetes client, over an exchange of ours: the client's own follows redirects, waits for ever
 * and reads answers of any size.
 */
function asker(config: KubernetesConfig, { podFolder = POD_FOLDER, deadlineMs = DEADLINE_MS }: ApiOptions) {
  const address = apiAddress(config)
  const kept = { keepAlive: true, maxSockets: MAX_CONNECTIONS, timeout: KEPT_MS }
  const agent = address.startsWith('https:') ? new HttpsAgent(kept) : new HttpAgent(kept)

  const caPem = async (): Promise<string | undefined> => {
    if (config.kubernetes_ca_cert !== '') return config.kubernetes_ca_cert
    if (config.disable_local_ca_jwt || !address.startsWith('https:')) return undefined
    const found = await podFile(podFolder, 'ca.crt')
    if (found !== undefined) return found
    // The system's authorities are for whoever asks for them: anyone may buy a certificate from those.
    throw new KubernetesLoginRefused('api_unreachable', `no kubernetes_ca_cert, and no ${podFolder}/ca.crt`)
  }

  const send = async (bearer: string, request: RequestContext): Promise<Answer> => {
    const body = request.getBody()
    const answer = await exchange({
      url: request.getUrl(),
      method: request.getHttpMethod(),
      headers: { ...request.getHeaders(), authorization: `Bearer ${bearer}` },
      body: typeof body === 'string' ? body : undefined,
      agent,
      caPem: await caPem(),
      signal: AbortSignal.timeout(deadlineMs),
    }).catch((error: unknown) => {
      throw new KubernetesLoginRefused('api_unreachable', `${address}: ${messageOf(error)}`)
    })
    if (answer.status < 200 || answer.status > 299) throw new FailureStatus(answer.status)
    return answer
  }

  const ask = async <T>(bearer: string, call: Call<T>): Promise<T> => {
    const client = await import('@kubernetes/client-node')
    const respond = ({ status, contentType, text }: Answer): ResponseContext =>
      new client.ResponseContext(
        status,
        { 'content-type': contentType },
        { text: async () => text, binary: async () => Buffer.from(text) },
      )
    const configuration = client.createConfiguration({
      baseServer: new client.ServerConfiguration(address, {}),
      httpApi: client.wrapHttpLibrary({ send: async (request) => respond(await send(bearer, request)) }),
    })
    return call(client, configuration).catch((error: unknown) => {
      if (error instanceof FailureStatus || error instanceof KubernetesLoginRefused) throw error
      // The client's errors quote what was sent and answered, tokens included.
      throw new KubernetesLoginRefused('api_unusable', 'answers something that cannot be read')
    })
  }
  return { ask, close: () => agent.destroy() }
}

/** What a status means where it says nothing of the token or the namespace. Other errors stay as they are. */
function refusalFor(error: unknown): unknown {
  if (!(error instanceof FailureStatus)) return error
  const isRefusal = error.status === 401 || error.status === 403
  return new KubernetesLoginRefused(isRefusal ? 'reviewer_refused' : 'api_unusable', error.message)
}

function readReview(review: unknown, audiences: readonly string[]): ReviewedUser {
  if (!isObject(review) || review.kind !== 'TokenReview' || !isObject(review.status)) {
    throw new KubernetesLoginRefused('api_unusable', 'answers something that is not a TokenReview')
  }
  const { authenticated, error, user, audiences: fitting } = review.status
  if (authenticated !== true || (error !== undefined && error !== '')) {
    throw new KubernetesLoginRefused('token_refused', typeof error === 'string' ? clipped(error) : '')
  }
  // A server that knows nothing of audiences would leave ours out, and let in a token meant for someone else.
  const fits = Array.isArray(fitting) && audiences.some((audience) => fitting.includes(audience))
  if (audiences.length > 0 && !fits) throw new KubernetesLoginRefused('wrong_audience')
  if (!isObject(user) || typeof user.username !== 'string' || typeof user.uid !== 'string') {
    throw new KubernetesLoginRefused('token_refused', 'the user has no name or uid')
  }
  return { username: user.username, uid: user.uid }
}

function readLabels(found: unknown, namespace: string): Labels {
  const isNamespace = isObject(found) && found.kind === 'Namespace' && isObject(found.metadata)
  const metadata = isNamespace ? (found.metadata as Record<string, unknown>) : {}
  const labels = metadata.labels ?? {}
  const isWhole =
    metadata.name === namespace &&
    isObject(labels) &&
    Object.values(labels).every((value) => typeof value === 'string')
  if (!isWhole)
    throw new KubernetesLoginRefused('api_unusable', 'answers something that is not the namespace')
  return labels as Labels
}

/** An authenticator may quote what it could not read; nothing as long as a part of a token is passed on. */
const clipped = (text: string): string => text.replace(/[\w+/=-]{40,}/g, '…').slice(0, MAX_DETAIL)
