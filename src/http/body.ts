import type { IncomingMessage } from 'node:http'
import { BrokerError } from '../lib/errors.ts'
import { isObject } from './fields.ts'
import type { Operation, Parameters } from './ports.ts'
import { queryParameters } from './request-line.ts'

const BODY_LIMIT_BYTES = 1024 * 1024
/** Deeper than any document of ours; far above it, code that walks a value would run out of stack. */
const DEPTH_LIMIT = 32

/** The request's fields: from the body for a write, from the query for everything else. */
export async function readParameters(
  req: IncomingMessage,
  operation: Operation,
  query: URLSearchParams,
): Promise<Parameters> {
  if (operation === 'patch') requirePatchType(req)
  const writing = operation === 'update' || operation === 'patch'
  const parameters = writing ? parseBody(await readBody(req), req) : queryParameters(query)
  checkStorable(parameters)
  return parameters
}

function requirePatchType(req: IncomingMessage): void {
  if (mediaType(req) !== 'application/merge-patch+json') {
    const text = 'PATCH requires the content type application/merge-patch+json'
    throw new BrokerError('unsupported_media_type', text)
  }
}

const mediaType = (req: IncomingMessage): string =>
  (req.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''

const tooLarge = () =>
  new BrokerError('body_too_large', `the request body is larger than ${BODY_LIMIT_BYTES} bytes`)

/** Reads at most the limit. What is left of a larger body Node reads and drops once we have answered. */
async function readBody(req: IncomingMessage): Promise<string> {
  if (Number(req.headers['content-length'] ?? 0) > BODY_LIMIT_BYTES) throw tooLarge()
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= BODY_LIMIT_BYTES) return void chunks.push(chunk)
      req.removeAllListeners('data')
      reject(tooLarge())
      req.resume()
    })
    req.once('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
    // The connection ended in mid-body; nobody will read the answer.
    req.once('error', () => reject(new BrokerError('invalid_request', 'the request body was cut off')))
  })
}

/** A Security Event Token, which is all of its body. */
const SET_TYPE = 'application/secevent+jwt'

/** JSON whatever the content type says, but for what is plainly something else. No body means no fields. */
function parseBody(body: string, req: IncomingMessage): Record<string, unknown> {
  const start = body.trimStart()
  if (start === '') return {}
  if (mediaType(req) === SET_TYPE) return { set: start.trimEnd() }
  if (mediaType(req) === 'application/x-www-form-urlencoded' && !/^[{[]/.test(start)) {
    return queryParameters(new URLSearchParams(body))
  }
  const value = parseJson(body)
  if (value === null) return {}
  if (!isObject(value)) {
    throw new BrokerError('invalid_request', 'failed to parse JSON input: expected an object')
  }
  return value
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    // The parser's own message repeats a piece of the input, which may be a secret.
    throw new BrokerError('invalid_request', 'failed to parse JSON input: not valid JSON')
  }
}

/** NUL and halves of surrogate pairs, which PostgreSQL cannot store. */
const UNSTORABLE = /[\0\p{Surrogate}]/u

/** Refuses what no part of us could keep, and takes the sting out of `__proto__`. Walks without recursion. */
function checkStorable(parameters: object): void {
  const waiting: { name: string; value: unknown; depth: number }[] = [
    { name: '', value: parameters, depth: 0 },
  ]
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { name, value, depth } = next
    checkText(name, value)
    if (typeof value !== 'object' || value === null) continue
    if (depth > DEPTH_LIMIT) throw refuse(name, 'is nested too deeply')
    // JSON.parse makes it an ordinary key; code that copies objects might not.
    if (Object.hasOwn(value, '__proto__')) Reflect.deleteProperty(value, '__proto__')
    for (const [key, inner] of Object.entries(value)) {
      checkText(name, key)
      waiting.push({ name: name || key, value: inner, depth: depth + 1 })
    }
  }
}

function checkText(name: string, value: unknown): void {
  if (typeof value === 'string' && UNSTORABLE.test(value)) throw refuse(name, 'holds unstorable characters')
}

const refuse = (name: string, what: string) =>
  new BrokerError('invalid_request', `Field validation failed: field "${name}" ${what}`)
