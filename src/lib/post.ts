import http from 'node:http'
import https from 'node:https'
import { messageOf } from './errors.ts'

export type PostOptions = {
  headers: Record<string, string>
  signal: AbortSignal
  /** One for each request when absent. */
  agent?: http.Agent
}

/** `body` is as much of the answer as was read, which is nothing where nobody wants it. */
export type Posted = { status: number; body: Buffer }

/** What the answer says besides its status is for nobody. */
const MAX_UNREAD_BYTES = 64 * 1024

/**
 * Posts a body and answers whatever the other side said; no redirect is followed. Rejects when there was no answer.
 * `keepBytes`: more of the answer than that is cut off.
 */
export function post(
  url: URL,
  { headers, agent, signal }: PostOptions,
  body: Buffer,
  keepBytes = 0,
): Promise<Posted> {
  const { request } = url.protocol === 'https:' ? https : http
  return new Promise((resolve, reject) => {
    const sent = request(url, {
      signal,
      agent: agent ?? false,
      method: 'POST',
      headers: { ...headers, 'Content-Length': String(body.length) },
    })
    sent.on('error', (error) => reject(new Error(messageOf(error), { cause: error })))
    sent.on('response', (answer) => {
      const { statusCode = 0 } = answer
      const kept: Buffer[] = []
      let keep = keepBytes
      let left = MAX_UNREAD_BYTES + keepBytes
      answer.on('data', (piece: Buffer) => {
        if (keep > 0) kept.push(piece.subarray(0, keep))
        keep -= piece.length
        left -= piece.length
        if (left < 0) answer.destroy()
      })
      // Heard, then: the status counts, whether or not the rest came through.
      const heard = () => resolve({ status: statusCode, body: Buffer.concat(kept) })
      answer.on('close', heard)
      answer.on('error', heard)
    })
    sent.end(body)
  })
}
