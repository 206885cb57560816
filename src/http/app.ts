import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import express, { type Express } from 'express'
import { type Audited, aJob, onBehalfOf } from '../audit/request.ts'
import { BrokerError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { sensitive } from '../lib/sensitive.ts'
import type { Serving, TraceServing } from '../lib/trace.ts'
import { type AccessParts, allow, capturing, type Found, find, type Request } from './access.ts'
import { readParameters } from './body.ts'
import { type Delivery, deliver, newDelivery } from './delivery.ts'
import type { Console, Entrance, HttpRequest } from './entrance.ts'
import { asMultierror, errorReply, errorsReply, type WireReply, wireReply } from './envelope.ts'
import { decode, fieldWarnings } from './fields.ts'
import {
  checkNamespace,
  isTls,
  readIdempotencyKey,
  readRequestId,
  readToken,
  readTraceparent,
  readWrapTtl,
  sourceOf,
} from './headers.ts'
import { countUnproven, type Limits, provesItself, proveWithinRate, runLimited } from './limits.ts'
import { policyFace } from './policy-face.ts'
import type { Operation } from './ports.ts'
import { type AuditPort, auditedRequest, recordOutcome } from './request-audited.ts'
import { readOperation, readTarget, refuseWriteToFolder, type Target } from './request-line.ts'
import { type RequestSeen, seenOf } from './request-seen.ts'
import { tellServed } from './request-traced.ts'
import type { Answer } from './route.ts'
import { toldPath, toldUrl } from './told-path.ts'
import { type AnswerWrapping, wrapped } from './wrapped.ts'

const DEADLINE_MS = 90_000

export type AppParts = AccessParts & {
  log: Logger
  wrapping: AnswerWrapping
  limits: Limits
  audit: AuditPort
  /** Hears of each request when it has been answered; must neither wait nor throw. */
  record?: (seen: RequestSeen) => void
  serving?: TraceServing
  /** The operators' pages, beside `/v1/`. */
  console?: Console
  /** How long a handler may take before its caller is told to give up. */
  deadlineMs?: number
}

export type Api = {
  app: Express
  /** Resolves when no request is in hand and every answer that was not delivered has been undone. */
  settled(): Promise<void>
}

/** The Vault dialect as an Express app: everything under `/v1/`, the console, and 404 for everything else. */
export function createApi(parts: AppParts): Api {
  const app = express()
  const inHand = new Set<Promise<void>>()
  app.disable('x-powered-by')
  app.use((req, res) => {
    const enter = (entrance?: Entrance) =>
      traced(parts, req, (trace) => serve(parts, req, res, trace, entrance))
    const page = parts.console?.takes(req.originalUrl) ? parts.console : undefined
    const serving: Promise<void> = (page ? page.serve(req, res, enter) : enter())
      .catch((error) => {
        parts.log.error({ err: error }, 'a request could not be answered')
        res.destroy()
      })
      .finally(() => inHand.delete(serving))
    inHand.add(serving)
  })
  return {
    app,
    settled: async () => {
      while (inHand.size > 0) await Promise.all(inHand)
    },
  }
}

const traced = ({ serving }: AppParts, req: HttpRequest, work: (trace?: Serving) => Promise<void>) =>
  serving ? serving(readTraceparent(req), work) : work()

async function serve(
  parts: AppParts,
  req: HttpRequest,
  res: ServerResponse,
  trace: Serving | undefined,
  entrance?: Entrance,
): Promise<void> {
  const startedAt = performance.now()
  const request: Request = {
    id: randomUUID(),
    clientRequestId: readRequestId(req),
    source: sourceOf(req),
    token: entrance ? entrance.token : readToken(req),
    tls: isTls(req),
  }
  const log = parts.log.child({
    request_id: request.id,
    client_request_id: request.clientRequestId,
    trace_id: trace?.traceId,
  })
  const delivery = newDelivery((error) => log.error({ err: error }, 'an undelivered answer was not undone'))
  res.setHeader('Leasehold-Request-Id', request.id)
  if (request.clientRequestId !== undefined) res.setHeader('X-Request-Id', request.clientRequestId)
  const audited = auditedRequest(request, parts.audit.hash)
  const { reply: made, answered } = await onRecord({ ...parts, log }, request, audited, async () => {
    const reply = await answer({ ...parts, ...entrance?.reaches?.(parts) }, req, res, request, {
      delivery,
      audited,
      entrance,
    })
    return entrance?.finish?.(reply, request) ?? reply
  })
  const reply = entrance?.told?.(made, request) ?? made
  const delivered = await deliver(res, reply, delivery)
  const tookMs = performance.now() - startedAt
  parts.record?.(seenOf(request, reply.status, tookMs))
  if (trace) tellServed(trace, request, req, reply.status)
  log.info(
    {
      method: req.method,
      path: toldUrl(req.originalUrl),
      status: reply.status,
      ms: Math.round(tookMs * 10) / 10,
      accessor: request.principal?.accessor,
      ...(!delivered && { delivered }),
    },
    'request',
  )
  // The answer to a HEAD has no body: what it would have carried is lost too.
  if (!answered || !delivered || req.method === 'HEAD') {
    await onBehalfOf(undoing(request), () => delivery.undo())
  }
  // Not before: a handler that outlived its deadline may have changed something until now.
  audited.closed = true
}

/**
 * Answers, and has it on record before anybody hears of it. What cannot be put on record is refused, and so undone;
 * a refusal stays what it was.
 */
async function onRecord(
  { audit, log }: Pick<AppParts, 'audit' | 'log'>,
  request: Request,
  audited: Audited,
  work: () => Promise<WireReply>,
): Promise<{ reply: WireReply; answered: boolean }> {
  const refused = (error: unknown): { reply: WireReply; answered: boolean } => {
    if (!(error instanceof BrokerError)) log.error({ err: error }, 'request failed')
    const proven = request.principal !== undefined
    return { reply: errorReply(error, { requestId: request.id, proven }), answered: false }
  }
  try {
    const reply = await onBehalfOf(audited, work)
    await recordOutcome(audit, request, audited, { status: reply.status })
    return { reply, answered: true }
  } catch (error) {
    const answer = refused(error)
    await recordOutcome(audit, request, audited, { status: answer.reply.status, error }).catch((reason) =>
      log.error({ err: reason }, 'a refusal could not be put on record'),
    )
    return answer
  }
}

/** What nobody received is ended, and that is on record too. */
const undoing = ({ id, source, found }: Request) =>
  aJob(() => ({
    type: 'system',
    request_id: id,
    who: { source_address: source },
    what: { operation: 'undo_undelivered', path: found && toldPath(found.path) },
    outcome: {},
  }))

/** Every check a request passes, in order. Whatever one throws is the answer. */
async function answer(
  parts: AppParts,
  req: HttpRequest,
  res: ServerResponse,
  request: Request,
  { delivery, audited, entrance }: { delivery: Delivery; audited: Audited; entrance: Entrance | undefined },
): Promise<WireReply> {
  if (req.method === 'OPTIONS') return allowedMethods(res)
  const target = readTarget(entrance?.url ?? req.originalUrl)
  if (!target) return errorsReply(404, [])
  const operation = readOperation(req.method ?? '', target.query)
  request.operation = operation
  const { parameters, wrapping } = await read(req, res, operation, target, entrance).catch(async (error) => {
    // For the record alone: what was sent to a login is an attempt to log in, whether or not it could be read.
    await find(parts, request, target, operation).then(
      (found) => Object.assign(request, { found }),
      () => {},
    )
    const endpoint = request.found?.endpoint
    if (endpoint && provesItself(endpoint)) await countUnproven(parts, request)
    throw error
  })
  Object.assign(request, { parameters, ...wrapping })
  const found = await find(parts, request, target, operation)
  request.found = found
  await proveWithinRate(parts, request, found, parameters)
  await allow(parts, request, found, parameters)
  const { mount, endpoint, captures } = mustExist(found)
  if (target.query.get('help')) return helpReply(found)
  const fields = decode(endpoint.fields, parameters)
  const warnings = endpoint.anyFields ? [] : fieldWarnings(endpoint.fields, parameters, captures)
  const idempotencyKey = readIdempotencyKey(req)
  const reading = (await request.identified)?.reading
  const run = (signal: AbortSignal) =>
    endpoint.run({
      requestId: request.id,
      operation,
      mount,
      path: found.path,
      fields,
      parameters,
      capture: capturing(captures),
      source: request.source,
      signal,
      onUndelivered: delivery.onUndelivered,
      ...(request.token !== undefined && { token: sensitive(request.token) }),
      ...(request.principal && { principal: request.principal }),
      ...(reading && { reading }),
      ...(request.decision && { decision: request.decision }),
      accept: req.headers.accept ?? '',
      policy: policyFace(parts, request),
      ...(idempotencyKey !== undefined && { idempotencyKey }),
      ...wrapping,
    })
  const reply = await withinDeadline(parts.deadlineMs ?? DEADLINE_MS, delivery, (signal) =>
    runLimited(parts, request, found, parameters, () => run(signal)),
  )
  const wire = wireReply(reply, { requestId: request.id, operation, mountType: mount.type, warnings })
  return wrapped(parts.wrapping, { wire, reply, request, found, delivery, audited })
}

function allowedMethods(res: ServerResponse): WireReply {
  res.setHeader('Allow', 'GET, HEAD, LIST, POST, PUT, PATCH, DELETE, OPTIONS')
  return { status: 204 }
}

/** What was sent, as far as that can be judged without knowing what it is for. */
async function read(
  req: HttpRequest,
  res: ServerResponse,
  operation: Operation,
  target: Target,
  entrance: Entrance | undefined,
) {
  const parameters = entrance?.parameters ?? (await readParameters(req, operation, target.query))
  const wrapTtlSeconds = readWrapTtl(req)
  checkNamespace(req, res)
  refuseWriteToFolder(operation, target)
  return { parameters, wrapping: wrapTtlSeconds === undefined ? {} : { wrapTtlSeconds } }
}

function mustExist({ path, mount, route, endpoint, captures }: Found) {
  if (!mount) {
    throw new BrokerError('not_found', `no handler for route "${path}". route entry not found.`)
  }
  if (!route) throw new BrokerError('not_found', asMultierror('unsupported path'))
  if (!endpoint) throw new BrokerError('unsupported_operation', asMultierror('unsupported operation'))
  return { mount, endpoint, captures }
}

function helpReply({ path, route }: Found): WireReply {
  const help = `${path}: ${Object.keys(route?.on ?? {}).join(', ')}`
  const body = JSON.stringify({ help, see_also: [], openapi: null })
  return { status: 200, type: 'application/json', body }
}

/** Runs the handler. One that outlives its deadline goes on unheard; what it answers counts as not delivered. */
async function withinDeadline(
  deadlineMs: number,
  delivery: Delivery,
  run: (signal: AbortSignal) => Promise<Answer>,
): Promise<Answer> {
  const deadline = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new BrokerError('target_failed', `no answer within ${deadlineMs / 1_000} s`))
      deadline.abort()
    }, deadlineMs)
  })
  const running = run(deadline.signal)
  delivery.handledBy(running)
  try {
    return await Promise.race([running, late])
  } finally {
    clearTimeout(timer)
  }
}
