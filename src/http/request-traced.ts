import type { IncomingMessage } from 'node:http'
import type { Facts, Serving } from '../lib/trace.ts'
import type { Request } from './access.ts'

/** Those OpenTelemetry knows by name; any other is `_OTHER`, with its own name beside it. */
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'CONNECT']

/**
 * Tells the trace what a request was, in the words of OpenTelemetry's conventions for HTTP servers. By its route: the
 * path itself may hold a token, and a query any secret.
 */
export function tellServed(serving: Serving, request: Request, req: IncomingMessage, status: number): void {
  serving.answered(
    spanName(request, req),
    {
      ...methodOf(req),
      ...routeOf(request),
      'url.scheme': request.tls ? 'https' : 'http',
      'network.protocol.version': req.httpVersion,
      'client.address': request.source,
      'http.response.status_code': status,
      'leasehold.request_id': request.id,
      'leasehold.operation': request.operation ?? 'none',
      'leasehold.mount_type': request.found?.mount?.type ?? 'none',
      ...(request.clientRequestId !== undefined && {
        'leasehold.client_request_id': request.clientRequestId,
      }),
    },
    status >= 500 ? String(status) : undefined,
  )
}

/** `read database/creds/:name`: the operation, the mount's type and the route in it. */
function spanName({ operation, found }: Request, req: IncomingMessage): string {
  if (operation === undefined) return knownMethod(req) ? (req.method ?? 'HTTP') : 'HTTP'
  const place = [found?.mount?.type, found?.route?.path].filter((part) => part !== undefined)
  return [operation, place.join('/')].join(' ').trim()
}

const knownMethod = ({ method = '' }: IncomingMessage): boolean => METHODS.includes(method)

const methodOf = (req: IncomingMessage): Facts =>
  knownMethod(req)
    ? { 'http.request.method': req.method ?? '' }
    : { 'http.request.method': '_OTHER', 'http.request.method_original': req.method ?? '' }

const routeOf = ({ found }: Request): Facts =>
  found?.mount && found.route ? { 'http.route': `/v1/${found.mount.path}${found.route.path}` } : {}
