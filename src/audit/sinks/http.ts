import http from 'node:http'
import https from 'node:https'
import { post } from '../../lib/post.ts'
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
      const { status } = await post(url, { agent, headers, signal }, body)
      if (status < 200 || status > 299) throw new Error(`the answer was HTTP ${status}`)
    },
    close: async () => agent.destroy(),
  }
}
