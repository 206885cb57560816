import { Agent as HttpAgent, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { atMost } from '../../lib/at-most.ts'
import { messageOf } from '../../lib/errors.ts'
import { type Answer, exchange, openExchange, wholeAnswer } from '../../lib/kubernetes/exchange.ts'
import { POD_FOLDER, podFile } from '../../lib/kubernetes/pod.ts'
import { isObject } from '../../lib/objects.ts'
import { pause } from '../../lib/pause.ts'
import { type Admin, EngineError, type EngineErrorKind, type Lane } from '../engine.ts'
import type { Target } from './target.ts'

export type Ask = {
  method?: 'GET' | 'POST' | 'DELETE'
  path: string
  query?: Record<string, string>
  body?: unknown
  /** Another form of the answer than whole objects. */
  accept?: string
  /** Milliseconds from the call: it is not sent any more after them. Else a time of its own from when it has a place. */
  withinMs?: number
}

/** The answer, decoded, and when the server said that it gave it. */
export type Told = { body: Record<string, unknown>; date: string }

/** The way to an API server. All throw an `EngineError`; one about an answer is a `KubernetesRefusal`. */
export type Api = {
  /** Endings have places of their own, so that asks to issue cannot take them all. */
  ask(lane: Lane, ask: Ask): Promise<Told>
  /** A stream of the server's, open until the signal ends it. */
  stream(ask: Pick<Ask, 'path' | 'query'>, signal: AbortSignal): Promise<IncomingMessage>
  close(): void
}

/** The API server answered, and said no. */
export class KubernetesRefusal extends EngineError {
  readonly status: number
  /** Where a list that took too long may go on from. */
  readonly continueFrom: string | undefined
  /** The name of what the API server itself says is not there. */
  readonly absent: string | undefined

  constructor(status: number, message: string, details: { continueFrom?: string; absent?: string } = {}) {
    super(kindOf(status), message)
    this.status = status
    this.continueFrom = details.continueFrom
    this.absent = details.absent
  }
}

/** What retrying may heal is `blocked`: callers get a 500 and may try again, and the breaker does not count it. */
function kindOf(status: number): EngineErrorKind {
  if (status === 401 || status === 403) return 'denied'
  return status === 429 || status >= 500 ? 'blocked' : 'failed'
}

export const isStatus = (error: unknown, status: number): boolean =>
  error instanceof KubernetesRefusal && error.status === status

/**
 * Whether the API server says that one of these is not there. Not every 404 does: a proxy on the way answers so too, of
 * a cluster that it no longer knows.
 */
export const isAbsent = (error: unknown, ...names: string[]): boolean =>
  error instanceof KubernetesRefusal && error.absent !== undefined && names.includes(error.absent)

const DEADLINE_MS = 10_000
const KEPT_MS = 30_000
/** Exchanges under way at once in each lane. */
const PLACES = 32
/** A server that sheds load names a pause; it is kept this often, within the deadline. */
const PATIENCE = 4
const MAX_DETAIL = 300
/** For how long the admin's credential is kept between questions to the secret store. */
const CREDENTIAL_KEPT_MS = 60_000

type Credential = {
  bearer: string | undefined
  client: { certPem: string; keyPem: string } | undefined
  /** Says whether the API server let us in with it; the same answer again is not told again. */
  tell(accepted: boolean): void
}

export function openApi(target: Target, admin: Admin, podFolder: string = POD_FOLDER): Api {
  const kept = { keepAlive: true, timeout: KEPT_MS }
  const agent = target.address.startsWith('https:') ? new HttpsAgent(kept) : new HttpAgent(kept)
  const lanes = { issuing: atMost(PLACES), ending: atMost(PLACES) }
  const credentials = {
    issuing: rememberedCredential(target, () => admin('issuing'), podFolder),
    ending: rememberedCredential(target, () => admin('ending'), podFolder),
  }

  const prepared = async (ask: Ask, credential: Credential, signal: AbortSignal) => ({
    url: urlOf(target, ask),
    method: ask.method ?? 'GET',
    headers: headersOf(ask, credential),
    body: ask.body === undefined ? undefined : JSON.stringify(ask.body),
    agent,
    caPem: await caOf(target, podFolder),
    client: credential.client,
    signal,
    // What makes something must not be sent twice: the second would find its own work in its way.
    once: ask.method === 'POST' && !REPEATABLE.test(ask.path),
  })

  const once = async (ask: Ask, credential: Credential, signal: AbortSignal): Promise<Answer> =>
    exchange(await prepared(ask, credential, signal)).catch((error: unknown) => {
      throw unreachable(target, error)
    })

  const answered = async (lane: Lane, ask: Ask, signal: AbortSignal): Promise<Told> => {
    let renewed = false
    for (let attempt = 1; ; attempt += 1) {
      const credential = await credentials[lane].get()
      const answer = await once(ask, credential, signal)
      const isLogin = answer.status !== 401
      credential.tell(isLogin)
      if (isSuccess(answer)) return { body: decoded(answer.text), date: answer.date }
      if (!isLogin) credentials[lane].forget()
      const retries = isLogin ? await shedLoad(answer, attempt, signal) : !renewed
      if (!retries) throw refusalOf(answer)
      // A refused credential is read once more: it may have been changed, here or by whoever rotates it.
      renewed ||= !isLogin
    }
  }

  return {
    ask(lane, ask) {
      const given = ask.withinMs === undefined ? undefined : AbortSignal.timeout(ask.withinMs)
      return lanes[lane](() => {
        if (given?.aborted) throw new EngineError('late', 'the time was over before it could be asked')
        return answered(lane, ask, given ?? AbortSignal.timeout(DEADLINE_MS))
      })
    },
    async stream(ask, signal) {
      const credential = await credentials.ending.get()
      const response = await openExchange(await prepared(ask, credential, signal)).catch((error: unknown) => {
        throw unreachable(target, error)
      })
      if (response.statusCode === 200) return response
      const answer = await wholeAnswer(response).catch((error: unknown) => {
        throw unreachable(target, error)
      })
      if (answer.status === 401) credentials.ending.forget()
      throw refusalOf(answer)
    },
    close: () => agent.destroy(),
  }
}

const isSuccess = ({ status }: Answer): boolean => status >= 200 && status < 300

/** Asked twice, they do no more than once. */
const REPEATABLE = /\/(token|tokenreviews|selfsubjectaccessreviews)$/

const urlOf = ({ address }: Target, { path, query }: Ask): string =>
  `${address}${path}${query ? `?${new URLSearchParams(query)}` : ''}`

const headersOf = ({ accept = 'application/json' }: Ask, { bearer }: Credential) => ({
  accept,
  'content-type': 'application/json',
  'user-agent': 'leasehold',
  ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
})

async function caOf({ caPem, usesPod, address }: Target, podFolder: string): Promise<string | undefined> {
  if (caPem !== '' || !address.startsWith('https:')) return caPem || undefined
  const found = usesPod ? await podFile(podFolder, 'ca.crt') : undefined
  if (found !== undefined) return found
  // The system's authorities are for whoever asks for them: anyone may buy a certificate from those.
  throw new EngineError('denied', `no kubernetes_ca_cert, and no ${podFolder}/ca.crt that may be used`)
}

/** The admin's own, or that of the pod this process runs in. */
function rememberedCredential(
  { clientCertificatePem, usesPod }: Target,
  admin: () => ReturnType<Admin>,
  podFolder: string,
) {
  let held: { credential: Promise<Credential>; atMs: number } | undefined

  const read = async (): Promise<Credential> => {
    const { password, tlsPrivateKey, onLogin } = await admin()
    const key = tlsPrivateKey?.reveal()
    let told: boolean | undefined
    return {
      bearer: password.reveal() || undefined,
      client:
        clientCertificatePem !== undefined && key !== undefined
          ? { certPem: clientCertificatePem, keyPem: key }
          : undefined,
      tell(accepted) {
        if (told !== accepted) onLogin?.(accepted)
        told = accepted
      },
    }
  }
  const own = async (): Promise<Credential> => {
    if (!held || performance.now() - held.atMs > CREDENTIAL_KEPT_MS) {
      held = { credential: read(), atMs: performance.now() }
    }
    return held.credential.catch((error: unknown) => {
      held = undefined
      throw error
    })
  }
  return {
    async get(): Promise<Credential> {
      const credential = await own()
      if (credential.bearer !== undefined || credential.client) return credential
      const bearer = usesPod ? await podFile(podFolder, 'token') : undefined
      if (bearer !== undefined) return { ...credential, bearer }
      throw new EngineError(
        'denied',
        'there is no service_account_jwt, and no token of a pod that may be used',
      )
    },
    forget(): void {
      held = undefined
    },
  }
}

async function shedLoad(
  { status, retryAfter }: Answer,
  attempt: number,
  signal: AbortSignal,
): Promise<boolean> {
  if (status !== 429 || attempt > PATIENCE) return false
  await pause(Math.max(0.1, Number(retryAfter) || 1) * 1_000, signal)
  return !signal.aborted
}

const unreachable = ({ address }: Target, error: unknown): EngineError =>
  error instanceof EngineError
    ? error
    : new EngineError('unreachable', `${address}: ${messageOf(error)}`, { cause: error })

function decoded(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (isObject(value)) return value
  } catch {
    // Its own text would quote the answer, which may hold a token.
  }
  throw new EngineError('blocked', 'the API server answers something that is not a JSON object')
}

/** In the server's own words, which name what is missing or wrong, and no secret. */
function refusalOf({ status, text }: Answer): KubernetesRefusal {
  let said: Record<string, unknown> = {}
  try {
    const body: unknown = JSON.parse(text)
    if (isObject(body) && body.kind === 'Status') said = body
  } catch {
    // A proxy's page, perhaps; the status says enough.
  }
  const message = typeof said.message === 'string' && said.message !== '' ? said.message : defaultText(status)
  const next = isObject(said.metadata) ? said.metadata.continue : undefined
  const name = status === 404 && said.reason === 'NotFound' && isObject(said.details) && said.details.name
  return new KubernetesRefusal(status, message.slice(0, MAX_DETAIL), {
    ...(typeof next === 'string' && next !== '' && { continueFrom: next }),
    ...(typeof name === 'string' && { absent: name }),
  })
}

const defaultText = (status: number): string =>
  status >= 300 && status < 400
    ? `the API server answers ${status}: redirects are not followed`
    : `the API server answers ${status}`
