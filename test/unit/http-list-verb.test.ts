import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { listSwapper } from '../../src/http/list-swapper.ts'
import { acceptListVerb } from '../../src/http/list-verb.ts'
import { newAuthority } from '../support/certificates.ts'
import { dial, exchange, statuses } from '../support/wire.ts'

type Seen = { method: string; url: string; body: string; address?: string | undefined }

/** Answers every request with nothing and keeps what it was. */
function recorder(server: Server): Seen[] {
  const seen: Seen[] = []
  server.on('request', (req, res) => {
    let body = ''
    req.setEncoding('latin1').on('data', (text: string) => {
      body += text
    })
    req.on('end', () => {
      const { method = '', url = '' } = req
      seen.push({ method, url, body, address: req.socket.remoteAddress })
      res.end()
    })
  })
  acceptListVerb(server)
  return seen
}

async function onSocket(
  use: (port: number, seen: Seen[], server: Server) => Promise<void>,
  server = createServer(),
) {
  const seen = recorder(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    await use((server.address() as AddressInfo).port, seen, server)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

const asked = (seen: Seen[]) => seen.map(({ method, url }) => `${method} ${url}`)
const HOST = 'Host: localhost\r\n'
const LAST = `${HOST}Connection: close\r\n\r\n`

test('LIST arrives as LIST, path and query untouched', () =>
  onSocket(async (port, seen) => {
    const heard = await exchange(await dial(port), `LIST /v1/database/roles?after=a HTTP/1.1\r\n${LAST}`)

    expect(statuses(heard)).toEqual([200])
    expect(seen).toEqual([
      { method: 'LIST', url: '/v1/database/roles?after=a', body: '', address: '127.0.0.1' },
    ])
  }))

test('LIST works split at every byte, on one kept connection', () =>
  onSocket(async (port, seen) => {
    const socket = await dial(port)
    const request = `LIST /v1/a HTTP/1.1\r\n${HOST}\r\n`
    const pieces = [...request].map((_, at) => [request.slice(0, at), request.slice(at)])

    await exchange(socket, ...pieces.flat(), ...`LIST /v1/b HTTP/1.1\r\n${LAST}`)

    expect(asked(seen)).toEqual([...pieces.map(() => 'LIST /v1/a'), 'LIST /v1/b'])
  }))

test('a body that holds a LIST request is not touched, with a LIST behind it in the same packet', () =>
  onSocket(async (port, seen) => {
    const body = '\r\n\r\nLIST /x HTTP/1.1\r\n\r\nLIST /y HTTP/1.1\r\n\r\n'
    const post = `POST /v1/a HTTP/1.1\r\n${HOST}Content-Length: ${body.length}\r\n\r\n${body}`

    await exchange(await dial(port), `${post}LIST /v1/b HTTP/1.1\r\n${LAST}`)

    expect(asked(seen)).toEqual(['POST /v1/a', 'LIST /v1/b'])
    expect(seen[0]?.body).toBe(body)
  }))

test('a LINK on the wire is refused, and so is a verb that only begins like LIST', () =>
  onSocket(async (port, seen) => {
    for (const verb of ['LINK', 'LISTS', 'LISK', 'LINT', 'LIS', 'list']) {
      expect(statuses(await exchange(await dial(port), `${verb} /v1/a HTTP/1.1\r\n${LAST}`))).toEqual([400])
    }
    expect(seen).toEqual([])
  }))

test('an upgrade that nobody takes is an ordinary request, and a LIST after it is served', () =>
  onSocket(async (port, seen) => {
    const upgrade = `GET /v1/a HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`

    const socket = await dial(port)
    socket.write(upgrade)
    // Node itself drops what shares a packet with an upgrade that nobody takes.
    await once(socket, 'data')
    await exchange(socket, `LIST /v1/b HTTP/1.1\r\n${LAST}`)

    expect(asked(seen)).toEqual(['GET /v1/a', 'LIST /v1/b'])
  }))

test('the bytes of an upgraded or tunnelled connection are left alone', () =>
  onSocket(async (port, _seen, server) => {
    server.on('connect', (_req, socket: Socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(socket)
    })
    const socket = await dial(port)
    socket.write(`CONNECT localhost:1 HTTP/1.1\r\n${HOST}\r\n`)
    await once(socket, 'data')
    socket.write('LIST /v1/b HTTP/1.1\r\n\r\n')
    const [echo] = (await once(socket, 'data')) as [Buffer]
    socket.destroy()

    expect(echo.toString()).toBe('LIST /v1/b HTTP/1.1\r\n\r\n')
  }))

test('the time limit on heads holds for a LIST that never ends', () =>
  onSocket(
    async (port, seen) => {
      const heard = await exchange(await dial(port), 'LIST /v1/a HTTP/1.1\r\nHos')

      expect(statuses(heard)).toEqual([408])
      expect(seen).toEqual([])
    },
    createServer({ headersTimeout: 50, requestTimeout: 100, connectionsCheckingInterval: 10 }),
  ))

test('LIST works over TLS, and the client certificate can be read', async () => {
  const authority = newAuthority()
  const { cert, key } = authority.issue('localhost')
  const client = authority.issue('batch-job')
  const server = createTlsServer({
    cert,
    key,
    ca: authority.cert,
    requestCert: true,
    rejectUnauthorized: true,
  })
  const certificates: string[] = []
  server.on('request', (req) => {
    certificates.push(String((req.socket as TLSSocket).getPeerCertificate().subject.CN))
  })

  await onSocket(async (port, seen) => {
    const socket = connectTls({
      port,
      host: '127.0.0.1',
      servername: 'localhost',
      ca: authority.cert,
      ...client,
    })
    await once(socket, 'secureConnect')
    const rest = ` /v1/a HTTP/1.1\r\n${HOST}\r\nLIST /v1/b HTTP/1.1\r\n${LAST}`
    await exchange(socket, 'L', 'I', 'S', 'T', rest)

    expect(asked(seen)).toEqual(['LIST /v1/a', 'LIST /v1/b'])
    expect(certificates).toEqual(['batch-job', 'batch-job'])
  }, server)
})

type Sent = {
  method: string
  url: string
  headers: string[]
  chunks: string[]
  framing: 'none' | 'length' | 'chunked'
}

/** Bodies made of what could be taken for a request line. */
const someText = fc
  .array(fc.constantFrom('LIST /x HTTP/1.1', 'LINK', '\r\n', '\r\n\r\n', 'LI', '0', 'ST', ' ', 'é'), {
    maxLength: 8,
  })
  .map((words) => words.join(''))

const someRequest: fc.Arbitrary<Sent> = fc.record({
  method: fc.constantFrom('LIST', 'LIST', 'GET', 'POST', 'PUT', 'DELETE', 'LOCK'),
  url: fc.constantFrom('/v1/a', '/v1/b/LIST?list=true', '/LIST'),
  headers: fc.subarray([
    'X-A: LIST /x',
    'x-content-length: 3',
    'Content-Length-Not: 5',
    'X-Long: '.padEnd(300, 'L'),
  ]),
  chunks: fc.array(someText, { maxLength: 3 }),
  framing: fc.constantFrom('none' as const, 'length' as const, 'chunked' as const),
})

function bytesOf({ method, url, headers, chunks, framing }: Sent): string {
  const head = [`${method} ${url} HTTP/1.1`, 'Host: localhost', ...headers].join('\r\n')
  const body = chunks.join('')
  if (framing === 'none') return `${head}\r\n\r\n`
  if (framing === 'length') return `${head}\r\nContent-Length:${body.length}\r\n\r\n${body}`
  const parts = chunks
    .filter((text) => text !== '')
    .map((text) => `${text.length.toString(16)};a=b\r\n${text}\r\n`)
  return `${head}\r\ntransfer-encoding: Chunked\r\n\r\n${parts.join('')}0\r\nX-Trailer: LIST /x\r\n\r\n`
}

const somePipeline = fc.array(someRequest, { minLength: 1, maxLength: 6 })
const someCuts = fc.array(fc.nat({ max: 10_000 }), { maxLength: 12 })

function cut(bytes: Buffer, cuts: number[]): Buffer[] {
  const at = [...new Set(cuts.map((place) => place % bytes.length))].filter((place) => place > 0)
  const edges = [0, ...at.sort((a, b) => a - b), bytes.length]
  return edges.slice(1).map((end, i) => Buffer.from(bytes.subarray(edges[i], end)))
}

test('any pipeline, however it is cut, is served as it was sent', async () => {
  const server = createServer()
  const seen = recorder(server)
  await fc.assert(
    fc.asyncProperty(somePipeline, someCuts, async (pipeline, cuts) => {
      seen.length = 0
      const bytes = Buffer.from(pipeline.map(bytesOf).join(''), 'latin1')
      const last = Buffer.from(`GET /last HTTP/1.1\r\n${LAST}`)
      // Fed by hand, so that every piece is a read of its own.
      const connection = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
      server.emit('connection', connection)
      const finished = once(connection, 'finish')
      for (const piece of [...cut(bytes, cuts), last]) {
        connection.push(piece)
        await new Promise(setImmediate)
      }
      await finished

      const sent = pipeline.map(({ method, url, chunks, framing }) => ({
        method,
        url,
        body: framing === 'none' ? '' : chunks.join(''),
      }))
      expect(seen.slice(0, -1).map(({ method, url, body }) => ({ method, url, body }))).toEqual(sent)
      expect(seen.at(-1)?.url).toBe('/last')
    }),
    { numRuns: 300 },
  )
})

test('whatever arrives, cuts change nothing, and no byte but a verb letter does', () => {
  const someBytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc
      .array(
        fc.constantFrom('LIST', 'LINK', ' /a HTTP/1.1', '\r\n', '\n', '\r', 'Content-Length: 5', 'a', '0'),
      )
      .map((words) => Buffer.from(words.join(''))),
  )
  fc.assert(
    fc.property(fc.array(someBytes), someCuts, (parts, cuts) => {
      const sent = Buffer.concat([Buffer.from('.'), ...parts]).subarray(1)
      fc.pre(sent.length > 0)
      const whole = Buffer.from(sent)
      listSwapper()(whole)
      const swapper = listSwapper()
      const pieces = cut(sent, cuts)
      for (const piece of pieces) swapper(piece)

      expect(Buffer.concat(pieces).equals(whole)).toBe(true)
      const changed = [...whole].filter((byte, at) => byte !== sent[at])
      expect(changed.every((byte) => 'SNTK'.includes(String.fromCharCode(byte)))).toBe(true)
    }),
  )
})
