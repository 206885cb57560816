import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import express, { type Express } from 'express'
import { BrokerError } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { sensitive } from '../lib/sensitive.ts'
import { readParameters } from './body.ts'
import { type Delivery, deliver, newDelivery } from './delivery.ts'
import { asMultierror, BAD_TOKEN, errorReply, errorsReply, type WireReply, wireReply } from './envelope.ts'
import { decode, fieldWarnings } from './fields.ts'
import { checkNamespace, readIdempotencyKey, readToken, refuseWrapping, sourceOf } from './headers.ts'
import type { Ask, Identified, Mount, Operation, Parameters, Principal, Reading } from './ports.ts'
import { readOperation, readTarget, type Target } from './request-line.ts'
import { type Answer, type Captures, type Endpoint, matchRoute, type Route } from './route.ts'

const DEADLINE_MS = 90_000

export type AppParts = {
  log: Logger
  /** Reads the ledger for a request, and whose token it carries, if it carries one. */
  identify(token: string | undefined): Promise<Identified>
  /** Returns when policy lets this be; throws a `BrokerError` 'permission_denied' when not. */
  authorize(ask: Ask): Promise<void>
  /** The live mount that `path` lies in. Not asked about `sys/`. */
  findMount(path: string, reading: Reading): Promise<Mount | undefined>
  /** The table of a mount type; `system` is `sys/`. Empty for a type without one. */
  routesOf(mountType: string): readonly Route[]
  /** How long a handler may take before its caller is told to give up. */
  deadlineMs?: number
}

const SYSTEM: Mount = { id: 'sys', path: 'sys/', type: 'system', description: '', config: {}, options: null }

/** What is known of a request so far; each check adds to it, and the log line and the error reply read it. */
type Request = {
  id: string
  source: string
  token: string | undefined
  /** Asked for when first needed: what needs neither token nor mount, such as health, needs no ledger. */
  identified?: Promise<Identified>
  principal?: Principal
}

export type Api = {
  app: Express
  /** Resolves when no request is in hand and every answer that was not delivered has been undone. */
  settled(): Promise<void>
}

/** The Vault dialect as an Express app: everything under `/v1/`, and 404 for everything else. */
export function createApi(parts: AppParts): Api {
  const app = express()
  const inHand = new Set<Promise<void>>()
  app.disable('x-powered-by')
  app.use((req, res) => {
    const serving: Promise<void> = serve(parts, req, res)
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

type HttpRequest = IncomingMessage & { originalUrl: string }

async function serve(parts: AppParts, req: HttpRequest, res: ServerResponse): Promise<void> {
  const startedAt = performance.now()
  const request: Request = { id: randomUUID(), source: sourceOf(req), token: readToken(req) }
  const log = parts.log.child({ request_id: request.id })
  const delivery = newDelivery((error) => log.error({ err: error }, 'an undelivered answer was not undone'))
  res.setHeader('Leasehold-Request-Id', request.id)
  let reply: WireReply
  let answered = true
  try {
    reply = await answer(parts, req, res, request, delivery)
  } catch (error) {
    answered = false
    if (!(error instanceof BrokerError)) log.error({ err: error }, 'request failed')
    reply = errorReply(error, { requestId: request.id, proven: request.principal !== undefined })
  }
  const delivered = await deliver(res, reply, delivery)
  log.info(
    {
      method: req.method,
      path: loggedPath(req.originalUrl),
      status: reply.status,
      ms: Math.round((performance.now() - startedAt) * 10) / 10,
      accessor: request.principal?.accessor,
      ...(!delivered && { delivered }),
    },
    'request',
  )
  // The answer to a HEAD has no body: what it would have carried is lost too.
  if (!answered || !delivered || req.method === 'HEAD') await delivery.undo()
}

/** Every check a request passes, in order. Whatever one throws is the answer. */
async function answer(
  parts: AppParts,
  req: HttpRequest,
  res: ServerResponse,
  request: Request,
  delivery: Delivery,
): Promise<WireReply> {
  if (req.method === 'OPTIONS') return allowedMethods(res)
  const target = readTarget(req.originalUrl)
  if (!target) return errorsReply(404, [])
  const operation = readOperation(req.method ?? '', target.query)
  const parameters = await readParameters(req, operation, target.query)
  refuseWrapping(req)
  checkNamespace(req, res)
  refuseWriteToFolder(operation, target)
  const found = await find(parts, request, target, operation)
  await prove(parts, request, found.endpoint)
  await allow(parts, request, found, parameters)
  const { mount, endpoint, captures } = mustExist(found)
  if (target.query.get('help')) return helpReply(found)
  const fields = decode(endpoint.fields, parameters)
  const warnings = fieldWarnings(endpoint.fields, parameters, captures)
  const idempotencyKey = readIdempotencyKey(req)
  const reading = (await request.identified)?.reading
  const reply = await withinDeadline(parts.deadlineMs ?? DEADLINE_MS, delivery, (signal) =>
    endpoint.run({
      requestId: request.id,
      operation,
      mount,
      path: found.path,
      fields,
      parameters,
      capture: (name) => captureOf(captures, name),
      source: request.source,
      signal,
      onUndelivered: delivery.onUndelivered,
      ...(request.token !== undefined && { token: sensitive(request.token) }),
      ...(request.principal && { principal: request.principal }),
      ...(reading && { reading }),
      ...(idempotencyKey !== undefined && { idempotencyKey }),
    }),
  )
  return wireReply(reply, { requestId: request.id, operation, mountType: mount.type, warnings })
}

function allowedMethods(res: ServerResponse): WireReply {
  res.setHeader('Allow', 'GET, HEAD, LIST, POST, PUT, PATCH, DELETE, OPTIONS')
  return { status: 204 }
}

function refuseWriteToFolder(operation: Operation, target: Target): void {
  if (target.endsInSlash && (operation === 'update' || operation === 'patch')) {
    throw new BrokerError('invalid_request', "cannot write to a path ending in '/'")
  }
}

type Found = {
  operation: Operation
  /** The path as policy judges it and handlers see it. */
  path: string
  mount: Mount | undefined
  route: Route | undefined
  endpoint: Endpoint | undefined
  captures: Captures
}

/** Looks up what the request means, and says nothing yet about what is missing: that is for callers with rights. */
async function find(parts: AppParts, request: Request, target: Target, operation: Operation): Promise<Found> {
  const inSystem = `${target.path}/`.startsWith(SYSTEM.path)
  const mount = inSystem
    ? SYSTEM
    : await parts.findMount(target.path, (await identified(parts, request)).reading)
  const rest = mount ? target.path.slice(mount.path.length) : ''
  const match = mount && matchRoute(parts.routesOf(mount.type), rest)
  return {
    operation,
    path: operation === 'list' ? `${target.path}/` : target.path,
    mount,
    route: match?.route,
    endpoint: match?.route.on[operation],
    captures: match?.captures ?? {},
  }
}

const identified = (parts: AppParts, request: Request): Promise<Identified> =>
  (request.identified ??= parts.identify(request.token))

const badToken = () => new BrokerError('permission_denied', BAD_TOKEN)

async function prove(parts: AppParts, request: Request, endpoint: Endpoint | undefined): Promise<void> {
  const proof = endpoint?.proof ?? 'token'
  if (proof === 'none' || (proof === 'optional' && request.token === undefined)) return
  if (request.token === undefined) throw badToken()
  const { prove } = await identified(parts, request)
  request.principal = await prove(request.source).catch((error) => {
    throw error instanceof BrokerError && error.code === 'permission_denied' ? badToken() : error
  })
}

/** Policy comes before any 404 or 405, so that no one learns what exists where they have no rights. */
async function allow(parts: AppParts, request: Request, found: Found, parameters: Parameters): Promise<void> {
  if (found.endpoint && found.endpoint.proof !== 'token') return
  if (!request.principal) throw badToken()
  await parts.authorize({
    principal: request.principal,
    operation: found.operation,
    path: found.path,
    sudo: found.endpoint?.sudo ?? false,
    parameters,
    source: request.source,
  })
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

function captureOf(captures: Captures, name: string): string {
  const value = captures[name]
  if (value === undefined) throw new Error(`the route captures nothing under ${name}`)
  return value
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

const TOKEN_LIKE = /\b(lh|hvs|hvb|s|b)\.[\w-]{8,}/g

/** The path without its query, cut, and without tokens: old clients put them there. */
const loggedPath = (url: string): string =>
  (url.split('?', 1)[0] ?? '').slice(0, 512).replace(TOKEN_LIKE, '[token]')
