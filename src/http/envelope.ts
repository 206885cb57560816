import type { ServerResponse } from 'node:http'
import { BrokerError, type ErrorDetails, httpStatus } from '../lib/errors.ts'

/** The `auth` object of a login or a token's creation or renewal, under its wire names. */
export type Auth = Readonly<Record<string, unknown>>

/** What a handler answers. Secrets must have been revealed by it: what is still `Sensitive` prints a placeholder. */
export type Reply = {
  /** 200 unless said. 202 without anything else has no body. */
  status?: number
  data?: Readonly<Record<string, unknown>> | null
  lease?: { id: string; renewable: boolean; durationSeconds: number }
  auth?: Auth
  warnings?: readonly string[]
  /** Our own top-level key beside the dialect's. */
  leasehold?: Readonly<Record<string, unknown>>
  /** Repeats the keys of `data` at the top level, as `sys/mounts`, `sys/policy` and `sys/capabilities` do. */
  injected?: true
  /** The whole body, without an envelope: `sys/health` and its like. */
  bare?: Readonly<Record<string, unknown>>
  /** Of `bare`: its texts are in English, and the answer says so. */
  inEnglish?: true
  /** A body that is not JSON: metrics in text form. */
  text?: { type: string; body: string }
  /** The whole body of another answer, as it was. */
  verbatim?: string
  /** Of `verbatim`: whose room it took while it waited, and takes again where it is to wait again. */
  keptFor?: string
  /** Why this is a refusal, where the dialect has an empty answer for one: counts as a login that failed. */
  refusal?: unknown
  /** Where the answer itself waits: `data` and `auth` are with it. */
  wrapInfo?: Readonly<Record<string, unknown>>
}

/** What goes on the wire. No body means no body; the type is still said. */
export type WireReply = {
  status: number
  body?: string
  type?: string
  language?: string
  retryAfterSeconds?: number
  /** Takes the answer over in place of a body, and goes on writing to it. */
  stream?: (res: ServerResponse) => void
}

const JSON_TYPE = 'application/json'

export const jsonReply = (status: number, body: unknown): WireReply => ({
  status,
  body: `${JSON.stringify(body)}\n`,
  type: JSON_TYPE,
})

export const errorsReply = (
  status: number,
  texts: readonly string[],
  { data, retryAfterSeconds }: ErrorDetails = {},
): WireReply => ({
  ...jsonReply(status, { errors: texts, ...(data && { data }) }),
  ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
})

const NOTHING_FOUND = errorsReply(404, [])

export function wireReply(
  reply: Reply | undefined,
  context: { requestId: string; operation: string; mountType: string; warnings: readonly string[] },
): WireReply {
  const asking = context.operation === 'read' || context.operation === 'list'
  if (!reply) return asking ? NOTHING_FOUND : { status: 204 }
  const status = reply.status ?? 200
  if (status === 204) return { status }
  if (reply.text) return { status, body: reply.text.body, type: reply.text.type }
  if (reply.bare) return { ...jsonReply(status, reply.bare), ...(reply.inEnglish && { language: 'en' }) }
  if (reply.verbatim !== undefined) return { status, body: reply.verbatim, type: JSON_TYPE }
  if (context.operation === 'list' && isEmptyList(reply)) return NOTHING_FOUND
  if (status === 202 && !reply.data && !reply.warnings) return { status, type: JSON_TYPE }
  return jsonReply(status, envelope(reply, context))
}

/** A list of no keys is "not found", unless the answer has something else to say. */
function isEmptyList({ data, warnings }: Reply): boolean {
  if (warnings && warnings.length > 0) return false
  return Object.values(data ?? {}).every((value) => Object.keys(value ?? {}).length === 0)
}

function envelope(
  reply: Reply,
  context: { requestId: string; mountType: string; warnings: readonly string[] },
): Record<string, unknown> {
  const warnings = [...(reply.warnings ?? []), ...context.warnings]
  return {
    ...(reply.injected && reply.data),
    // Whoever opens what is wrapped finds the request's id in it.
    request_id: reply.wrapInfo ? '' : context.requestId,
    lease_id: reply.lease?.id ?? '',
    renewable: reply.lease?.renewable ?? false,
    lease_duration: Math.trunc(reply.lease?.durationSeconds ?? 0),
    data: reply.data ?? null,
    wrap_info: reply.wrapInfo ?? null,
    warnings: warnings.length > 0 ? warnings : null,
    auth: reply.auth ?? null,
    mount_type: context.mountType,
    ...(reply.leasehold && { leasehold: reply.leasehold }),
  }
}

/** Go's multierror form, in which the dialect shows refusals by policy and failures inside a backend. */
export const asMultierror = (...texts: string[]): string =>
  `${texts.length} error${texts.length === 1 ? '' : 's'} occurred:\n${texts.map((text) => `\t* ${text}\n`).join('')}\n`

/** Agents log in again on a 403 that contains "invalid token", so only a bad token may say it. */
export const BAD_TOKEN = asMultierror('permission denied', 'invalid token')

const IN_MULTIERROR = /^permission denied$|: lease count quota exceeded$/

/** An error as a reply. `proven`: the caller had a good token; login paths are never in multierror form. */
export function errorReply(error: unknown, { requestId, proven }: { requestId: string; proven: boolean }) {
  if (!(error instanceof BrokerError)) {
    return errorsReply(500, [`internal error, logged under request id ${requestId}`])
  }
  if (error.message === '') return errorsReply(httpStatus(error), [])
  const wrapped = proven && (error.code === 'target_failed' || IN_MULTIERROR.test(error.message))
  return errorsReply(
    httpStatus(error),
    [wrapped ? asMultierror(error.message) : error.message],
    error.details,
  )
}

/** Hands the reply to the connection. `res.end` is called exactly here. */
export function send(res: ServerResponse, reply: WireReply): void {
  res.statusCode = reply.status
  res.setHeader('Cache-Control', 'no-store')
  if (reply.stream) return void reply.stream(res)
  // Set by hand: Express would add a charset, and clients compare the whole value.
  if (reply.type !== undefined) res.setHeader('Content-Type', reply.type)
  if (reply.language !== undefined) res.setHeader('Content-Language', reply.language)
  if (reply.retryAfterSeconds !== undefined) res.setHeader('Retry-After', String(reply.retryAfterSeconds))
  if (reply.body === undefined || reply.status === 204) return void res.end()
  res.setHeader('Content-Length', Buffer.byteLength(reply.body))
  // As a string, so that Node sends it together with the head in one write.
  res.end(reply.body)
}
