import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, inject, test } from 'vitest'
import { sensitive } from '../../src/lib/sensitive.ts'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { type CollectedSpan, type Collector, startCollector } from '../support/tracing-collector.ts'

// The broker as it is, with a worker that the queue alone wakes, and a collector of the test's own.

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const CALLER = 'b7ad6b7169203331'
const traced = (flags = '01') => ({ traceparent: `00-${TRACE}-${CALLER}-${flags}` })

type Told = { collector: Collector; spans: CollectedSpan[] }

/** Runs `use` on a broker of its own; answers what had been told when the broker was closed. */
async function told(use: (at: TestBroker) => Promise<unknown>, queueUrl = inject('redisUrl')): Promise<Told> {
  const collector = await startCollector()
  try {
    const at = await openTestBroker({
      worker: true,
      sweepIntervalMs: 1_000_000,
      tracing: collector.settings,
      queueUrl,
    })
    try {
      await use(at)
    } finally {
      await at.close()
    }
    return { collector, spans: collector.spans() }
  } finally {
    await collector.close()
  }
}

const named = (spans: CollectedSpan[], name: string, having: Record<string, unknown> = {}): CollectedSpan[] =>
  spans.filter(
    (span) =>
      span.name === name && Object.entries(having).every(([key, value]) => span.attributes[key] === value),
  )

function only(spans: CollectedSpan[], name: string, having: Record<string, unknown> = {}): CollectedSpan {
  const found = named(spans, name, having)
  expect(found, `spans of the name ${name}`).toHaveLength(1)
  return found[0] as CollectedSpan
}

const childrenOf = ({ spanId }: CollectedSpan, spans: CollectedSpan[]): CollectedSpan[] =>
  spans.filter(({ parentSpanId }) => parentSpanId === spanId)

const gone = (at: TestBroker, username: string): Promise<void> =>
  expect.poll(() => at.target.account(username), { timeout: 30_000 }).toBe('absent')

async function untilRevoked(at: TestBroker, leaseId: string): Promise<void> {
  const state = async () =>
    (await at.api('PUT', 'sys/leases/lookup', { lease_id: leaseId })).json?.data?.state
  await expect.poll(state, { timeout: 30_000 }).not.toBe('revoking')
}

const ON_TARGET = { 'leasehold.engine': 'postgres', 'leasehold.target': 'db' }

test('an issue, from the caller to the engine', async () => {
  let requestId: string | null = null
  const { spans, collector } = await told(async (at) => {
    const answer = await at.api('GET', 'database/creds/app?x=1', undefined, traced())
    expect(answer.status).toBe(200)
    requestId = answer.headers.get('leasehold-request-id')
  })

  const served = only(spans, 'read database/creds/:name')
  expect(served).toMatchObject({ traceId: TRACE, parentSpanId: CALLER, kind: 2, failed: false })
  expect(served.attributes).toEqual({
    'http.request.method': 'GET',
    'http.route': '/v1/database/creds/:name',
    'http.response.status_code': 200,
    'url.scheme': 'http',
    'network.protocol.version': '1.1',
    'client.address': '127.0.0.1',
    'leasehold.request_id': requestId,
    'leasehold.operation': 'read',
    'leasehold.mount_type': 'database',
  })
  const issued = only(spans, 'lease.issue')
  expect(issued).toMatchObject({ traceId: TRACE, parentSpanId: served.spanId, attributes: ON_TARGET })
  const created = only(spans, 'engine.create')
  expect(created).toMatchObject({
    parentSpanId: undefined,
    links: [issued.spanId],
    attributes: { ...ON_TARGET, 'leasehold.leases': 1 },
  })
  expect(created.traceId).not.toBe(TRACE)
  expect(issued.links).toContain(created.spanId)
  expect(collector.resource()).toMatchObject({
    'service.name': 'leasehold',
    'service.version': expect.any(String),
  })
})

test('a renewal, from the caller to the engine', async () => {
  const { spans } = await told(async (at) => {
    const { json } = await at.api('GET', 'database/creds/app')
    const answer = await at.api('PUT', 'sys/leases/renew', { lease_id: json.lease_id }, traced())
    expect(answer.status).toBe(200)
  })

  const served = only(spans, 'update system/leases/renew')
  const renewed = only(spans, 'lease.renew')
  const extended = only(spans, 'engine.extend')
  expect(served).toMatchObject({ traceId: TRACE, parentSpanId: CALLER })
  expect(renewed).toMatchObject({ traceId: TRACE, parentSpanId: served.spanId, attributes: ON_TARGET })
  expect(extended).toMatchObject({ links: [renewed.spanId], attributes: ON_TARGET })
  expect(renewed.links).toContain(extended.spanId)
})

test.each(['redisUrl', 'postgresUrl'] as const)(
  'an expiry, from its wake-up by the queue on %s',
  async (queue) => {
    const { spans } = await told(async (at) => {
      await at.api('PUT', 'database/roles/brief', {
        db_name: 'db',
        member_of: at.target.readers,
        default_ttl: '2s',
      })
      const { json } = await at.api('GET', 'database/creds/brief', undefined, traced())
      await gone(at, json.data.username)
      await untilRevoked(at, json.lease_id)
    }, inject(queue))

    const issued = only(spans, 'lease.issue')
    const sent = spans.find(({ name, links }) => name === 'queue.send' && links.includes(issued.spanId))
    expect(sent).toMatchObject({ parentSpanId: undefined })
    // BullMQ's own span of adding the jobs is below ours, and its span of working on one goes on with the request's trace.
    expect(childrenOf(sent as CollectedSpan, spans)).toMatchObject([{ scope: 'bullmq', kind: 4 }])
    const process = spans.filter(({ name, scope }) => scope === 'bullmq' && name.startsWith('process '))
    expect(process).toMatchObject([{ traceId: TRACE, parentSpanId: issued.spanId, kind: 5, failed: false }])

    for (const stage of ['access', 'account']) {
      const ended = only(spans, 'lease.end', { 'leasehold.stage': stage })
      expect(ended).toMatchObject({
        links: [process[0]?.spanId],
        attributes: { ...ON_TARGET, 'leasehold.leases': 1 },
      })
      expect(childrenOf(ended, spans).map(({ attributes }) => attributes['leasehold.step'])).toEqual(
        stage === 'access' ? ['disable', 'disconnect'] : ['remove', 'verify'],
      )
    }
    expect(process[0]?.links).toContain(only(spans, 'lease.end', { 'leasehold.stage': 'access' }).spanId)
  },
)

test('requests that share a batch are all linked with it, and with no other', async () => {
  const { spans } = await told(async (at) => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => at.api('GET', 'database/creds/app')))
    const ids = answers.map(({ json }) => json.lease_id)
    await Promise.all(ids.map((lease_id) => at.api('PUT', 'sys/leases/revoke', { lease_id })))
  })

  const linksOf = (batches: CollectedSpan[]) => batches.flatMap(({ links }) => links).sort()
  const issues = named(spans, 'lease.issue').map(({ spanId }) => spanId)
  expect(linksOf(named(spans, 'engine.create'))).toEqual([...issues].sort())
  const revocations = named(spans, 'update system/leases/revoke').map(({ spanId }) => spanId)
  expect(revocations).toHaveLength(12)
  expect(linksOf(named(spans, 'lease.end', { 'leasehold.stage': 'access' }))).toEqual([...revocations].sort())
  for (const batch of named(spans, 'engine.create')) {
    expect(batch.attributes['leasehold.leases']).toBe(batch.links.length)
  }
})

test('a failure is told in a word: which, and whose', async () => {
  const { spans, collector } = await told(async (at) => {
    await at.api('PUT', 'database/roles/broken', {
      db_name: 'db',
      creation_statements:
        'CREATE ROLE "{{name}}" LOGIN PASSWORD \'{{password}}\'; SELECT nonsense_of_the_test',
      default_ttl: '1m',
    })
    expect((await at.api('GET', 'database/creds/broken')).status).toBe(400)
    expect((await at.api('GET', 'database/creds/unknown')).status).toBe(400)
  })

  const [broken, unknown] = named(spans, 'lease.issue')
  expect(broken).toMatchObject({ failed: true, attributes: { 'error.type': 'invalid_request' } })
  expect(unknown).toMatchObject({ failed: false, attributes: { 'error.type': 'invalid_request' } })
  expect(only(spans, 'engine.create').attributes).toMatchObject({
    'leasehold.failed': 1,
    'error.type': 'failed',
  })
  expect(collector.bytes()).not.toContain('nonsense_of_the_test')
})

describe('what the caller sends', () => {
  test('a trace its caller does not keep is not kept here either, in no part', async () => {
    const { spans } = await told(async (at) => {
      const { json } = await at.api('GET', 'database/creds/app', undefined, traced('00'))
      await at.api('PUT', 'sys/leases/revoke', { lease_id: json.lease_id }, traced('00'))
    })
    expect(spans.filter(({ traceId }) => traceId === TRACE)).toEqual([])
    expect(named(spans, 'engine.create')).toEqual([])
    expect(named(spans, 'lease.end')).toEqual([])
    expect(named(spans, 'engine.end')).toEqual([])
  })

  test.each(['', 'x'.repeat(10_000), `00-${'0'.repeat(32)}-${CALLER}-01`, `00-${TRACE}-${CALLER}-01, again`])(
    'a traceparent that is none begins a trace of our own (%#)',
    async (traceparent) => {
      const { spans } = await told(async (at) => {
        expect((await at.api('GET', 'sys/health', undefined, { traceparent })).status).toBe(200)
      })
      const served = only(spans, 'read system/health')
      expect(served.parentSpanId).toBeUndefined()
      expect(served.traceId).toMatch(/^(?!0{32})[0-9a-f]{32}$/)
    },
  )

  test('no secret is in any byte sent', async () => {
    const secrets: string[] = []
    const { collector } = await told(async (at) => {
      const { json } = await at.api('GET', 'database/creds/app', undefined, {
        ...traced(),
        tracestate: 'vendor=state-of-the-caller',
        baggage: 'user=baggage-of-the-caller',
        'User-Agent': 'agent-of-the-caller',
      })
      const created = await at.api('PUT', 'auth/token/create', { policies: ['default'] })
      const wrapped = await at.api('GET', 'database/creds/app', undefined, { 'X-Vault-Wrap-TTL': '60' })
      const inPath = 'hvs.token-in-the-path'
      await at.api('GET', `auth/token/lookup/${inPath}`)
      await at.api('GET', `secret-of-the-path/${inPath}?token=${inPath}`)
      await at.api('PUT', 'database/config/other', {
        plugin_name: 'postgresql-database-plugin',
        connection_url: at.target.urlTemplate,
        username: at.target.admin,
        password: 'a-wrong-admin-password',
      })
      await at.api('GET', 'sys/health', undefined, { 'X-Request-Id': 'hvs.token-as-an-id' })
      await at.api('PUT', 'sys/leases/revoke', { lease_id: json.lease_id })
      secrets.push(
        json.data.password,
        created.json.auth.client_token,
        wrapped.json.wrap_info.token,
        at.root,
        inPath,
        'secret-of-the-path',
        'a-wrong-admin-password',
        'hvs.token-as-an-id',
        'of-the-caller',
        at.target.urlTemplate,
        'postgres://',
      )
    })
    expect(collector.spans().length).toBeGreaterThan(10)
    const bytes = collector.bytes()
    expect(secrets.filter((secret) => bytes.includes(secret))).toEqual([])
    expect(bytes).not.toMatch(/create role|grant |select |alter role/i)
  })
})

describe('what OpenTelemetry reads by itself', () => {
  /** As in `told`, with these in the environment meanwhile. */
  async function toldWith(
    env: Record<string, string>,
    use: (at: TestBroker) => Promise<unknown>,
  ): Promise<Told> {
    Object.assign(process.env, env)
    try {
      return await told(use)
    } finally {
      for (const name of Object.keys(env)) delete process.env[name]
    }
  }

  test('names the service', async () => {
    const env = { OTEL_SERVICE_NAME: 'broker-7', OTEL_RESOURCE_ATTRIBUTES: 'team=a,service.version=mine' }
    const { collector } = await toldWith(env, (at) => at.api('GET', 'sys/health'))
    expect(collector.resource()).toMatchObject({
      'service.name': 'broker-7',
      'service.version': 'mine',
      team: 'a',
    })
  })

  test('samples, and a batch is kept when any of those it serves is', async () => {
    const { spans } = await toldWith({ OTEL_TRACES_SAMPLER: 'parentbased_always_off' }, async (at) => {
      await at.api('GET', 'database/creds/app')
      await at.api('GET', 'database/creds/app', undefined, traced())
    })
    const issued = only(spans, 'lease.issue')
    expect(issued.traceId).toBe(TRACE)
    expect(only(spans, 'engine.create').links).toEqual([issued.spanId])
    expect(spans.filter(({ name }) => name.startsWith('read '))).toHaveLength(1)
  })
})

describe('a collector that is not there', () => {
  async function working(settings: Collector['settings']): Promise<void> {
    const at = await openTestBroker({ tracing: settings })
    try {
      const issued = await at.api('GET', 'database/creds/app')
      expect(issued.status).toBe(200)
      expect((await at.api('PUT', 'sys/leases/revoke', { lease_id: issued.json.lease_id })).status).toBe(204)
      expect(await at.target.account(issued.json.data.username)).toBe('absent')
    } finally {
      // With spans in hand that cannot be sent.
      await at.close()
    }
  }

  test('harms nothing when nobody listens', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as AddressInfo
    await new Promise((resolve) => taken.close(resolve))
    await working({ endpoint: sensitive(`http://127.0.0.1:${port}/v1/traces`), timeoutMs: 600_000 })
  })

  test('holds nothing up when it never answers', async () => {
    const collector = await startCollector({ answers: false, timeoutMs: 600_000 })
    try {
      await working(collector.settings)
      expect(collector.bytes()).not.toBe('')
    } finally {
      await collector.close()
    }
  })
})

test('two brokers in a process share what OpenTelemetry has once, and neither takes it from the other', async () => {
  const { spans } = await told(async (at) => {
    const other = await at.another()
    await other.close()
    expect((await at.api('GET', 'database/creds/app', undefined, traced())).status).toBe(200)
  })
  expect(only(spans, 'lease.issue').parentSpanId).toBe(only(spans, 'read database/creds/:name').spanId)
})
