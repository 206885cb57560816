import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { messageOf } from '../../lib/errors.ts'
import { readAnswer } from '../../lib/read-answer.ts'

/** How an issuer's documents are fetched. Rejects with an `Error` whose text an operator can act on. */
export type FetchJson = (url: string, options: FetchOptions) => Promise<unknown>
/** `caPem`: the authorities to trust instead of the system's; empty for those. `signal` ends the whole exchange. */
export type FetchOptions = { caPem: string; signal: AbortSignal }

export type IssuerRequest = { method: string; headers: Record<string, string>; body?: string | undefined }
export type IssuerAnswer = { status: number; headers: IncomingHttpHeaders; body: Buffer }

export const MAX_DOCUMENT_BYTES = 512 * 1_024
const JSON_TYPE = 'application/json'

/** GETs one JSON document of at most 512 KiB. */
export const fetchJson: FetchJson = async (url, options) => {
  const { status, body } = await exchange(url, { method: 'GET', headers: { accept: JSON_TYPE } }, options)
  try {
    if (status !== 200) throw new Error(`answers ${status}`)
    return parsed(body.toString('utf8'))
  } catch (cause) {
    throw new Error(`${url}: ${messageOf(cause)}`, { cause })
  }
}

/**
 * One request to an issuer and its whole answer, of at most 512 KiB. Rejects with an `Error` that names the URL.
 * Redirects are not followed: whoever could make an issuer redirect could choose the keys.
 */
export async function exchange(
  url: string,
  request: IssuerRequest,
  options: FetchOptions,
): Promise<IssuerAnswer> {
  try {
    const response = await answer(url, request, options)
    try {
      const status = response.statusCode ?? 0
      if (status >= 300 && status < 400) throw new Error(`answers ${status}: redirects are not followed`)
      return { status, headers: response.headers, body: await readAnswer(response, MAX_DOCUMENT_BYTES) }
    } finally {
      response.destroy()
    }
  } catch (cause) {
    const problem = options.signal.aborted ? 'no whole answer in time' : messageOf(cause)
    throw new Error(`${url}: ${problem}`, { cause })
  }
}

function answer(
  url: string,
  { method, headers, body }: IssuerRequest,
  { caPem, signal }: FetchOptions,
): Promise<IncomingMessage> {
  const send = url.startsWith('https:') ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    // A connection of its own: fetches are minutes apart, and a kept one would outlive the configuration.
    const options = { agent: false as const, signal, method, headers }
    const sent = send(url, caPem === '' ? options : { ...options, ca: caPem }, resolve)
    sent.on('error', reject)
    sent.end(body)
  })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The parser's message would quote the document.
    throw new Error('answers something that is not JSON')
  }
}
