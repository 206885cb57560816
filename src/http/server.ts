import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Logger } from '../lib/log.ts'
import { acceptListVerb } from './list-verb.ts'
import { watchTraffic } from './traffic.ts'

/** PEM texts. With `clientCa`, only clients with a certificate it signed get in. */
export type Tls = { cert: string; key: string; clientCa?: string }

export type Listening = {
  url: string
  port: number
  /** Takes no more connections, finishes the requests in hand for at most `graceMs`, then closes the rest. */
  close(graceMs?: number): Promise<void>
}

/** A token in a header may be a whole JWT with many groups. */
const HEAD_LIMIT_BYTES = 32 * 1024
/** For a request's head and for all of it: a client that trickles bytes holds a connection this long at most. */
const HEAD_TIMEOUT_MS = 20_000
const REQUEST_TIMEOUT_MS = 60_000
/** Longer than load balancers keep theirs (60 s mostly), or they would send a request into our closing. */
const KEEP_ALIVE_MS = 75_000
const HANDSHAKE_TIMEOUT_MS = 10_000
const TIMEOUT_CHECK_MS = 5_000
const CLOSE_GRACE_MS = 30_000

/** Serves `app` over HTTP/1.1, or HTTPS with `tls`, with the LIST verb. Port 0 takes a free one. */
export async function listen(
  { host, port, tls }: { host: string; port: number; tls?: Tls | undefined },
  app: RequestListener,
  log: Logger,
): Promise<Listening> {
  const server = newServer(tls)
  acceptListVerb(server)
  const traffic = watchTraffic(server)
  server.on('clientError', (error: ParseError, socket: Socket) => refuse(error, socket, traffic.busy(socket)))
  server.on('request', app)
  await bind(server, host, port)
  server.on('error', (error) => log.error({ err: error }, 'the listening socket failed'))
  const bound = (server.address() as AddressInfo).port
  const shown = host.includes(':') ? `[${host}]` : host
  return {
    url: `${tls ? 'https' : 'http'}://${shown}:${bound}`,
    port: bound,
    close: async (graceMs = CLOSE_GRACE_MS) => {
      const closed = new Promise((resolve) => server.close(resolve))
      await traffic.drain(graceMs)
      await closed
    },
  }
}

function newServer(tls: Tls | undefined): Server {
  const options = {
    maxHeaderSize: HEAD_LIMIT_BYTES,
    headersTimeout: HEAD_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
  }
  if (!tls) return createServer(options)
  const { cert, key, clientCa } = tls
  return createTlsServer({
    ...options,
    cert,
    key,
    minVersion: 'TLSv1.2',
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    ...(clientCa && { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
  })
}

function bind(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EADDRINUSE' ? 'is in use' : `cannot be listened on (${error.code})`
      reject(new Error(`${host}:${port} ${reason}; LEASEHOLD_LISTEN names another`, { cause: error }))
    })
    server.listen(port, host, () => {
      server.removeAllListeners('error')
      resolve()
    })
  })
}

type ParseError = Error & { code?: string }

const STATUS_OF_PARSE_ERROR: Readonly<Record<string, string>> = {
  HPE_INVALID_METHOD: '405 Method Not Allowed',
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Payload Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

/** Answers what the parser could not read. Not while an answer is due: the client would take ours for it. */
function refuse(error: ParseError, socket: Socket, busy: boolean): void {
  if (busy || !socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
  const status = STATUS_OF_PARSE_ERROR[error.code ?? ''] ?? '400 Bad Request'
  const body = '{"errors":[]}\n'
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n` +
      `Content-Length: ${body.length}\r\nDate: ${new Date().toUTCString()}\r\nConnection: close\r\n\r\n${body}`,
  )
}
