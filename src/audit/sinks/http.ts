import http from 'node:http'
import https from 'node:https'
import { messageOf } from '../../lib/errors.ts'
import type { Sensitive } from '../../lib/sensitive.ts'
import type { Output } from './output.ts'

export type HttpSettings = {
  url: URL
  format: 'lines' | 'array'
  /** PEM; the system's are trusted without it. */
  ca: string | undefined
}

const TYPES = { lines: 'application/x-ndjson', array: 'application/json' } as const

/** Posts batches. Any 2xx says that the batch was taken; a redirect is not followed. */
export function openHttp({ url, format, ca }: HttpSettings, token: Sensitive | undefined): Output {
  const options = { keepAlive: true, maxSockets: 1 }
  const agent =
    url.protocol === 'https:'
      ? new https.Agent({ ...options, ...(ca !== undefined && { ca }) })
      : new http.Agent(options)
  const headers = {
    'Content-Type': TYPES[format],
    'User-Agent': 'leasehold',
    ...(token && { Authorization: `Bearer ${token.reveal()}` }),
  }
  return {
    async take(lines, signal) {
      const body = Buffer.from(
        format === 'lines' ? lines.join('') : `[${lines.map((line) => line.trimEnd()).join()}]`,
      )
      const status = await post(url, { agent, headers, signal }, body)
      if (status < 200 || status > 299) throw new Error(`the answer was HTTP ${status}`)
    },
    close: async () => agent.destroy(),
  }
}

type PostOptions = { agent: http.Agent; headers: Record<string, string>; signal: AbortSignal }

/** What the answer says besides its status is for nobody. */
const MAX_ANSWER_BYTES = 64 * 1024

function post(url: URL, { headers, ...options }: PostOptions, body: Buffer): Promise<number> {
  const { request } = url.protocol === 'https:' ? https : http
  return new Promise((resolve, reject) => {
    const sent = request(url, {
      ...options,
      method: 'POST',
      headers: { ...headers, 'Content-Length': String(body.length) },
    })
    sent.on('error', (error) => reject(new Error(messageOf(error), { cause: error })))
    sent.on('response', (answer) => {
      const { statusCode = 0 } = answer
      let left = MAX_ANSWER_BYTES
      answer.on('data', (piece: Buffer) => {
        left -= piece.length
        if (left < 0) answer.destroy()
      })
      // Heard, then: the status counts, whether or not the rest came through.
      answer.on('close', () => resolve(statusCode))
      answer.on('error', () => resolve(statusCode))
    })
    sent.end(body)
  })
}
