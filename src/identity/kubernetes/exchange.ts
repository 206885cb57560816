import {
  type ClientRequest,
  type Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http'
import { request as httpsRequest } from 'node:https'
import { messageOf } from '../../lib/errors.ts'
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
  /** Ends the whole exchange. */
  signal: AbortSignal
}

export type Answer = { status: number; contentType: string; text: string }

/** The largest object a cluster stores by default is 1.5 MiB; a namespace of a tenth of that would be unheard of. */
export const MAX_ANSWER_BYTES = 1_024 * 1_024

/** The connection was one kept from before, and the other side had closed it by the time we wrote. */
class StaleConnection extends Error {}

/**
 * One request and its whole answer, of at most 1 MiB. Redirects are not followed: the request carries tokens. Rejects
 * with an `Error` whose text an operator can act on and which holds nothing of the request or the answer. A request
 * that met a stale connection is sent again once, so it must be one that may be repeated.
 */
export async function exchange(given: Exchange): Promise<Answer> {
  try {
    const response = await answer(given).catch((error: unknown) => {
      if (error instanceof StaleConnection) return answer({ ...given, fresh: true })
      throw error
    })
    try {
      const text = (await readAnswer(response, MAX_ANSWER_BYTES)).toString('utf8')
      return { status: response.statusCode ?? 0, contentType: response.headers['content-type'] ?? '', text }
    } catch (cause) {
      response.destroy()
      throw cause
    }
  } catch (cause) {
    throw new Error(given.signal.aborted ? 'no whole answer in time' : textOf(cause), { cause })
  }
}

function answer({ fresh, ...given }: Exchange & { fresh?: true }): Promise<IncomingMessage> {
  const { url, method, headers, signal, caPem } = given
  const send = url.startsWith('https:') ? httpsRequest : httpRequest
  const options = { method, headers, signal, agent: fresh ? (false as const) : given.agent }
  return new Promise((resolve, reject) => {
    const sent = send(url, caPem === undefined ? options : { ...options, ca: caPem }, resolve)
    sent.on('error', (error) => reject(isStale(sent, error) ? new StaleConnection() : error))
    sent.end(given.body)
  })
}

const isStale = (sent: ClientRequest, error: NodeJS.ErrnoException): boolean =>
  sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')

/** Trying both addresses of a name ends in an error of errors, whose own text is empty. */
const textOf = (error: unknown): string =>
  messageOf(error) || String((error as NodeJS.ErrnoException).code ?? 'the connection failed')
