import { createRequire } from 'node:module'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestBroker, type TestBroker } from '../support/broker.ts'
import { type Collector, startCollector } from '../support/tracing-collector.ts'

// In a file of its own, since what was loaded once stays loaded.

const loaded = (): string[] =>
  Object.keys(createRequire(import.meta.url).cache).filter((file) =>
    // prom-client asks the interface for an exemplar's trace, and brings it along.
    /node_modules\/(@opentelemetry\/(?!api\/)|bullmq-otel\/)/.test(file),
  )

let at: TestBroker
let collector: Collector
beforeAll(async () => {
  collector = await startCollector()
  // Where OpenTelemetry would send by itself, were it there.
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = new URL(collector.settings.endpoint.reveal()).origin
  at = await openTestBroker({ worker: true })
})
afterAll(async () => {
  delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT
  await collector.close()
})

test('without the setting nothing is sent, and nothing of OpenTelemetry is loaded', async () => {
  const { json } = await at.api('GET', 'database/creds/app', undefined, {
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  })
  await at.api('PUT', 'sys/leases/renew', { lease_id: json.lease_id })
  await at.api('PUT', 'sys/leases/revoke', { lease_id: json.lease_id })
  await at.close()

  expect(collector.bytes()).toBe('')
  expect(loaded()).toEqual([])
  // That this would have been seen:
  await import('../../src/telemetry/tracing.ts')
  expect(loaded().length).toBeGreaterThan(10)
})
