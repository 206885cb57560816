import { mkdtemp, readFile, rm } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createShipping, type Shipping } from '../../src/audit/sinks/shipping.ts'
import { type AuditSinks, createAuditSinks } from '../../src/audit/sinks/sinks.ts'
import { openTrail, type Trail } from '../../src/audit/trail.ts'
import type { Ledger } from '../../src/ledger/db.ts'
import { many } from '../../src/ledger/db.ts'
import { createLogger } from '../../src/lib/log.ts'
import type { Sensitive } from '../../src/lib/sensitive.ts'
import { openTestLedger, type TestLedger } from '../support/ledger.ts'

/** A ledger that events are written to, and processes that ship them. */
export type World = {
  test: TestLedger
  trail: Trail
  sinks: AuditSinks
  folder: string
  /** Another process, which looks when the test says so; on its own connections, or on `ledger`. */
  process(name: string, options?: { ledger?: Ledger; host?: string }): Shipping
  /** Writes so many events, each with its number, from as many callers as there are chains. */
  write(count: number): Promise<void>
  /** `writer:seq` of every event there is, in the order of shipping, from the sinks' first on. */
  order(): Promise<string[]>
  close(): Promise<void>
}

export async function openWorld(serverUrl: string): Promise<World> {
  const test = await openTestLedger({ serverUrl })
  const trail = openTrail(test.ledger)
  const folder = await mkdtemp(join(tmpdir(), 'audit-sinks-'))
  const kept = new Map<string, Sensitive>()
  const secrets = {
    async keep(text: Sensitive) {
      kept.set(`secret-${kept.size}`, text)
      return `secret-${kept.size - 1}`
    },
    find: async (name: string) => kept.get(name),
    forget: async (name: string) => void kept.delete(name),
  }
  const running: Shipping[] = []
  let written = 0
  return {
    test,
    trail,
    sinks: createAuditSinks({ ledger: test.ledger, secrets, host: 'here' }),
    folder,
    process(name, { ledger = test.another(), host = 'here' } = {}) {
      const log = createLogger('silent', 'json')
      const shipping = createShipping({ ledger, secrets, host, holder: name, log })
      running.push(shipping)
      return shipping
    },
    async write(count) {
      await Promise.all(
        Array.from({ length: count }, () => {
          written += 1
          const event = {
            type: 'request' as const,
            what: { operation: 'update', path: `sys/thing/${written}` },
            outcome: {},
          }
          return written % 3 === 0
            ? trail.record(event)
            : trail.commit(async () => ({ result: undefined, events: [event] }))
        }),
      )
    },
    async order() {
      const rows = await many<{ writer: string; seq: number }>(
        test.ledger,
        'select writer, seq from leasehold.audit_event order by written_by, writer, seq',
      )
      return rows.map(({ writer, seq }) => `${writer}:${seq}`)
    },
    async close() {
      await Promise.all(running.map((each) => each.stop()))
      await test.close()
      await rm(folder, { recursive: true })
    },
  }
}

type Line = { writer: string; seq: number; at: string; body: { what: { path: string } }; hash: string }

/** `writer:seq` of the lines of a text. */
export const taken = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line)
    .map(({ writer, seq }) => `${writer}:${seq}`)

export const takenByFile = async (path: string): Promise<string[]> => taken(await readFile(path, 'utf8'))

/** A collector of logs that does with each request what the test says. */
export type Collector = {
  url: string
  /** What it has accepted, in order. */
  taken(): string[]
  requests: { headers: http.IncomingHttpHeaders; body: string }[]
  /** Says of the requests that hang that they were accepted. */
  answerHanging(): void
  /** 200 accepts; another status does not; `hang` never answers; `take and hang up` accepts and does not say so. */
  mood: number | 'hang' | 'take and hang up'
  close(): Promise<void>
}

export async function openCollector({
  port = 0,
  tls,
}: {
  port?: number
  tls?: { cert: string; key: string }
} = {}): Promise<Collector> {
  const accepted: string[] = []
  const hanging: http.ServerResponse[] = []
  const answer = async (request: http.IncomingMessage, response: http.ServerResponse) => {
    let body = ''
    for await (const piece of request) body += piece
    collector.requests.push({ headers: request.headers, body })
    const { mood } = collector
    if (mood === 'hang') return void hanging.push(response)
    const text = body.startsWith('[')
      ? (JSON.parse(body) as object[]).map((e) => JSON.stringify(e)).join('\n')
      : body
    if (mood === 200 || mood === 'take and hang up') accepted.push(...taken(text))
    if (mood === 'take and hang up') return void response.destroy()
    response.writeHead(mood).end('thank you')
  }
  const server = tls ? https.createServer(tls, answer) : http.createServer(answer)
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const collector: Collector = {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}/events`,
    taken: () => [...accepted],
    requests: [],
    mood: 200,
    answerHanging() {
      for (const response of hanging.splice(0)) response.writeHead(200).end()
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return collector
}
