import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sensitive } from '../../src/lib/sensitive.ts'
import type { TracingSettings } from '../../src/lib/tracing-settings.ts'

export type CollectedSpan = {
  traceId: string
  spanId: string
  parentSpanId: string | undefined
  name: string
  kind: number
  scope: string
  attributes: Record<string, unknown>
  /** The span ids it is linked to. */
  links: string[]
  failed: boolean
}

/** A collector of OpenTelemetry's HTTP protocol, on loopback; it keeps every byte it was sent. */
export type Collector = {
  settings: TracingSettings
  spans(): CollectedSpan[]
  /** What was sent, as it was sent. */
  bytes(): string
  resource(): Record<string, unknown>
  close(): Promise<void>
}

type Value = { stringValue?: string; intValue?: number | string; boolValue?: boolean; doubleValue?: number }
type Attributes = { key: string; value: Value }[]
type Sent = {
  resourceSpans: {
    resource: { attributes: Attributes }
    scopeSpans: {
      scope: { name: string }
      spans: {
        traceId: string
        spanId: string
        parentSpanId?: string
        name: string
        kind: number
        attributes: Attributes
        links: { spanId: string }[]
        status: { code?: number }
      }[]
    }[]
  }[]
}

const valuesOf = (attributes: Attributes): Record<string, unknown> =>
  Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.stringValue ??
        value.boolValue ??
        value.doubleValue ??
        (value.intValue === undefined ? value : Number(value.intValue)),
    ]),
  )

export async function startCollector({ answers = true, timeoutMs = 3_000 } = {}): Promise<Collector> {
  const bodies: string[] = []
  const paths = new Set<string>()
  const server: Server = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk) => chunks.push(chunk))
    req.on('end', () => {
      paths.add(`${req.method} ${req.url} ${req.headers['content-type']}`)
      bodies.push(JSON.stringify(req.headers), Buffer.concat(chunks).toString())
      if (answers) res.end('{}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const sent = (): Sent[] => bodies.filter((_, i) => i % 2 === 1).map((body) => JSON.parse(body))
  return {
    settings: { endpoint: sensitive(`http://127.0.0.1:${port}/v1/traces`), timeoutMs },
    bytes: () => bodies.join('\n'),
    resource: () => valuesOf(sent()[0]?.resourceSpans[0]?.resource.attributes ?? []),
    spans: () => {
      if (bodies.length > 0 && [...paths].join() !== 'POST /v1/traces application/json') {
        throw new Error(`spans were sent as ${[...paths].join()}`)
      }
      return sent().flatMap(({ resourceSpans }) =>
        resourceSpans.flatMap(({ scopeSpans }) =>
          scopeSpans.flatMap(({ scope, spans }) =>
            spans.map(({ attributes, links = [], status = {}, parentSpanId, ...span }) => ({
              ...span,
              parentSpanId: parentSpanId || undefined,
              scope: scope.name,
              attributes: valuesOf(attributes),
              links: links.map(({ spanId }) => spanId),
              failed: status.code === 2,
            })),
          ),
        ),
      )
    },
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
