import {
  type ClientRequest,
  type Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http'
import { request as httpsRequest } from 'node:https'
import { messageOf } from '../errors.ts'
import { readAnswer } from '../read-answer.ts'

export type Exchange = {
  url: string
  method: string
  headers: Record<string, string>
  body?: string | undefined
  /** Keeps connections; its kind goes with the scheme of the URL. */
  agent: HttpAgent
  /** The authorities to trust instead of the system's; undefined for those. */
  caPem: string | undefined
  /** The certificate to show, and its key, where the server wants one. */
  client?: { certPem: string; keyPem: string } | undefined
  /** Ends the whole exchange. */
  signal: AbortSignal
  /** Sent once at most; otherwise it must be a request that may be repeated. */
  once?: boolean
}

export type Answer = {
  status: number
  contentType: string
  text: string
  /** As the server sent them, empty where it did not. */
  date: string
  retryAfter: string
}

/** The largest object a cluster stores by default is 1.5 MiB; a namespace of a tenth of that would be unheard of. */
export const MAX_ANSWER_BYTES = 1_024 * 1_024

/** The connection was one kept from before, and the other side had closed it by the time we wrote. */
class StaleConnection extends Error {
  constructor() {
    super('the connection was closed by the other side')
  }
}

/**
 * One request and its whole answer, of at most 1 MiB. Redirects are not followed: the request carries tokens. Rejects
 * with an `Error` whose text an operator can act on and which holds nothing of the request or the answer. A request
 * that met a stale connection is sent again once, unless it says that it must not be.
 */
export async function exchange(given: Exchange): Promise<Answer> {
  try {
    return await wholeAnswer(await openExchange(given))
  } catch (cause) {
    throw new Error(given.signal.aborted ? 'no whole answer in time' : textOf(cause), { cause })
  }
}

/** As `exchange`, up to the head of the answer; whoever calls reads the rest, or destroys it. */
export const openExchange = (given: Exchange): Promise<IncomingMessage> =>
  answer(given).catch((error: unknown) => {
    if (error instanceof StaleConnection && !given.once) return answer({ ...given, fresh: true })
    throw error
  })

/** Reads what `openExchange` opened, up to 1 MiB of it. */
export async function wholeAnswer(response: IncomingMessage): Promise<Answer> {
  try {
    const text = (await readAnswer(response, MAX_ANSWER_BYTES)).toString('utf8')
    const { 'content-type': contentType = '', date = '', 'retry-after': retryAfter = '' } = response.headers
    return { status: response.statusCode ?? 0, contentType, text, date, retryAfter }
  } catch (cause) {
    response.destroy()
    throw cause
  }
}

function answer({ fresh, ...given }: Exchange & { fresh?: true }): Promise<IncomingMessage> {
  const { url, method, signal, caPem, client, body } = given
  // Said by us: Node leaves it out of a DELETE, and the body would be read as the next request.
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
  const headers = { ...given.headers, ...length }
  const send = url.startsWith('https:') ? httpsRequest : httpRequest
  const options = {
    method,
    headers,
    signal,
    agent: fresh ? (false as const) : given.agent,
    ...(caPem !== undefined && { ca: caPem }),
    ...(client && { cert: client.certPem, key: client.keyPem }),
  }
  return new Promise((resolve, reject) => {
    const sent = send(url, options, resolve)
    sent.on('error', (error) => reject(isStale(sent, error) ? new StaleConnection() : error))
    sent.end(body)
  })
}

const isStale = (sent: ClientRequest, error: NodeJS.ErrnoException): boolean =>
  sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')

/** Trying both addresses of a name ends in an error of errors, whose own text is empty. */
const textOf = (error: unknown): string =>
  messageOf(error) || String((error as NodeJS.ErrnoException).code ?? 'the connection failed')
