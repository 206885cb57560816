import type { IncomingMessage, ServerResponse } from 'node:http'
import { formatDuration, parseDuration } from '../lib/duration.ts'
import { BrokerError } from '../lib/errors.ts'
import { SYSTEM_MAX_TTL_SECONDS } from '../lib/ttl.ts'
import { TOKEN_LIKE } from './told-path.ts'

const refuse = (text: string) => new BrokerError('invalid_request', text)

const header = (req: IncomingMessage, name: string): string | undefined => {
  const value = req.headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}

/**
 * For how many seconds the answer shall wait wrapped; undefined when it is not to be. What cannot be done is refused
 * and never ignored: that would hand out in the clear what was to be wrapped.
 */
export function readWrapTtl(req: IncomingMessage): number | undefined {
  const asked = header(req, 'x-vault-wrap-ttl')
  const seconds = asked === undefined ? undefined : wrapTtlOf(asked)
  if (seconds !== undefined && header(req, 'x-vault-wrap-format')?.trim().toLowerCase() === 'jwt') {
    throw refuse('X-Vault-Wrap-Format: jwt is not supported; leave the header out')
  }
  return seconds
}

/** The same of the header's text. */
export function wrapTtlOf(asked: string): number | undefined {
  const seconds = parseDuration(asked)
  if (seconds === undefined) throw unusable('not a duration')
  if (seconds === 0 && /[1-9]/.test(asked)) throw unusable('shorter than a second')
  if (seconds > SYSTEM_MAX_TTL_SECONDS) {
    throw unusable(`longer than ${formatDuration(SYSTEM_MAX_TTL_SECONDS)}`)
  }
  return seconds === 0 ? undefined : seconds
}

const unusable = (why: string) => refuse(`error parsing X-Vault-Wrap-TTL header: ${why}`)

/** There is one namespace, the root. Another one is refused, not ignored: its caller would act on the wrong one. */
export function checkNamespace(req: IncomingMessage, res: ServerResponse): void {
  const asked = header(req, 'x-vault-namespace')
  if (asked === undefined) return
  const name = asked.replace(/^\/+|\/+$/g, '')
  if (name !== '' && name !== 'root') throw new BrokerError('not_found', 'namespace not found')
  res.setHeader('X-Vault-Namespace', asked)
}

/** The client token: `X-Vault-Token` wins over `Authorization: Bearer`, whose prefix is case-sensitive. */
export function readToken(req: IncomingMessage): string | undefined {
  const token = header(req, 'x-vault-token')?.trim()
  if (token) return token
  const authorization = req.headers.authorization
  if (!authorization?.startsWith('Bearer ')) return undefined
  return authorization.slice('Bearer '.length).trim() || undefined
}

export function readIdempotencyKey(req: IncomingMessage): string | undefined {
  const key = header(req, 'leasehold-idempotency-key')
  if (key === undefined) return undefined
  if (!/^[\x20-\x7e]{1,128}$/.test(key)) {
    throw refuse('Leasehold-Idempotency-Key must be 1 to 128 printable characters')
  }
  return key
}

/** The caller's own name for its request; undefined when it is not one to be put into a log. */
export function readRequestId(req: IncomingMessage): string | undefined {
  const id = header(req, 'x-request-id')
  return id !== undefined && /^[\w.:-]{1,64}$/.test(id) && id.search(TOKEN_LIKE) < 0 ? id : undefined
}

/** Where the caller's own trace stands, unchecked. */
export const readTraceparent = (req: IncomingMessage): string | undefined => header(req, 'traceparent')

/** The caller's address; an IPv4 one in plain form. Forwarding headers are not believed. */
export const sourceOf = (req: IncomingMessage): string =>
  (req.socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/, '')

export const isTls = (req: IncomingMessage): boolean => 'encrypted' in req.socket
